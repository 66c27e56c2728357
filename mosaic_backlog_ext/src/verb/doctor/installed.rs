//! Whether the extension's objects are as its script makes them: a superuser can change them under
//! it. What the script makes is read from its own pieces, so that there is no list to keep; what holds
//! of every object is asked of the catalogue.

use pgrx::prelude::*;

use super::finding::{Finding, State};
use crate::postgres::statement::{Parameter, Session, Statement, param};

pub const TABLES: &str = "tables";

const SCRIPTS: [&str; 6] = [
    include_str!("../../../../sql/10_schema.sql"),
    include_str!("../../../../sql/20_card.sql"),
    include_str!("../../../../sql/25_frontier.sql"),
    include_str!("../../../../sql/30_dependency.sql"),
    include_str!("../../../../sql/40_event.sql"),
    include_str!("../../../../sql/50_claim_request.sql"),
];
const RIGHTS: &str = include_str!("../../../../sql/90_privileges.sql");

/// Declares statements that read the catalogue, which may be scanned.
macro_rules! of_catalogue {
    ($($name:ident($($ty:ident),*) = $sql:expr;)*) => {
        thread_local! {
            $(static $name: Statement = const {
                Statement::new($sql, &[$(pg_sys::$ty),*]).with_scans()
            };)*
        }
    };
}

