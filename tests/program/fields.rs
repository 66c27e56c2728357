//! `--fields` and `--quiet`: no more of an answer than is wanted.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{Outcome, backlog, mosaic};
use serde_json::json;

use super::shapes::keys;

fn run(db: &Database, arguments: &[&str]) -> Outcome {
    let mut all = vec!["backlog"];
    all.extend(arguments);
    mosaic(&all).on(db).run()
}

#[track_caller]
fn text(db: &Database, arguments: &[&str]) -> String {
    let outcome = run(db, arguments);
    assert_eq!(
        (outcome.exit, outcome.stderr.as_str()),
        (0, ""),
        "{arguments:?}"
    );
    outcome.stdout
}

/// Each verb that prints cards, in an order in which all of them succeed, and the keys beside the
/// cards. `TOKEN` is that of the last claim.
const VERBS: [(&[&str], &[&str]); 17] = [
    (&["create", "t", "--id", "A"], &["card", "created"]),
    (&["create", "t", "--id", "B"], &["card", "created"]),
    (&["list"], &["cards", "next"]),
    (&["show", "A"], &["card"]),
    (&["link", "B", "--needs", "A"], &["card"]),
    (&["unlink", "B", "--needs", "A"], &["card"]),
    (&["update", "A", "--priority", "5"], &["card"]),
    (&["claim", "A", "--worker", "w"], &["cards"]),
    (&["release", "A", "--token", "TOKEN"], &["card"]),
    (&["claim", "A", "--worker", "w"], &["cards"]),
    (
        &["fail", "A", "--token", "TOKEN", "--reason", "r"],
        &["card"],
    ),
    (&["block", "A", "--reason", "r"], &["card"]),
    (&["unblock", "A"], &["card"]),
    (&["complete", "A"], &["card", "unblocked"]),
    (&["cancel", "B", "--reason", "r"], &["cards"]),
    (&["reopen", "A", "--reason", "r"], &["cards"]),
    (&["show", "B"], &["card"]),
];

/// Runs all verbs, with more arguments; `check` sees each answer.
fn every_verb(more: &[&str], check: impl Fn(&[&str], &[&str], Outcome)) {
    let db = Database::fresh();
    for (call, beside) in VERBS {
        let sql = "select coalesce(max(claim_token), 0) from mosaic.backlog";
        let token = db.session().number(sql).to_string();
        let mut all: Vec<&str> = call
            .iter()
            .map(|word| {
                if *word == "TOKEN" {
                    token.as_str()
                } else {
                    word
                }
            })
            .collect();
        all.extend(more);
        let outcome = run(&db, &all);
        assert_eq!(outcome.exit, 0, "{all:?}: {outcome:?}");
        check(call, beside, outcome);
    }
}

#[test]
fn every_verb_that_prints_cards_prints_the_fields_that_were_asked_for() {
    every_verb(
        &["--fields", "title,id", "--json"],
        |call, beside, outcome| {
            let document = outcome.json(0);
            assert_eq!(keys(&document), beside, "{call:?}");
            let card = document.get("card").unwrap_or(&document["cards"][0]);
            assert_eq!(keys(card), ["title", "id"], "{call:?}");
            assert_eq!(card["title"], "t");
        },
    );
}

#[test]
fn every_verb_that_prints_cards_can_print_ids_alone() {
    every_verb(&["--quiet"], |call, _, outcome| {
        let expected = match call {
            ["list", ..] => "A\nB\n",
            ["link" | "unlink" | "cancel", ..] | ["show" | "create", .., "B"] => "B\n",
            _ => "A\n",
        };
        assert_eq!(outcome.stdout, expected, "{call:?}");
        assert_eq!(outcome.stderr, "", "{call:?}");
    });
}

#[test]
fn people_get_a_table_or_lines_of_the_fields_and_what_stands_beside() {
    let db = Database::fresh();
    let created = text(
        &db,
        &[
            "create", "One", "--id", "A", "--body", "x\ny", "--fields", "id,body",
        ],
    );
    assert_eq!(created, "id    A\nbody  x\n      y\ncreated  true\n");
    text(
        &db,
        &["create", "Two", "--id", "B", "--label", "l", "--label", "m"],
    );
    assert_eq!(
        text(&db, &["list", "--limit", "1", "--fields", "title,id"])
            .lines()
            .next(),
        Some("TITLE  ID")
    );
    let page = text(&db, &["list", "--limit", "1", "--fields", "id"]);
    assert!(
        page.contains("next ") && page.contains("total  2"),
        "{page}"
    );
    assert_eq!(
        text(&db, &["list", "--fields", "labels,id"]),
        "LABELS  ID\n        A\nl, m    B\ntotal  2\n"
    );
    // Long values are whole.
    let long = "x".repeat(1000);
    text(&db, &["create", &long, "--id", "C"]);
    assert!(text(&db, &["list", "--fields", "title,id"]).contains(&long));
}

