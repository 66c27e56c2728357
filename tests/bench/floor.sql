-- The floors of mosaic_backlog_ext/src/baseline.rs, with the settings of the functions that they
-- are compared with.
create function mosaic.floor_nothing() returns void
  volatile security definer set search_path = pg_catalog, pg_temp
  language c as '$libdir/mosaic_backlog_ext', 'floor_nothing_wrapper';

do $$
begin
  execute format('create function mosaic.floor_claim(ids text[], worker text, ttl interval) returns %s
    volatile security definer set search_path = pg_catalog, pg_temp
    language c as ''$libdir/mosaic_backlog_ext'', ''floor_claim_wrapper''',
    pg_get_function_result('mosaic.backlog_claim'::regproc));
  execute format('create function mosaic.floor_create(title text, id text) returns %s
    volatile security definer set search_path = pg_catalog, pg_temp
    language c as ''$libdir/mosaic_backlog_ext'', ''floor_create_wrapper''',
    pg_get_function_result('mosaic.backlog_block'::regproc));
  execute format('create function mosaic.floor_complete(id text) returns %s
    volatile security definer set search_path = pg_catalog, pg_temp
    language c as ''$libdir/mosaic_backlog_ext'', ''floor_complete_wrapper''',
    pg_get_function_result('mosaic.backlog_block'::regproc));
end
$$;

alter function mosaic.floor_nothing owner to mosaic_owner;
alter function mosaic.floor_claim owner to mosaic_owner;
alter function mosaic.floor_create owner to mosaic_owner;
alter function mosaic.floor_complete owner to mosaic_owner;
