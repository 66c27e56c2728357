//! Notes and answers on the command line: where their text comes from, and who gets to see it.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{backlog, mosaic};
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::{folder, programs};
use serde_json::{Value, json};

/// A card that is held, and its token.
fn held(db: &Database) -> (Session, String) {
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "w").to_string();
    (s, token)
}

fn last_note(s: &mut Session) -> String {
    s.text("select notes -> -1 ->> 'note' from mosaic.backlog_get('A')")
}

#[test]
fn a_note_comes_from_an_argument_a_file_or_standard_input() {
    let db = Database::fresh();
    let (mut s, token) = held(&db);
    let document = backlog(&["note", "A", "look in git", "--actor", "boss"])
        .on(&db)
        .json();
    let event = &document["event"];
    assert_eq!(
        (&event["kind"], &event["actor"], &event["detail"]["note"]),
        (&json!("noted"), &json!("boss"), &json!("look in git"))
    );
    assert!(event["event_id"].is_i64() && event.get("cursor").is_none());
    let folder = folder::create();
    let file = folder.join("log");
    let path = file.to_str().expect("UTF-8");
    for (bytes, told) in [
        (b"one\ntwo\n".to_vec(), "one\ntwo".to_owned()),
        (b"caf\xe9\0!".to_vec(), "caf\u{fffd}\u{fffd}!".to_owned()),
    ] {
        std::fs::write(&file, bytes).expect("a file");
        backlog(&["note", "A", "--note-file", path]).on(&db).json();
        assert_eq!(last_note(&mut s), told);
    }
    std::fs::write(&file, "é".repeat(20_000) + " the end").expect("a file");
    backlog(&["renew", "A", "--token", &token, "--note-file", path])
        .on(&db)
        .json();
    let kept = last_note(&mut s);
    assert!(
        kept.len() <= 16_384 && kept.ends_with(" the end"),
        "{}",
        kept.len()
    );
    assert!(kept.starts_with("[the beginning was left out]"));
    backlog(&["note", "A", "--note-file", "-"])
        .input("from a pipe\n")
        .on(&db)
        .json();
    assert_eq!(last_note(&mut s), "from a pipe");
    backlog(&["note", "A", "- a list\n- of two"]).on(&db).json();
    assert_eq!(last_note(&mut s), "- a list\n- of two");
}

#[test]
fn bad_words_are_refused_and_change_nothing() {
    let db = Database::fresh();
    let (mut s, token) = held(&db);
    let folder = folder::create();
    let empty = folder.join("empty");
    std::fs::write(&empty, " \n").expect("a file");
    let empty = empty.to_str().expect("UTF-8");
    let events = s.events();
    for call in [
        &["note", "A"][..],
        &["note", "A", ""],
        &["note", "A", "-"],
        &["note", "A", "@notes.md"],
        &["note", "A", "--note-file", empty],
        &["note", "A", "--note-file", "/no/such/file"],
        &["note", "A", "x", "--note-file", empty],
        &["note", "", "x"],
        &["unblock", "A", "--answer", ""],
        &["unblock", "A", "--answer", "@answer"],
        &["unblock", "A", "--answer-file", empty],
        &["list", "--search", ""],
        &["list", "--search", "-"],
    ] {
        assert_eq!(backlog(call).on(&db).code(2), "usage", "{call:?}");
    }
    assert_eq!(backlog(&["note", "none", "x"]).on(&db).code(5), "not_found");
    assert_eq!(
        backlog(&["note", "A", "x", "--token", "999"])
            .on(&db)
            .code(6),
        "claim_lost"
    );
    assert_eq!(s.events(), events);
    // A lease is not lost for want of words.
    let outcome = backlog(&["renew", "A", "--token", &token, "--note", " "])
        .on(&db)
        .run();
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    assert!(
        outcome.stderr.contains("--note must not be empty"),
        "{outcome:?}"
    );
    assert_eq!(s.events(), events + 1);
}