of_catalogue! {
    VERSION() =
        "select extversion::text from pg_extension where extname = 'mosaic_backlog_ext'";
    // Whether the tables can be read at all.
    READABLE(TEXTARRAYOID) =
        "select coalesce(pg_catalog.bool_and(has_table_privilege(current_user, c.oid, 'select')
             and has_schema_privilege(current_user, c.relnamespace, 'usage')), false)
         from unnest($1) e(name)
         left join pg_class c on c.relname = e.name and c.relkind in ('r', 'S')
           and c.relnamespace = (select oid from pg_namespace where nspname = 'mosaic')";
    COLUMNS(TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLARRAYOID, BOOLARRAYOID) =
        "select e.name || '.' || e.col || ' ' || p.wrong
         from unnest($1, $2, $3, $4, $5) as e(name, col, type, required, made)
         left join pg_class c on c.relname = e.name and c.relkind = 'r'
           and c.relnamespace = (select oid from pg_namespace where nspname = 'mosaic')
         left join pg_attribute a on a.attrelid = c.oid and a.attname = e.col and a.attnum > 0
           and not a.attisdropped
         cross join lateral (select case
           when a.attnum is null then 'is missing'
           when a.atttypid is distinct from case when e.type like 'mosaic.%' then (
               select t.oid from pg_type t where t.typnamespace = c.relnamespace
                 and 'mosaic.' || t.typname = e.type)
               else to_regtype(e.type) end
             then 'has the type ' || format_type(a.atttypid, a.atttypmod)
           when e.required and not a.attnotnull then 'may be null'
           when e.made and a.attgenerated = '' then 'is not generated'
           when not e.made and a.attgenerated <> '' then 'is generated'
           end) as p(wrong)
         where p.wrong is not null order by 1";
    CONSTRAINTS(TEXTARRAYOID, TEXTARRAYOID) =
        "select 'constraint ' || e.con || ' of ' || e.name
           || case when k.oid is null then ' is missing' else ' is not valid' end
         from unnest($1, $2) as e(name, con)
         left join pg_class c on c.relname = e.name and c.relkind = 'r'
           and c.relnamespace = (select oid from pg_namespace where nspname = 'mosaic')
         left join pg_constraint k on k.conrelid = c.oid and k.conname = e.con
         where k.convalidated is not true order by 1";
    // A cache would let sessions hand out tokens out of order; a cycle, the same one twice.
    SEQUENCES(TEXTARRAYOID) =
        "select 'sequence ' || e.name || case when s.seqrelid is null then ' is missing' else ' was changed' end
         from unnest($1) e(name)
         left join pg_class c on c.relname = e.name and c.relkind = 'S'
           and c.relnamespace = (select oid from pg_namespace where nspname = 'mosaic')
         left join pg_sequence s on s.seqrelid = c.oid
         where (s.seqtypid = 'bigint'::regtype and s.seqincrement = 1 and s.seqcache = 1
           and not s.seqcycle) is not true
         order by 1";
    // What a crash would empty, and what does something else than it was told.
    STORAGE() =
        "select 'table ' || c.relname || ' is unlogged: a crash empties it' from pg_class c
         where c.relkind = 'r' and c.relpersistence <> 'p'
           and c.relnamespace = (select oid from pg_namespace where nspname = 'mosaic')
         union all
         select 'table ' || c.relname || ' has the rule ' || r.rulename
         from pg_rewrite r join pg_class c on c.oid = r.ev_class
         where c.relkind = 'r' and c.relnamespace = (select oid from pg_namespace where nspname = 'mosaic')
         order by 1";
    LABELS(TEXTOID) =
        "select coalesce(pg_catalog.array_agg(e.enumlabel::text order by e.enumsortorder), '{}')
         from pg_enum e join pg_type t on t.oid = e.enumtypid
         where t.typname = $1 and t.typnamespace = (select oid from pg_namespace where nspname = 'mosaic')";
    FUNCTIONS(TEXTARRAYOID, TEXTARRAYOID) =
        "select w from (
           select p.proname || ' ' || case
             when p.prolang <> (select oid from pg_language where lanname = 'c')
               then 'does not call the library'
             when p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0)
               then 'may be called by everybody'
             when t.runs_as_caller then null
             when not p.prosecdef then 'runs with the rights of its caller'
             when p.proconfig is distinct from array['search_path=pg_catalog, pg_temp']
               then 'has no pinned search_path'
             end as w
           from pg_proc p
           join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
           join pg_extension e on d.refclassid = 'pg_extension'::regclass and e.oid = d.refobjid
             and e.extname = 'mosaic_backlog_ext'
           cross join lateral (
             select p.prorettype = 'trigger'::regtype or p.proname in ('card_fits', 'card_has_words')) t(runs_as_caller)
           where p.pronamespace = (select oid from pg_namespace where nspname = 'mosaic')
           union all
           select e.name || ' ' || case when p.oid is null then 'is missing'
             else 'may not be called by ' || e.role end
           from unnest($1, $2) as e(name, role)
           left join pg_proc p on p.proname = e.name and p.pronamespace = (select oid from pg_namespace where nspname = 'mosaic')
           left join pg_roles r on r.rolname = e.role
           where p.oid is null or r.oid is null or not has_function_privilege(r.oid, p.oid, 'execute')
           union all
           select m.role || ' has not the rights of ' || m.of
           from (values ('mosaic_worker', 'mosaic_reader'), ('mosaic_operator', 'mosaic_worker')) m(role, of)
           join pg_roles r on r.rolname = m.role join pg_roles o on o.rolname = m.of
           where not pg_has_role(r.oid, o.oid, 'usage')
           union all
           select 'mosaic_reader may not use the schema mosaic'
           from pg_roles r join pg_namespace n on n.nspname = 'mosaic'
           where r.rolname = 'mosaic_reader' and not has_schema_privilege(r.oid, n.oid, 'usage')
         ) x where w is not null order by w";
    OWNED() =
        "select i.type || ' ' || i.identity || ' belongs to ' || quote_ident(r.rolname)
         from (
           select 'pg_namespace'::regclass as class, oid, nspowner as owner from pg_namespace
             where nspname = 'mosaic'
           union all
           select 'pg_class'::regclass, c.oid, c.relowner from pg_class c
             where c.relkind in ('r', 'S') and c.relnamespace = (select oid from pg_namespace where nspname = 'mosaic')
           union all
           select 'pg_proc'::regclass, p.oid, p.proowner from pg_proc p
             where p.pronamespace = (select oid from pg_namespace where nspname = 'mosaic')
           union all
           select 'pg_type'::regclass, t.oid, t.typowner from pg_type t where t.typtype = 'e'
         ) x
         join pg_depend d on d.classid = x.class and d.objid = x.oid and d.deptype = 'e'
         join pg_extension e on d.refclassid = 'pg_extension'::regclass and e.oid = d.refobjid
           and e.extname = 'mosaic_backlog_ext'
         join pg_roles r on r.oid = x.owner
         cross join lateral pg_identify_object(x.class, x.oid, 0) i
         where r.rolname <> 'mosaic_owner' order by 1";
    OWNER() =
        "select w from pg_roles r
         cross join lateral (values
           (case when r.rolsuper then 'mosaic_owner is a superuser' end),
           (case when r.rolcanlogin then 'mosaic_owner can log in' end),
           (case when r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls
             then 'mosaic_owner has rights on the whole server' end)) as v(w)
         where r.rolname = 'mosaic_owner' and w is not null
         union all
         select 'mosaic_owner has the rights of ' || quote_ident(g.rolname)
         from pg_auth_members m join pg_roles r on r.oid = m.member join pg_roles g on g.oid = m.roleid
         where r.rolname = 'mosaic_owner'
         union all
         select quote_ident(g.rolname) || ' has the rights of mosaic_owner'
         from pg_auth_members m join pg_roles r on r.oid = m.roleid join pg_roles g on g.oid = m.member
         where r.rolname = 'mosaic_owner' and pg_has_role(g.oid, r.oid, 'usage')";
    // Rights that the script does not give; which of ours another version gives is not known. Who may read tables by name may; that everybody may call a
    // function is found with it.
    GRANTED(TEXTARRAYOID, TEXTARRAYOID, BOOLOID) =
        "select x.what || ' is open to ' || g.who || ' (' || string_agg(lower(a.privilege_type), ', ' order by a.privilege_type) || ')'
         from (
           select 'schema mosaic' as what, 'mosaic' as name, nspowner as owner, nspacl as acl from pg_namespace
             where nspname = 'mosaic'
           union all
           select 'mosaic.' || c.relname, c.relname, c.relowner, t.acl from pg_class c
             cross join lateral (
               select c.relacl as acl union all select attacl from pg_attribute where attrelid = c.oid and attacl is not null) t
             where c.relnamespace = (select oid from pg_namespace where nspname = 'mosaic') and c.relkind in ('r', 'S')
           union all
           select 'function mosaic.' || proname, proname, proowner, proacl from pg_proc
             where pronamespace = (select oid from pg_namespace where nspname = 'mosaic')
         ) x
         cross join lateral aclexplode(x.acl) a
         cross join lateral (
           select case when a.grantee = 0 then 'everybody' else quote_ident(pg_get_userbyid(a.grantee)) end) g(who)
         where a.grantee <> x.owner and (a.grantee = 0 or a.privilege_type <> 'SELECT')
           and (x.what || ' ' || g.who || ' ' || a.privilege_type) <> 'schema mosaic mosaic_reader USAGE'
           and not (a.privilege_type = 'EXECUTE' and (a.grantee = 0 or exists (
             select from unnest($1, $2) e(name, role) where e.name = x.name and e.role = g.who)
             or $3 and g.who in ('mosaic_reader', 'mosaic_worker', 'mosaic_operator')))
         group by x.what, g.who
         order by 1";
}

