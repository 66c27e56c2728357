//! What a look at the table misses must not be lost: changes that are undone later, lookers
//! that die, candidates that do not fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mosaic_backlog_tests::cluster::SUPERUSER;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;

use crate::frontier::{claims, drain};

/// The transaction hides card A from itself, claims, so that it looks for cards, and rolls back.
/// Whether another session finds it.
fn is_found_after_rollback(hide: &str, claim: &str) -> bool {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run(&format!("begin; {hide}"));
    s.rows(&format!(
        "select id from mosaic.backlog_claim('w', {claim})"
    ));
    s.run("rollback");
    claims(&mut db.session(), claim) == ["A"]
}

const HIDES: [&str; 9] = [
    "select from mosaic.backlog_claim('w', id => 'A')",
    "select from mosaic.backlog_complete('A')",
    "select from mosaic.backlog_block('A', 'why')",
    "select from mosaic.backlog_cancel('A', 'why')",
    "select from mosaic.backlog_update('A', not_before => '2100-01-01')",
    "select from mosaic.backlog_update('A', priority => 7); select from mosaic.backlog_claim('w')",
    "select from mosaic.backlog_create('G', id => 'G', not_before => '2100-01-01'); \
     select from mosaic.backlog_link('A', '{G}')",
    "delete from mosaic.backlog where id = 'A'",
    "truncate mosaic.backlog, mosaic.backlog_dependency",
];

#[test]
fn a_card_that_was_claimed_by_name_before_a_look_is_found_after_the_rollback() {
    assert!(is_found_after_rollback(HIDES[0], "max_cards => 1"));
}

#[test]
fn a_card_that_was_hidden_before_a_look_is_found_after_the_rollback() {
    let lost: Vec<&&str> = HIDES[1..]
        .iter()
        .filter(|hide| !is_found_after_rollback(hide, "max_cards => 1"))
        .collect();
    assert!(lost.is_empty(), "{lost:#?}");
}

#[test]
fn a_card_that_was_claimed_without_a_filter_is_found_with_one_after_the_rollback() {
    assert!(is_found_after_rollback(
        "select from mosaic.backlog_claim('w')",
        "offers => '{x}'"
    ));
}

#[test]
fn a_card_that_was_hidden_in_a_savepoint_before_a_look_is_found_after_its_rollback() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run(
        "begin; savepoint a; select from mosaic.backlog_claim('w', id => 'A');
         select from mosaic.backlog_claim('w'); rollback to a",
    );
    let mut other = db.session();
    assert_eq!(claims(&mut other, "max_cards => 1"), ["A"]);
    s.run("commit");
}

#[test]
fn a_lease_that_was_completed_before_a_sweep_is_swept_after_the_rollback() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.clock = '2026-01-01 00:00Z'");
    s.create_numbered("c", 2);
    let token = s.claim("c1", "w");
    s.run(&format!(
        "begin; set local mosaic.clock = '2026-01-01 00:20Z';
         select from mosaic.backlog_complete('c1', {token});
         select from mosaic.backlog_claim('w'); rollback"
    ));
    let mut other = db.session();
    other.run("set mosaic.clock = '2026-01-01 00:30Z'");
    assert_eq!(drain(&mut other), ["c1", "c2"]);
}

#[test]
fn a_card_whose_time_was_moved_before_a_look_comes_due_after_the_rollback() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.clock = '2026-01-01 00:00Z'");
    assert_eq!(drain(&mut s), [""; 0]);
    s.run("select from mosaic.backlog_create('A', id => 'A', not_before => '2026-01-01 01:00Z')");
    s.run(
        "begin; set local mosaic.clock = '2026-01-01 00:30Z'; select from mosaic.backlog_block('A', 'why');
         select from mosaic.backlog_claim('w'); rollback",
    );
    let mut other = db.session();
    other.run("set mosaic.clock = '2026-01-01 01:00Z'");
    assert_eq!(drain(&mut other), ["A"]);
}

/// A claim is terminated while it waits for the table, which another session has locked.
fn terminate_a_look(db: &Database, mut victim: Session, claim: &str) {
    let mut locker = db.session();
    locker.run("begin; lock table mosaic.backlog in access exclusive mode");
    let pid = victim.pid();
    let call = victim.begin_call(claim).until_it_waits(db);
    locker.run(&format!("select pg_terminate_backend({pid})"));
    assert!(call.answer().is_err());
    wait::until("the session ends", || {
        locker
            .truth(&format!(
                "select not exists (select from pg_stat_activity where pid = {pid})"
            ))
            .then_some(())
    });
    locker.run("rollback");
}

#[test]
fn leases_are_swept_after_a_session_was_terminated_while_it_looked_for_them() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.clock = '2026-01-01 00:00Z'");
    s.create("A");
    s.run("select from mosaic.backlog_claim('w')");
    let mut victim = db.session();
    victim.run("set mosaic.clock = '2026-01-01 01:00Z'");
    terminate_a_look(&db, victim, "select id from mosaic.backlog_claim('w')");
    let mut other = db.session();
    other.run("set mosaic.clock = '2026-01-01 02:00Z'");
    assert_eq!(drain(&mut other), ["A"]);
}