#[test]
fn people_are_told_what_was_said() {
    let db = Database::fresh();
    let (mut s, token) = held(&db);
    let call = |arguments: &[&str]| {
        let outcome = mosaic(&[&["backlog"], arguments].concat()).on(&db).run();
        assert_eq!(outcome.exit, 0, "{arguments:?}: {outcome:?}");
        outcome.stdout
    };
    assert_eq!(
        call(&["note", "A", "two\nlines", "--token", &token]),
        "A noted by w: two lines\n"
    );
    s.run(&format!(
        "select from mosaic.backlog_block('A', 'tabs?', 'input', {token})"
    ));
    call(&["unblock", "A", "--answer", "spaces"]);
    let claimed = call(&["claim", "--worker", "x"]);
    let lines: Vec<&str> = claimed.lines().skip(1).collect();
    assert_eq!(
        lines,
        ["  answer: spaces", "  1 note, the last by w: two lines"]
    );
    for n in 0..12 {
        call(&["note", "A", &format!("n{n}"), "--actor", "boss"]);
    }
    let page = call(&["show", "A"]);
    assert!(page.contains("answer      spaces\n"), "{page}");
    assert!(page.contains("\nnotes (the last 10 of 13)\n"), "{page}");
    assert!(
        page.contains(" boss: n11\n") && !page.contains(" boss: n1\n"),
        "{page}"
    );
    assert_eq!(call(&["note", "A", "quiet", "--quiet"]), "");
    assert!(call(&["events", "A", "--limit", "1000"]).contains("noted"));
}

#[test]
fn a_list_is_searched() {
    let db = Database::fresh();
    let mut s = db.session();
    for (id, title) in [
        ("A", "Parse the CONFIG"),
        ("B", "Write it"),
        ("C", "Config, done"),
    ] {
        s.run(&format!(
            "select from mosaic.backlog_create('{title}', id => '{id}')"
        ));
    }
    s.complete("C");
    backlog(&["note", "B", "the config is YAML"]).on(&db).json();
    let ids = |arguments: &[&str]| {
        let document = backlog(&[&["list"], arguments].concat()).on(&db).json();
        let cards = document["cards"].as_array().expect("cards").clone();
        cards
            .iter()
            .map(|card| card["id"].clone())
            .collect::<Vec<Value>>()
    };
    assert_eq!(ids(&["--search", "config"]), ["A", "B"]);
    assert_eq!(ids(&["--search", "config yaml"]), ["B"]);
    assert_eq!(ids(&["--search", "config", "--all"]), ["A", "B", "C"]);
    assert_eq!(ids(&["--search", "config", "--status", "done"]), ["C"]);
    assert!(ids(&["--search", "100%"]).is_empty());
    let many = ["w"; 21].join(" ");
    assert_eq!(
        backlog(&["list", "--search", &many]).on(&db).code(2),
        "invalid_argument"
    );
}

#[test]
fn a_command_of_run_finds_the_notes_with_its_card() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("select from mosaic.backlog_note('A', 'look in git')");
    // The program under test, not one that is on the path.
    let program = programs::mosaic();
    let script = format!(
        "grep -q 'look in git' \"$MOSAIC_CARD_FILE\" &&
         {} backlog note A 'found it' --quiet --token \"$MOSAIC_CLAIM_TOKEN\"",
        program.display()
    );
    let outcome = mosaic(&["backlog", "run", "--worker", "w", "--", "sh", "-c", &script])
        .on(&db)
        .run();
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    assert_eq!(s.status("A"), "done");
    let said = s.rows(
        "select actor, detail ->> 'note' as note from mosaic.backlog_event where kind = 'noted' order by event_id",
    );
    assert_eq!(said[1], json!({"actor": "w", "note": "found it"}));
}

#[test]
fn it_works_with_a_database_that_has_no_notes_yet() {
    let db = Database::bare();
    db.session()
        .run("create extension mosaic_backlog_ext version '0.1.0'");
    backlog(&["create", "t", "--id", "A"]).on(&db).json();
    assert_eq!(backlog(&["show", "A"]).on(&db).json()["card"]["id"], "A");
    assert_eq!(
        backlog(&["note", "A", "x"]).on(&db).code(4),
        "not_installed"
    );
    assert_eq!(
        backlog(&["list", "--search", "x"]).on(&db).code(4),
        "not_installed"
    );
}
