//! Notes: what is said about a card at any time, and what its next worker is told of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::cards::quote;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use serde_json::{Value, json};

/// Entries and bytes that an answer has of a card's notes.
const NOTES_MAX: usize = 10;
const NOTES_BYTES: usize = 32 * 1024;

fn note(s: &mut Session, id: &str, text: &str) -> Value {
    s.row(&format!(
        "select * from mosaic.backlog_note({}, {})",
        quote(id),
        quote(text)
    ))
}

/// The texts of the notes in an answer.
fn texts(card: &Value) -> Vec<&str> {
    let notes = card["notes"].as_array().expect("an array");
    notes
        .iter()
        .filter_map(|note| note["note"].as_str())
        .collect()
}

fn claim(s: &mut Session, id: &str) -> Value {
    s.row(&format!(
        "select * from mosaic.backlog_claim('w', id => '{id}')"
    ))
}

/// A card in the state, with the token of its last claim.
fn card_in(s: &mut Session, state: &str) -> i64 {
    s.create(state);
    let token = s.claim(state, "w");
    let end = match state {
        "ready" => format!("release('{state}', {token})"),
        "claimed" => return token,
        "blocked" => format!("block('{state}', 'why', claim_token => {token})"),
        "done" => format!("complete('{state}', {token})"),
        "cancelled" => format!("cancel('{state}', 'why', force => true)"),
        other => panic!("{other}"),
    };
    s.run(&format!("select from mosaic.backlog_{end}"));
    token
}

#[test]
fn a_note_is_taken_in_every_state_and_changes_nothing_else() {
    let db = Database::fresh();
    let mut s = db.session();
    for state in ["ready", "claimed", "blocked", "done", "cancelled"] {
        card_in(&mut s, state);
        let row = format!(
            "select to_jsonb(b) - 'linked' as row from mosaic.backlog b where id = '{state}'"
        );
        let before = s.row(&row);
        let event = note(&mut s, state, "look here");
        assert_eq!(s.row(&row), before);
        assert_eq!(
            (&event["kind"], &event["card_id"], &event["detail"]),
            (
                &json!("noted"),
                &json!(state),
                &json!({"note": "look here"})
            )
        );
        assert_eq!(
            (
                &event["old_status"],
                &event["new_status"],
                &event["claim_token"]
            ),
            (&json!(state), &json!(state), &Value::Null)
        );
        let last = format!(
            "select * from mosaic.backlog_events('{state}') order by event_id desc limit 1"
        );
        assert_eq!(s.row(&last), event);
        assert_eq!(texts(&s.card(state)), ["look here"]);
    }
    assert_eq!(
        s.code("select * from mosaic.backlog_note('none', 'x')"),
        "not_found"
    );
}

#[test]
fn a_token_that_is_given_must_be_current() {
    let db = Database::fresh();
    let mut s = db.session();
    for state in ["ready", "claimed", "blocked", "done", "cancelled"] {
        let token = card_in(&mut s, state);
        let events = s.events();
        for token in [token, token + 100]
            .into_iter()
            .skip(usize::from(state == "claimed"))
        {
            let call = format!("select * from mosaic.backlog_note('{state}', 'mine', {token})");
            assert_eq!(s.code(&call), "claim_lost", "{state}");
        }
        assert_eq!(s.events(), events);
    }
    let token = s.token("claimed").expect("a token");
    // Its holder is who says it, unless somebody is named.
    for (actor, expected) in [("null", "w"), ("'boss'", "boss")] {
        let call = format!(
            "select actor, claim_token from mosaic.backlog_note('claimed', 'mine', {token}, {actor})"
        );
        assert_eq!(
            s.row(&call),
            json!({"actor": expected, "claim_token": null})
        );
    }
    let stored = "select array_agg(claim_token) from mosaic.backlog_event where kind = 'noted'";
    assert_eq!(s.value(stored), json!([token, token]));
}

