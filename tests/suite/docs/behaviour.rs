//! The SQL reference says which errors are raised, what the history holds, what `why` says and
//! which limits hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::programs;

use super::page::{Page, plain, quoted};
use super::reference::{PAGE, text};
use super::{Faults, page};

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

    let source = programs::sources().join("mosaic_backlog_ext/src/postgres/code.rs");
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
    select from mosaic.backlog_note('a', 'so');
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
    select mosaic.backlog_token('d');
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
    select from mosaic.backlog_resume_after_restore()
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
        "select kind, coalesce(old_status::text, '') as old, coalesce(new_status::text, '') as new,
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
            "select distinct w.kind from mosaic.backlog_list('{ready,claimed,blocked,done,cancelled}') c
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
const LIMITS: [(&str, &str, &str); 14] = [
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
        "note, answer",
        "select from mosaic.backlog_note('card', repeat('ä', 8192))",
        "select from mosaic.backlog_unblock('card', answer => repeat('x', 16385))",
    ),
    (
        "search",
        "select from mosaic.backlog_list(search => repeat('x ', 20))",
        "select from mosaic.backlog_list(search => repeat('x ', 21))",
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
const LIMITS_OF_BATCHES: [&str; 2] = [
    "cards in one `create_many`, ids in one `depends_on`, dependencies of one card",
    "cards of one `create_many`, lines of one `import`",
];

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
    assert_eq!(documented, tested.chain(LIMITS_OF_BATCHES).collect());
    for (what, fits, too_much) in LIMITS {
        session.run(&format!("begin; {fits}; rollback"));
        assert_eq!(session.code(too_much), "invalid_argument", "{what}");
    }
    let too_long = "(select jsonb_build_array(jsonb_agg(1e131071)) from generate_series(1, 2100))";
    for call in ["create_many", "import"] {
        let call = format!("select from mosaic.backlog_{call}({too_long})");
        assert_eq!(session.code(&call), "invalid_argument");
    }
    let too_many = "select from mosaic.backlog_create_many(
        (select jsonb_agg(jsonb_build_object('title', 't')) from generate_series(1, 100001)))";
    assert_eq!(session.code(too_many), "invalid_argument");
}
