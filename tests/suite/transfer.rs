//! Export and import: what goes out comes in again, whole or not at all.

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::cards::quote;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::refused::Refused;
use mosaic_backlog_tests::session::Session;
use serde_json::{Value, json};

/// Every state, edges between them, keys, documents and a history; nobody holds a card.
fn some_of_everything(s: &mut Session) {
    s.run(
        "select from mosaic.backlog_create('low', id => 'low', priority => -1, phase => 'p1', labels => '{x}',
           body => E'two\\nlines', acceptance => '{\"n\": 1.10, \"none\": null}');
         select from mosaic.backlog_create('null', id => 'null', acceptance => 'null', requires => '{gpu}');
         select from mosaic.backlog_create('gated', id => 'gated', depends_on => '{low,null}', phase => 'p2');
         select from mosaic.backlog_create('keyed', id => 'keyed', idempotency_key => 'key', depends_on => '{gated}',
           not_before => '2040-01-01 00:00+00', max_attempts => 3);
         select from mosaic.backlog_create('failed', id => 'failed');
         select from mosaic.backlog_create('blocked', id => 'blocked');
         select from mosaic.backlog_create('done', id => 'done', depends_on => '{null}');
         select from mosaic.backlog_create('cancelled', id => 'cancelled');
         select from mosaic.backlog_create('last', id => 'last', priority => 7, depends_on => '{done,cancelled}');
         select from mosaic.backlog_block('blocked', 'which colour?', 'input');
         select from mosaic.backlog_cancel('cancelled', 'why')",
    );
    let token = s.claim("failed", "w1");
    s.run(&format!("select from mosaic.backlog_fail('failed', {token}, 'no luck')"));
    s.run("select from mosaic.backlog_complete('null', result => 'null')");
    let token = s.claim("done", "w2");
    s.run(&format!("select from mosaic.backlog_complete('done', {token}, '[1, 2.50]')"));
}

fn export(s: &mut Session, arguments: &str) -> Vec<Value> {
    s.column(&format!("select line from mosaic.backlog_export({arguments})"))
        .into_iter()
        .map(|line| serde_json::from_str(line.as_str().expect("text")).expect("JSON"))
        .collect()
}

/// The lines but for the header, whose time differs.
fn content(s: &mut Session) -> Vec<Value> {
    export(s, "").split_off(1)
}

fn call(lines: &[Value], more: &str) -> String {
    let lines = quote(&json!(lines).to_string());
    format!("select * from mosaic.backlog_import({lines}{more})")
}

#[track_caller]
fn import(s: &mut Session, lines: &[Value]) -> Value {
    s.row(&call(lines, ""))
}

#[track_caller]
fn refused(s: &mut Session, lines: &[Value]) -> Refused {
    let before = content(s);
    let refused = s.refusal(&call(lines, ""));
    assert_eq!(content(s), before, "something was changed");
    refused
}

fn of_type<'a>(lines: &'a mut [Value], kind: &str) -> &'a mut Value {
    lines
        .iter_mut()
        .find(|line| line["type"] == kind)
        .expect("a line of this type")
}

/// A file of cards, each with those that it waits for.
fn file(cards: &[(&str, &[&str])]) -> Vec<Value> {
    let time = "2026-01-31T12:00:00+00:00";
    let edges: Vec<Value> = cards
        .iter()
        .flat_map(|(id, on)| on.iter().map(move |on| (id, on)))
        .map(|(id, on)| json!({"type": "dependency", "card_id": id, "depends_on": on, "created_at": time}))
        .collect();
    let counts = json!({"cards": cards.len(), "dependencies": edges.len(), "events": 0});
    let mut header = json!({"type": "header", "format": "mosaic-backlog", "format_version": 1,
        "extension_version": "0.1.0", "exported_at": time, "last_claim_token": 1});
    let mut end = json!({"type": "end"});
    for line in [&mut header, &mut end] {
        let line = line.as_object_mut().expect("an object");
        line.extend(counts.as_object().expect("an object").clone());
    }
    let cards = cards.iter().map(|(id, _)| {
        json!({"type": "card", "id": id, "title": id, "priority": 0, "status": "ready", "attempts": 0,
            "created_at": time, "updated_at": time, "claimable_since": time})
    });
    std::iter::once(header).chain(cards).chain(edges).chain([end]).collect()
}

