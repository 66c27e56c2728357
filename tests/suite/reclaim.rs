//! Taking leases away: the sweep on demand, and quarantine.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use serde_json::json;

#[test]
fn reclaim_takes_ended_leases_and_leaves_live_ones() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 3);
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    s.run("select from mosaic.backlog_claim('short', '1 min', id => 'c1')");
    s.run("select from mosaic.backlog_claim('long', '1 hour', id => 'c2')");
    assert!(s.rows("select * from mosaic.backlog_reclaim()").is_empty());
    s.run("set mosaic.clock = '2030-01-01 12:01+00'");
    assert_eq!(
        s.rows("select * from mosaic.backlog_reclaim(actor => 'sweeper')"),
        [json!({"id": "c1", "previous_owner": "short", "attempts": 1, "action": "requeued"})]
    );
    assert_eq!(s.status("c1"), "ready");
    assert_eq!(s.status("c2"), "claimed");
    let event = s.row("select * from mosaic.backlog_events('c1') where kind = 'lapsed'");
    assert_eq!(event["actor"], "sweeper");
    assert_eq!(event["detail"]["previous_owner"], "short");
    assert!(s.rows("select * from mosaic.backlog_reclaim()").is_empty());
}

#[test]
fn reclaim_by_id_takes_an_ended_lease_and_refuses_a_live_one() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    s.claim("A", "w");
    assert_eq!(
        s.code("select * from mosaic.backlog_reclaim('A')"),
        "already_claimed"
    );
    assert_eq!(s.status("A"), "claimed");
    s.run("set mosaic.clock = '2030-01-01 12:15+00'");
    assert_eq!(
        s.row("select * from mosaic.backlog_reclaim('A')")["action"],
        "requeued"
    );
}

#[test]
fn reclaim_by_id_of_a_card_that_nobody_holds_does_nothing() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let events = s.events();
    assert!(
        s.rows("select * from mosaic.backlog_reclaim('A')")
            .is_empty()
    );
    assert_eq!(s.events(), events);
    assert_eq!(
        s.code("select * from mosaic.backlog_reclaim('nope')"),
        "not_found"
    );
}

#[test]
fn only_force_takes_a_live_lease_and_it_needs_an_id_and_the_operator() {
    let db = Database::fresh();
    let mut operator = db.session_as("operator");
    operator.create("A");
    let token = operator.claim("A", "w");
    assert_eq!(
        db.session_as("worker")
            .code("select * from mosaic.backlog_reclaim('A', true)"),
        "unauthorized"
    );
    assert_eq!(
        operator.code("select * from mosaic.backlog_reclaim(force => true)"),
        "invalid_argument"
    );
    assert_eq!(operator.status("A"), "claimed");
    let row = operator.row("select * from mosaic.backlog_reclaim('A', true, actor => 'boss')");
    assert_eq!(row["previous_owner"], "w");
    assert_eq!(operator.status("A"), "ready");
    assert_eq!(
        operator.code(&format!(
            "select * from mosaic.backlog_complete('A', {token})"
        )),
        "claim_lost"
    );
    let event = db
        .session()
        .row("select actor, claim_token from mosaic.backlog_event where kind = 'reclaimed'");
    assert_eq!(event, json!({"actor": "boss", "claim_token": token}));
}

#[test]
fn grace_spares_leases_that_ended_only_just() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    s.claim("A", "w");
    s.claim("B", "w");
    s.run("set mosaic.clock = '2030-01-01 12:20+00'");
    assert!(
        s.rows("select * from mosaic.backlog_reclaim(grace => '10 min')")
            .is_empty()
    );
    assert_eq!(
        s.code("select * from mosaic.backlog_reclaim('A', grace => '10 min')"),
        "already_claimed"
    );
    for arguments in ["'A', grace => '5 min'", "grace => '5 min'"] {
        let taken = s.rows(&format!(
            "select * from mosaic.backlog_reclaim({arguments})"
        ));
        assert_eq!(taken.len(), 1, "{arguments}");
    }
}

#[test]
fn reclaim_takes_at_most_max_cards_and_those_that_ended_longest_ago_first() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 3);
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    for (id, ttl) in [("c1", "30 min"), ("c2", "10 min"), ("c3", "20 min")] {
        s.run(&format!(
            "select from mosaic.backlog_claim('w', '{ttl}', id => '{id}')"
        ));
    }
    s.run("set mosaic.clock = '2030-01-02'");
    assert_eq!(
        s.column("select id from mosaic.backlog_reclaim(max_cards => 2)"),
        ["c2", "c3"]
    );
    assert_eq!(
        s.column("select id from mosaic.backlog_reclaim(max_cards => 2)"),
        ["c1"]
    );
}

#[test]
fn a_card_whose_leases_keep_ending_is_quarantined_at_the_maximum() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01'");
    for day in 2..=6 {
        s.claim("A", "crasher");
        s.run(&format!("set mosaic.clock = '2030-01-{day:02}'"));
        let row = s.row("select * from mosaic.backlog_reclaim()");
        let expected = if day == 6 { "quarantined" } else { "requeued" };
        assert_eq!(row["action"], expected);
        assert_eq!(row["attempts"], day - 1);
    }
    let card = s.card("A");
    assert_eq!(card["status"], "blocked");
    assert_eq!(card["block_kind"], "attempts");
    assert_eq!(s.claim_next("w"), None);
    assert_eq!(
        s.code("select * from mosaic.backlog_claim('w', id => 'A')"),
        "bad_transition"
    );
    let why = s.row("select * from mosaic.backlog_why('A')");
    assert_eq!(why["kind"], "quarantined");
    s.run("select from mosaic.backlog_unblock('A')");
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
    assert_eq!(s.card("A")["attempts"], 1);
}

