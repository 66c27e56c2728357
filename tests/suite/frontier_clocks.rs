//! Times that come, and sessions that do not agree on the time.

use mosaic_backlog_tests::cards::quote;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;

use crate::frontier::{claims, drain, warm};

fn at(db: &Database, time: &str) -> Session {
    let mut s = db.session();
    s.run(&format!("set mosaic.clock = '2026-01-01 {time}Z'"));
    s
}

fn create_due(s: &mut Session, id: &str, time: &str) {
    let id = quote(id);
    s.run(&format!(
        "select from mosaic.backlog_create('t', id => {id}, not_before => '2026-01-01 {time}Z')"
    ));
}

#[test]
fn a_look_by_a_clock_that_is_behind_does_not_hide_a_card_that_another_has_seen_come_due() {
    let (db, mut s) = warm();
    create_due(&mut s, "A", "01:00");
    // Its time has come for this session, which does not take it.
    assert_eq!(claims(&mut at(&db, "02:00"), "phase => 'none'"), [""; 0]);
    assert_eq!(claims(&mut at(&db, "00:30"), "offers => '{x}'"), [""; 0]);
    assert_eq!(claims(&mut at(&db, "03:00"), "offers => '{x}'"), ["A"]);
}

#[test]
fn the_same_for_claims_without_a_filter() {
    let (db, mut s) = warm();
    create_due(&mut s, "A", "00:10");
    assert_eq!(claims(&mut at(&db, "00:12"), "phase => 'none'"), [""; 0]);
    assert_eq!(drain(&mut at(&db, "00:05")), [""; 0]);
    assert_eq!(drain(&mut at(&db, "00:13")), ["A"]);
}

#[test]
fn a_claim_that_is_held_up_does_not_hide_a_card_that_came_due_meanwhile() {
    let db = Database::fresh();
    let mut s = db.session();
    // A sweep stops at its event until the lock is free; all clocks are the real one.
    s.run(
        "create function hold() returns trigger language plpgsql as $$
           begin if new.kind = 'lapsed' then perform pg_advisory_xact_lock(1); end if; return null; end $$;
         create trigger hold after insert on mosaic.backlog_event for each row execute function hold()",
    );
    s.create("L");
    s.run("select from mosaic.backlog_claim('w', ttl => '1 second')");
    assert_eq!(s.claim_next("w"), None);
    wait::until("the lease ends", || {
        s.truth("select claim_expires_at < clock_timestamp() from mosaic.backlog")
            .then_some(())
    });
    let mut locker = db.session();
    locker.run("begin; select pg_advisory_xact_lock(1)");
    s.run(
        "select from mosaic.backlog_create('t', id => 'D', not_before => clock_timestamp() + interval '1 second')",
    );
    let slow = db
        .session()
        .begin_call("select id from mosaic.backlog_claim('slow')")
        .until_it_waits(&db);
    wait::until("the card comes due", || {
        s.truth("select not_before < clock_timestamp() from mosaic.backlog where id = 'D'")
            .then_some(())
    });
    assert_eq!(claims(&mut s, "phase => 'none'"), [""; 0]);
    locker.run("rollback");
    let mut found: Vec<String> = slow
        .rows()
        .iter()
        .map(|row| row["id"].as_str().expect("an id").to_owned())
        .collect();
    found.extend(drain(&mut db.session()));
    found.sort();
    assert_eq!(found, ["D", "L"]);
}

#[test]
fn a_card_that_came_back_from_a_clock_ahead_is_found_when_its_time_comes() {
    let (db, mut s) = warm();
    create_due(&mut s, "A", "01:00");
    let mut ahead = at(&db, "01:01");
    ahead.run("begin");
    assert_eq!(drain(&mut ahead), ["A"]);
    ahead.run("rollback");
    // It is a candidate now, and not yet for this one.
    assert_eq!(drain(&mut at(&db, "00:10")), [""; 0]);
    assert_eq!(drain(&mut at(&db, "00:11")), [""; 0]);
    assert_eq!(drain(&mut at(&db, "01:00")), ["A"]);
}

