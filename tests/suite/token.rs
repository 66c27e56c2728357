//! Fencing: a stale token is refused by every verb that takes one, and changes nothing.

use mosaic_backlog_tests::database::Database;

/// The verbs that take a token, `$t` being the token.
const VERBS: [&str; 6] = [
    "mosaic.backlog_renew('A', $t)",
    "mosaic.backlog_release('A', $t)",
    "mosaic.backlog_fail('A', $t, 'why')",
    "mosaic.backlog_complete('A', $t)",
    "mosaic.backlog_block('A', 'why', claim_token => $t)",
    "mosaic.backlog_assert_held('A', $t)",
];

fn assert_all_refused(db: &Database, token: i64) {
    let mut s = db.session();
    let before = (s.card("A"), s.events());
    for verb in VERBS {
        let call = format!("select * from {}", verb.replace("$t", &token.to_string()));
        let refused = s.refusal(&call);
        assert_eq!(refused.code, "claim_lost", "{call}");
        assert!(refused.message.contains(&token.to_string()), "{refused:?}");
    }
    assert_eq!((s.card("A"), s.events()), before);
}

#[test]
fn the_token_of_a_swept_lease_is_stale_while_another_holds_the_card() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01'");
    let stale = s.claim("A", "w");
    s.run("set mosaic.clock = '2030-01-02'");
    // The same worker again: its name is not the fence.
    let current = s.claim("A", "w");
    assert_ne!(stale, current);
    assert_all_refused(&db, stale);
}

#[test]
fn the_token_of_a_released_claim_is_stale_while_the_card_is_ready() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let stale = s.claim("A", "w");
    s.run(&format!("select from mosaic.backlog_release('A', {stale})"));
    assert_all_refused(&db, stale);
}

#[test]
fn the_token_of_a_quarantined_claim_is_stale() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', max_attempts => 1)");
    s.run("set mosaic.clock = '2030-01-01'");
    let stale = s.claim("A", "w");
    s.run("set mosaic.clock = '2030-01-02'; select from mosaic.backlog_reclaim()");
    assert_eq!(s.status("A"), "blocked");
    let events = s.events();
    for verb in VERBS.iter().filter(|verb| !verb.contains("complete")) {
        assert_eq!(
            s.code(&format!(
                "select * from {}",
                verb.replace("$t", &stale.to_string())
            )),
            "claim_lost",
            "{verb}"
        );
    }
    assert_eq!(
        s.code(&format!(
            "select * from mosaic.backlog_complete('A', {stale})"
        )),
        "bad_transition"
    );
    assert_eq!(s.events(), events);
}

#[test]
fn another_token_is_refused_after_the_completion_and_the_same_token_repeats_it() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "w");
    s.run(&format!(
        "select from mosaic.backlog_complete('A', {token}, '{{\"ok\": true}}')"
    ));
    let events = s.events();
    for verb in VERBS {
        let code = s.code(&format!(
            "select * from {}",
            verb.replace("$t", &(token + 1).to_string())
        ));
        // A done card cannot be blocked, whoever asks.
        let expected = if verb.contains("block(") {
            "bad_transition"
        } else {
            "claim_lost"
        };
        assert_eq!(code, expected, "{verb}");
    }
    for again in [format!("'A', {token}"), "'A'".to_owned()] {
        let card = s.row(&format!("select * from mosaic.backlog_complete({again})"));
        assert_eq!(card["result"], serde_json::json!({"ok": true}));
    }
    assert_eq!(s.events(), events);
    // The lease is over all the same.
    assert_eq!(
        s.code(&format!("select mosaic.backlog_renew('A', {token})")),
        "claim_lost"
    );
}

#[test]
fn force_does_not_excuse_a_stale_token() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let stale = s.claim("A", "w");
    s.run(&format!("select from mosaic.backlog_release('A', {stale})"));
    s.claim("A", "w2");
    assert_eq!(
        s.code(&format!(
            "select * from mosaic.backlog_complete('A', {stale}, force => true)"
        )),
        "claim_lost"
    );
    assert_eq!(s.status("A"), "claimed");
}

#[test]
fn a_missing_token_is_an_argument_error_where_one_is_needed() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for verb in [
        "renew('A', null)",
        "release('A', null)",
        "fail('A', null, 'why')",
        "assert_held('A', null)",
    ] {
        assert_eq!(
            s.code(&format!("select * from mosaic.backlog_{verb}")),
            "invalid_argument",
            "{verb}"
        );
    }
}

#[test]
fn tokens_that_were_never_given_are_refused() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.claim("A", "w");
    for token in [0, -1, i64::MAX, i64::MIN + 1] {
        assert_all_refused(&db, token);
    }
}

#[test]
fn the_token_of_a_claim_whose_card_was_completed_by_force_is_stale() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let lost = s.claim("A", "w");
    s.run("select from mosaic.backlog_complete('A', force => true)");
    assert_eq!(
        s.code(&format!(
            "select * from mosaic.backlog_complete('A', {lost})"
        )),
        "claim_lost"
    );
}