#[test]
fn workers_may_note_and_answer_and_readers_may_not() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for (login, may) in [
        ("stranger", false),
        ("reader", false),
        ("worker", true),
        ("operator", true),
    ] {
        let mut other = db.session_as(login);
        let said = other.attempt("select actor, login_role from mosaic.backlog_note('A', 'x')");
        match said {
            Ok(rows) => assert_eq!(rows, [json!({"actor": login, "login_role": login})]),
            Err(refused) => assert_eq!((may, refused.sqlstate.as_str()), (false, "42501")),
        }
    }
    assert_eq!(s.card("A")["notes_total"], 2);
    let mut worker = db.session_as("worker");
    worker.run(
        "select from mosaic.backlog_block('A', 'which?', 'input');
         select from mosaic.backlog_unblock('A', answer => 'that one')",
    );
    assert_eq!(db.session_as("reader").card("A")["last_answer"], "that one");
}

#[test]
fn limits_are_in_bytes_and_what_is_beyond_changes_nothing() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "w");
    let events = s.events();
    for text in [
        "''",
        "E' \\n\\t'",
        "repeat('x', 16385)",
        "repeat('é', 8193)",
        "null",
    ] {
        let mut calls = vec![
            format!("select * from mosaic.backlog_note('A', {text})"),
            format!("select mosaic.backlog_renew('A', {token}, note => {text})"),
            format!("select * from mosaic.backlog_unblock('A', answer => {text})"),
        ];
        if text == "null" {
            calls.truncate(1);
        }
        for call in calls {
            assert_eq!(s.code(&call), "invalid_argument", "{call}");
        }
    }
    assert_eq!(s.events(), events);
    for text in [
        "'x'",
        "repeat('x', 16384)",
        "repeat('é', 8192)",
        "E'\\x01\\x7f'",
    ] {
        s.run(&format!("select from mosaic.backlog_note('A', {text})"));
    }
    assert_eq!(s.card("A")["notes_total"], 4);
}

#[test]
fn a_claim_tells_the_last_notes_the_last_release_and_the_last_answer() {
    let db = Database::fresh();
    db.fix_clock("2025-01-31 09:00+00");
    let mut s = db.session();
    s.create("A");
    let fresh = claim(&mut s, "A");
    assert_eq!(
        (
            &fresh["notes"],
            &fresh["notes_total"],
            &fresh["last_release"],
            &fresh["last_answer"]
        ),
        (&json!([]), &json!(0), &Value::Null, &Value::Null)
    );
    let token = fresh["claim_token"].as_i64().expect("a token");
    s.run(&format!(
        "select mosaic.backlog_renew('A', {token}, note => 'half of it');
         select from mosaic.backlog_release('A', {token}, reason => 'my context is full')"
    ));
    let card = claim(&mut s, "A");
    let event = s.number("select event_id from mosaic.backlog_event where kind = 'noted'");
    assert_eq!(
        card["notes"],
        json!([{
            "event_id": event, "at": "2025-01-31T09:00:00.000000Z", "actor": "w", "note": "half of it"
        }])
    );
    assert_eq!(
        (
            &card["notes_total"],
            &card["last_release"],
            &card["last_answer"]
        ),
        (&json!(1), &json!("my context is full"), &Value::Null)
    );
    s.run(&format!(
        "select from mosaic.backlog_block('A', 'tabs?', 'input', claim_token => {});
         select from mosaic.backlog_unblock('A', 'spaces', 'boss')",
        card["claim_token"]
    ));
    let card = claim(&mut s, "A");
    assert_eq!(
        (&card["last_release"], &card["last_answer"]),
        (&json!("my context is full"), &json!("spaces"))
    );
    // Those that came last, also if they say nothing.
    s.run(&format!(
        "select from mosaic.backlog_release('A', {})",
        card["claim_token"]
    ));
    s.run("select from mosaic.backlog_block('A', 'and now?'); select from mosaic.backlog_unblock('A')");
    let card = claim(&mut s, "A");
    assert_eq!(
        (&card["last_release"], &card["last_answer"], texts(&card)),
        (&Value::Null, &Value::Null, vec!["half of it"])
    );
}

