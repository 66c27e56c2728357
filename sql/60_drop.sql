create event trigger mosaic_backlog_refuse_drop on ddl_command_start
  when tag in ('DROP EXTENSION', 'DROP OWNED')
  execute function mosaic.backlog_refuse_drop();

-- Whatever session_replication_role says.
alter event trigger mosaic_backlog_refuse_drop enable always;

comment on event trigger mosaic_backlog_refuse_drop is
  'Refuses DROP EXTENSION mosaic_backlog_ext, and DROP OWNED that would take it or rights on it, while cards exist, unless mosaic.allow_drop is on.';

comment on function mosaic.backlog_refuse_drop is
  'internal: event trigger that refuses to drop mosaic_backlog_ext, or rights on it, while cards exist. Errors: bad_transition.';
