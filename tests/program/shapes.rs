//! The document that each verb prints.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{backlog, mosaic};
use mosaic_backlog_tests::wait;
use serde_json::{Value, json};

const CARD: [&str; 26] = [
    "id",
    "title",
    "body",
    "phase",
    "labels",
    "requires",
    "priority",
    "status",
    "acceptance",
    "idempotency_key",
    "not_before",
    "claim_owner",
    "claim_token",
    "claim_ttl_seconds",
    "claimed_at",
    "claim_expires_at",
    "attempts",
    "max_attempts",
    "block_kind",
    "block_reason",
    "result",
    "open_dependencies",
    "created_at",
    "updated_at",
    "completed_at",
    "depends_on",
];

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"))
        .keys()
        .map(String::as_str)
        .collect()
}

#[track_caller]
fn assert_card(card: &Value, more: &[&str]) {
    let mut expected = CARD.to_vec();
    expected.extend(more);
    assert_eq!(keys(card), expected);
}

/// A database whose clock stands still.
fn database() -> Database {
    let db = Database::fresh();
    db.fix_clock("2030-01-01 12:00+00");
    db
}

/// Events, once so many are shown: transactions of other databases hold the newest back.
fn shown_events(db: &Database, count: usize) -> Value {
    wait::until("the events are shown", || {
        let document = backlog(&["events", "--limit", "10"]).on(db).json();
        (document["events"].as_array().map(Vec::len) == Some(count)).then_some(document)
    })
}