/// A column as the script has it.
struct Column<'a> {
    table: &'a str,
    name: &'a str,
    kind: &'a str,
    required: bool,
    generated: bool,
}

/// What the script makes.
#[derive(Default)]
struct Script<'a> {
    tables: Vec<&'a str>,
    columns: Vec<Column<'a>>,
    constraints: Vec<(&'a str, &'a str)>,
    sequences: Vec<&'a str>,
    enums: Vec<(&'a str, Vec<&'a str>)>,
}

fn script() -> Script<'static> {
    let mut script = Script::default();
    let mut table = None;
    for line in SCRIPTS.iter().flat_map(|piece| piece.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["create", "table", name, ..] => {
                let name = name.trim_start_matches("mosaic.");
                table = Some(name);
                script.tables.push(name);
            }
            ["create", "sequence", name, ..] => {
                let name = name.trim_start_matches("mosaic.").trim_end_matches(';');
                script.sequences.push(name);
            }
            ["create", "type", name, "as", "enum", ..] => {
                let name = name.trim_start_matches("mosaic.");
                let labels = line.split('\'').skip(1).step_by(2).collect();
                script.enums.push((name, labels));
            }
            [");", ..] => table = None,
            ["constraint", name, ..] => {
                script.constraints.extend(table.map(|table| (table, *name)));
            }
            // A column stands at the margin of its table; what goes on further in belongs to the one before.
            [name, kind, rest @ ..]
                if line.starts_with("  ")
                    && !line.starts_with("   ")
                    && !name.starts_with("--")
                    && *name != "primary" =>
            {
                let says = |what: &[&str]| rest.windows(what.len()).any(|words| words == what);
                script.columns.extend(table.map(|table| Column {
                    table,
                    name,
                    kind: kind.trim_end_matches(','),
                    required: line.contains(" not null") || line.contains("primary key"),
                    generated: says(&["generated", "always"]),
                }));
            }
            _ => {}
        }
    }
    script
}

