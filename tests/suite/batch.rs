//! Creating many cards at once.

use mosaic_backlog_tests::database::Database;
use serde_json::json;

fn many(cards: &serde_json::Value) -> String {
    format!(
        "select * from mosaic.backlog_create_many('{}')",
        cards.to_string().replace('\'', "''")
    )
}

#[test]
fn cards_of_one_batch_depend_on_each_other_in_any_order() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("old");
    let answer = s.rows(&many(&json!([
        {"title": "second", "id": "B", "depends_on": ["A", "old"]},
        {"title": "first", "id": "A"},
        {"title": "third", "id": "C", "depends_on": ["B"]},
    ])));
    assert_eq!(
        answer,
        [
            json!({"id": "B", "created": true}),
            json!({"id": "A", "created": true}),
            json!({"id": "C", "created": true}),
        ]
    );
    assert_eq!(s.open_dependencies("B"), 2);
    assert_eq!(s.open_dependencies("C"), 1);
    assert_eq!(s.card("B")["depends_on"], json!(["A", "old"]));
    s.assert_counters_are_right();
}

#[test]
fn every_argument_of_create_is_a_key_of_a_batch() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run(&many(&json!([{
        "title": "t", "id": "B", "body": "b", "phase": "p", "priority": 4, "depends_on": ["A"],
        "labels": ["l"], "requires": ["r"], "acceptance": {"ok": [1, null]}, "idempotency_key": "k",
        "not_before": "2031-01-01T02:00:00+02:00", "max_attempts": 2,
    }])));
    let card = s.card("B");
    assert_eq!(card["body"], "b");
    assert_eq!(card["phase"], "p");
    assert_eq!(card["priority"], 4);
    assert_eq!(card["depends_on"], json!(["A"]));
    assert_eq!(card["labels"], json!(["l"]));
    assert_eq!(card["requires"], json!(["r"]));
    assert_eq!(card["acceptance"], json!({"ok": [1, null]}));
    assert_eq!(card["idempotency_key"], "k");
    assert_eq!(card["not_before"], "2031-01-01T00:00:00+00:00");
    assert_eq!(card["max_attempts"], 2);
}

#[test]
fn a_batch_is_all_or_nothing() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'taken', idempotency_key => 'taken')");
    for (cards, code) in [
        (
            json!([{"title": "a", "id": "A"}, {"title": "b", "idempotency_key": "taken"}]),
            "key_conflict",
        ),
        (
            json!([{"title": "a", "id": "A"}, {"title": "t", "id": "taken"}]),
            "id_conflict",
        ),
        (
            json!([{"title": "a", "id": "A"}, {"title": "b", "depends_on": ["nope"]}]),
            "not_found",
        ),
        (
            json!([{"title": "a", "id": "A"}, {"title": ""}]),
            "invalid_argument",
        ),
        (
            json!([{"title": "a", "id": "A"}, {"title": "b", "id": "A"}]),
            "invalid_argument",
        ),
        (
            json!([{"title": "a", "idempotency_key": "k"}, {"title": "b", "idempotency_key": "k"}]),
            "invalid_argument",
        ),
        (
            json!([{"title": "a", "id": "A", "depends_on": ["B"]},
                   {"title": "b", "id": "B", "depends_on": ["C"]},
                   {"title": "c", "id": "C", "depends_on": ["A"]}]),
            "cycle",
        ),
        (
            json!([{"title": "a", "id": "A", "depends_on": ["A"]}]),
            "cycle",
        ),
    ] {
        assert_eq!(s.code(&many(&cards)), code, "{cards}");
        assert_eq!(
            s.number("select count(*) from mosaic.backlog"),
            1,
            "{cards}"
        );
        assert_eq!(
            s.number("select count(*) from mosaic.backlog_dependency"),
            0
        );
        assert_eq!(s.events(), 1);
    }
}

