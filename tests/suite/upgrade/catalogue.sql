-- All that the catalogue says about the extension, a line a fact, without what differs between two
-- installations of one version: numbers of objects, and places of columns that are gone.
with member as (
  select d.classid, d.objid from pg_depend d join pg_extension e on e.oid = d.refobjid
  where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e' and e.extname = 'mosaic_backlog_ext'
), object as (
  select m.*, i.type || ' ' || i.identity as name
  from member m cross join lateral pg_identify_object(m.classid, m.objid, 0) i
), grants as (
  select 'pg_proc'::regclass as classid, oid as objid, 0 as column, proacl as acl from pg_proc
  union all select 'pg_class'::regclass, oid, 0, relacl from pg_class
  union all select 'pg_class'::regclass, attrelid, attnum, attacl from pg_attribute
  union all select 'pg_type'::regclass, oid, 0, typacl from pg_type
  union all select 'pg_namespace'::regclass, oid, 0, nspacl from pg_namespace
), owners as (
  select 'pg_proc'::regclass as classid, oid as objid, proowner as owner from pg_proc
  union all select 'pg_class'::regclass, oid, relowner from pg_class
  union all select 'pg_type'::regclass, oid, typowner from pg_type
  union all select 'pg_namespace'::regclass, oid, nspowner from pg_namespace
  union all select 'pg_event_trigger'::regclass, oid, evtowner from pg_event_trigger
), relation as (
  select c.*, o.name from object o join pg_class c on o.classid = 'pg_class'::regclass and c.oid = o.objid
), facts as (
  select name, 'member' as fact from object
  union all
  select name, 'owner ' || owner::regrole from object join owners using (classid, objid)
  union all
  select name, format('column %s grant %s to %s by %s, grantable %s', g.column, a.privilege_type,
    coalesce(nullif(a.grantee, 0)::regrole::text, 'public'), a.grantor::regrole, a.is_grantable)
  from object join grants g using (classid, objid) cross join lateral aclexplode(g.acl) a
  union all
  select name, format('to be granted again by a restore: %s to %s', a.privilege_type, coalesce(nullif(a.grantee, 0)::regrole::text, 'public'))
  from object o join pg_init_privs p on p.classoid = o.classid and p.objoid = o.objid
  cross join lateral aclexplode(p.initprivs) a
  union all
  select name, format('comment on %s: %s', coalesce(a.attname, 'it'), d.description)
  from object o join pg_description d on d.classoid = o.classid and d.objoid = o.objid
  left join pg_attribute a on o.classid = 'pg_class'::regclass and a.attrelid = d.objoid and a.attnum = d.objsubid and d.objsubid > 0
  union all
  -- What is asked of a function, what it gives, how it runs.
  select name, pg_get_functiondef(objid) || ' kind ' || prokind::text
  from object join pg_proc p on classid = 'pg_proc'::regclass and p.oid = objid and p.prokind <> 'a'
  union all
  select name, format('kind %s, persistence %s, options %s, rows secured %s %s, identity %s, view %s', relkind, relpersistence,
    reloptions, relrowsecurity, relforcerowsecurity, relreplident, case when relkind in ('v', 'm') then pg_get_viewdef(oid) end)
  from relation
  union all
  select r.name, format('column %s %s: %s collate %s not null %s default %s generated %s identity %s storage %s compression %s statistics %s',
    row_number() over (partition by r.oid order by a.attnum), a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation,
    a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attgenerated, a.attidentity, a.attstorage, a.attcompression, a.attstattarget)
  from relation r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where r.relkind <> 'S'
  union all
  select r.name, format('constraint %s %s, valid %s, comment %s', c.conname, pg_get_constraintdef(c.oid), c.convalidated,
    obj_description(c.oid, 'pg_constraint'))
  from relation r join pg_constraint c on c.conrelid = r.oid
  union all
  select r.name, format('index %s, valid %s, options %s, owner %s, comment %s', pg_get_indexdef(i.indexrelid), i.indisvalid, x.reloptions,
    x.relowner::regrole, obj_description(i.indexrelid, 'pg_class'))
  from relation r join pg_index i on i.indrelid = r.oid join pg_class x on x.oid = i.indexrelid
  union all
  select r.name, format('trigger %s, enabled %s, comment %s', pg_get_triggerdef(t.oid), t.tgenabled, obj_description(t.oid, 'pg_trigger'))
  from relation r join pg_trigger t on t.tgrelid = r.oid and not t.tgisinternal
  union all
  select r.name, 'rule ' || pg_get_ruledef(w.oid) from relation r join pg_rewrite w on w.ev_class = r.oid
  union all
  select r.name, format('policy %s %s %s %s %s', p.polname, p.polcmd, p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid),
    pg_get_expr(p.polwithcheck, p.polrelid))
  from relation r join pg_policy p on p.polrelid = r.oid
  union all
  select r.name, format('sequence of %s from %s by %s between %s and %s, cache %s, cycles %s, of column %s', format_type(s.seqtypid, null),
    s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
    (select pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) from pg_depend d
     where d.classid = 'pg_class'::regclass and d.objid = r.oid and d.deptype in ('a', 'i')))
  from relation r join pg_sequence s on s.seqrelid = r.oid
  union all
  select name, format('type %s of %s, not null %s, default %s, labels %s', t.typtype, format_type(nullif(t.typbasetype, 0), t.typtypmod),
    t.typnotnull, t.typdefault, (select array_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = t.oid))
  from object join pg_type t on classid = 'pg_type'::regclass and t.oid = objid and t.typtype <> 'c' and t.typcategory <> 'A'
  union all
  select name, format('on %s of %s call %s, enabled %s', t.evtevent, t.evttags, t.evtfoid::regprocedure, t.evtenabled)
  from object join pg_event_trigger t on classid = 'pg_event_trigger'::regclass and t.oid = objid
  union all
  select 'extension', format('version %s in %s, relocatable %s', extversion, extnamespace::regnamespace, extrelocatable)
  from pg_extension where extname = 'mosaic_backlog_ext'
  union all
  select 'extension', format('dumps %s where %s', c.oid::regclass, nullif(c.condition, ''))
  from pg_extension e, unnest(e.extconfig, e.extcondition) c(oid, condition) where extname = 'mosaic_backlog_ext'
  union all
  -- What belongs to the whole cluster.
  select 'role ' || rolname, format('super %s, inherits %s, creates roles %s and databases %s, logs in %s, replicates %s, passes security %s, settings %s',
    rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconfig)
  from pg_roles where rolname ^@ 'mosaic'
  union all
  select 'role ' || m.member::regrole, format('member of %s, may admit %s', m.roleid::regrole, m.admin_option)
  from pg_auth_members m where m.roleid in (select oid from pg_roles where rolname ^@ 'mosaic')
  union all
  select 'setting ' || p.parname, format('grant %s to %s', a.privilege_type, coalesce(nullif(a.grantee, 0)::regrole::text, 'public'))
  from pg_parameter_acl p cross join lateral aclexplode(p.paracl) a
)
select name || ': ' || coalesce(fact, 'unknown') as line from facts order by 1