#[test]
fn all_ways_of_claiming_tell_the_same() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'done')");
    s.run("select from mosaic.backlog_complete('done', result => '[1]')");
    let request = "6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c";
    let (next, many) = (
        "claim('w')".to_owned(),
        "claim('w', max_cards => 3)".to_owned(),
    );
    let once = format!("claim('w', request_id => '{request}')");
    for (n, way) in [next, many, once.clone(), once].into_iter().enumerate() {
        if n < 3 {
            for id in [format!("linked-{n}"), format!("plain-{n}")] {
                if n == 2 && id.starts_with("plain") {
                    continue;
                }
                let on = if id.starts_with("linked") {
                    "{done}"
                } else {
                    "{}"
                };
                s.run(&format!(
                    "select from mosaic.backlog_create('t', id => '{id}', depends_on => '{on}')"
                ));
                note(&mut s, &id, &format!("about {id}"));
            }
        }
        let cards = s.rows(&format!("select * from mosaic.backlog_{way}"));
        assert!(!cards.is_empty(), "{way}");
        for card in cards {
            let id = card["id"].as_str().expect("an id");
            assert_eq!(texts(&card), [format!("about {id}")], "{way}");
            let dependencies = usize::from(id.starts_with("linked"));
            assert_eq!(
                card["dependencies"].as_array().map(Vec::len),
                Some(dependencies)
            );
        }
    }
    // A trigger of somebody's takes the direct way from all calls.
    s.run(
        "create function nothing() returns trigger language plpgsql as 'begin return new; end';
         create trigger theirs before update on mosaic.backlog for each row execute function nothing()",
    );
    s.create("late");
    note(&mut s, "late", "about late");
    s.run("delete from mosaic.backlog where id = 'plain-0'");
    let card = s.row("select * from mosaic.backlog_claim('w', id => 'late')");
    assert_eq!(texts(&card), ["about late"]);
}

#[test]
fn an_answer_has_the_last_ten_notes_and_as_much_of_their_text_as_fits() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for n in 1..=25 {
        note(&mut s, "A", &format!("note {n}"));
    }
    let card = s.card("A");
    let expected: Vec<String> = (16..=25).map(|n| format!("note {n}")).collect();
    assert_eq!(texts(&card), expected);
    assert_eq!(card["notes_total"], 25);

    s.run("select count(*) from generate_series(1, 4) n, mosaic.backlog_note('A', repeat('y', 16000 + n - n))");
    note(&mut s, "A", "the end");
    for call in ["get('A')", "claim('w')"] {
        let card = s.row(&format!(
            "select notes, notes_total, octet_length(notes::text) as bytes from mosaic.backlog_{call}"
        ));
        assert_eq!(card["notes_total"], 30);
        let notes = card["notes"].as_array().expect("an array");
        assert_eq!(notes.len(), NOTES_MAX);
        assert!(
            card["bytes"].as_u64().expect("bytes") <= NOTES_BYTES as u64,
            "{}",
            card["bytes"]
        );
        // The newest first; what does not fit leaves room for older ones.
        assert_eq!(notes[9]["note"], "the end");
        assert_eq!(notes[7]["note_omitted"], 16_002);
        let small: Vec<&str> = texts(&card)
            .into_iter()
            .filter(|t| t.starts_with("note "))
            .collect();
        assert_eq!(
            small,
            ["note 21", "note 22", "note 23", "note 24", "note 25"]
        );
        let large = texts(&card)
            .iter()
            .filter(|text| text.len() == 16_000)
            .count();
        assert_eq!(large, 1);
    }
}

#[test]
fn notes_that_no_call_would_have_written_are_named_and_cost_nothing() {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["A", "B"] {
        s.create(id);
        note(&mut s, id, "good");
    }
    let more = |detail: &str| {
        format!(
            "insert into mosaic.backlog_event
             select event_id + 1000 + n, 'A', at, kind, actor, login_role, claim_token, old_status, new_status, {detail}, horizon
             from mosaic.backlog_event, generate_series(0, 0) n where card_id = 'A' and kind = 'noted' and detail ->> 'note' = 'good'"
        )
    };
    s.run(&more(
        "(select jsonb_build_object('note', repeat('x', 300000)))",
    ));
    s.run(&more("(select jsonb_build_object('note', (select jsonb_agg(1e131071) from generate_series(1, 50))))").replace("1000", "2000"));
    s.run(&more("'[1]'").replace("1000", "3000"));
    s.run(&more("'{\"note\": \"\\u0001\"}'").replace("1000", "4000"));
    s.run("update mosaic.backlog_event set actor = repeat('a', 40000) where event_id % 1000 = 2 and event_id > 3000 and event_id < 4000");
    let card = claim(&mut s, "A");
    let notes = card["notes"].as_array().expect("an array");
    // An actor that leaves no room ends it.
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0]["note"], "\u{1}");
    assert_eq!(card["notes_total"], 5);
    s.run("update mosaic.backlog_event set actor = 'a' where kind = 'noted'");
    let card = s.card("A");
    let omitted: Vec<bool> = card["notes"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|note| note.get("note_omitted").is_some())
        .collect();
    assert_eq!(omitted, [false, true, true, true, false]);
    assert_eq!(texts(&claim(&mut s, "B")), ["good"]);
}