#[test]
fn cards_come_due_after_a_session_was_terminated_while_it_looked_for_them() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.clock = '2026-01-01 00:00Z'");
    s.run("select from mosaic.backlog_create('A', id => 'A', not_before => '2026-01-01 01:00Z')");
    assert_eq!(drain(&mut s), [""; 0]);
    // The next look at times is this one's, since leases are settled by now.
    s.run("select from mosaic.backlog_claim('w')");
    s.run("select from mosaic.backlog_create('B', id => 'B', not_before => '2026-01-01 01:10Z')");
    let mut victim = db.session();
    victim.run("set mosaic.clock = '2026-01-01 02:00Z'");
    terminate_a_look(&db, victim, "select id from mosaic.backlog_claim('w')");
    let mut other = db.session();
    other.run("set mosaic.clock = '2026-01-01 03:00Z'");
    assert_eq!(drain(&mut other), ["A", "B"]);
}

#[test]
fn claims_do_not_wait_for_a_session_that_was_terminated_while_it_looked() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 200);
    assert_eq!(drain(&mut s).len(), 200);
    s.create_numbered("d", 20);
    let victim = db.session();
    terminate_a_look(&db, victim, "select id from mosaic.backlog_claim('w')");
    let waits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&waits);
    let mut config = db.config(SUPERUSER);
    config.notice_callback(move |notice| {
        let is_wait = notice.message().starts_with("waiting for cards");
        counted.fetch_add(usize::from(is_wait), Ordering::SeqCst);
    });
    let mut other = Session::open(&config);
    other.run("set client_min_messages = debug2");
    assert_eq!(drain(&mut other).len(), 20);
    assert_eq!(waits.load(Ordering::SeqCst), 0);
}

/// Cards that another gives back while a look goes on, which finds some more: together they are
/// more than the frontier has room for, and their places in the order are without a gap.
fn assert_overflow_loses_none(given_back: usize, found: usize) {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set synchronous_commit = off");
    for round in 0..4 {
        s.create_numbered(&format!("old{round}_"), given_back);
        let mut holder = db.session();
        holder.run("begin");
        assert_eq!(
            claims(&mut holder, &format!("max_cards => {given_back}")).len(),
            given_back
        );
        s.create_numbered(&format!("new{round}_"), found);
        // Makes the look behind the new cards slow.
        s.run(
            "begin; insert into mosaic.backlog (id, title, created_at, updated_at, claimable_since)
             select 'x' || n, 't', now(), now(), now() from generate_series(1, 60000) n; rollback",
        );
        let mut looker = db.session();
        let pid = looker.pid();
        let call = looker.begin_call("select id from mosaic.backlog_claim('w')");
        // Or over already, where the machine is quick.
        wait::until("the look has begun", || {
            s.truth(&format!(
                "select exists (select from pg_stat_activity where pid = {pid} and query like '%backlog_claim%')"
            ))
            .then_some(())
        });
        holder.run("rollback");
        let first = call.rows().len();
        let handed_out = first + drain(&mut db.session()).len();
        assert_eq!(handed_out, given_back + found, "round {round}");
    }
}

#[test]
fn candidates_that_come_back_during_a_look_and_overflow_are_not_lost() {
    for (given_back, found) in [(200, 127), (100, 60)] {
        assert_overflow_loses_none(given_back, found);
    }
}

#[test]
fn what_is_changed_by_hand_after_a_call_that_was_cut_off_is_found() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    assert_eq!(drain(&mut s), ["A"]);
    let token = s.number("select claim_token from mosaic.backlog where id = 'A'");
    // The session has its plans already.
    let mut hand = db.session();
    hand.create("B");
    let token_of_b = hand.claim("B", "w");
    hand.run(&format!(
        "select from mosaic.backlog_complete('B', {token_of_b})"
    ));
    // As CREATE INDEX does: rows can be locked, and not be written.
    let mut locker = db.session();
    locker.run("begin; lock table mosaic.backlog in share mode");
    hand.run("set lock_timeout = '50ms'");
    let call = format!("select 1 as n from mosaic.backlog_complete('A', {token})");
    assert_eq!(hand.refusal(&call).sqlstate, "55P03");
    locker.run("rollback");
    hand.run(
        "update mosaic.backlog set status = 'ready', claim_owner = null, claim_token = null,
           claim_ttl_seconds = null, claimed_at = null, claim_expires_at = null
         where id = 'A'",
    );
    assert_eq!(drain(&mut db.session()), ["A"]);
}

#[test]
fn what_a_trigger_of_somebody_changes_in_the_course_of_a_verb_is_found() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "create function again() returns trigger language plpgsql as $$
           begin
             if new.status = 'done' and new.id <> 'A' then
               update mosaic.backlog set status = 'ready', completed_at = null where id = 'A';
             end if;
             return null;
           end $$;
         create trigger again after update on mosaic.backlog for each row execute function again()",
    );
    s.create_numbered("c", 2);
    s.create("A");
    s.complete("A");
    assert_eq!(drain(&mut db.session()), ["c1", "c2"]);
    s.run("select mosaic.backlog_complete(id, claim_token) from mosaic.backlog where id = 'c1'");
    assert_eq!(drain(&mut db.session()), ["A"]);
}