#[test]
fn everything_comes_back_as_it_was() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let (mut from, mut to) = (from.session(), to.session());
    some_of_everything(&mut from);
    let lines = export(&mut from, "");
    let answer = import(&mut to, &lines);
    assert_eq!(
        answer,
        json!({"lines": lines.len(), "cards": 9, "dependencies": 6, "events": lines.len() - 17, "finished": true})
    );
    assert_eq!(content(&mut to), content(&mut from));
    to.assert_counters_are_right();
    let columns = "select id, title, body, phase, labels, requires, priority, status, acceptance, acceptance is null as a,
        idempotency_key, creation_request, not_before, attempts, max_attempts, block_kind, block_reason, result,
        result is null as r, open_dependencies, created_at, updated_at, completed_at, settled_token,
        claimable_since, last_failure from mosaic.backlog order by creation_seq";
    assert_eq!(to.rows(columns), from.rows(columns));
    // The request that created a card is still recognised, and another is not.
    let again = "select created from mosaic.backlog_create('keyed', id => 'keyed', idempotency_key => 'key',
        depends_on => '{gated}', not_before => '2040-01-01 00:00+00', max_attempts => 3)";
    assert_eq!(to.column(again), [json!(false)]);
    assert_eq!(
        to.code("select * from mosaic.backlog_create('other', idempotency_key => 'key')"),
        "key_conflict"
    );
}

#[test]
fn an_empty_backlog_is_a_file_too() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let lines = export(&mut from.session(), "");
    assert_eq!(lines.len(), 2);
    assert_eq!(import(&mut to.session(), &lines)["finished"], json!(true));
}

#[test]
fn imported_cards_come_after_what_is_there_and_keep_their_order() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("old");
    import(&mut s, &file(&[("z", &[]), ("a", &[]), ("m", &[])]));
    s.create("new");
    let order = s.column("select id from mosaic.backlog_list()");
    assert_eq!(order, ["old", "z", "a", "m", "new"]);
}

#[test]
fn a_claimed_card_arrives_ready_and_its_token_is_dead() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let (mut from, mut to) = (from.session(), to.session());
    from.create("A");
    from.create("B");
    from.run("select from mosaic.backlog_create('t', id => 'C', max_attempts => 1)");
    let token = from.claim("A", "w1");
    from.claim("C", "w2");
    import(&mut to, &export(&mut from, ""));
    let card = to.card("A");
    assert_eq!((&card["status"], &card["attempts"]), (&json!("ready"), &json!(1)));
    assert_eq!(card["claim_token"], Value::Null);
    let events = to.rows("select * from mosaic.backlog_events('A')");
    let last = events.last().expect("an event");
    assert_eq!(last["kind"], json!("imported"));
    assert_eq!(last["claim_token"], json!(token));
    assert_eq!((&last["old_status"], &last["new_status"]), (&json!("claimed"), &json!("ready")));
    assert_eq!(last["detail"]["previous_owner"], json!("w1"));
    assert_eq!(
        to.code(&format!("select * from mosaic.backlog_complete('A', {token})")),
        "claim_lost"
    );
    // The lease that stayed behind was the last attempt.
    let card = to.card("C");
    assert_eq!((&card["status"], &card["block_kind"]), (&json!("blocked"), &json!("attempts")));
}

