//! Who mistypes something is told what is near it.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{backlog, mosaic};

fn hint(db: &Database, call: &[&str], exit: i32) -> String {
    let document = backlog(call).on_as(db, "operator").run().json(exit);
    document["error"]["hint"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn an_unknown_id_suggests_the_nearest() {
    let db = Database::fresh();
    let mut session = db.session();
    for id in ["A4", "B7", "parse-config"] {
        session.create(id);
    }
    for (call, near) in [
        (&["show", "A44"][..], "A4"),
        (&["show", "a4"], "A4"),
        (&["why", "A44"], "A4"),
        (&["reopen", "parse_config", "--reason", "r"], "parse-config"),
        (&["complete", "prase-config"], "parse-config"),
        (&["claim", "B77"], "B7"),
        (&["link", "A4", "--needs", "parse-confg"], "parse-config"),
        (&["create", "t", "--needs", "B77"], "B7"),
    ] {
        let hint = hint(&db, call, 5);
        assert!(
            hint.starts_with(&format!("Did you mean \"{near}\"? ")),
            "{call:?}: {hint:?}"
        );
    }
    for call in [&["show", "nothing"][..], &["show", "Z"]] {
        let hint = hint(&db, call, 5);
        assert!(
            !hint.is_empty() && !hint.contains("Did you mean"),
            "{call:?}: {hint:?}"
        );
    }
}

#[test]
fn many_that_are_equally_near_are_no_suggestion() {
    let db = Database::fresh();
    db.session().create_numbered("c", 9);
    assert!(!hint(&db, &["show", "cX"], 5).contains("Did you mean"));
}

#[test]
fn the_look_at_the_ids_is_bounded_and_changes_nothing_about_the_error() {
    let db = Database::fresh();
    let mut session = db.session();
    session.create_numbered("c", 30_000);
    let events = session.events();
    let start = std::time::Instant::now();
    let outcome = mosaic(&["backlog", "show", "card-none"]).on(&db).run();
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    assert_eq!(outcome.exit, 5, "{outcome:?}");
    assert!(
        outcome
            .stderr
            .starts_with("error: card \"card-none\" does not exist\n")
    );
    assert_eq!(session.events(), events);
}

#[test]
fn an_unknown_command_flag_or_value_suggests_the_nearest() {
    let db = Database::fresh();
    for (call, near) in [
        (&["shw", "A"][..], "show"),
        (&["list", "--redy"], "--ready"),
        (&["list", "--status", "redy"], "ready"),
        (&["list", "--fields", "titel"], "title"),
    ] {
        let hint = hint(&db, call, 2);
        assert_eq!(hint, format!("Did you mean \"{near}\"?"), "{call:?}");
    }
}

#[test]
fn the_words_of_other_trackers_have_an_answer_and_none_does_harm() {
    let db = Database::fresh();
    for (call, answer) in [
        (
            &["comment", "A", "text"][..],
            "`mosaic backlog note ID TEXT`",
        ),
        (&["annotate", "A", "text"], "`mosaic backlog note ID TEXT`"),
        (
            &["update", "A", "--notes", "text"],
            "`mosaic backlog note ID TEXT`",
        ),
        (
            &["create", "t", "--comment", "text"],
            "`mosaic backlog note ID TEXT`",
        ),
        (
            &["renew", "A", "--token", "1", "--comment", "c"],
            "--note TEXT",
        ),
        (&["unblock", "A", "--comment", "c"], "--answer TEXT"),
        (
            &["answer", "A", "text"],
            "`mosaic backlog unblock ID --answer TEXT`",
        ),
        (&["list", "--query", "text"], "--search WORDS"),
        (&["find", "text"], "`mosaic backlog list --search WORDS`"),
        (&["grep", "text"], "`mosaic backlog list --search WORDS`"),
        (&["close", "A"], "`mosaic backlog complete ID --token N`"),
        (&["done", "A"], "`mosaic backlog complete ID --token N`"),
        (&["next"], "`mosaic backlog claim`"),
        (&["ready"], "`mosaic backlog list --ready`"),
        (&["start", "A"], "`mosaic backlog claim`"),
        (&["lock", "A"], "`mosaic backlog claim`"),
        (&["unlock", "A"], "`mosaic backlog release ID --token N`"),
        (&["delete", "A"], "`mosaic backlog cancel ID --reason TEXT`"),
        (&["rm", "A"], "`mosaic backlog cancel ID --reason TEXT`"),
        (&["search", "text"], "`mosaic backlog list --search WORDS`"),
        (&["add", "t"], "`mosaic backlog create TITLE`"),
        (&["dep", "A", "B"], "`mosaic backlog link ID --needs ID`"),
        (&["view", "A"], "`mosaic backlog show ID`"),
        (&["heartbeat", "A"], "`mosaic backlog renew ID --token N`"),
        (
            &["complete", "A", "--worker", "w", "--token", "1"],
            "--token N",
        ),
        (&["complete", "A", "--message", "done"], "--result JSON"),
        (&["renew", "A", "--worker", "w"], "--token N"),
        (
            &["create", "--title", "t"],
            "The title is given without an option",
        ),
        (&["create", "t", "--description", "text"], "--body TEXT"),
        (&["create", "t", "-d", "text"], "--body TEXT"),
        (&["create", "t", "-p", "1"], "--priority N"),
        (&["create", "t", "--deps", "A"], "--needs ID"),
        (&["create", "t", "--depends-on", "A"], "--needs ID"),
        (&["create", "t", "--depends_on", "A"], "--needs ID"),
        (&["create", "t", "--labels", "a"], "--label LABEL"),
        (
            &["update", "A", "--add-label", "a"],
            "--label replaces the whole list",
        ),
        (
            &["update", "A", "--status", "done"],
            "The status follows from what is done",
        ),
        (&["list", "--assignee", "w"], "--owner WORKER"),
        (&["claim", "--lease", "1h"], "--ttl DURATION"),
        (&["claim", "--limit", "2"], "--max N"),
        (
            &["fail", "A", "--token", "1", "--message", "why"],
            "--reason TEXT",
        ),
        (
            &["show", "--id", "A"],
            "The card's id is given without an option.",
        ),
        (&["list", "--output", "x"], "--json"),
    ] {
        let hint = hint(&db, call, 2);
        assert!(hint.contains(answer), "{call:?}: {hint}");
        assert!(!hint.contains("--force"), "{call:?}: {hint}");
    }
    let outcome = mosaic(&["claim"]).on(&db).run();
    assert!(
        outcome.stderr.contains("`mosaic backlog claim`"),
        "{outcome:?}"
    );
    // Near to something that does more than was asked for, or near to nothing.
    for call in [
        &["complete", "A", "--forc"][..],
        &["cancel", "A", "--reason", "r", "--forced"],
        &["cancel", "A", "--reason", "r", "--cascad"],
        &["list", "--zzzz"],
        &["frobnicate"],
        &["list", "-x"],
    ] {
        let hint = hint(&db, call, 2);
        assert_eq!(
            hint, "`--help` after the command shows its arguments and an example.",
            "{call:?}"
        );
    }
    // What clap itself takes for near is not told either.
    let outcome = mosaic(&["backlog", "complete", "A", "--forc"])
        .on(&db)
        .run();
    assert!(
        !outcome.stderr.contains("--force\n") && !outcome.stderr.contains("tip"),
        "{outcome:?}"
    );
}

#[test]
fn an_id_that_differs_in_its_digits_is_another_card_where_that_would_do_harm() {
    let db = Database::fresh();
    let mut session = db.session();
    for id in ["A4", "parse-config"] {
        session.create(id);
    }
    for call in [
        &["complete", "A44"][..],
        &["cancel", "A44", "--reason", "r"],
        &["block", "A5", "--reason", "r"],
        &["update", "A14", "--priority", "1"],
    ] {
        assert!(!hint(&db, call, 5).contains("Did you mean"), "{call:?}");
    }
    for (call, near) in [
        (&["complete", "a4"][..], "A4"),
        (&["cancel", "parse-confg", "--reason", "r"], "parse-config"),
        (&["show", "A44"], "A4"),
    ] {
        let hint = hint(&db, call, 5);
        assert!(
            hint.starts_with(&format!("Did you mean \"{near}\"?")),
            "{call:?}: {hint}"
        );
    }
}

#[test]
fn cards_that_are_done_are_near_as_well() {
    let db = Database::fresh();
    let mut session = db.session();
    session.create("parse-config");
    session.complete("parse-config");
    assert!(hint(&db, &["show", "parse-confg"], 5).starts_with("Did you mean \"parse-config\"?"));
}
