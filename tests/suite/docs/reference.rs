//! The SQL reference says what the catalogue says, and what the functions do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use mosaic_backlog_tests::cards::quote;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::programs;
use mosaic_backlog_tests::session::Session;
use serde_json::Value;

use super::page::{Page, Section, plain, quoted};
use super::{Faults, page};

const PAGE: &str = "docs/sql-reference.md";

/// Name and type of a column or argument.
type Column = (String, String);

fn text(value: &Value) -> String {
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
         where pronamespace = 'mosaic'::regnamespace and prorettype not in ('event_trigger'::regtype, 'trigger'::regtype)
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
    for (at, row) in section.table("Argument").rows.iter().enumerate() {
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

/// A call that provokes each error. (For `busy` it takes open transactions, and patience.)
const REFUSALS: [(&str, &str); 11] = [
    ("invalid_argument", "select from mosaic.backlog_create('')"),
    ("not_found", "select from mosaic.backlog_get('none')"),
    ("claim_lost", "select mosaic.backlog_renew('open', 99)"),
    (
        "key_conflict",
        "select from mosaic.backlog_create('x', idempotency_key => 'key')",
    ),
    (
        "id_conflict",
        "select from mosaic.backlog_create('x', id => 'open')",
    ),
    (
        "cycle",
        "select from mosaic.backlog_link('open', '{gated}')",
    ),
    (
        "open_dependencies",
        "select from mosaic.backlog_claim('w', id => 'gated')",
    ),
    (
        "bad_transition",
        "select from mosaic.backlog_block('done', 'why')",
    ),
    (
        "already_claimed",
        "select from mosaic.backlog_claim('w', id => 'held')",
    ),
    ("isolation", "select from mosaic.backlog_create('x')"),
    (
        "unauthorized",
        "select from mosaic.backlog_complete('open', force => true)",
    ),
];

#[test]
fn the_errors_are_those_that_are_raised() {
    let database = Database::fresh();
    let mut session = database.session();
    session.create("open");
    session.create_after("gated", &["open"]);
    session.create("done");
    session.complete("done");
    session.create("held");
    session.claim("held", "w");
    session.run("select from mosaic.backlog_create('k', idempotency_key => 'key')");
    let documented: BTreeMap<String, String> = page(PAGE)
        .section("Errors")
        .table("Code")
        .rows
        .iter()
        .map(|row| (plain(&row[0]), row[1].clone()))
        .collect();
    for (code, query) in REFUSALS {
        let mut session = match code {
            "unauthorized" => database.session_as("worker"),
            _ => database.session(),
        };
        if code == "isolation" {
            session.run("set default_transaction_isolation = 'repeatable read'");
        }
        let refused = session.refusal(query);
        assert_eq!(refused.code, code, "{query}: {refused:?}");
        assert_eq!(documented.get(code), Some(&refused.sqlstate), "{code}");
    }

    let source = programs::sources().join("mosaic_backlog_ext/src/refusal.rs");
    let source = fs::read_to_string(source).expect("the source of the errors");
    let real: BTreeSet<&str> = source
        .split("fn name(")
        .nth(1)
        .and_then(|rest| rest.split("fn sqlstate(").next())
        .expect("the names of the codes")
        .split('"')
        .skip(1)
        .step_by(2)
        .collect();
    assert_eq!(
        documented
            .keys()
            .map(String::as_str)
            .collect::<BTreeSet<_>>(),
        real
    );
}

const LAST_TOKEN: &str = "$token";
const OTHER_TOKEN: &str = "999999";

/// The call of a row of the table of states.
fn call_of(row: &str) -> String {
    let (verb, how) = row.split_once(", ").unwrap_or((row, ""));
    let force = if how.contains("force") {
        ", force => true"
    } else {
        ""
    };
    let token = match how {
        how if how.contains("its token") => LAST_TOKEN,
        how if how.contains("another token") => OTHER_TOKEN,
        _ => "null",
    };
    let other = if how.contains("exists") {
        "linked"
    } else {
        "new"
    };
    match verb {
        "claim" => "select from mosaic.backlog_claim('w2', id => 'X')".into(),
        "renew" => format!("select mosaic.backlog_renew('X', {token})"),
        "release" => format!("select from mosaic.backlog_release('X', {token})"),
        "fail" => format!("select from mosaic.backlog_fail('X', {token}, 'why')"),
        "assert_held" => format!("select mosaic.backlog_assert_held('X', {token})"),
        "complete" => format!("select from mosaic.backlog_complete('X', {token}{force})"),
        "block" if how.contains("same") => "select from mosaic.backlog_block('X', 'why')".into(),
        "block" => {
            format!("select from mosaic.backlog_block('X', 'other', claim_token => {token})")
        }
        "unblock" => "select from mosaic.backlog_unblock('X')".into(),
        "cancel" => format!("select from mosaic.backlog_cancel('X', 'why'{force})"),
        "reopen" => "select from mosaic.backlog_reopen('X', 'why')".into(),
        "update" if how.contains("same") => {
            "select from mosaic.backlog_update('X', title => 'X')".into()
        }
        "update" => "select from mosaic.backlog_update('X', title => 'another')".into(),
        "link" => format!("select from mosaic.backlog_link('X', '{{{other}}}')"),
        "unlink" if how.contains("not exist") => {
            "select from mosaic.backlog_unlink('X', '{new}')".into()
        }
        "unlink" => "select from mosaic.backlog_unlink('X', '{linked}')".into(),
        "reclaim" if how.contains("by id") => {
            format!("select from mosaic.backlog_reclaim('X'{force})")
        }
        "reclaim" => "select from mosaic.backlog_reclaim()".into(),
        other => panic!("the table of states names {other}"),
    }
}

/// A card X in the state, that depends on a card that is done; gives its last token.
fn prepare(session: &mut Session, state: &str) -> i64 {
    session.create("new");
    session.complete("new");
    session.create("linked");
    session.complete("linked");
    session.create_after("X", &["linked"]);
    let token = session.claim("X", "w");
    let query = match state {
        "ready" => format!("select from mosaic.backlog_release('X', {token})"),
        "claimed" => return token,
        "blocked" => {
            format!("select from mosaic.backlog_block('X', 'why', claim_token => {token})")
        }
        "done" => format!("select from mosaic.backlog_complete('X', {token})"),
        "cancelled" => "select from mosaic.backlog_cancel('X', 'why', force => true)".into(),
        other => panic!("the table of states names {other}"),
    };
    session.run(&query);
    token
}

#[test]
fn the_table_of_states_says_what_the_calls_do() {
    let database = Database::fresh();
    let mut session = database.session();
    let page = page(PAGE);
    let table = page.section("What each call does to a card").table("Call");
    let mut faults = Faults::default();
    for row in &table.rows {
        for (state, cell) in table.head.iter().zip(row).skip(1) {
            session.run("begin");
            let token = prepare(&mut session, state);
            if row[0].contains("lease ended") {
                session.run("set local mosaic.clock = '2100-01-01'");
            }
            let events = session.events();
            let call = call_of(&plain(&row[0])).replace(LAST_TOKEN, &token.to_string());
            session.run("savepoint before");
            let real = match session.attempt_run(&call) {
                Err(refused) => {
                    session.run("rollback to before");
                    refused.code
                }
                Ok(()) if session.events() == events => "=".to_owned(),
                Ok(()) => session.status("X"),
            };
            faults.expect(&format!("{call} of a {state} card"), plain(cell), real);
            session.run("rollback");
        }
    }
    faults.none();
}

/// Leads cards through every kind of change.
const LIFE: &str = r#"
    select from mosaic.backlog_create('t', id => 'a');
    select from mosaic.backlog_create('t', id => 'b', depends_on => '{a}');
    select from mosaic.backlog_create('t', id => 'c', max_attempts => 1);
    select from mosaic.backlog_link('b', '{c}');
    select from mosaic.backlog_unlink('b', '{c}');
    select from mosaic.backlog_update('a', title => 'other');
    select from mosaic.backlog_claim('w', id => 'a');
    select mosaic.backlog_renew('a', 1);
    select from mosaic.backlog_release('a', 1);
    select from mosaic.backlog_claim('w', id => 'a');
    select from mosaic.backlog_fail('a', 2, 'why', retry_in => '0');
    select from mosaic.backlog_claim('w', id => 'a');
    select from mosaic.backlog_reclaim('a', force => true);
    select from mosaic.backlog_claim('w', '1 s', id => 'a');
    set mosaic.clock = '2100-01-01';
    select from mosaic.backlog_reclaim();
    select from mosaic.backlog_claim('w', id => 'c');
    select from mosaic.backlog_fail('c', 5, 'why');
    select from mosaic.backlog_unblock('c');
    select from mosaic.backlog_claim('w', id => 'c');
    select from mosaic.backlog_reclaim('c', force => true);
    select from mosaic.backlog_unblock('c');
    select from mosaic.backlog_claim('w', '1 s', id => 'c');
    set mosaic.clock = '2101-01-01';
    select from mosaic.backlog_reclaim();
    select from mosaic.backlog_unblock('c');
    select from mosaic.backlog_claim('w', id => 'a');
    select from mosaic.backlog_block('a', 'why', claim_token => 8);
    select from mosaic.backlog_block('a', 'other');
    select from mosaic.backlog_unblock('a');
    select from mosaic.backlog_block('a', 'why');
    select from mosaic.backlog_complete('a', force => true);
    select from mosaic.backlog_reopen('a', 'why');
    select from mosaic.backlog_cancel('a', 'why', cascade => true);
    select from mosaic.backlog_reopen('a', 'why');
    select from mosaic.backlog_update('a', max_attempts => 2);
    select from mosaic.backlog_claim('w', id => 'a');
    select from mosaic.backlog_fail('a', 9, 'why', retry_in => '0');
    select from mosaic.backlog_update('a', max_attempts => 1);
    select from mosaic.backlog_create('t', id => 'd');
    select from mosaic.backlog_claim('w', id => 'd');
    select from mosaic.backlog_fail('d', 10, 'why', retry_in => '0');
    select from mosaic.backlog_claim('w', id => 'd');
    select from mosaic.backlog_update('d', max_attempts => 1);
    select from mosaic.backlog_release('d', 11);
    select from mosaic.backlog_import('[
      {"type": "header", "format": "mosaic-backlog", "format_version": 1, "extension_version": "",
       "exported_at": "", "cards": 2, "dependencies": null, "events": null, "last_claim_token": 20},
      {"type": "card", "id": "e", "title": "t", "priority": 0, "status": "ready", "attempts": 0,
       "created_at": "2025-01-31T09:00:00Z", "updated_at": "2025-01-31T09:00:00Z",
       "claimable_since": "2025-01-31T09:00:00Z"},
      {"type": "card", "id": "f", "title": "t", "priority": 0, "status": "claimed", "attempts": 1,
       "claim_owner": "w", "claim_token": 20, "claim_ttl_seconds": 60,
       "claimed_at": "2025-01-31T09:00:00Z", "claim_expires_at": "2025-01-31T09:01:00Z",
       "created_at": "2025-01-31T09:00:00Z", "updated_at": "2025-01-31T09:00:00Z",
       "claimable_since": "2025-01-31T09:00:00Z"},
      {"type": "end", "cards": 2, "dependencies": null, "events": null}]');
"#;

const STATES: [&str; 5] = ["ready", "claimed", "blocked", "done", "cancelled"];

/// The states that a cell of the history's table stands for.
fn states_of(cell: &str) -> Vec<&str> {
    match cell {
        "–" => vec![""],
        "any but claimed" => STATES.into_iter().filter(|s| *s != "claimed").collect(),
        "any" => STATES.to_vec(),
        "any open" => STATES[..3].to_vec(),
        names => names.split(", ").collect(),
    }
}

#[test]
fn the_history_holds_what_the_page_says() {
    let database = Database::fresh();
    let mut session = database.session();
    // One transaction a statement, as clients do it.
    for statement in LIFE.split(';').filter(|s| !s.trim().is_empty()) {
        session.run(statement);
    }
    let page = page(PAGE);
    let section = page.section("History");
    let rows = &section.table("kind").rows;
    let mut seen = BTreeSet::new();
    let mut faults = Faults::default();
    let events = session.rows(
        "select kind, coalesce(old_status::text, '') as old, new_status::text as new,
           array(select jsonb_object_keys(detail)) as keys
         from mosaic.backlog_event order by event_id",
    );
    for event in events {
        let (kind, old, new) = (
            text(&event["kind"]),
            text(&event["old"]),
            text(&event["new"]),
        );
        let found = rows.iter().position(|row| {
            plain(&row[0]) == kind
                && states_of(&row[1]).contains(&old.as_str())
                && match row[2].as_str() {
                    "the same" => old == new,
                    states => states_of(states).contains(&new.as_str()),
                }
        });
        let Some(found) = found else {
            faults.add(format!("{kind} from {old} to {new} is not documented"));
            continue;
        };
        seen.insert(found);
        if kind == "updated" {
            continue;
        }
        let real: BTreeSet<String> = event["keys"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect();
        let documented = quoted(&rows[found][3]).into_iter().collect();
        faults.expect(&format!("detail of {kind} to {new}"), documented, real);
    }
    for (at, row) in rows.iter().enumerate() {
        if !seen.contains(&at) {
            faults.add(format!(
                "{} from {} to {} does not occur",
                row[0], row[1], row[2]
            ));
        }
    }
    faults.none();
}

#[test]
fn the_reasons_of_why_are_those_that_it_gives() {
    let database = Database::fresh();
    let mut session = database.session();
    for id in ["held", "deferred", "blocked", "done", "cancelled"] {
        session.create(id);
    }
    session.claim("held", "w");
    session.run("select from mosaic.backlog_create('t', id => 'quarantined', max_attempts => 1)");
    let token = session.claim("quarantined", "w");
    session.run(&format!(
        "select from mosaic.backlog_fail('quarantined', {token}, 'why');
         select from mosaic.backlog_update('deferred', not_before => '2100-01-01');
         select from mosaic.backlog_block('blocked', 'why');
         select from mosaic.backlog_complete('done');
         select from mosaic.backlog_cancel('cancelled', 'why')"
    ));
    session.create_after("gated", &["held", "cancelled"]);
    let real: BTreeSet<String> = session
        .column(
            "select distinct w.kind from mosaic.backlog_list() c
             cross join lateral mosaic.backlog_why(c.id) w",
        )
        .iter()
        .map(text)
        .collect();
    let page: Page = page(PAGE);
    let documented: BTreeSet<String> = page
        .section("backlog_why")
        .table("kind")
        .column(0)
        .into_iter()
        .map(plain)
        .collect();
    assert_eq!(documented, real);
}

/// What fits and what does not, for each row of the table of limits.
const LIMITS: [(&str, &str, &str); 12] = [
    (
        "id",
        "select from mosaic.backlog_create('t', id => repeat('x', 200))",
        "select from mosaic.backlog_create('t', id => repeat('x', 201))",
    ),
    (
        "title",
        "select from mosaic.backlog_create(repeat('ä', 1000))",
        "select from mosaic.backlog_create(repeat('ä', 1001))",
    ),
    (
        "phase, worker, owner, actor, idempotency key",
        "select from mosaic.backlog_claim(repeat('x', 200))",
        "select from mosaic.backlog_claim(repeat('x', 201))",
    ),
    (
        "reason",
        "select from mosaic.backlog_block('card', repeat('x', 10000))",
        "select from mosaic.backlog_block('card', repeat('x', 10001))",
    ),
    (
        "body, acceptance, result",
        "select from mosaic.backlog_create('t', body => repeat('x', 1048576))",
        "select from mosaic.backlog_create('t', body => repeat('x', 1048577))",
    ),
    (
        "labels, requires, offers",
        "select from mosaic.backlog_create('t', labels => array(select repeat('x', 97) || n from generate_series(100, 163) n))",
        "select from mosaic.backlog_create('t', labels => array(select n::text from generate_series(1, 65) n))",
    ),
    (
        "priority",
        "select from mosaic.backlog_create('t', priority => -1000000)",
        "select from mosaic.backlog_create('t', priority => 1000001)",
    ),
    (
        "max_attempts",
        "select from mosaic.backlog_create('t', max_attempts => 1)",
        "select from mosaic.backlog_create('t', max_attempts => 0)",
    ),
    (
        "ttl",
        "select from mosaic.backlog_claim('w', '30 days')",
        "select from mosaic.backlog_claim('w', '30 days 1 second')",
    ),
    (
        "retry_in, grace",
        "select from mosaic.backlog_reclaim(grace => '30 days')",
        "select from mosaic.backlog_reclaim(grace => '-1 second')",
    ),
    (
        "max_cards, max_events",
        "select from mosaic.backlog_events(max_events => 10000)",
        "select from mosaic.backlog_list(max_cards => 10001)",
    ),
    (
        "not_before",
        "select from mosaic.backlog_create('t', not_before => '9999-12-31 23:59:59Z')",
        "select from mosaic.backlog_create('t', not_before => '10000-01-01 00:00:00Z')",
    ),
];

/// Tested with the batches, which are large.
const LIMIT_OF_BATCHES: &str = "cards in one `create_many`, ids in one `depends_on`";

#[test]
fn the_limits_hold() {
    let database = Database::fresh();
    let mut session = database.session();
    session.create("card");
    let page = page(PAGE);
    let documented: BTreeSet<&str> = page
        .section("Limits")
        .table("What")
        .column(0)
        .into_iter()
        .collect();
    let tested = LIMITS.iter().map(|(what, ..)| *what);
    assert_eq!(documented, tested.chain([LIMIT_OF_BATCHES]).collect());
    for (what, fits, too_much) in LIMITS {
        session.run(&format!("begin; {fits}; rollback"));
        assert_eq!(session.code(too_much), "invalid_argument", "{what}");
    }
    let too_many = "select from mosaic.backlog_create_many(
        (select jsonb_agg(jsonb_build_object('title', 't')) from generate_series(1, 100001)))";
    assert_eq!(session.code(too_many), "invalid_argument");
}
