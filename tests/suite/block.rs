//! Setting a card aside and taking it up again.

use mosaic_backlog_tests::database::Database;
use serde_json::{Value, json};

#[test]
fn block_keeps_kind_and_reason_until_unblocked() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for (call, status, kind, reason) in [
        (
            "block('A', 'which colour?', 'input')",
            "blocked",
            json!("input"),
            json!("which colour?"),
        ),
        (
            "block('A', 'no screen', 'capability')",
            "blocked",
            json!("capability"),
            json!("no screen"),
        ),
        (
            "block('A', 'no screen')",
            "blocked",
            json!("other"),
            json!("no screen"),
        ),
        ("unblock('A')", "ready", Value::Null, Value::Null),
    ] {
        assert_eq!(
            s.row(&format!(
                "select status, block_kind, block_reason from mosaic.backlog_{call}"
            )),
            json!({"status": status, "block_kind": kind, "block_reason": reason}),
            "{call}"
        );
    }
}

#[test]
fn blocking_gives_up_the_lease_and_a_retry_with_its_token_changes_nothing() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "w");
    let block = format!("select * from mosaic.backlog_block('A', 'need a key', 'input', {token})");
    let card = s.row(&block);
    assert_eq!(card["status"], "blocked");
    assert_eq!(card["block_kind"], "input");
    assert_eq!(card["attempts"], 1);
    for column in ["claim_owner", "claim_token", "claim_expires_at"] {
        assert_eq!(card[column], Value::Null, "{column}");
    }
    let events = s.events();
    assert_eq!(s.row(&block), card);
    assert_eq!(s.events(), events);
    assert_eq!(s.claim_next("w"), None);
}

#[test]
fn unblock_and_reopen_give_a_fresh_budget_of_attempts() {
    let db = Database::fresh();
    let mut s = db.session();
    for (end, back) in [
        ("block('A', 'why', claim_token => $t)", "unblock('A')"),
        ("complete('A', $t)", "reopen('A', 'why')"),
        ("cancel('A', 'why', force => true)", "reopen('A', 'why')"),
    ] {
        s.run("truncate mosaic.backlog");
        s.create("A");
        let token = s.claim("A", "w");
        s.run(&format!(
            "select from mosaic.backlog_{}",
            end.replace("$t", &token.to_string())
        ));
        let card = s.row(&format!("select * from mosaic.backlog_{back}"));
        assert_eq!(card["status"], "ready", "{end}");
        assert_eq!(card["attempts"], 0, "{end}");
        assert_eq!(card["completed_at"], Value::Null, "{end}");
        assert_eq!(card["block_reason"], Value::Null, "{end}");
    }
}
