//! Imports that are refused, and that they change nothing.

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::database::Database;
use serde_json::{Value, json};

use super::{call, export, file, import, refused, some_of_everything};

fn of_type<'a>(lines: &'a mut [Value], kind: &str) -> &'a mut Value {
    lines
        .iter_mut()
        .find(|line| line["type"] == kind)
        .expect("a line of this type")
}

#[test]
fn a_token_that_would_end_the_sequence_is_refused() {
    let db = Database::fresh();
    let mut s = db.session();
    for token in [0, -1, i64::MAX] {
        let mut lines = file(&[("A", &[])]);
        lines[0]["last_claim_token"] = json!(token);
        assert_eq!(refused(&mut s, &lines).code, "invalid_argument", "{token}");
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let (mut from, mut to) = (from.session(), to.session());
    some_of_everything(&mut from);
    let lines = export(&mut from, "");
    for end in 1..lines.len() {
        let refused = refused(&mut to, &lines[..end]);
        assert_eq!(
            refused.code,
            "invalid_argument",
            "cut before line {}: {refused:?}",
            end + 1
        );
    }
    for missing in 0..lines.len() {
        let mut lines = lines.clone();
        lines.remove(missing);
        let refused = refused(&mut to, &lines);
        assert_eq!(
            refused.code,
            "invalid_argument",
            "without line {}: {refused:?}",
            missing + 1
        );
    }
    import(&mut to, &lines);
}

#[test]
fn an_unfinished_import_cannot_commit_and_can_be_undone() {
    let db = Database::fresh();
    let mut s = db.session();
    let lines = file(&[("A", &[]), ("B", &["A"])]);
    for end in ["commit", "prepare transaction 'half'"] {
        s.run("begin");
        let answer = s.row(&call(&lines[..2], ""));
        assert_eq!(answer["finished"], json!(false));
        let refused = s.attempt_run(end).expect_err("half a file");
        assert_eq!(refused.code, "invalid_argument", "{refused:?}");
        assert_eq!(
            s.column("select id from mosaic.backlog"),
            Vec::<Value>::new()
        );
    }
    s.run("begin");
    s.row(&call(&lines[..2], ""));
    s.run("rollback");
    // To a savepoint, and from the beginning.
    s.run("begin; savepoint a");
    s.row(&call(&lines[..2], ""));
    s.run("rollback to a");
    s.row(&call(&lines[..3], ""));
    s.row(&call(&lines[3..], ""));
    s.run("commit");
    assert_eq!(s.open_dependencies("B"), 1);
}

#[test]
fn an_import_stays_at_its_level_of_the_transaction() {
    let db = Database::fresh();
    let mut s = db.session();
    let lines = file(&[("A", &[]), ("B", &["A"])]);
    s.run("begin");
    s.row(&call(&lines[..2], ""));
    s.run("savepoint a");
    assert_eq!(s.code(&call(&lines[2..], "")), "invalid_argument");
    s.run("rollback to a; release a");
    s.row(&call(&lines[2..], ""));
    s.run("commit");
    s.assert_counters_are_right();
}

#[test]
fn cards_that_are_there_already_are_refused() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let (mut from, mut to) = (from.session(), to.session());
    some_of_everything(&mut from);
    let lines = export(&mut from, "");
    import(&mut to, &lines);
    assert_eq!(refused(&mut to, &lines).code, "id_conflict");
    let refused = refused(&mut from, &lines);
    assert!(
        refused.message.starts_with("line 2 of the import"),
        "{refused:?}"
    );
}

#[test]
fn a_key_that_is_taken_is_refused() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let (mut from, mut to) = (from.session(), to.session());
    from.run("select from mosaic.backlog_create('t', id => 'A', idempotency_key => 'key')");
    to.run("select from mosaic.backlog_create('t', id => 'B', idempotency_key => 'key')");
    let refused = refused(&mut to, &export(&mut from, ""));
    assert_eq!(refused.code, "key_conflict", "{refused:?}");
    assert!(refused.message.contains("\"B\""), "{refused:?}");
}

#[test]
fn a_cycle_in_the_file_is_refused() {
    let db = Database::fresh();
    let mut s = db.session();
    for cards in [
        &[("A", &["B"][..]), ("B", &["A"])][..],
        &[("A", &["B"]), ("B", &["C"]), ("C", &["A"]), ("D", &["A"])],
        &[("A", &["A"])],
    ] {
        assert_eq!(refused(&mut s, &file(cards)).code, "cycle");
    }
    // Also through a card that is done.
    let mut lines = file(&[("A", &["B"]), ("B", &["A"])]);
    let card = of_type(&mut lines, "card");
    card["status"] = json!("done");
    card["completed_at"] = json!("2026-01-31T12:00:00Z");
    assert_eq!(refused(&mut s, &lines).code, "cycle");
}

#[test]
fn of_two_imports_at_the_same_moment_one_is_refused() {
    let db = Database::fresh();
    let lines = file(&[("B", &[]), ("A", &["B"])]);
    let outcomes = together(&db, 2, |_, s| {
        s.attempt(&call(&lines, "")).map_err(|r| r.code)
    });
    let codes: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_eq!(codes, ["id_conflict"]);
}