#[test]
fn a_time_that_is_moved_forth_and_back_counts_as_it_is() {
    let (db, mut s) = warm();
    s.run("select from mosaic.backlog_create('t', id => 'A', priority => 9)");
    s.run("select from mosaic.backlog_update('A', not_before => '2026-01-01 00:05Z')");
    assert_eq!(drain(&mut at(&db, "00:00")), [""; 0]);
    s.run("select from mosaic.backlog_update('A', not_before => '2026-01-01 00:09Z')");
    assert_eq!(drain(&mut at(&db, "00:06")), [""; 0]);
    s.run("select from mosaic.backlog_update('A', not_before => '2026-01-01 00:07Z')");
    assert_eq!(drain(&mut at(&db, "00:06")), [""; 0]);
    assert_eq!(drain(&mut at(&db, "00:07")), ["A"]);
    create_due(&mut s, "B", "00:20");
    s.run("select from mosaic.backlog_update('B', clear => '{not_before}')");
    assert_eq!(drain(&mut at(&db, "00:08")), ["B"]);
}

#[test]
fn a_failed_card_comes_back_when_its_time_comes() {
    let (db, mut s) = warm();
    s.run("select from mosaic.backlog_create('t', id => 'A', priority => 9)");
    let token = s.claim("A", "w");
    s.run(&format!(
        "select from mosaic.backlog_fail('A', {token}, 'why', retry_in => '5 minutes')"
    ));
    let mut other = at(&db, "00:04");
    assert_eq!(drain(&mut other), [""; 0]);
    other.run("set mosaic.clock = '2026-01-01 00:05Z'");
    assert_eq!(drain(&mut other), ["A"]);
}

#[test]
fn two_thousand_cards_that_come_due_at_the_same_instant_are_all_found() {
    let (db, mut s) = warm();
    s.run(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'id', 'd' || n, 'priority', n % 3,
             'not_before', '2026-01-01T00:10:00Z') order by n) from generate_series(1, 1000) n));
         select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'id', 'd' || n, 'priority', n % 3,
             'not_before', '2026-01-01T00:10:00Z') order by n) from generate_series(1001, 2000) n))",
    );
    assert_eq!(drain(&mut at(&db, "00:09")), [""; 0]);
    let mut other = at(&db, "00:10");
    let expected: Vec<String> = serde_json::from_value(
        s.column("select id from mosaic.backlog where status = 'ready' order by claim_order")
            .into(),
    )
    .expect("texts");
    assert_eq!(expected.len(), 2000);
    let mut found = claims(&mut other, "max_cards => 1000");
    found.extend(drain(&mut other));
    assert!(
        found == expected,
        "{} of 2000, or another order",
        found.len()
    );
}

#[test]
fn five_hundred_cards_that_come_due_one_after_the_other_are_handed_out_at_their_times() {
    let (db, mut s) = warm();
    s.run(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'id', 'd' || n,
             'not_before', timestamptz '2026-01-01 00:00Z' + n * interval '1 second') order by n desc)
           from generate_series(1, 500) n))",
    );
    let mut other = at(&db, "00:00");
    for n in 1..=500 {
        other.run(&format!(
            "set mosaic.clock = '2026-01-01 00:{:02}:{:02}Z'",
            n / 60,
            n % 60
        ));
        assert_eq!(drain(&mut other), [format!("d{n}")]);
    }
}

#[test]
fn a_lease_made_in_the_same_transaction_lapses_in_it() {
    let (db, mut s) = warm();
    s.run("begin; select from mosaic.backlog_create('t', id => 'A', priority => 9)");
    assert_eq!(drain(&mut s), ["A"]);
    s.run("set local mosaic.clock = '2026-01-01 00:14Z'");
    assert_eq!(drain(&mut s), [""; 0]);
    s.run("set local mosaic.clock = '2026-01-01 00:15Z'");
    assert_eq!(drain(&mut s), ["A"]);
    s.run("rollback");
    assert_eq!(drain(&mut at(&db, "00:20")), [""; 0]);
}