#[test]
fn a_card_whose_notes_cannot_be_read_is_set_aside_and_stops_nobody() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'torn', priority => 9, max_attempts => 1)");
    s.create("well");
    // Stored elsewhere, uncompressed, and then that is gone.
    s.run("alter table mosaic.backlog_event alter detail set storage external");
    note(&mut s, "torn", &"z".repeat(9000));
    let toast = s.text(
        "select reltoastrelid::regclass::text from pg_class where oid = 'mosaic.backlog_event'::regclass",
    );
    s.run(&format!(
        "create extension pg_surgery;
         select public.heap_force_kill('{toast}', array(select ctid from {toast}))"
    ));
    assert_eq!(s.claim_next("w").as_deref(), Some("well"));
    assert_eq!(s.status_in_table("torn"), "blocked");
    let reason = s.text("select block_reason from mosaic.backlog where id = 'torn'");
    assert!(reason.contains("cannot be answered"), "{reason}");
}

#[test]
fn a_note_waits_for_no_rival_for_long_and_none_is_lost() {
    const CARDS: usize = 200;
    let db = Database::fresh();
    db.session().create_numbered("c", CARDS);
    let over = AtomicBool::new(false);
    let (claimed, noted) = thread::scope(|scope| {
        let noters: Vec<_> = (0..2)
            .map(|noter| {
                let (db, over) = (&db, &over);
                scope.spawn(move || {
                    let mut s = db.session();
                    s.run("set lock_timeout = '20s'");
                    let mut count = 0;
                    for n in 0.. {
                        if over.load(Ordering::SeqCst) {
                            break;
                        }
                        note(&mut s, &format!("c{}", 1 + (n + noter) % CARDS), "hello");
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let claimers: Vec<_> = (0..2)
            .map(|_| {
                let db = &db;
                scope.spawn(move || {
                    let mut s = db.session();
                    let mut ids = Vec::new();
                    while ids.len() < CARDS {
                        match s.claim_next("w") {
                            Some(id) => ids.push(id),
                            // A note may have the last card locked at this moment.
                            None if s.truth("select claimable = 0 from mosaic.backlog_stats()") => {
                                break;
                            }
                            None => {}
                        }
                    }
                    ids
                })
            })
            .collect();
        let claimed: Vec<String> = claimers
            .into_iter()
            .flat_map(|c| c.join().expect("claims"))
            .collect();
        over.store(true, Ordering::SeqCst);
        let noted: usize = noters.into_iter().map(|n| n.join().expect("notes")).sum();
        (claimed, noted)
    });
    let mut distinct = claimed.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!((claimed.len(), distinct.len()), (CARDS, CARDS));
    let mut s = db.session();
    assert_eq!(
        s.number("select count(*) from mosaic.backlog_event where kind = 'noted'"),
        noted as i64
    );
    assert_eq!(
        s.number("select sum(notes_total) from mosaic.backlog b, mosaic.backlog_get(b.id)"),
        noted as i64
    );
}

#[test]
fn notes_at_the_same_moment_are_all_there_in_the_order_of_their_numbers() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    together(&db, 8, |n, s| {
        note(s, "A", &format!("from {n}"));
    });
    let card = s.card("A");
    let ids: Vec<i64> = card["notes"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|note| note["event_id"].as_i64().expect("a number"))
        .collect();
    assert_eq!(ids.len(), 8);
    assert!(ids.is_sorted(), "{ids:?}");
}

#[test]
fn an_answer_to_a_ready_card_is_kept_once() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "w");
    s.run(&format!(
        "select from mosaic.backlog_fail('A', {token}, 'why', '0')"
    ));
    let events = s.events();
    s.run("select from mosaic.backlog_unblock('A')");
    assert_eq!(s.events(), events);
    for _ in 0..2 {
        let card = s.row("select status, attempts from mosaic.backlog_unblock('A', 'like this')");
        assert_eq!(card, json!({"status": "ready", "attempts": 1}));
        assert_eq!(s.events(), events + 1);
    }
    assert_eq!(claim(&mut s, "A")["last_answer"], "like this");
    let refused = s.refusal("select * from mosaic.backlog_unblock('A', 'too late')");
    assert_eq!(refused.code, "bad_transition");
    assert!(refused.hint.contains("note"), "{}", refused.hint);
}

#[test]
fn a_renewal_that_fails_writes_no_note() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "w");
    assert_eq!(
        s.code(&format!(
            "select mosaic.backlog_renew('A', {}, note => 'x')",
            token + 1
        )),
        "claim_lost"
    );
    assert_eq!(s.card("A")["notes_total"], 0);
    s.run(&format!(
        "select mosaic.backlog_renew('A', {token}, note => 'x')"
    ));
    let kinds = "select kind from mosaic.backlog_events('A', max_events => 10) order by event_id";
    assert_eq!(s.column(kinds), ["created", "claimed", "renewed", "noted"]);
}