/// The functions that the script lets a role call.
fn callable() -> (Vec<&'static str>, Vec<&'static str>) {
    let mut functions = Vec::new();
    let mut roles = Vec::new();
    for statement in RIGHTS.split(';') {
        let Some((_, grant)) = statement.split_once("grant execute on function ") else {
            continue;
        };
        if let Some((names, role)) = grant.rsplit_once(" to ") {
            for name in names.split(',') {
                functions.push(name.trim().trim_start_matches("mosaic."));
                roles.push(role.trim());
            }
        }
    }
    (functions, roles)
}

/// Whether tables and sequences are there and can be read: else nothing can be said about what is in
/// them.
pub fn is_readable(session: &Session) -> bool {
    let script = script();
    let relations: Vec<&str> = [script.tables, script.sequences].concat();
    session.run(&READABLE, &[param(relations)]).must(0, 1)
}

/// The version of the objects, if it is not that of the library.
pub fn other_version(session: &Session) -> Option<String> {
    let answer = session.run(&VERSION, &[]);
    let version: String = if answer.is_empty() {
        String::new()
    } else {
        answer.must(0, 1)
    };
    (version != env!("CARGO_PKG_VERSION")).then_some(version)
}

pub fn of_another_version(name: &'static str, version: &str) -> Finding {
    Finding::not_ok(
        name,
        State::Unknown,
        format!(
            "The extension is of version {version}, and the library of {}, which does not know what is correct there.",
            env!("CARGO_PKG_VERSION")
        ),
        "Update the extension: `mosaic db migrate`.",
    )
}

fn all(
    session: &Session,
    statement: &'static std::thread::LocalKey<Statement>,
    parameters: &[Parameter],
) -> Vec<String> {
    session.run(statement, parameters).column(1)
}

/// The first of what is wrong, and how much it is.
fn listed(wrong: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = wrong[..wrong.len().min(SHOWN)].join("; ");
    if wrong.len() > SHOWN {
        text.push_str(&format!("; and {} more", wrong.len() - SHOWN));
    }
    text
}

