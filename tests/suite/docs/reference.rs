//! The SQL reference says what the catalogue says.

use std::collections::{BTreeMap, BTreeSet};

use mosaic_backlog_tests::cards::quote;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use serde_json::Value;

use super::page::{Section, plain, quoted};
use super::{Faults, page};

pub const PAGE: &str = "docs/sql-reference.md";

/// Name and type of a column or argument.
type Column = (String, String);

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The name of a type as the catalogue writes it.
#[track_caller]
fn canonical(session: &mut Session, name: &str) -> String {
    session.text(&format!(
        "select pg_catalog.format_type(pg_catalog.to_regtype({}), null)",
        quote(name)
    ))
}

/// The columns of the tables of a section.
#[track_caller]
fn columns(session: &mut Session, section: &Section) -> Vec<Column> {
    section
        .tables("Column")
        .flat_map(|table| &table.rows)
        .map(|row| (plain(&row[0]), canonical(session, &plain(&row[1]))))
        .collect()
}

/// Arguments (`i`) or result columns (`t`) of a function.
fn catalogued(session: &mut Session, function: &str, mode: &str) -> Vec<Column> {
    session
        .rows(&format!(
            "select a.name, pg_catalog.format_type(a.type, null) as type
             from pg_catalog.pg_proc p
             cross join lateral unnest(
               p.proargnames,
               coalesce(p.proallargtypes, p.proargtypes::oid[]),
               coalesce(p.proargmodes, pg_catalog.array_fill('i'::\"char\", array[p.pronargs::int]))
             ) with ordinality a(name, type, mode, at)
             where p.oid = 'mosaic.{function}'::regproc and a.mode = '{mode}' order by a.at"
        ))
        .iter()
        .map(|row| (text(&row["name"]), text(&row["type"])))
        .collect()
}

/// The functions that clients call.
fn functions(session: &mut Session) -> Vec<String> {
    let names = session.column(
        "select proname from pg_catalog.pg_proc
         where pronamespace = 'mosaic'::regnamespace and proname like 'backlog\\_%' and prorettype not in ('event_trigger'::regtype, 'trigger'::regtype)
         order by proname",
    );
    names.iter().map(text).collect()
}

#[test]
fn every_function_is_described_and_no_other() {
    let database = Database::fresh();
    let mut session = database.session();
    let page = page(PAGE);
    let mut documented: Vec<String> = page
        .sections()
        .iter()
        .map(|section| section.heading.clone())
        .filter(|heading| heading.starts_with("backlog_"))
        .collect();
    documented.sort();
    assert_eq!(documented, functions(&mut session));
}

#[test]
fn arguments_and_results_are_those_of_the_functions() {
    let database = Database::fresh();
    let mut session = database.session();
    let page = page(PAGE);
    let card = columns(&mut session, page.section("The card"));
    let mut faults = Faults::default();
    for function in functions(&mut session) {
        let section = page.section(&function);
        arguments(&mut session, section, &mut faults);

        let result = section.labelled("Result").unwrap_or_default();
        let mut documented = Vec::new();
        if result.contains("a card") {
            documented.extend(card.clone());
        }
        documented.extend(columns(&mut session, section));
        let real = catalogued(&mut session, &function, "t");
        if documented.is_empty() {
            let real = session.text(&format!(
                "select pg_catalog.format_type(prorettype, null) from pg_catalog.pg_proc
                 where oid = 'mosaic.{function}'::regproc"
            ));
            let name = quoted(&result).first().cloned().unwrap_or_default();
            let documented = canonical(&mut session, &name);
            faults.expect(&format!("the result of {function}"), documented, real);
        } else {
            faults.expect(&format!("the columns of {function}"), documented, real);
        }
    }
    faults.none();
}

fn arguments(session: &mut Session, section: &Section, faults: &mut Faults) {
    let function = &section.heading;
    let mut documented = Vec::new();
    let rows = section.tables("Argument").flat_map(|table| &table.rows);
    for (at, row) in rows.enumerate() {
        let (name, kind, default) = (plain(&row[0]), plain(&row[1]), plain(&row[2]));
        let real = session.value(&format!(
            "select pg_catalog.pg_get_function_arg_default('mosaic.{function}'::regproc, {})",
            at + 1
        ));
        let same = match (default.as_str(), real.as_str()) {
            ("required", None) => true,
            ("required", Some(_)) | (_, None) => false,
            (default, Some(real)) => session.truth(&format!(
                "select ({default})::{kind} is not distinct from ({real})::{kind}"
            )),
        };
        if !same {
            faults.add(format!(
                "{function}: the default of {name} is {real}, documented is {default}"
            ));
        }
        documented.push((name, canonical(session, &kind)));
    }
    let real = catalogued(session, function, "i");
    faults.expect(&format!("the arguments of {function}"), documented, real);
}

/// The role with the fewest rights that may call the function.
fn role_of(session: &mut Session, function: &str) -> String {
    ["mosaic_reader", "mosaic_worker", "mosaic_operator"]
        .into_iter()
        .find(|role| {
            session.truth(&format!(
                "select pg_catalog.has_function_privilege('{role}', 'mosaic.{function}'::regproc, 'execute')"
            ))
        })
        .unwrap_or("nobody")
        .to_owned()
}

#[test]
fn roles_and_errors_are_those_of_the_functions() {
    let database = Database::fresh();
    let mut session = database.session();
    let page = page(PAGE);
    let mut faults = Faults::default();
    let mut by_role: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for function in functions(&mut session) {
        let section = page.section(&function);
        let role = role_of(&mut session, &function);
        let named = section.labelled("Role").map(|role| plain(&role));
        faults.expect(
            &format!("the role of {function}"),
            named,
            Some(role.clone()),
        );
        let short = function.trim_start_matches("backlog_").to_owned();
        by_role.entry(role).or_default().insert(short);

        // The comment on the function names its errors, too.
        let comment = session.text(&format!(
            "select pg_catalog.obj_description('mosaic.{function}'::regproc, 'pg_proc')"
        ));
        let (_, real) = comment.split_once("Errors: ").unwrap_or(("", ""));
        let real: BTreeSet<String> = real
            .trim_end_matches('.')
            .split(", ")
            .filter(|code| !code.is_empty())
            .map(str::to_owned)
            .collect();
        let documented = section.labelled("Errors").unwrap_or_default();
        let documented = quoted(&documented).into_iter().collect();
        faults.expect(&format!("the errors of {function}"), documented, real);
    }
    for row in &page.section("Roles").table("Role").rows {
        let role = plain(&row[0]);
        if let Some(functions) = by_role.remove(&role) {
            let known: BTreeSet<String> = quoted(&row[1])
                .into_iter()
                .filter(|word| word != "force" && !word.starts_with("mosaic."))
                .collect();
            faults.expect(&format!("what {role} may"), known, functions);
        }
    }
    faults.expect("roles that are left out", 0, by_role.len());
    faults.none();
}

#[test]
fn tables_columns_and_sequences_are_those_of_the_schema() {
    let database = Database::fresh();
    let mut session = database.session();
    let page = page(PAGE);
    let mut faults = Faults::default();
    let card: Vec<Column> = columns(&mut session, page.section("The card"))
        .into_iter()
        .filter(|(name, _)| name != "depends_on")
        .collect();
    let relations = |session: &mut Session, kind: &str| -> BTreeSet<String> {
        let names = session.column(&format!(
            "select 'mosaic.' || relname from pg_catalog.pg_class
             where relnamespace = 'mosaic'::regnamespace and relkind = '{kind}'"
        ));
        names.iter().map(text).collect()
    };
    let mut described = BTreeSet::new();
    for section in page.sections() {
        let Some(table) = section.heading.strip_prefix("Table ") else {
            continue;
        };
        described.insert(table.to_owned());
        let mut documented = if table == "mosaic.backlog" {
            card.clone()
        } else {
            Vec::new()
        };
        documented.extend(columns(&mut session, section));
        let real: Vec<Column> = session
            .rows(&format!(
                "select attname as name, pg_catalog.format_type(atttypid, null) as type
                 from pg_catalog.pg_attribute
                 where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped
                 order by attnum"
            ))
            .iter()
            .map(|row| (text(&row["name"]), text(&row["type"])))
            .collect();
        faults.expect(&format!("the columns of {table}"), documented, real);
    }
    let real = relations(&mut session, "r");
    faults.expect("the tables", described, real);
    let documented: BTreeSet<String> = quoted(&page.section("Sequences").prose)
        .into_iter()
        .collect();
    let real = relations(&mut session, "S");
    faults.expect("the sequences", documented, real);
    faults.none();
}

#[test]
fn settings_are_those_of_the_extension() {
    let database = Database::fresh();
    let mut session = database.session();
    let documented: BTreeSet<Vec<String>> = page(PAGE)
        .section("Settings")
        .table("Setting")
        .rows
        .iter()
        .map(|row| row[..4].iter().map(|cell| plain(cell)).collect())
        .collect();
    // The library has to be loaded for its settings to be known.
    session.run("select from mosaic.backlog_stats()");
    let real: BTreeSet<Vec<String>> = session
        .rows(
            "select name, coalesce(boot_val, '') as default, case
               when vartype = 'bool' then 'on, off'
               when vartype = 'string' then 'a time'
               else coalesce(array_to_string(enumvals, ', '), min_val || ' to ' || max_val) end as range,
             case
               when context = 'superuser' and pg_catalog.has_parameter_privilege('mosaic_operator', name, 'set')
                 then 'mosaic_operator'
               else context end as who
             from pg_catalog.pg_settings where name like 'mosaic.%'",
        )
        .iter()
        .map(|row| ["name", "default", "range", "who"].map(|key| text(&row[key])).into())
        .collect();
    assert_eq!(documented, real);
}

#[test]
fn the_keys_of_a_batch_are_those_that_are_taken() {
    let database = Database::fresh();
    let mut session = database.session();
    let refused =
        session.refusal("select * from mosaic.backlog_create_many('[{\"no such key\": 1}]')");
    // unknown field `no such key`, expected one of `title`, …
    let (_, real) = refused
        .message
        .split_once("expected one of ")
        .unwrap_or_else(|| panic!("{refused:?}"));
    let documented: BTreeSet<String> = page(PAGE)
        .section("backlog_create_many")
        .table("Key")
        .column(0)
        .into_iter()
        .map(plain)
        .collect();
    assert_eq!(documented, quoted(real).into_iter().collect());
}
