//! Arguments as clients send them.

use mosaic_backlog_tests::database::Database;
use serde_json::json;

use super::client::Client;

#[test]
fn numbers_switches_arrays_and_objects_are_taken_as_texts_too() {
    let db = Database::fresh();
    let client = Client::on(&db, "w");
    let created = client.call(
        "create",
        json!({"title": "t", "id": "M1", "labels": "[\"a\", \"b\"]", "priority": "3",
            "depends_on": [], "body": "", "phase": null, "acceptance": "{\"checks\": [\"runs\"]}"}),
    );
    assert_eq!(
        (&created["card"]["labels"], &created["card"]["priority"]),
        (&json!(["a", "b"]), &json!(3))
    );
    let many = "[{\"title\": \"u\", \"id\": \"M2\", \"priority\": \"2.0\", \"labels\": \"[\\\"a\\\"]\", \"phase\": \"\"}]";
    client.call("create_many", json!({"cards": many}));
    let listed = client.call(
        "list",
        json!({"ready_only": "true", "labels": ["a"], "max_cards": "10", "fields": "[\"id\", \"priority\"]"}),
    );
    assert_eq!(
        listed["cards"],
        json!([{"id": "M1", "priority": 3}, {"id": "M2", "priority": 2}])
    );
    let claimed = client.call("claim", json!({"id": "M1", "max_cards": 1.0}));
    let card = &claimed["cards"][0];
    assert_eq!(card["acceptance"], json!({"checks": ["runs"]}));
    let token = card["claim_token"].as_i64().expect("a token");
    client.call(
        "renew",
        json!({"id": "M1", "claim_token": token.to_string(), "ttl": ""}),
    );
    let done = client.call(
        "complete",
        json!({"id": "M1", "claim_token": token as f64, "result": "{\"a\":1}", "fields": ["result"]}),
    );
    assert_eq!(done["card"], json!({"id": "M1", "result": {"a": 1}}));
}

#[test]
fn what_is_refused_comes_with_its_right_form() {
    let db = Database::fresh();
    db.session().create("A");
    let client = Client::on(&db, "w");
    for (tool, arguments, form) in [
        (
            "claim",
            json!({"labels": "parser, urgent"}),
            r#"{"labels":["parser","urgent"]}"#,
        ),
        ("claim", json!({"ttl": 900}), r#"{"ttl":"900s"}"#),
        (
            "complete",
            json!({"id": "A", "result": "done"}),
            r#"{"result":{"summary":"done"}}"#,
        ),
        (
            "list",
            json!({"ready_only": "maybe"}),
            r#"{"ready_only":true}"#,
        ),
        (
            "renew",
            json!({"id": "A", "claim_token": 1.5}),
            r#"{"claim_token":3}"#,
        ),
    ] {
        let error = client.attempt(tool, arguments).expect_err(tool);
        let hint = error["hint"].as_str().expect("a hint");
        assert!(hint.contains(form), "{hint}");
    }
    assert_eq!(db.session().status("A"), "ready");
}