#[test]
fn what_is_no_array_of_objects_with_known_keys_is_refused() {
    let db = Database::fresh();
    let mut s = db.session();
    for cards in [
        json!({"title": "t"}),
        json!("t"),
        json!(7),
        json!(null),
        json!(["t"]),
        json!([7]),
        json!([null]),
        json!([["t"]]),
        json!([{"titel": "t"}]),
        json!([{"title": "t", "actor": "a"}]),
        json!([{"title": "t", "status": "done"}]),
        json!([{"title": 5}]),
        json!([{"title": null}]),
        json!([{}]),
        json!([{"title": "t", "priority": "high"}]),
        json!([{"title": "t", "priority": 1.5}]),
        json!([{"title": "t", "priority": 99999999999i64}]),
        json!([{"title": "t", "labels": "x"}]),
        json!([{"title": "t", "labels": [null]}]),
        json!([{"title": "t", "depends_on": [["A"]]}]),
        json!([{"title": "t", "not_before": "soon"}]),
        json!([{"title": "t", "not_before": "infinity"}]),
        json!([{"title": "t", "max_attempts": 0}]),
        json!([[]]),
        json!([{"title": ["t"]}]),
        json!([{"title": "t", "id": 7}]),
        json!([{"title": "t", "id": ""}]),
        json!([{"title": "t", "labels": [1]}]),
        json!([{"title": "t", "depends_on": {}}]),
        json!([{"title": "t", "not_before": 5}]),
    ] {
        assert_eq!(s.code(&many(&cards)), "invalid_argument", "{cards}");
    }
    assert_eq!(s.number("select count(*) from mosaic.backlog"), 0);
    assert_eq!(
        s.code("select * from mosaic.backlog_create_many(null)"),
        "invalid_argument"
    );
}

#[test]
fn the_error_names_the_card_of_the_batch() {
    let db = Database::fresh();
    let refused = db.session().refusal(&many(
        &json!([{"title": "a"}, {"title": "b", "max_attempts": -1}]),
    ));
    assert!(
        refused.message.starts_with("card 2 of the batch"),
        "{refused:?}"
    );
}

#[test]
fn an_empty_batch_creates_nothing() {
    let db = Database::fresh();
    assert_eq!(
        db.session().rows(&many(&json!([]))),
        Vec::<serde_json::Value>::new()
    );
}

#[test]
fn a_repeated_batch_with_keys_finds_its_cards_and_creates_only_what_is_new() {
    let db = Database::fresh();
    let mut s = db.session();
    let first = s.rows(&many(&json!([
        {"title": "a", "idempotency_key": "ka"},
        {"title": "b", "id": "B", "idempotency_key": "kb"},
    ])));
    let second = s.rows(&many(&json!([
        {"title": "b", "id": "B", "idempotency_key": "kb"},
        {"title": "c", "id": "C", "idempotency_key": "kc", "depends_on": ["B"]},
        {"title": "a", "idempotency_key": "ka"},
    ])));
    assert_eq!(
        second,
        [
            json!({"id": "B", "created": false}),
            json!({"id": "C", "created": true}),
            json!({"id": first[0]["id"], "created": false}),
        ]
    );
    assert_eq!(s.number("select count(*) from mosaic.backlog"), 3);
    s.assert_counters_are_right();
}

#[test]
fn a_repeated_batch_whose_first_part_is_done_does_not_gate_the_new_part() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(&many(
        &json!([{"title": "a", "id": "A", "idempotency_key": "ka"}]),
    ));
    s.complete("A");
    s.run(&many(&json!([
        {"title": "a", "id": "A", "idempotency_key": "ka"},
        {"title": "b", "id": "B", "idempotency_key": "kb", "depends_on": ["A"]},
    ])));
    assert_eq!(s.open_dependencies("B"), 0);
}

#[test]
fn twenty_thousand_cards_in_a_chain_are_one_batch() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'id', 'c' || n,
             'depends_on', case when n > 1 then jsonb_build_array('c' || n - 1) else '[]' end))
           from generate_series(1, 20000) n))",
    );
    assert_eq!(
        s.number("select count(*) from mosaic.backlog where open_dependencies = 1"),
        19_999
    );
    assert_eq!(s.claim_next("w").as_deref(), Some("c1"));
    assert_eq!(s.claim_next("w"), None);
}

#[test]
fn more_than_a_hundred_thousand_cards_are_refused() {
    let db = Database::fresh();
    let mut s = db.session();
    // What the cards are is looked at only if they are not too many.
    for (count, told) in [(100_000, "card 1 "), (100_001, "100000")] {
        let refused = s.refusal(&format!(
            "select * from mosaic.backlog_create_many((select jsonb_agg(0) from generate_series(1, {count})))"
        ));
        assert_eq!(refused.code, "invalid_argument");
        assert!(refused.message.contains(told), "{refused:?}");
    }
}

#[test]
fn a_call_names_at_most_a_hundred_thousand_dependencies() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for (count, code) in [(100_000, "not_found"), (100_001, "invalid_argument")] {
        let link = format!(
            "select * from mosaic.backlog_link('A', array(select 'x' || n from generate_series(1, {count}) n))"
        );
        assert_eq!(s.code(&link), code);
    }
}
