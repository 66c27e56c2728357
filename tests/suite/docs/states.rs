//! The SQL reference's table of states says what each call does to a card.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;

use super::page::plain;
use super::reference::PAGE;
use super::{Faults, page};

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
        "unblock" if how.contains("answer") => {
            "select from mosaic.backlog_unblock('X', answer => 'so')".into()
        }
        "note" => format!("select from mosaic.backlog_note('X', 'so', {token})"),
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

/// A card X in the state, that depends on "linked", which is done unless X is gated; gives its last token.
fn prepare(session: &mut Session, state: &str) -> i64 {
    session.create("new");
    session.complete("new");
    session.create("linked");
    session.complete("linked");
    session.create_after("X", &["linked"]);
    let token = session.claim("X", "w");
    let query = match state {
        "gated" => format!(
            "select from mosaic.backlog_release('X', {token}); select from mosaic.backlog_reopen('linked', 'why')"
        ),
        "deferred" => format!("select from mosaic.backlog_release('X', {token}, '1 hour')"),
        "lease ended" => "set local mosaic.clock = '2100-01-01'".into(),
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
            let events = session.events();
            let card = session.card("X");
            let call = call_of(&plain(&row[0])).replace(LAST_TOKEN, &token.to_string());
            session.run("savepoint before");
            let real = match session.attempt_run(&call) {
                Err(refused) => {
                    session.run("rollback to before");
                    refused.code
                }
                Ok(()) if session.events() == events && session.card("X") == card => "=".into(),
                Ok(()) if session.events() == events => "another card without an event".into(),
                Ok(()) => session.status("X"),
            };
            faults.expect(&format!("{call} of a {state} card"), plain(cell), real);
            session.run("rollback");
        }
    }
    faults.none();
}

#[test]
fn no_call_knows_a_card_that_does_not_exist() {
    let database = Database::fresh();
    let mut session = database.session();
    session.create("new");
    session.create("linked");
    let page = page(PAGE);
    let table = page.section("What each call does to a card").table("Call");
    let calls: Vec<String> = table.rows.iter().map(|row| plain(&row[0])).collect();
    let by_id = calls.iter().filter(|call| *call != "reclaim, all");
    for call in by_id.map(|call| call_of(call).replace(LAST_TOKEN, "1")) {
        assert_eq!(session.code(&call), "not_found", "{call}");
    }
    for call in ["get", "why"] {
        let call = format!("select from mosaic.backlog_{call}('X')");
        assert_eq!(session.code(&call), "not_found", "{call}");
    }
    assert_eq!(session.events(), 2);
}

#[test]
fn the_table_of_states_names_every_function_that_changes_a_card() {
    let functions = Database::fresh().session().column(
        "select substr(proname, 9) from pg_proc where pronamespace = 'mosaic'::regnamespace
           and proname like 'backlog\\_%' and prorettype not in ('event_trigger'::regtype, 'trigger'::regtype)
           and proname not in ('backlog_create', 'backlog_create_many', 'backlog_get', 'backlog_list',
             'backlog_stats', 'backlog_why', 'backlog_doctor', 'backlog_events', 'backlog_export', 'backlog_import',
             'backlog_token', 'backlog_failing_workers', 'backlog_frontier', 'backlog_resume_after_restore')",
    );
    assert!(functions.len() >= 14);
    let page = page(PAGE);
    let table = page.section("What each call does to a card").table("Call");
    for function in functions {
        let name = function.as_str().expect("a name");
        let named = |row: &Vec<String>| plain(&row[0]).split(", ").next() == Some(name);
        assert!(table.rows.iter().any(named), "{name} is in no row");
    }
}
