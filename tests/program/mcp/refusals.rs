//! Errors have the codes of the command line.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::mosaic;
use rmcp::ServiceError;
use serde_json::json;

use super::client::Client;

#[test]
fn each_refusal_of_the_backlog_has_its_code() {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["ready", "held", "dep"] {
        s.create(id);
    }
    s.create_after("gated", &["dep"]);
    s.run("select from mosaic.backlog_create('done', id => 'done', idempotency_key => 'k')");
    s.complete("done");
    s.claim("held", "w");
    let client = Client::on(&db, "w1");
    let request = "6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c";
    client.call("claim", json!({"id": "ready", "request_id": request}));
    for (code, tool, arguments) in [
        ("not_found", "show", json!({"id": "nope"})),
        ("not_found", "claim", json!({"id": "nope"})),
        (
            "claim_lost",
            "renew",
            json!({"id": "held", "claim_token": 987654321}),
        ),
        (
            "claim_lost",
            "release",
            json!({"id": "held", "claim_token": 987654321}),
        ),
        (
            "claim_lost",
            "complete",
            json!({"id": "held", "claim_token": 987654321}),
        ),
        (
            "key_conflict",
            "create",
            json!({"title": "other", "idempotency_key": "k"}),
        ),
        (
            "key_conflict",
            "claim",
            json!({"request_id": request, "worker": "another"}),
        ),
        ("id_conflict", "create", json!({"title": "t", "id": "held"})),
        (
            "cycle",
            "link",
            json!({"id": "dep", "depends_on": ["gated"]}),
        ),
        ("open_dependencies", "claim", json!({"id": "gated"})),
        (
            "bad_transition",
            "block",
            json!({"id": "done", "reason": "r"}),
        ),
        ("already_claimed", "complete", json!({"id": "held"})),
        ("invalid_argument", "create", json!({"title": " "})),
        (
            "invalid_argument",
            "create_many",
            json!({"cards": [{"title": "t", "colour": "red"}]}),
        ),
        ("invalid_argument", "list", json!({"max_cards": 0})),
        ("invalid_argument", "claim", json!({"max_cards": 0})),
    ] {
        assert_eq!(
            client.code(tool, arguments.clone()),
            code,
            "{tool} {arguments}"
        );
    }
}

#[test]
fn an_argument_that_does_not_fit_is_named_and_changes_nothing() {
    let db = Database::fresh();
    db.session().create("A");
    let client = Client::on(&db, "w");
    for (named, tool, arguments) in [
        ("colour", "create", json!({"title": "t", "colour": "red"})),
        ("token", "complete", json!({"id": "A", "token": 1})),
        ("title", "create", json!({})),
        ("title", "create", json!({"title": null})),
        (
            "claim_token",
            "renew",
            json!({"id": "A", "claim_token": "one"}),
        ),
        (
            "result",
            "complete",
            json!({"id": "A", "result": "{\"commit\": \"1f2e"}),
        ),
        ("ttl", "claim", json!({"ttl": 900})),
        ("ttl", "claim", json!({"ttl": "15"})),
        ("labels", "claim", json!({"labels": "parser"})),
        (
            "kind",
            "block",
            json!({"id": "A", "reason": "r", "kind": "lunch"}),
        ),
        ("statuses", "list", json!({"statuses": ["open"]})),
        ("depends_on", "link", json!({"id": "A", "depends_on": []})),
        (
            "not_before",
            "create",
            json!({"title": "t", "idempotency_key": "k", "not_before": "+2h"}),
        ),
        ("request_id", "claim", json!({"request_id": "7"})),
        (
            "cards[1].priority",
            "create_many",
            json!({"cards": [{"title": "t"}, {"title": "t", "priority": "high"}]}),
        ),
        ("max_cards", "claim", json!({"max_cards": 21})),
        ("titel", "list", json!({"fields": ["titel"]})),
        ("all", "list", json!({"all": true, "statuses": ["done"]})),
        ("offset", "show", json!({"id": "A", "offset": 3})),
        ("offset", "events", json!({"offset": 3, "max_events": 1})),
    ] {
        let error = client.attempt(tool, arguments.clone()).expect_err(tool);
        assert_eq!(error["code"], "usage", "{tool} {arguments}: {error}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(named), "{tool} {arguments}: {message}");
        assert!(error["hint"].is_string(), "how it is right: {error}");
    }
    let stats = client.call("stats", json!({}));
    assert_eq!((&stats["ready"], &stats["claimed"]), (&json!(1), &json!(0)));
}

#[test]
fn hints_name_tools_and_no_commands() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    let client = Client::on(&db, "w");
    for (tool, id, hint) in [
        ("claim", "B", "backlog_why"),
        ("show", "nope", "backlog_list"),
    ] {
        let error = client.attempt(tool, json!({"id": id})).expect_err(tool);
        let said = error["hint"].as_str().expect("a hint");
        assert!(
            said.contains(hint) && !said.contains("mosaic backlog"),
            "{said}"
        );
    }
}

#[test]
fn what_is_null_or_an_empty_text_is_left_out() {
    let db = Database::fresh();
    db.session().create("A");
    let client = Client::on(&db, "w");
    let claimed = client.call(
        "claim",
        json!({"phase": "", "labels": null, "ttl": "", "id": ""}),
    );
    assert_eq!(claimed["cards"][0]["id"], "A");
}

#[test]
fn a_tool_that_is_not_there_is_an_error_of_the_protocol() {
    let db = Database::fresh();
    for (tool, said) in [("lunch", "no tool"), ("cancel", "--role operator")] {
        match Client::on(&db, "w").raw(tool, json!({})) {
            Err(ServiceError::McpError(error)) => {
                assert_eq!(error.code.0, -32602);
                assert!(error.message.contains(said), "{}", error.message);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_database_that_cannot_be_used_never_looks_like_no_work() {
    let db = Database::fresh();
    let nobody = Client::of(mosaic(&["mcp"]).env("DATABASE_URL", "host=127.0.0.1 port=1"));
    let error = nobody.attempt("claim", json!({})).expect_err("no server");
    assert_eq!(error["code"], "unreachable");
    assert_eq!(error["retryable"], true);
    let reader = Client::of(mosaic(&["mcp"]).on_as(&db, "reader"));
    let error = reader.attempt("claim", json!({})).expect_err("no right");
    assert_eq!(error["code"], "unauthorized");
    assert_eq!(error["retryable"], false);
    assert_eq!(
        Client::on(&db, "w").call("claim", json!({})),
        json!({"cards": []})
    );
}

#[test]
fn flags_that_it_has_no_use_for_are_refused() {
    assert_eq!(mosaic(&["mcp", "--json"]).code(2), "usage");
    assert_eq!(
        mosaic(&["mcp", "--json", "--on-exit", "lose"]).code(2),
        "usage"
    );
}