#[test]
fn what_does_not_belong_into_a_line_is_refused_and_the_line_is_named() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let (mut from, mut to) = (from.session(), to.session());
    some_of_everything(&mut from);
    let lines = export(&mut from, "");
    for (kind, key, value) in [
        ("header", "format", json!("other")),
        ("header", "format_version", json!(2)),
        ("header", "cards", json!(1)),
        ("header", "events", Value::Null),
        ("header", "more", json!(1)),
        ("card", "more", json!(1)),
        ("card", "id", json!(" x")),
        ("card", "id", Value::Null),
        ("card", "title", json!(" ")),
        ("card", "title", json!("x".repeat(1_001))),
        ("card", "body", json!("x".repeat(1 << 21))),
        ("card", "acceptance", json!("x".repeat(1 << 21))),
        ("card", "labels", json!([null])),
        ("card", "labels", json!("{x}")),
        ("card", "priority", json!(1_000_001)),
        ("card", "priority", json!(1e300)),
        ("card", "attempts", json!(-1)),
        ("card", "max_attempts", json!(0)),
        ("card", "status", json!("open")),
        ("card", "status", json!("claimed")),
        ("card", "status", json!("done")),
        ("card", "status", json!("blocked")),
        ("card", "claim_owner", json!("w1")),
        ("card", "block_kind", json!("input")),
        ("card", "completed_at", json!("2026-01-31T12:00:00Z")),
        ("card", "created_at", json!("infinity")),
        ("card", "created_at", json!("2026-02-30T12:00:00Z")),
        ("card", "settled_token", json!(1_000_000)),
        ("card", "idempotency_key", json!("alone")),
        ("card", "creation_request", json!({"title": "x"})),
        ("card", "type", json!("cart")),
        ("card", "type", Value::Null),
        ("dependency", "more", json!(1)),
        ("dependency", "card_id", json!("nowhere")),
        ("dependency", "created_at", json!(7)),
        ("event", "more", json!(1)),
        ("event", "card_id", json!("nowhere")),
        ("event", "kind", json!("")),
        ("event", "new_status", json!("open")),
        ("event", "claim_token", json!(1_000_000)),
        ("event", "detail", json!([])),
        ("event", "detail", Value::Null),
        ("end", "cards", json!(8)),
        ("end", "more", json!(1)),
    ] {
        let mut lines = lines.clone();
        of_type(&mut lines, kind)[key] = value;
        let refused = refused(&mut to, &lines);
        assert_eq!(
            refused.code, "invalid_argument",
            "{kind}.{key}: {refused:?}"
        );
        assert!(
            refused.message.starts_with("line "),
            "{kind}.{key}: {refused:?}"
        );
    }
    for text in [
        "null",
        "'7'",
        "'{}'",
        "'\"x\"'",
        "'[7]'",
        "'[[]]'",
        "'[null]'",
        "'[{}]'",
        "'[{\"type\": 7}]'",
    ] {
        let refused = to.refusal(&format!("select * from mosaic.backlog_import({text})"));
        assert_eq!(refused.code, "invalid_argument", "{text}");
    }
}

#[test]
fn lines_out_of_their_order_or_twice_are_refused() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let (mut from, mut to) = (from.session(), to.session());
    some_of_everything(&mut from);
    let lines = export(&mut from, "");
    let last = lines.len() - 1;
    for (at, to_where) in [(0, 1), (1, 10), (10, 16), (2, last), (last, last - 1)] {
        let mut lines = lines.clone();
        let line = lines.remove(at);
        lines.insert(to_where, line);
        assert_eq!(
            refused(&mut to, &lines).code,
            "invalid_argument",
            "{at} to {to_where}"
        );
    }
    for at in 0..lines.len() {
        let mut lines = lines.clone();
        lines.insert(at, lines[at].clone());
        assert_eq!(
            refused(&mut to, &lines).code,
            "invalid_argument",
            "line {at} twice"
        );
    }
    // Where the counts were made to fit.
    let mut lines = file(&[("A", &[]), ("B", &["A", "A"])]);
    assert_eq!(refused(&mut to, &lines).code, "invalid_argument");
    lines = file(&[("A", &[]), ("A", &[])]);
    assert_eq!(refused(&mut to, &lines).code, "invalid_argument");
}

#[test]
fn an_operator_alone_may_export_and_import() {
    let db = Database::fresh();
    db.session().create("A");
    let lines = export(&mut db.session_as("operator"), "");
    assert_eq!(lines.len(), 4);
    for login in ["reader", "worker", "stranger"] {
        assert_eq!(
            db.session_as(login).refusal(&call(&lines, "")).sqlstate,
            "42501"
        );
    }
    for login in ["reader", "worker", "stranger"] {
        let refused = db
            .session_as(login)
            .refusal("select * from mosaic.backlog_export()");
        assert_eq!(refused.sqlstate, "42501", "{login}");
    }
    import(&mut db.session_as("operator"), &file(&[("B", &["A"])]));
    let refused = {
        let mut s = db.session_as("operator");
        s.run("begin isolation level repeatable read");
        s.code(&call(&lines, ""))
    };
    assert_eq!(refused, "isolation");
}

#[test]
fn a_title_that_somebody_else_made_unique_is_refused_by_that() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("create unique index one_title on mosaic.backlog (title)");
    for key in [None, Some("k")] {
        let mut lines = file(&[("A", &[]), ("B", &[])]);
        for id in ["A", "B"] {
            let card = lines
                .iter_mut()
                .find(|line| line["id"] == id)
                .expect("a card");
            card["title"] = json!("same");
        }
        let card = of_type(&mut lines, "card");
        card["idempotency_key"] = json!(key);
        card["creation_request"] = key.map_or(Value::Null, |_| json!({"title": "x"}));
        let refused = refused(&mut s, &lines);
        assert_eq!(refused.sqlstate, "23505", "{refused:?}");
        assert!(refused.message.contains("\"one_title\""), "{refused:?}");
    }
}
