-- What 0.2.0 changes in a database that 0.1.0 made. `tests/suite/upgrade.rs` compares the result
-- with a new installation.
\echo Use "alter extension mosaic_backlog_ext update" to load this file. \quit

-- DROP OWNED takes the extension along where whoever installed it is named.
drop event trigger mosaic_backlog_refuse_drop;

create event trigger mosaic_backlog_refuse_drop on ddl_command_start
  when tag in ('DROP EXTENSION', 'DROP OWNED')
  execute function mosaic.backlog_refuse_drop();

comment on event trigger mosaic_backlog_refuse_drop is
  'Refuses DROP EXTENSION mosaic_backlog_ext, and DROP OWNED that would take it or rights on it, while cards exist, unless mosaic.allow_drop is on.';

comment on function mosaic.backlog_refuse_drop is
  'internal: event trigger that refuses to drop mosaic_backlog_ext, or rights on it, while cards exist. Errors: bad_transition.';

comment on function mosaic.backlog_list is
  'Cards in claim order, a page at a time; after is the cursor of the last card of the page before. Without statuses: ready, claimed and blocked. total is null unless asked for. Errors: invalid_argument.';
