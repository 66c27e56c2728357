//! The document that each verb prints that changes something.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{backlog, mosaic};
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

pub fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"))
        .keys()
        .map(String::as_str)
        .collect()
}

#[track_caller]
pub fn assert_card(card: &Value, more: &[&str]) {
    let mut expected = CARD.to_vec();
    expected.extend(more);
    assert_eq!(keys(card), expected);
}

/// A database whose clock stands still.
pub fn database() -> Database {
    let db = Database::fresh();
    db.fix_clock("2030-01-01 12:00+00");
    db
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
    assert_card(
        card,
        &[
            "dependencies",
            "last_failure",
            "dependencies_total",
            "notes",
            "notes_total",
            "last_release",
            "last_answer",
        ],
    );
    assert_eq!(card["claim_ttl_seconds"], 90);
    assert_eq!(card["dependencies_total"], 1);
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
        let more: &[&str] = match call[0] {
            "show" => &[
                "last_failure",
                "notes",
                "notes_total",
                "last_release",
                "last_answer",
            ],
            _ => &[],
        };
        assert_card(&document["card"], more);
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
