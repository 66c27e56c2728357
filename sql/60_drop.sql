create event trigger mosaic_backlog_refuse_drop on ddl_command_start
  when tag in ('DROP EXTENSION')
  execute function mosaic.backlog_refuse_drop();

comment on event trigger mosaic_backlog_refuse_drop is
  'Refuses DROP EXTENSION mosaic_backlog_ext while cards exist, unless mosaic.allow_drop is on.';

comment on function mosaic.backlog_refuse_drop is
  'internal: event trigger that refuses DROP EXTENSION mosaic_backlog_ext while cards exist. Errors: bad_transition.';