/// Tables, columns, constraints, sequences and types are those of the script.
pub fn tables(session: &Session) -> Finding {
    const NAME: &str = TABLES;
    if let Some(version) = other_version(session) {
        return of_another_version(NAME, &version);
    }
    let script = script();
    let column = |of: fn(&Column<'static>) -> &'static str| {
        param(
            script
                .columns
                .iter()
                .map(|c| Some(of(c)))
                .collect::<Vec<_>>(),
        )
    };
    let flag = |of: fn(&Column<'static>) -> bool| {
        param(
            script
                .columns
                .iter()
                .map(|c| Some(of(c)))
                .collect::<Vec<_>>(),
        )
    };
    let mut wrong = all(
        session,
        &COLUMNS,
        &[
            column(|c| c.table),
            column(|c| c.name),
            column(|c| c.kind),
            flag(|c| c.required),
            flag(|c| c.generated),
        ],
    );
    let (tables, names): (Vec<_>, Vec<_>) = script.constraints.iter().copied().unzip();
    wrong.extend(all(session, &CONSTRAINTS, &[param(tables), param(names)]));
    wrong.extend(all(session, &SEQUENCES, &[param(script.sequences.clone())]));
    wrong.extend(all(session, &STORAGE, &[]));
    for (name, labels) in &script.enums {
        let there: Vec<String> = session.run(&LABELS, &[param(*name)]).must(0, 1);
        if there != *labels {
            wrong.push(format!("type {name} has the labels {}", there.join(", ")));
        }
    }
    if wrong.is_empty() {
        return Finding::ok(
            NAME,
            format!(
                "{} tables with {} columns are as they were made.",
                script.tables.len(),
                script.columns.len()
            ),
        );
    }
    Finding::not_ok(
        NAME,
        State::Error,
        format!("Changed by hand: {}.", listed(&wrong)),
        "Calls fail, or do the wrong thing. As a superuser, make it as in the extension's install script on the server.",
    )
}

/// Each function calls the library, as its owner, for those who may call it.
pub fn functions(session: &Session) -> Finding {
    const NAME: &str = "functions";
    if let Some(version) = other_version(session) {
        return of_another_version(NAME, &version);
    }
    let (functions, roles) = callable();
    let count = functions.len();
    let wrong = all(session, &FUNCTIONS, &[param(functions), param(roles)]);
    if wrong.is_empty() {
        return Finding::ok(
            NAME,
            format!(
                "{count} functions may be called by the roles that they are for, and by no other."
            ),
        );
    }
    Finding::not_ok(
        NAME,
        State::Error,
        format!("Changed by hand: {}.", listed(&wrong)),
        "Who calls them may get rights, or be refused. As a superuser, make them as in the extension's install \
         script on the server, which grants also mosaic_reader to mosaic_worker, mosaic_worker to mosaic_operator, and \
         usage on schema mosaic to mosaic_reader.",
    )
}

/// All belongs to a role without rights of its own, and nobody writes past the functions.
pub fn ownership(session: &Session) -> Finding {
    const NAME: &str = "ownership";
    let mut wrong = all(session, &OWNED, &[]);
    wrong.extend(all(session, &OWNER, &[]));
    if !wrong.is_empty() {
        return Finding::not_ok(
            NAME,
            State::Error,
            format!(
                "The functions run with rights that they should not have, or lack those that they need: {}.",
                listed(&wrong)
            ),
            "docs/operator.md has the statement that gives all back to mosaic_owner. That role cannot log in, \
             and has no other role.",
        );
    }
    let (functions, roles) = callable();
    let other = other_version(session).is_some();
    let granted = all(
        session,
        &GRANTED,
        &[param(functions), param(roles), param(other)],
    );
    if !granted.is_empty() {
        return Finding::not_ok(
            NAME,
            State::Warning,
            format!(
                "Roles may write past the functions, or call functions that are not for them: {}.",
                listed(&granted)
            ),
            "As a superuser, `revoke` it, and grant mosaic_reader, mosaic_worker or mosaic_operator. If default \
             privileges gave it, they give nothing since 0.2.0: update the extension.",
        );
    }
    Finding::ok(
        NAME,
        "All belongs to mosaic_owner, which has no rights but these, and only functions write.",
    )
}
