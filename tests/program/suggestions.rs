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