#[test]
fn tokens_keep_growing_beyond_those_of_the_file() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let (mut from, mut to) = (from.session(), to.session());
    from.create("A");
    for _ in 0..5 {
        let token = from.claim("A", "w1");
        from.run(&format!("select from mosaic.backlog_release('A', {token})"));
    }
    let before = from.claim("A", "w1");
    // Also where the history that tells of them stays behind.
    import(&mut to, &export(&mut from, "with_events => false"));
    to.create("B");
    assert!(to.claim("B", "w2") > before);
    // And never back to those of a file with smaller ones.
    let mut small = file(&[("C", &[])]);
    small[0]["last_claim_token"] = json!(2);
    import(&mut to, &small);
    assert!(to.claim("C", "w2") > before + 1);
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
        assert_eq!(refused.code, "invalid_argument", "cut before line {}: {refused:?}", end + 1);
    }
    for missing in 0..lines.len() {
        let mut lines = lines.clone();
        lines.remove(missing);
        let refused = refused(&mut to, &lines);
        assert_eq!(refused.code, "invalid_argument", "without line {}: {refused:?}", missing + 1);
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
        assert_eq!(s.column("select id from mosaic.backlog"), Vec::<Value>::new());
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
fn lines_may_come_in_any_number_of_calls() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let (mut from, mut to) = (from.session(), to.session());
    some_of_everything(&mut from);
    let lines = export(&mut from, "");
    to.run("begin");
    for line in &lines {
        to.row(&call(std::slice::from_ref(line), ""));
    }
    to.run("commit");
    assert_eq!(content(&mut to), content(&mut from));
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
    assert!(refused.message.starts_with("line 2 of the import"), "{refused:?}");
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
fn dependencies_on_cards_that_are_there_are_counted_by_their_state() {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["done", "open", "also"] {
        s.create(id);
    }
    s.complete("done");
    import(&mut s, &file(&[("A", &["done"]), ("B", &["done", "open"]), ("C", &["A", "open", "also"])]));
    assert_eq!(["A", "B", "C"].map(|id| s.open_dependencies(id)), [0, 1, 3]);
    s.complete("open");
    assert_eq!(["A", "B", "C"].map(|id| s.open_dependencies(id)), [0, 0, 2]);
    s.assert_counters_are_right();
    let refused = refused(&mut s, &file(&[("D", &["nowhere"])]));
    assert_eq!(refused.code, "not_found");
    assert!(refused.message.starts_with("line 3 of the import"), "{refused:?}");
}

#[test]
fn a_dependency_that_is_completed_meanwhile_is_counted_right() {
    let db = Database::fresh();
    for round in 0..10 {
        let mut s = db.session();
        let (on, id) = (format!("on{round}"), format!("new{round}"));
        s.create(&on);
        let lines = file(&[(&id, &[&on])]);
        together(&db, 2, |number, s| {
            if number == 0 {
                import(s, &lines);
            } else {
                s.complete(&on);
            }
        });
        s.assert_counters_are_right();
        assert_eq!(s.open_dependencies(&id), 0);
    }
}

#[test]
fn of_two_imports_at_the_same_moment_one_is_refused() {
    let db = Database::fresh();
    let lines = file(&[("B", &[]), ("A", &["B"])]);
    let outcomes = together(&db, 2, |_, s| s.attempt(&call(&lines, "")).map_err(|r| r.code));
    let codes: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_eq!(codes, ["id_conflict"]);
}

#[test]
fn what_is_left_out_does_not_come() {
    let (from, to, other) = (Database::fresh(), Database::fresh(), Database::fresh());
    let (mut from, mut to, mut other) = (from.session(), to.session(), other.session());
    some_of_everything(&mut from);
    // Left out of the file.
    let lines = export(&mut from, "false, false");
    assert_eq!((&lines[0]["dependencies"], &lines[0]["events"]), (&Value::Null, &Value::Null));
    assert_eq!(lines.len(), 11);
    import(&mut to, &lines);
    // In the file, but not wanted.
    let all = export(&mut from, "");
    let answer = other.row(&call(&all, ", with_dependencies => false, with_events => false"));
    assert_eq!((&answer["dependencies"], &answer["events"]), (&json!(0), &json!(0)));
    for s in [&mut to, &mut other] {
        assert_eq!(s.number("select count(*) from mosaic.backlog_dependency"), 0);
        assert_eq!(s.open_dependencies("last"), 0);
        // The history begins with the arrival.
        assert_eq!(
            s.rows("select distinct kind, old_status from mosaic.backlog_event"),
            [json!({"kind": "imported", "old_status": null})]
        );
        assert_eq!(s.events(), 9);
    }
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
        assert_eq!(refused.code, "invalid_argument", "{kind}.{key}: {refused:?}");
        assert!(refused.message.starts_with("line "), "{kind}.{key}: {refused:?}");
    }
    for text in ["null", "'7'", "'{}'", "'\"x\"'", "'[7]'", "'[[]]'", "'[null]'", "'[{}]'", "'[{\"type\": 7}]'"] {
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
        assert_eq!(refused(&mut to, &lines).code, "invalid_argument", "{at} to {to_where}");
    }
    for at in 0..lines.len() {
        let mut lines = lines.clone();
        lines.insert(at, lines[at].clone());
        assert_eq!(refused(&mut to, &lines).code, "invalid_argument", "line {at} twice");
    }
    // Where the counts were made to fit.
    let mut lines = file(&[("A", &[]), ("B", &["A", "A"])]);
    assert_eq!(refused(&mut to, &lines).code, "invalid_argument");
    lines = file(&[("A", &[]), ("A", &[])]);
    assert_eq!(refused(&mut to, &lines).code, "invalid_argument");
}

