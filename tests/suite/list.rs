//! Listing cards: filters, order, pages.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use serde_json::{Value, json};

fn ids(s: &mut Session, arguments: &str) -> Vec<String> {
    s.column(&format!("select id from mosaic.backlog_list({arguments})"))
        .into_iter()
        .map(|id| id.as_str().expect("an id").to_owned())
        .collect()
}

const EVERY_STATUS: &str = "statuses => '{ready,claimed,blocked,done,cancelled}'";

/// One card of each state, and some variety.
fn some_of_everything(s: &mut Session) {
    s.run(
        "select from mosaic.backlog_create('t', id => 'low', priority => -1, phase => 'p1', labels => '{x}');
         select from mosaic.backlog_create('t', id => 'high', priority => 9, phase => 'p1', labels => '{x,y}');
         select from mosaic.backlog_create('t', id => 'gated', depends_on => '{low}', phase => 'p2');
         select from mosaic.backlog_create('t', id => 'deferred', not_before => now() + interval '1 day');
         select from mosaic.backlog_create('t', id => 'held', priority => 5);
         select from mosaic.backlog_create('t', id => 'blocked');
         select from mosaic.backlog_create('t', id => 'done');
         select from mosaic.backlog_create('t', id => 'cancelled');
         select from mosaic.backlog_claim('w1', id => 'held');
         select from mosaic.backlog_block('blocked', 'why');
         select from mosaic.backlog_complete('done');
         select from mosaic.backlog_cancel('cancelled', 'why')",
    );
}

#[test]
fn cards_come_in_claim_order_highest_priority_first_then_oldest() {
    let db = Database::fresh();
    let mut s = db.session();
    for (id, priority) in [("b", 0), ("a", 0), ("top", 7), ("last", -7), ("c", 0)] {
        s.run(&format!(
            "select from mosaic.backlog_create('t', id => '{id}', priority => {priority})"
        ));
    }
    assert_eq!(ids(&mut s, ""), ["top", "b", "a", "c", "last"]);
}

#[test]
fn every_filter_keeps_what_it_names() {
    let db = Database::fresh();
    let mut s = db.session();
    some_of_everything(&mut s);
    for (arguments, expected) in [
        (
            "",
            &["high", "held", "gated", "deferred", "blocked", "low"][..],
        ),
        (
            EVERY_STATUS,
            &[
                "high",
                "held",
                "gated",
                "deferred",
                "blocked",
                "done",
                "cancelled",
                "low",
            ],
        ),
        (
            "statuses => '{ready}'",
            &["high", "gated", "deferred", "low"],
        ),
        ("statuses => '{claimed}'", &["held"]),
        (
            "statuses => '{blocked,cancelled}'",
            &["blocked", "cancelled"],
        ),
        ("statuses => '{done,done}'", &["done"]),
        ("statuses => '{}'", &[]),
        ("phase => 'p1'", &["high", "low"]),
        ("phase => 'none'", &[]),
        ("labels => '{x}'", &["high", "low"]),
        ("labels => '{y,x}'", &["high"]),
        ("labels => '{z}'", &[]),
        ("owner => 'w1'", &["held"]),
        ("owner => 'w2'", &[]),
        ("ready_only => true", &["high", "low"]),
        (
            "ready_only => true, phase => 'p1', labels => '{y}'",
            &["high"],
        ),
        ("ready_only => true, statuses => '{claimed}'", &[]),
    ] {
        assert_eq!(ids(&mut s, arguments), expected, "{arguments}");
        let total = s.rows(&format!(
            "select total from mosaic.backlog_list({arguments}{}with_total => true) limit 1",
            if arguments.is_empty() { "" } else { ", " }
        ));
        let expected_total = (!expected.is_empty()).then(|| json!({"total": expected.len()}));
        assert_eq!(total, Vec::from_iter(expected_total), "{arguments}");
    }
}

#[test]
fn cards_that_are_done_do_not_push_those_out_that_are_open() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 60);
    for number in 1..=55 {
        s.complete(&format!("c{number}"));
    }
    assert_eq!(ids(&mut s, ""), ["c56", "c57", "c58", "c59", "c60"]);
    assert_eq!(ids(&mut s, "phase => null, labels => '{}'").len(), 5);
    assert_eq!(ids(&mut s, EVERY_STATUS).len(), 50);
}

