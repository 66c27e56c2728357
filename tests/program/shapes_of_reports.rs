//! The document that each verb prints that only looks.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::backlog;
use mosaic_backlog_tests::wait;
use serde_json::{Value, json};

use crate::shapes::{assert_card, database, keys};

/// Events, once so many are shown: transactions of other databases hold the newest back.
fn shown_events(db: &Database, count: usize) -> Value {
    wait::until("the events are shown", || {
        let document = backlog(&["events", "--limit", "10"]).on(db).json();
        (document["events"].as_array().map(Vec::len) == Some(count)).then_some(document)
    })
}

#[test]
fn list() {
    let db = database();
    db.session().create_numbered("c", 5);
    let document = backlog(&["list", "--limit", "2"]).on(&db).json();
    assert_eq!(keys(&document), ["cards", "next"]);
    assert_card(&document["cards"][0], &[]);
    let next = document["next"].as_str().expect("a cursor");
    let document = backlog(&["list", "--limit", "3", "--after", next, "--count"])
        .on(&db)
        .json();
    assert_eq!(keys(&document), ["cards", "next", "total"]);
    assert_eq!(document["cards"].as_array().map(Vec::len), Some(3));
    assert_eq!(document["next"], Value::Null);
    assert_eq!(document["total"], 5);
    assert_eq!(
        backlog(&["list", "--phase", "none", "--count"])
            .on(&db)
            .json(),
        json!({"cards": [], "next": null, "total": 0})
    );
}

#[test]
fn list_passes_every_filter_on() {
    let db = database();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('t', id => 'A', phase => 'p', labels => '{x,y}');
         select from mosaic.backlog_create('t', id => 'B', phase => 'p', labels => '{x}');
         select from mosaic.backlog_create('t', id => 'C', depends_on => '{A}');
         select from mosaic.backlog_claim('w', id => 'B')",
    );
    for (arguments, expected) in [
        (&["--ready"][..], &["A"][..]),
        (&["--status", "claimed"], &["B"]),
        (
            &["--status", "claimed", "--status", "ready"],
            &["A", "B", "C"],
        ),
        (&["--phase", "p"], &["A", "B"]),
        (&["--label", "x", "--label", "y"], &["A"]),
        (&["--owner", "w"], &["B"]),
    ] {
        let mut call = vec!["list"];
        call.extend(arguments);
        let document = backlog(&call).on(&db).json();
        let ids: Vec<&str> = document["cards"]
            .as_array()
            .expect("cards")
            .iter()
            .filter_map(|card| card["id"].as_str())
            .collect();
        assert_eq!(ids, expected, "{arguments:?}");
    }
}

#[test]
fn stats() {
    let db = database();
    let mut s = db.session();
    s.create_numbered("c", 2);
    s.claim("c1", "w1");
    let document = backlog(&["stats"]).on(&db).json();
    for (key, value) in [
        ("ready", json!(1)),
        ("claimed", json!(1)),
        ("blocked", json!(0)),
        ("done", json!(0)),
        ("cancelled", json!(0)),
        ("claimable", json!(1)),
        ("gated", json!(0)),
        ("deferred", json!(0)),
        ("expired_leases", json!(0)),
        ("by_owner", json!({"w1": 1})),
    ] {
        assert_eq!(document[key], value, "{key}");
    }
    assert!(document["oldest_claimable_seconds"].is_number());
    assert_eq!(keys(&document).len(), 19);
}

#[test]
fn why() {
    let db = database();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.claim("A", "w");
    let document = backlog(&["why", "B"]).on(&db).json();
    assert_eq!(keys(&document), ["id", "claimable", "reasons"]);
    assert_eq!(document["claimable"], false);
    assert_eq!(document["reasons"][0]["kind"], "open_dependency");
    assert_eq!(document["reasons"][0]["id"], "A");
    assert_eq!(document["reasons"][0]["status"], "claimed");
    s.create("C");
    assert_eq!(
        backlog(&["why", "C"]).on(&db).json(),
        json!({"id": "C", "claimable": true, "reasons": []})
    );
}

#[test]
fn events() {
    let db = database();
    let mut s = db.session();
    s.create("A");
    s.complete("A");
    let document = shown_events(&db, 2);
    assert_eq!(keys(&document), ["events", "next"]);
    assert_eq!(
        keys(&document["events"][0]),
        [
            "event_id",
            "card_id",
            "at",
            "kind",
            "actor",
            "login_role",
            "claim_token",
            "old_status",
            "new_status",
            "detail"
        ]
    );
    let next = document["next"].as_str().expect("a cursor");
    let rest = backlog(&["events", "--after", next]).on(&db).json();
    assert_eq!(rest["events"], json!([]));
}

#[test]
fn times_are_rfc_3339_in_utc_whatever_the_session_says() {
    let db = database();
    db.session().run(&format!(
        "alter database {} set timezone = 'Asia/Tokyo'; alter database {0} set datestyle = 'German'",
        db.name()
    ));
    let card = &backlog(&["create", "t", "--not-before", "2031-01-01T00:00:00Z"])
        .on(&db)
        .json()["card"];
    for (key, time) in [
        ("created_at", "2030-01-01T12:00:00"),
        ("not_before", "2031-01-01T00:00:00"),
    ] {
        let text = card[key].as_str().expect("a time");
        assert!(text.starts_with(time), "{key}: {text}");
        assert!(
            text.ends_with("+00:00") || text.ends_with('Z'),
            "{key}: {text}"
        );
    }
    let event = shown_events(&db, 1)["events"][0].clone();
    assert!(
        event["at"]
            .as_str()
            .expect("a time")
            .starts_with("2030-01-01T12:00:00"),
        "{event}"
    );
}