#[test]
fn an_export_is_of_one_moment() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 300);
    let exports = together(&db, 4, |number, s| {
        if number == 0 {
            (0..20).map(|_| export(s, "")).collect()
        } else {
            for n in 0..40 {
                let (a, b) = (format!("n{number}-{n}-a"), format!("n{number}-{n}-b"));
                s.create(&a);
                s.create_after(&b, &[&a]);
                s.complete(&a);
            }
            Vec::new()
        }
    });
    let to = Database::fresh();
    let mut to = to.session();
    for lines in exports.into_iter().flatten() {
        to.run("begin");
        import(&mut to, &lines);
        to.assert_counters_are_right();
        to.run("rollback");
    }
}

#[test]
fn a_reader_may_export_and_an_operator_alone_import() {
    let db = Database::fresh();
    db.session().create("A");
    let lines = export(&mut db.session_as("reader"), "");
    assert_eq!(lines.len(), 4);
    for login in ["reader", "worker", "stranger"] {
        assert_eq!(db.session_as(login).refusal(&call(&lines, "")).sqlstate, "42501");
    }
    let stranger = db.session_as("stranger").refusal("select * from mosaic.backlog_export()");
    assert_eq!(stranger.sqlstate, "42501");
    import(&mut db.session_as("operator"), &file(&[("B", &["A"])]));
    let refused = {
        let mut s = db.session_as("operator");
        s.run("begin isolation level repeatable read");
        s.code(&call(&lines, ""))
    };
    assert_eq!(refused, "isolation");
}

#[test]
fn ten_thousand_cards_and_their_history_come_back() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let (mut from, mut to) = (from.session(), to.session());
    from.run(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 'card ' || n, 'id', 'c' || n, 'depends_on',
             case when n > 3 then jsonb_build_array('c' || n / 2, 'c' || n - 1) else '[]' end) order by n)
           from generate_series(1, 10000) n))",
    );
    let lines = export(&mut from, "");
    assert_eq!(lines.len(), 2 + 10_000 + 19_994 + 10_000);
    to.run("begin");
    for chunk in lines.chunks(2_500) {
        to.row(&call(chunk, ""));
    }
    to.run("commit");
    assert_eq!(content(&mut to), lines[1..]);
    to.assert_counters_are_right();
}
