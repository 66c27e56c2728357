-- Every operator and function below is the system's own, whoever runs this.
set local search_path to pg_catalog, pg_temp;

-- Text is handled as UTF-8 throughout.
do $$
begin
  if pg_catalog.getdatabaseencoding() operator(pg_catalog.<>) 'UTF8' then
    raise exception using
      errcode = 'feature_not_supported',
      message = pg_catalog.format('database %I has encoding %s, mosaic_backlog_ext needs UTF8', pg_catalog.current_database(), pg_catalog.getdatabaseencoding()),
      hint = 'Create a database with encoding UTF8 and install the extension there.';
  end if;
end
$$;

-- Roles and rights on settings are cluster-wide: another database of the cluster may have made
-- them already, or may be making them at this very moment. Locks on shared catalogues exclude it.
lock table pg_catalog.pg_authid, pg_catalog.pg_auth_members, pg_catalog.pg_parameter_acl
  in share row exclusive mode;

do $$
declare
  wanted text;
begin
  foreach wanted in array array['mosaic_owner', 'mosaic_reader', 'mosaic_worker', 'mosaic_operator'] loop
    if not exists (select from pg_catalog.pg_roles where rolname operator(pg_catalog.=) wanted) then
      execute pg_catalog.format('create role %I nologin', wanted);
    end if;
  end loop;
  if not pg_catalog.pg_has_role('mosaic_worker', 'mosaic_reader', 'MEMBER') then
    grant mosaic_reader to mosaic_worker;
  end if;
  if not pg_catalog.pg_has_role('mosaic_operator', 'mosaic_worker', 'MEMBER') then
    grant mosaic_worker to mosaic_operator;
  end if;
end
$$;

create schema mosaic;

comment on schema mosaic is 'Mosaic Backlog: cards, their dependencies and their history. Write through the functions mosaic.backlog_*.';

create type mosaic.backlog_status as enum ('ready', 'claimed', 'blocked', 'done', 'cancelled');

comment on type mosaic.backlog_status is 'where a card is in its life';
