//! What the holder of a lease does with it.

use mosaic_backlog_tests::database::Database;
use serde_json::{Value, json};

#[test]
fn a_renewal_extends_the_lease_from_now_by_the_claims_own_ttl() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    let token = s.number("select claim_token from mosaic.backlog_claim('w', '10 min')");
    s.run("set mosaic.clock = '2030-01-01 12:08+00'");
    assert_eq!(
        s.value(&format!("select mosaic.backlog_renew('A', {token})")),
        "2030-01-01T12:18:00+00:00"
    );
    assert_eq!(s.card("A")["claim_expires_at"], "2030-01-01T12:18:00+00:00");
    assert_eq!(s.card("A")["claimed_at"], "2030-01-01T12:00:00+00:00");
    assert_eq!(s.card("A")["attempts"], 1);
}

#[test]
fn a_renewal_with_a_ttl_uses_it_from_then_on() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    let token = s.claim("A", "w");
    for renewal in [format!("'A', {token}, '2 hours'"), format!("'A', {token}")] {
        assert_eq!(
            s.value(&format!("select mosaic.backlog_renew({renewal})")),
            "2030-01-01T14:00:00+00:00"
        );
    }
}

#[test]
fn an_ended_lease_that_nobody_swept_may_still_be_renewed_completed_and_given_back() {
    let db = Database::fresh();
    let mut s = db.session();
    for (id, verb) in [
        ("A", "select mosaic.backlog_renew('A', $t)"),
        ("B", "select from mosaic.backlog_complete('B', $t)"),
        ("C", "select from mosaic.backlog_release('C', $t)"),
        ("D", "select from mosaic.backlog_fail('D', $t, 'why')"),
        (
            "E",
            "select from mosaic.backlog_block('E', 'why', claim_token => $t)",
        ),
    ] {
        s.create(id);
        s.run("set mosaic.clock = '2030-01-01 12:00+00'");
        let token = s.claim(id, "slow");
        s.run("set mosaic.clock = '2030-01-02 12:00+00'");
        s.run(&verb.replace("$t", &token.to_string()));
    }
    assert_eq!(s.card("A")["claim_expires_at"], "2030-01-02T12:15:00+00:00");
    assert_eq!(s.status("B"), "done");
}

#[test]
fn a_release_gives_the_attempt_back_and_clears_the_lease() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "w");
    let card = s.row(&format!(
        "select * from mosaic.backlog_release('A', {token}, reason => 'no gpu')"
    ));
    assert_eq!(card["status"], "ready");
    assert_eq!(card["attempts"], 0);
    for column in [
        "claim_owner",
        "claim_token",
        "claim_ttl_seconds",
        "claimed_at",
        "claim_expires_at",
        "not_before",
    ] {
        assert_eq!(card[column], Value::Null, "{column}");
    }
    let event =
        s.row("select * from mosaic.backlog_event where card_id = 'A' and kind = 'released'");
    assert_eq!(event["detail"]["reason"], "no gpu");
    assert_eq!(event["claim_token"], token);
    assert_eq!(event["actor"], "w");
    assert_eq!(
        s.row("select id, last_failure from mosaic.backlog_claim('w2')"),
        json!({"id": "A", "last_failure": null})
    );
}

#[test]
fn a_release_with_retry_in_defers_the_card() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    let token = s.claim("A", "w");
    s.run(&format!(
        "select from mosaic.backlog_release('A', {token}, '10 min')"
    ));
    s.run("set mosaic.clock = '2030-01-01 12:09:59+00'");
    assert_eq!(s.claim_next("w"), None);
    s.run("set mosaic.clock = '2030-01-01 12:10+00'");
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
}

#[test]
fn a_failure_counts_the_attempt_and_delays_the_next() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    let token = s.claim("A", "w");
    let card = s.row(&format!(
        "select * from mosaic.backlog_fail('A', {token}, 'broke', '90 s')"
    ));
    assert_eq!(card["status"], "ready");
    assert_eq!(card["attempts"], 1);
    assert_eq!(card["not_before"], "2030-01-01T12:01:30+00:00");
    let event = s.row("select * from mosaic.backlog_events('A') where kind = 'failed'");
    assert_eq!(event["detail"]["reason"], "broke");
}

#[test]
fn the_default_delay_grows_with_the_attempts_and_varies() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.clock = '2030-01-01 12:00+00'; set mosaic.max_attempts = 100");
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..8 {
        let id = format!("c{number}");
        s.create(&id);
        let mut longest = 0.0;
        for attempt in 0..12 {
            s.run(&format!(
                "update mosaic.backlog set not_before = null where id = '{id}'"
            ));
            let token = s.claim(&id, "w");
            let delay = s.value(&format!(
                "select extract(epoch from not_before - '2030-01-01 12:00+00')::float8
                 from mosaic.backlog_fail('{id}', {token}, 'broke')"
            ));
            let delay = delay.as_f64().expect("a number");
            assert!(delay > 0.0 && delay <= 3600.0, "attempt {attempt}: {delay}");
            if attempt == 0 {
                assert!(delay <= 10.0, "{delay}");
                seen.insert((delay * 1000.0) as i64);
            }
            if attempt == 11 {
                longest = delay;
            }
        }
        assert!(longest >= 1800.0, "{longest}");
    }
    assert!(seen.len() > 4, "hardly any jitter: {seen:?}");
}

