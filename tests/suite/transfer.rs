//! Export and import: what goes out comes in again, whole or not at all.

mod refused;

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
         select from mosaic.backlog_create('empty', id => 'empty', acceptance => 'null', requires => '{gpu}');
         select from mosaic.backlog_create('gated', id => 'gated', depends_on => '{low,empty}', phase => 'p2');
         select from mosaic.backlog_create('keyed', id => 'keyed', idempotency_key => 'key', depends_on => '{gated}',
           not_before => '2040-01-01 00:00+00', max_attempts => 3);
         select from mosaic.backlog_create('failed', id => 'failed');
         select from mosaic.backlog_create('blocked', id => 'blocked');
         select from mosaic.backlog_create('done', id => 'done', depends_on => '{empty}');
         select from mosaic.backlog_create('cancelled', id => 'cancelled');
         select from mosaic.backlog_create('last', id => 'last', priority => 7, depends_on => '{done,cancelled}');
         select from mosaic.backlog_block('blocked', 'which colour?', 'input');
         select from mosaic.backlog_cancel('cancelled', 'why')",
    );
    let token = s.claim("failed", "w1");
    s.run(&format!(
        "select from mosaic.backlog_fail('failed', {token}, 'no luck')"
    ));
    s.run("select from mosaic.backlog_complete('empty', result => 'null')");
    let token = s.claim("done", "w2");
    s.run(&format!(
        "select from mosaic.backlog_complete('done', {token}, '[1, 2.50]')"
    ));
}

fn export(s: &mut Session, arguments: &str) -> Vec<Value> {
    s.column(&format!(
        "select line from mosaic.backlog_export({arguments})"
    ))
    .into_iter()
    .map(|line| serde_json::from_str(line.as_str().expect("text")).expect("JSON"))
    .collect()
}

/// The lines but for the header, whose time differs.
fn content(s: &mut Session) -> Vec<Value> {
    export(s, "").split_off(1)
}

/// The lines as they are once they were imported: no server knows who logged in there.
fn imported(mut lines: Vec<Value>) -> Vec<Value> {
    for line in lines.iter_mut().filter(|line| line["type"] == "event") {
        let login_role = line["login_role"].as_str().expect("text");
        line["login_role"] = json!(format!("imported:{login_role}"));
    }
    lines
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
    std::iter::once(header)
        .chain(cards)
        .chain(edges)
        .chain([end])
        .collect()
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
    assert_eq!(content(&mut to), imported(content(&mut from)));
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
fn who_logged_in_is_marked_as_imported_once() {
    let (from, to, further) = (Database::fresh(), Database::fresh(), Database::fresh());
    from.session_as("worker").create("A");
    let mut lines = export(&mut from.session(), "");
    // A file may claim anything.
    for line in lines.iter_mut().filter(|line| line["type"] == "event") {
        line["login_role"] = json!("the_auditor");
    }
    let mut to = to.session();
    import(&mut to, &lines);
    let roles = "select login_role from mosaic.backlog_event where card_id = 'A' order by event_id";
    assert_eq!(to.column(roles), ["imported:the_auditor"]);
    // What happens here is this server's to tell, also that the card was imported.
    to.claim("A", "w");
    let lines = export(&mut to, "");
    let mut further = further.session();
    import(&mut further, &lines);
    let further = further.column(roles);
    assert_eq!(
        further,
        ["imported:the_auditor", "imported:postgres", "postgres"]
    );
    // The mark needs its room.
    let mut lines = export(&mut from.session(), "");
    for line in lines.iter_mut().filter(|line| line["type"] == "event") {
        line["login_role"] = json!("r".repeat(195));
    }
    assert_eq!(refused(&mut to, &lines).code, "invalid_argument");
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
    assert_eq!(
        (&card["status"], &card["attempts"]),
        (&json!("ready"), &json!(1))
    );
    assert_eq!(card["claim_token"], Value::Null);
    let events =
        to.rows("select * from mosaic.backlog_event where card_id = 'A' order by event_id");
    let last = events.last().expect("an event");
    assert_eq!(last["kind"], json!("imported"));
    assert_eq!(last["claim_token"], json!(token));
    assert_eq!(
        (&last["old_status"], &last["new_status"]),
        (&json!("claimed"), &json!("ready"))
    );
    assert_eq!(last["detail"]["previous_owner"], json!("w1"));
    assert_eq!(
        to.code(&format!(
            "select * from mosaic.backlog_complete('A', {token})"
        )),
        "claim_lost"
    );
    // The lease that stayed behind was the last attempt.
    let card = to.card("C");
    assert_eq!(
        (&card["status"], &card["block_kind"]),
        (&json!("blocked"), &json!("attempts"))
    );
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
fn the_first_token_is_not_drawn_a_second_time() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let (mut from, mut to) = (from.session(), to.session());
    from.create("A");
    assert_eq!(from.claim("A", "w1"), 1);
    import(&mut to, &export(&mut from, ""));
    assert_eq!(to.claim("A", "w2"), 2);
}

#[test]
fn tokens_that_are_being_drawn_are_waited_for_without_a_queue() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("held");
    s.create("next");
    let mut lines = file(&[("A", &[])]);
    lines[0]["last_claim_token"] = json!(100);
    let mut holder = db.session();
    holder.run("begin");
    holder.claim("held", "w1");
    let importer = db.session().begin_call(&call(&lines, ""));
    assert!(s.claim("next", "w2") < 100, "claims go on meanwhile");
    holder.run("commit");
    importer.rows();
    assert!(s.claim("A", "w2") > 100);
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
    assert_eq!(content(&mut to), imported(content(&mut from)));
}

#[test]
fn dependencies_on_cards_that_are_there_are_counted_by_their_state() {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["done", "open", "also"] {
        s.create(id);
    }
    s.complete("done");
    import(
        &mut s,
        &file(&[
            ("A", &["done"]),
            ("B", &["done", "open"]),
            ("C", &["A", "open", "also"]),
        ]),
    );
    assert_eq!(["A", "B", "C"].map(|id| s.open_dependencies(id)), [0, 1, 3]);
    s.complete("open");
    assert_eq!(["A", "B", "C"].map(|id| s.open_dependencies(id)), [0, 0, 2]);
    s.assert_counters_are_right();
    let refused = refused(&mut s, &file(&[("D", &["nowhere"])]));
    assert_eq!(refused.code, "not_found");
    assert!(
        refused.message.starts_with("line 3 of the import"),
        "{refused:?}"
    );
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
fn what_is_left_out_does_not_come() {
    let (from, to, other) = (Database::fresh(), Database::fresh(), Database::fresh());
    let (mut from, mut to, mut other) = (from.session(), to.session(), other.session());
    some_of_everything(&mut from);
    // Left out of the file.
    let lines = export(&mut from, "false, false");
    assert_eq!(
        (&lines[0]["dependencies"], &lines[0]["events"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(lines.len(), 11);
    import(&mut to, &lines);
    // In the file, but not wanted.
    let all = export(&mut from, "");
    let answer = other.row(&call(
        &all,
        ", with_dependencies => false, with_events => false",
    ));
    assert_eq!(
        (&answer["dependencies"], &answer["events"]),
        (&json!(0), &json!(0))
    );
    for s in [&mut to, &mut other] {
        assert_eq!(
            s.number("select count(*) from mosaic.backlog_dependency"),
            0
        );
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
    assert_eq!(content(&mut to), imported(lines[1..].to_vec()));
    to.assert_counters_are_right();
}