#[test]
fn notes_travel_with_an_export() {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["A", "B", "silent"] {
        s.create(id);
    }
    note(&mut s, "A", "first");
    let token = s.claim("B", "w");
    s.run(&format!(
        "select from mosaic.backlog_release('B', {token}, reason => 'lunch')"
    ));
    let token = s.claim("silent", "w");
    s.run(&format!(
        "select from mosaic.backlog_release('silent', {token})"
    ));
    let lines = s.text("select jsonb_agg(line::jsonb)::text from mosaic.backlog_export() line");
    let there = Database::fresh();
    let mut t = there.session();
    t.run(&format!(
        "select from mosaic.backlog_import({})",
        quote(&lines)
    ));
    assert_eq!(
        t.column("select id from mosaic.backlog where linked order by id"),
        ["A", "B"]
    );
    assert_eq!(texts(&claim(&mut t, "A")), ["first"]);
    assert_eq!(claim(&mut t, "B")["last_release"], "lunch");
    // Without the history there is nothing to tell.
    let bare = Database::fresh();
    let mut b = bare.session();
    b.run(&format!(
        "select from mosaic.backlog_import({}, with_events => false)",
        quote(&lines)
    ));
    assert_eq!(claim(&mut b, "A")["notes_total"], 0);
}

#[test]
fn notes_that_0_1_0_did_not_know_come_with_the_update() {
    let db = Database::bare();
    let mut s = db.session();
    s.run("create extension mosaic_backlog_ext version '0.1.0'");
    s.create("A");
    let token = s.claim("A", "w");
    s.run(&format!(
        "select from mosaic.backlog_release('A', {token}, reason => 'before')"
    ));
    s.run("alter extension mosaic_backlog_ext update");
    assert_eq!(s.card("A")["last_release"], "before");
    let event = note(&mut s, "A", "after");
    assert_eq!(event["kind"], "noted");
    let card = claim(&mut s, "A");
    assert_eq!(
        (texts(&card), &card["last_release"]),
        (vec!["after"], &json!("before"))
    );
}

#[test]
fn a_claim_writes_no_index_of_notes() {
    let db = Database::fresh();
    let mut s = db.session();
    for n in 0..20 {
        s.create(&format!("c{n}"));
        let token = s.claim(&format!("c{n}"), "w");
        s.run(&format!("select mosaic.backlog_renew('c{n}', {token})"));
        s.run(&format!(
            "select from mosaic.backlog_complete('c{n}', {token})"
        ));
    }
    s.run("create extension if not exists pageinspect");
    let items = "select coalesce(sum(live_items), 0) from generate_series(1, pg_relation_size('mosaic.backlog_event_said') / 8192 - 1) n,
                 public.bt_page_stats('mosaic.backlog_event_said', n::int)";
    assert_eq!(s.number(items), 0);
    note(&mut s, "c1", "x");
    assert_eq!(s.number(items), 1);
}