#[test]
fn the_last_attempt_that_fails_quarantines_the_card() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', max_attempts => 2)");
    for expected in ["ready", "blocked"] {
        let token = s.claim("A", "w");
        assert_eq!(
            s.text(&format!(
                "select status from mosaic.backlog_fail('A', {token}, 'broke', '0')"
            )),
            expected
        );
    }
    let card = s.card("A");
    assert_eq!(card["block_kind"], "attempts");
    assert!(
        card["block_reason"]
            .as_str()
            .expect("a reason")
            .contains("broke")
    );
    assert_eq!(card["attempts"], 2);
    assert_eq!(s.claim_next("w"), None);
    let card = s.row("select * from mosaic.backlog_unblock('A')");
    assert_eq!(card["attempts"], 0);
    assert_eq!(
        s.row("select id, attempts, last_failure from mosaic.backlog_claim('w')"),
        json!({"id": "A", "attempts": 1, "last_failure": "broke"})
    );
}

#[test]
fn assert_held_passes_for_the_holder_alone() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    assert_eq!(
        s.code("select mosaic.backlog_assert_held('A', 1)"),
        "claim_lost"
    );
    let token = s.claim("A", "w");
    s.run(&format!("select mosaic.backlog_assert_held('A', {token})"));
    assert_eq!(
        s.code(&format!(
            "select mosaic.backlog_assert_held('A', {})",
            token + 1
        )),
        "claim_lost"
    );
    assert_eq!(
        s.code("select mosaic.backlog_assert_held('nope', 1)"),
        "not_found"
    );
}

#[test]
fn an_asserted_lease_cannot_be_lost_before_the_transaction_ends() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "w");
    db.fix_clock("2100-01-01");
    let mut holder = db.session();
    holder.run(&format!(
        "begin; select mosaic.backlog_assert_held('A', {token})"
    ));
    // The sweeps of others pass the card over.
    let mut other = db.session();
    assert_eq!(other.claim_next("w2"), None);
    assert!(
        other
            .rows("select * from mosaic.backlog_reclaim()")
            .is_empty()
    );
    let by_id = db
        .session()
        .begin_call("select * from mosaic.backlog_reclaim('A')")
        .until_it_waits(&db);
    holder.run("commit");
    assert_eq!(by_id.rows()[0]["action"], "requeued");
}

#[test]
fn the_history_of_a_lease_is_complete() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "w");
    s.run(&format!(
        "select mosaic.backlog_renew('A', {token});
         select from mosaic.backlog_complete('A', {token}, actor => 'reviewer')"
    ));
    let events = s.rows(
        "select kind, actor, claim_token, old_status, new_status from mosaic.backlog_event order by event_id",
    );
    assert_eq!(
        events,
        [
            json!({"kind": "created", "actor": "postgres", "claim_token": null, "old_status": null, "new_status": "ready"}),
            json!({"kind": "claimed", "actor": "w", "claim_token": token, "old_status": "ready", "new_status": "claimed"}),
            json!({"kind": "renewed", "actor": "w", "claim_token": token, "old_status": "claimed", "new_status": "claimed"}),
            json!({"kind": "completed", "actor": "reviewer", "claim_token": token, "old_status": "claimed", "new_status": "done"}),
        ]
    );
}

#[test]
fn complete_ends_the_lease_and_stamps_the_card() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    let token = s.claim("A", "w");
    s.run("set mosaic.clock = '2030-01-01 12:03+00'");
    let card = s.row(&format!(
        "select * from mosaic.backlog_complete('A', {token}, '{{\"ok\": 1}}')"
    ));
    assert_eq!(card["status"], "done");
    assert_eq!(card["attempts"], 1);
    assert_eq!(card["result"], json!({"ok": 1}));
    for column in ["completed_at", "updated_at"] {
        assert_eq!(card[column], "2030-01-01T12:03:00+00:00", "{column}");
    }
    for column in ["claim_owner", "claim_token", "claimed_at"] {
        assert_eq!(card[column], Value::Null, "{column}");
    }
}

#[test]
fn fail_waits_longer_each_time_within_the_bounds_of_the_settings() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.retry_base = '8s'; set mosaic.retry_max = '60s'");
    s.run("select from mosaic.backlog_create('t', id => 'A', max_attempts => 100)");
    for (hour, full) in [8.0, 16.0, 32.0, 60.0, 60.0].into_iter().enumerate() {
        let now = format!("2030-01-01 0{hour}:00+00");
        s.run(&format!("set mosaic.clock = '{now}'"));
        let token = s.claim("A", "w");
        let delay = s.value(&format!(
            "select extract(epoch from not_before - '{now}')::float8 from mosaic.backlog_fail('A', {token}, 'why')"
        ));
        let delay = delay.as_f64().expect("a number");
        assert!((full / 2.0..=full).contains(&delay), "{hour}: {delay}");
    }
}