#[test]
fn the_total_is_counted_only_when_asked_for() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 3);
    assert_eq!(
        s.column("select total from mosaic.backlog_list()"),
        [Value::Null, Value::Null, Value::Null]
    );
    assert_eq!(
        s.column("select total from mosaic.backlog_list(max_cards => 2, with_total => true)"),
        [json!(3), json!(3)]
    );
    // Of all pages, wherever this one begins.
    let cursor = s.text("select cursor from mosaic.backlog_list(max_cards => 1)");
    assert_eq!(
        s.column(&format!(
            "select total from mosaic.backlog_list(after => '{cursor}', with_total => true)"
        )),
        [json!(3), json!(3)]
    );
}

#[test]
fn pages_follow_each_other_without_gap_or_repeat() {
    let db = Database::fresh();
    let mut s = db.session();
    some_of_everything(&mut s);
    let all = ids(&mut s, EVERY_STATUS);
    for size in 1..=9 {
        let mut seen = Vec::new();
        let mut after = "null".to_owned();
        loop {
            let page = s.rows(&format!(
                "select id, cursor from mosaic.backlog_list({EVERY_STATUS}, max_cards => {size}, after => {after})"
            ));
            assert!(page.len() <= size, "{page:?}");
            seen.extend(
                page.iter()
                    .map(|row| row["id"].as_str().unwrap().to_owned()),
            );
            match &page.last().expect("no empty page")["cursor"] {
                Value::String(cursor) => after = format!("'{cursor}'"),
                Value::Null => break,
                other => panic!("{other}"),
            }
        }
        assert_eq!(seen, all, "pages of {size}");
    }
}

#[test]
fn cards_that_come_and_go_between_pages_do_not_shift_the_rest() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 6);
    let first =
        s.rows("select id, cursor from mosaic.backlog_list(max_cards => 3, statuses => '{ready}')");
    s.complete("c1");
    s.run("select from mosaic.backlog_create('t', id => 'urgent', priority => 1)");
    let cursor = first[2]["cursor"].as_str().expect("a cursor");
    assert_eq!(
        ids(
            &mut s,
            &format!("max_cards => 3, statuses => '{{ready}}', after => '{cursor}'")
        ),
        ["c4", "c5", "c6"]
    );
}

#[test]
fn a_cursor_that_is_none_is_refused() {
    let db = Database::fresh();
    let mut s = db.session();
    for cursor in [
        "",
        "x",
        "1.5",
        "99999999999999999999",
        "1; drop table x",
        " 1",
    ] {
        assert_eq!(
            s.code(&format!(
                "select * from mosaic.backlog_list(after => '{cursor}')"
            )),
            "invalid_argument",
            "{cursor:?}"
        );
    }
}

#[test]
fn an_unknown_status_is_refused_by_the_type() {
    let db = Database::fresh();
    let refused = db
        .session()
        .refusal("select * from mosaic.backlog_list(statuses => '{open}')");
    assert_eq!(refused.sqlstate, "22P02", "{refused:?}");
}

#[test]
fn a_deferred_card_becomes_ready_only_when_its_time_has_come() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', not_before => '2040-01-01 00:00+00')");
    s.run("set mosaic.clock = '2039-12-31 23:59:59+00'");
    assert_eq!(ids(&mut s, "ready_only => true"), Vec::<String>::new());
    s.run("set mosaic.clock = '2040-01-01 00:00+00'");
    assert_eq!(ids(&mut s, "ready_only => true"), ["A"]);
}

#[test]
fn reading_works_in_a_read_only_and_in_a_serializable_transaction() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for level in [
        "read only",
        "isolation level repeatable read",
        "isolation level serializable, read only",
    ] {
        s.run(&format!("begin {level}"));
        s.card("A");
        for call in ["list()", "stats()", "why('A')", "events()"] {
            s.rows(&format!("select * from mosaic.backlog_{call}"));
        }
        s.run("commit");
    }
}