#[test]
fn the_sweep_inside_a_claim_quarantines_too() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', max_attempts => 1)");
    s.run("set mosaic.clock = '2030-01-01'");
    s.claim("A", "w");
    s.run("set mosaic.clock = '2030-01-02'");
    assert_eq!(s.claim_next("w"), None);
    assert_eq!(s.card("A")["block_kind"], "attempts");
}

#[test]
fn a_claim_by_id_of_an_ended_last_attempt_quarantines_and_says_so() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', max_attempts => 1)");
    s.run("set mosaic.clock = '2030-01-01'");
    s.claim("A", "w");
    s.run("set mosaic.clock = '2030-01-02'");
    assert_eq!(
        s.code("select * from mosaic.backlog_claim('w', id => 'A')"),
        "bad_transition"
    );
    // The refusal undid the sweep with it; the next sweep does it.
    s.run("select from mosaic.backlog_reclaim()");
    assert_eq!(s.card("A")["block_kind"], "attempts");
}

#[test]
fn the_cards_own_maximum_goes_before_the_setting() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.max_attempts = 1");
    s.run("select from mosaic.backlog_create('t', id => 'own', max_attempts => 3)");
    s.create("setting");
    for (id, expected) in [("own", "ready"), ("setting", "blocked")] {
        let token = s.claim(id, "w");
        s.run(&format!(
            "select from mosaic.backlog_fail('{id}', {token}, 'why', '0')"
        ));
        assert_eq!(s.status(id), expected, "{id}");
    }
}

#[test]
fn a_release_does_not_use_up_attempts() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', max_attempts => 1)");
    for _ in 0..4 {
        let token = s.claim("A", "w");
        s.run(&format!("select from mosaic.backlog_release('A', {token})"));
    }
    assert_eq!(s.card("A")["attempts"], 0);
    assert_eq!(s.status("A"), "ready");
}

#[test]
fn reclaim_passes_over_cards_that_others_hold_locked() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 2);
    s.run("select from mosaic.backlog_claim('w', '1 second', 2)");
    db.fix_clock("2100-01-01");
    let mut holder = db.session();
    holder.run("begin; select from mosaic.backlog where id = 'c1' for no key update");
    assert_eq!(
        db.session()
            .column("select id from mosaic.backlog_reclaim()"),
        ["c2"]
    );
}

#[test]
fn a_renewed_lease_is_live() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    let token = s.number("select claim_token from mosaic.backlog_claim('w', '1 min')");
    s.run("set mosaic.clock = '2030-01-01 12:01+00'");
    s.run(&format!("select mosaic.backlog_renew('A', {token})"));
    assert!(s.rows("select * from mosaic.backlog_reclaim()").is_empty());
    s.run("set mosaic.clock = '2030-01-01 12:02+00'");
    assert_eq!(s.column("select id from mosaic.backlog_reclaim()"), ["A"]);
}

/// Fails a card that nobody holds.
fn fail(s: &mut Session, id: &str) {
    let token = s.claim(id, "w");
    s.run(&format!(
        "select from mosaic.backlog_fail('{id}', {token}, 'why', '0')"
    ));
}

#[test]
fn a_card_that_used_up_a_lowered_setting_is_not_handed_out() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    fail(&mut s, "A");
    fail(&mut s, "A");
    s.run("set mosaic.max_attempts = 2");
    assert_eq!(
        s.column("select id from mosaic.backlog_claim('w', max_cards => 9)"),
        ["B"]
    );
    assert_eq!(
        s.code("select * from mosaic.backlog_claim('w', id => 'A')"),
        "bad_transition"
    );
}

#[test]
fn a_card_released_beyond_a_lowered_maximum_is_not_handed_out() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    fail(&mut s, "A");
    fail(&mut s, "A");
    let token = s.claim("A", "w");
    s.run(&format!(
        "select from mosaic.backlog_update('A', max_attempts => 1);
         select from mosaic.backlog_release('A', {token})"
    ));
    assert_eq!(s.claim_next("w"), None);
    assert_eq!(s.card("A")["block_kind"], "attempts");
}

#[test]
fn a_raised_maximum_gives_more_attempts() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', max_attempts => 1)");
    s.run("set mosaic.clock = '2030-01-01'");
    s.claim("A", "w");
    s.run("select from mosaic.backlog_update('A', max_attempts => 2)");
    s.run("set mosaic.clock = '2030-01-02'");
    assert_eq!(
        s.number("select attempts from mosaic.backlog_claim('w')"),
        2
    );
}

#[test]
fn completing_the_last_attempt_is_no_failure() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', max_attempts => 1)");
    s.run("set mosaic.clock = '2030-01-01'");
    let token = s.claim("A", "w");
    s.run("set mosaic.clock = '2030-01-02'");
    s.run(&format!(
        "select from mosaic.backlog_complete('A', {token})"
    ));
    assert_eq!(s.status("A"), "done");
}