#[test]
fn the_known_fields_are_those_of_the_cards() {
    let db = Database::fresh();
    db.session().create("A");
    for call in [&["show", "A"][..], &["claim", "A"]] {
        let document = backlog(call).on(&db).json();
        let card = document.get("card").unwrap_or(&document["cards"][0]);
        let mut all = vec!["backlog"];
        all.extend(call);
        all.extend(["--fields", "nonsense"]);
        let refused = mosaic(&all).on(&db).run();
        assert_eq!(refused.exit, 2);
        let known = keys(card).join(", ");
        assert!(refused.stderr.contains(&known), "{call:?}: {refused:?}");
    }
    let line = "{\"title\": \"t\"}";
    let document = backlog(&["create", "--batch", "-", "--fields", "created"])
        .on(&db)
        .input(line)
        .json();
    assert_eq!(document, json!({"cards": [{"created": true}]}));
}

#[test]
fn a_claim_says_that_there_is_nothing_in_every_shape() {
    let db = Database::fresh();
    let claim = |more: &[&str]| {
        let mut all = vec!["claim"];
        all.extend(more);
        let outcome = run(&db, &all);
        assert_eq!(outcome.exit, 3);
        outcome.stdout
    };
    assert_eq!(claim(&["--fields", "id"]), "nothing to claim\n");
    assert_eq!(claim(&["--fields", "id", "--json"]), "{\"cards\":[]}\n");
    assert_eq!(claim(&["--quiet"]), "");
}

#[test]
fn a_quiet_list_that_is_cut_warns() {
    let db = Database::fresh();
    db.session().create_numbered("c", 3);
    let outcome = run(&db, &["list", "-q", "--limit", "2"]);
    assert_eq!(outcome.stdout.lines().count(), 2);
    assert!(outcome.stderr.contains("--after"), "{outcome:?}");
    let cursor = outcome.stderr.trim().rsplit(' ').next().expect("a cursor");
    let rest = run(&db, &["list", "-q", "--limit", "2", "--after", cursor]);
    assert_eq!(rest.stdout.lines().count(), 1);
    assert_eq!(rest.stderr, "");
}

#[test]
fn verbs_that_print_no_cards_are_silent_when_quiet_or_refuse_it() {
    let db = Database::fresh();
    let mut session = db.session();
    session.create("A");
    let token = session.claim("A", "w");
    assert_eq!(
        text(&db, &["renew", "A", "--token", &token.to_string(), "-q"]),
        ""
    );
    assert_eq!(text(&db, &["reclaim", "A", "--force", "-q"]), "A\n");
    for call in [&["stats"][..], &["why", "A"], &["events"]] {
        let mut all = call.to_vec();
        all.push("--quiet");
        assert_eq!(run(&db, &all).exit, 2, "{call:?}");
    }
}

#[test]
fn what_cannot_be_given_is_refused_before_anything_is_done() {
    let db = Database::fresh();
    let mut session = db.session();
    session.create("A");
    for call in [
        &["claim", "--fields", "id,nonsense"][..],
        &["claim", "--fields", "id,id"],
        &["claim", "--fields", ""],
        &["claim", "--fields", "id,,title"],
        &["claim", "--fields", "id", "-q"],
        &["claim", "--json", "-q"],
        &["claim", "-v", "-q"],
        &["list", "--count", "-q"],
        &["stats", "--fields", "ready"],
        &["renew", "A", "--token", "1", "--fields", "id"],
        &["claim", "--color", "sometimes"],
    ] {
        let outcome = run(&db, call);
        assert_eq!(outcome.exit, 2, "{call:?}: {outcome:?}");
    }
    // Also where one of the flags stands before the verb.
    let outcome = mosaic(&["--json", "backlog", "claim", "-q"]).on(&db).run();
    assert_eq!(outcome.json(2)["error"]["code"], "usage");
    let held = "select count(*) from mosaic.backlog where status = 'claimed'";
    assert_eq!(session.number(held), 0);
}