#[test]
fn create() {
    let db = database();
    let document = backlog(&[
        "create",
        "Parse it",
        "--id",
        "A1",
        "--body",
        "b",
        "--phase",
        "p",
        "--priority",
        "-3",
        "--label",
        "x",
        "--label",
        "y",
        "--requires",
        "gpu",
        "--acceptance",
        "{\"n\": 1.50}",
        "--idempotency-key",
        "k",
        "--not-before",
        "2031-01-01T02:00:00+02:00",
        "--max-attempts",
        "4",
    ])
    .on(&db)
    .json();
    assert_eq!(keys(&document), ["card", "created"]);
    assert_eq!(document["created"], true);
    let card = &document["card"];
    assert_card(card, &[]);
    for (key, value) in [
        ("id", json!("A1")),
        ("title", json!("Parse it")),
        ("priority", json!(-3)),
        ("labels", json!(["x", "y"])),
        ("requires", json!(["gpu"])),
        ("acceptance", json!({"n": 1.5})),
        ("max_attempts", json!(4)),
        ("status", json!("ready")),
        ("result", json!(null)),
        ("depends_on", json!([])),
    ] {
        assert_eq!(card[key], value, "{key}");
    }
    let again = backlog(&[
        "create",
        "Parse it",
        "--id",
        "A1",
        "--body",
        "b",
        "--phase",
        "p",
        "--priority",
        "-3",
        "--label",
        "y",
        "--label",
        "x",
        "--requires",
        "gpu",
        "--acceptance",
        "{\"n\":1.50}",
        "--idempotency-key",
        "k",
        "--not-before",
        "2031-01-01T00:00:00Z",
        "--max-attempts",
        "4",
    ])
    .on(&db)
    .json();
    assert_eq!(again["created"], false);
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

#[test]
fn create_a_batch() {
    let db = database();
    let lines =
        "{\"title\":\"b\",\"id\":\"B\",\"depends_on\":[\"A\"]}\n\n{\"title\":\"a\",\"id\":\"A\"}\n";
    let expected = json!({"cards": [{"id": "B", "created": true}, {"id": "A", "created": true}]});
    assert_eq!(
        backlog(&["create", "--batch", "-"])
            .on(&db)
            .input(lines)
            .json(),
        expected
    );
    let folder = mosaic_backlog_tests::folder::create();
    let file = folder.join("batch");
    std::fs::write(&file, "{\"title\":\"c\",\"id\":\"C\"}").expect("write");
    let document = backlog(&["create", "--batch", file.to_str().expect("UTF-8")])
        .on(&db)
        .json();
    assert_eq!(document, json!({"cards": [{"id": "C", "created": true}]}));
    std::fs::remove_dir_all(folder).expect("remove");
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
fn claim() {
    let db = database();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.run("select from mosaic.backlog_complete('A', result => '{\"commit\": \"abc\"}')");
    let document = backlog(&["claim", "--worker", "w1", "--ttl", "90s"])
        .on(&db)
        .json();
    assert_eq!(keys(&document), ["cards"]);
    let card = &document["cards"][0];
    assert_card(card, &["dependencies", "last_failure"]);
    assert_eq!(card["claim_ttl_seconds"], 90);
    assert_eq!(
        card["dependencies"],
        json!([{"id": "A", "title": "A", "result": {"commit": "abc"}}])
    );
    assert_eq!(card["last_failure"], Value::Null);
    assert!(card["claim_token"].is_i64());
    let nothing = backlog(&["claim", "--worker", "w2"]).on(&db).run().json(3);
    assert_eq!(nothing, json!({"cards": []}));
}

#[test]
fn a_claim_with_a_request_id_is_repeatable() {
    let db = database();
    db.session().create_numbered("c", 3);
    let call = || {
        backlog(&[
            "claim",
            "--worker",
            "w",
            "--max",
            "2",
            "--request-id",
            "6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c",
        ])
        .on(&db)
    };
    assert_eq!(call().json(), call().json());
}

#[test]
fn the_worker_is_the_agent_or_user_and_host() {
    let db = database();
    db.session().create_numbered("c", 3);
    let owner = |document: &Value| {
        document["cards"][0]["claim_owner"]
            .as_str()
            .expect("an owner")
            .to_owned()
    };
    let agent = backlog(&["claim"])
        .on(&db)
        .env("MOSAIC_AGENT", "agent-7")
        .json();
    assert_eq!(owner(&agent), "agent-7");
    let given = backlog(&["claim", "--worker", "w"])
        .on(&db)
        .env("MOSAIC_AGENT", "agent-7")
        .json();
    assert_eq!(owner(&given), "w");
    let user = backlog(&["claim"]).on(&db).json();
    assert!(owner(&user).contains('@'), "{user}");
}

#[test]
fn renew_release_fail_and_complete() {
    let db = database();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    let token = s.claim("A", "w").to_string();
    let document = backlog(&["renew", "A", "--token", &token, "--ttl", "2h"])
        .on(&db)
        .json();
    assert_eq!(keys(&document), ["id", "claim_expires_at"]);
    assert!(
        document["claim_expires_at"]
            .as_str()
            .expect("a time")
            .starts_with("2030-01-01T14:00:00")
    );
    let document = backlog(&[
        "release",
        "A",
        "--token",
        &token,
        "--reason",
        "r",
        "--retry-in",
        "0s",
    ])
    .on(&db)
    .json();
    assert_eq!(keys(&document), ["card"]);
    assert_card(&document["card"], &[]);
    let token = s.claim("A", "w").to_string();
    let document = backlog(&[
        "fail",
        "A",
        "--token",
        &token,
        "--reason",
        "-r",
        "--retry-in",
        "0s",
    ])
    .on(&db)
    .json();
    assert_eq!(keys(&document), ["card"]);
    assert_eq!(document["card"]["attempts"], 1);
    let token = s.claim("A", "w").to_string();
    let document = backlog(&["complete", "A", "--token", &token, "--result", "-"])
        .on(&db)
        .input("{\"ok\": [1]}")
        .json();
    assert_eq!(keys(&document), ["card", "unblocked"]);
    assert_eq!(document["unblocked"], json!(["B"]));
    assert_eq!(document["card"]["result"], json!({"ok": [1]}));
}

#[test]
fn show_block_unblock_update_link_and_unlink_give_the_card() {
    let db = database();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    for (call, key, value) in [
        (&["show", "A"][..], "status", json!("ready")),
        (
            &["block", "A", "--reason", "why", "--kind", "input"],
            "block_kind",
            json!("input"),
        ),
        (&["unblock", "A"], "status", json!("ready")),
        (
            &[
                "update",
                "A",
                "--title",
                "new",
                "--priority",
                "3",
                "--label",
                "x",
            ],
            "labels",
            json!(["x"]),
        ),
        (&["update", "A", "--clear", "labels"], "labels", json!([])),
        (&["link", "A", "--needs", "B"], "depends_on", json!(["B"])),
        (&["unlink", "A", "--needs", "B"], "depends_on", json!([])),
    ] {
        let document = backlog(call).on(&db).json();
        assert_eq!(keys(&document), ["card"], "{call:?}");
        assert_card(&document["card"], &[]);
        assert_eq!(document["card"][key], value, "{call:?}");
    }
}

#[test]
fn cancel_and_reopen_give_the_cards_touched() {
    let db = database();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    let document = backlog(&["cancel", "A", "--reason", "why", "--cascade"])
        .on(&db)
        .json();
    assert_eq!(keys(&document), ["cards"]);
    assert_eq!(document["cards"].as_array().map(Vec::len), Some(2));
    assert_card(&document["cards"][0], &[]);
    let document = backlog(&["reopen", "A", "--reason", "why"]).on(&db).json();
    assert_eq!(keys(&document), ["cards"]);
    assert_eq!(document["cards"][0]["status"], "ready");
}

#[test]
fn reclaim() {
    let db = database();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2029-01-01'");
    s.claim("A", "w1");
    assert_eq!(
        backlog(&["reclaim"]).on(&db).json(),
        json!({"reclaimed": [{"id": "A", "previous_owner": "w1", "attempts": 1, "action": "requeued"}]})
    );
    assert_eq!(
        backlog(&["reclaim"]).on(&db).json(),
        json!({"reclaimed": []})
    );
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
fn the_long_form_of_the_command_is_the_same() {
    let db = database();
    db.session().create("A");
    let long = mosaic(&["fleet", "backlog", "show", "A", "--json"])
        .on(&db)
        .json();
    assert_eq!(long, backlog(&["show", "A"]).on(&db).json());
    let before = mosaic(&["--json", "backlog", "show", "A"]).on(&db).json();
    assert_eq!(long, before);
}

#[test]
fn numbers_in_json_pass_through_with_all_their_digits() {
    let db = database();
    let number = "123456789012345678901234567890.1234567890";
    let outcome = backlog(&[
        "create",
        "t",
        "--id",
        "A",
        "--acceptance",
        &format!("[{number}]"),
    ])
    .on(&db)
    .run();
    assert!(outcome.stdout.contains(number), "{}", outcome.stdout);
    let outcome = backlog(&["complete", "A", "--result", number])
        .on(&db)
        .run();
    assert!(outcome.stdout.contains(number), "{}", outcome.stdout);
}

#[test]
fn the_version() {
    let document = mosaic(&["--version", "--json"]).json();
    assert!(
        document["version"]
            .as_str()
            .is_some_and(|version| version.split('.').count() == 3)
    );
}