#[test]
fn a_card_made_and_come_due_in_the_same_transaction_is_claimable_in_it() {
    let (db, mut s) = warm();
    s.run("begin");
    create_due(&mut s, "A", "00:05");
    assert_eq!(drain(&mut s), [""; 0]);
    s.run("set local mosaic.clock = '2026-01-01 00:05Z'");
    assert_eq!(drain(&mut s), ["A"]);
    s.run("rollback; begin");
    create_due(&mut s, "B", "00:05");
    s.run("set local mosaic.clock = '2026-01-01 00:05Z'; savepoint a");
    assert_eq!(drain(&mut s), ["B"]);
    s.run("rollback to a; commit");
    assert_eq!(drain(&mut at(&db, "00:05")), ["B"]);
}

#[test]
fn a_thousand_leases_with_the_same_end_are_all_swept() {
    let (db, mut s) = warm();
    s.create_numbered("c", 1000);
    assert_eq!(claims(&mut s, "max_cards => 1000").len(), 1000);
    let mut other = at(&db, "00:15");
    assert_eq!(drain(&mut other).len(), 1000);
    assert_eq!(
        s.number("select count(*) from mosaic.backlog where attempts = 2"),
        1000
    );
}

/// Ended leases, each with an end of its own, all locked but that of the card "free", which ended
/// last.
fn lock_ended_leases(db: &Database, s: &mut Session, count: usize) -> Session {
    s.create_numbered("c", count);
    s.create("free");
    for n in 1..=count {
        s.run(&format!(
            "select from mosaic.backlog_claim('w', id => 'c{n}', ttl => interval '1 second' * {n})"
        ));
    }
    s.run("select from mosaic.backlog_claim('w', id => 'free')");
    let mut bystander = db.session();
    bystander.run("begin; select from mosaic.backlog where id <> 'free' for update");
    bystander
}

#[test]
fn ended_leases_that_a_bystander_has_locked_are_swept_once_he_is_gone() {
    for count in [1, 16] {
        let (db, mut s) = warm();
        let mut bystander = lock_ended_leases(&db, &mut s, count);
        let mut other = at(&db, "00:15");
        assert_eq!(drain(&mut other), ["free"], "{count}");
        bystander.run("rollback");
        let mut found = Vec::new();
        wait::until("the leases are swept", || {
            found.extend(drain(&mut other));
            (found.len() == count).then_some(())
        });
    }
}

#[test]
fn a_claim_sweeps_an_ended_lease_behind_a_hundred_that_a_bystander_has_locked() {
    let (db, mut s) = warm();
    let _bystander = lock_ended_leases(&db, &mut s, 100);
    assert_eq!(drain(&mut at(&db, "00:15")), ["free"]);
}

#[test]
fn a_claim_that_polls_sweeps_an_ended_lease_behind_a_hundred_locked_ones_at_last() {
    let (db, mut s) = warm();
    let _bystander = lock_ended_leases(&db, &mut s, 100);
    let mut other = at(&db, "00:15");
    let found = (0..20).find_map(|_| {
        // A poll every 20 ms, as workers do it.
        other.run("select pg_sleep(0.02)");
        other.claim_next("w")
    });
    assert_eq!(found.as_deref(), Some("free"));
}

#[test]
fn an_ended_lease_whose_sweep_is_undone_is_swept_by_another() {
    let (db, mut s) = warm();
    s.create_numbered("c", 150);
    assert_eq!(claims(&mut s, "max_cards => 150").len(), 150);
    let mut sweeper = at(&db, "00:15");
    for undo in ["rollback", "rollback to a; commit"] {
        sweeper.run("begin; savepoint a");
        assert_eq!(claims(&mut sweeper, "max_cards => 1000").len(), 100);
        assert_eq!(claims(&mut sweeper, "max_cards => 1000").len(), 50);
        sweeper.run(undo);
    }
    assert_eq!(drain(&mut at(&db, "00:16")).len(), 150);
}
