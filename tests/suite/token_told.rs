//! A token is told to its holder, and to an operator who asks for it by name; to nobody else, by
//! no call.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use serde_json::{Value, json};

/// Far from all other numbers of these tests.
const TOKEN: i64 = 771_177;

/// `A`, which is held under `TOKEN`, and whose key, links and history others may read.
fn held(s: &mut Session) {
    s.run(&format!(
        "select setval('mosaic.backlog_claim_token_seq', {TOKEN}, false);
         select from mosaic.backlog_create('t', id => 'A', idempotency_key => 'k');
         select from mosaic.backlog_create('t', id => 'B', depends_on => '{{A}}');
         select from mosaic.backlog_create('t', id => 'C');
         select from mosaic.backlog_complete('C')"
    ));
    assert_eq!(s.claim("A", "one"), TOKEN);
    s.run(&format!(
        "select from mosaic.backlog_link('A', '{{C}}'); select mosaic.backlog_renew('A', {TOKEN})"
    ));
}

#[test]
fn no_call_but_the_claim_tells_the_token() {
    let db = Database::fresh();
    let mut s = db.session();
    held(&mut s);
    let mut operator = db.session_as("operator");
    for call in [
        "get('A')",
        "list()",
        "events()",
        "events('A')",
        "why('A')",
        "why('B')",
        "stats()",
        "doctor()",
        "create('t', id => 'A', idempotency_key => 'k')",
        "create_many('[{\"title\": \"t\", \"id\": \"A\", \"idempotency_key\": \"k\"}]')",
        "update('A', priority => 3)",
        "link('A', '{C}')",
        "unlink('A', '{C}')",
        // Its answer names A, which is gated again.
        "link('A', '{C}')",
        "reopen('C', 'why')",
    ] {
        let rows = operator.rows(&format!("select * from mosaic.backlog_{call}"));
        let text = Value::from(rows).to_string();
        assert!(!text.contains(&TOKEN.to_string()), "{call}: {text}");
    }
    for refused in [
        "claim('two', id => 'A')",
        "complete('A')",
        "block('A', 'why')",
        "renew('A', 1)",
        "cancel('A', 'why')",
    ] {
        let refused = operator.refusal(&format!("select * from mosaic.backlog_{refused}"));
        let text = format!("{refused:?}");
        assert!(!text.contains(&TOKEN.to_string()), "{text}");
        assert!(
            !refused
                .hint
                .to_lowercase()
                .contains("give the claim's token"),
            "{text}"
        );
    }
}

#[test]
fn a_repeated_claim_tells_it_again() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let claim = "select claim_token from mosaic.backlog_claim('w', request_id => '6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c')";
    let token = s.number(claim);
    assert_eq!(s.number(claim), token);
}

#[test]
fn an_operator_reads_a_token_by_name_and_the_history_says_so() {
    let db = Database::fresh();
    let mut s = db.session();
    held(&mut s);
    let mut operator = db.session_as("operator");
    assert_eq!(
        operator.number("select mosaic.backlog_token('A', 'boss')"),
        TOKEN
    );
    let event = operator.row(
        "select kind, actor, login_role, claim_token, old_status, new_status, detail
                              from mosaic.backlog_events('A') order by event_id desc limit 1",
    );
    assert_eq!(
        event,
        json!({"kind": "token_read", "actor": "boss", "login_role": "operator", "claim_token": null,
               "old_status": "claimed", "new_status": "claimed", "detail": {"owner": "one"}})
    );
    assert_eq!(
        operator.code("select mosaic.backlog_token('B')"),
        "bad_transition"
    );
    assert_eq!(
        operator.code("select mosaic.backlog_token('Z')"),
        "not_found"
    );
    for role in ["reader", "worker"] {
        let mut session = db.session_as(role);
        assert_eq!(
            session.refusal("select mosaic.backlog_token('A')").sqlstate,
            "42501"
        );
        // An export holds them.
        assert_eq!(
            session
                .refusal("select * from mosaic.backlog_export()")
                .sqlstate,
            "42501"
        );
    }
    let lines = operator.column("select line from mosaic.backlog_export()");
    assert!(Value::from(lines).to_string().contains(&TOKEN.to_string()));
}

#[test]
fn a_completion_whose_result_would_be_dropped_is_refused() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "one");
    let complete = |token: &str, result: &str| {
        format!("select result from mosaic.backlog_complete('A', {token}, {result})")
    };
    let token = token.to_string();
    assert_eq!(
        s.value(&complete(&token, "'{\"by\": \"two\"}'")),
        json!({"by": "two"})
    );
    let before = s.events();
    for token in [token.as_str(), "null"] {
        let refused = s.refusal(&complete(token, "'{\"by\": \"one\"}'"));
        assert_eq!(refused.code, "claim_lost", "{token}");
        assert!(refused.message.contains("another result"), "{refused:?}");
        // The same, and none, are repeats.
        for same in ["'{ \"by\" : \"two\" }'", "null"] {
            assert_eq!(
                s.value(&complete(token, same)),
                json!({"by": "two"}),
                "{same}"
            );
        }
    }
    assert_eq!(s.events(), before);
}
