//! A worker's writes to its own tables, guarded by its claim against a rival that takes the
//! card away at that moment.

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;

const RECLAIM: &str = "select action from mosaic.backlog_reclaim('A', force => true)";

/// A card, a table of the user's own, and the token of the card's holder.
fn prepare(db: &Database) -> (Session, i64) {
    let mut s = db.session();
    s.run("create table report (card text, token bigint, text text)");
    s.create("A");
    let token = s.claim("A", "holder");
    (s, token)
}

fn assert_held(token: i64) -> String {
    format!("select mosaic.backlog_assert_held('A', {token})")
}

fn write(token: i64) -> String {
    format!("insert into report values ('A', {token}, 'it works')")
}

#[test]
fn a_rival_that_reclaims_waits_until_the_guarded_write_has_committed() {
    let db = Database::fresh();
    let (mut s, token) = prepare(&db);
    let mut holder = db.session();
    holder.run("begin");
    holder.run(&assert_held(token));
    let rival = db.session().begin_call(RECLAIM).until_it_waits(&db);
    holder.run(&write(token));
    assert!(!rival.is_finished());
    holder.run("commit");
    assert_eq!(rival.rows()[0]["action"], "requeued");
    assert_eq!(s.number("select count(*) from report"), 1);
}

#[test]
fn a_write_after_a_rival_has_reclaimed_does_not_come_about() {
    let db = Database::fresh();
    let (mut s, token) = prepare(&db);
    let mut rival = db.session();
    rival.run("begin");
    rival.run(RECLAIM);
    // The write comes first this time: the guard at the end undoes it.
    let mut holder = db.session();
    holder.run("begin");
    holder.run(&write(token));
    let guard = holder.begin_call(&assert_held(token)).until_it_waits(&db);
    rival.run("commit");
    let (mut holder, answer) = guard.finish();
    assert_eq!(answer.expect_err("the lease is lost").code, "claim_lost");
    holder.run("commit");
    assert_eq!(s.number("select count(*) from report"), 0);
}

#[test]
fn a_rival_whose_reclaim_fails_leaves_the_guarded_write_alone() {
    let db = Database::fresh();
    let (mut s, token) = prepare(&db);
    let mut rival = db.session();
    rival.run("begin");
    rival.run(RECLAIM);
    let mut holder = db.session();
    holder.run("begin");
    let guard = holder.begin_call(&assert_held(token)).until_it_waits(&db);
    rival.run("rollback");
    let (mut holder, answer) = guard.finish();
    assert!(answer.is_ok(), "{answer:?}");
    holder.run(&write(token));
    holder.run("commit");
    assert_eq!(s.number("select count(*) from report"), 1);
}

#[test]
fn an_ended_lease_is_swept_by_nobody_while_the_guarded_write_is_open() {
    let db = Database::fresh();
    let (mut s, token) = prepare(&db);
    s.run("update mosaic.backlog set claim_expires_at = now() - interval '1 hour'");
    let mut holder = db.session();
    holder.run("begin");
    holder.run(&assert_held(token));
    // A sweep passes the card over; who wants this card waits.
    assert_eq!(s.claim_next("rival"), None);
    assert!(s.rows("select id from mosaic.backlog_reclaim()").is_empty());
    let by_id = db
        .session()
        .begin_call("select claim_token from mosaic.backlog_claim('rival', id => 'A')")
        .until_it_waits(&db);
    holder.run(&write(token));
    holder.run("commit");
    assert_eq!(s.number("select count(*) from report"), 1);
    // Now the lease is the rival's, and the former holder writes no more.
    let rows = by_id.rows();
    assert!(rows[0]["claim_token"].as_i64() > Some(token), "{rows:?}");
    assert_eq!(s.code(&assert_held(token)), "claim_lost");
}

#[test]
fn whoever_comes_first_a_stale_write_never_follows_the_rivals() {
    let db = Database::fresh();
    let (mut s, _) = prepare(&db);
    // One row, and the last writer wins: without the guard a stale one could be the last.
    s.run("create table latest (token bigint); insert into latest values (0)");
    s.run("select from mosaic.backlog_update('A', max_attempts => 1000)");
    for round in 0..30 {
        s.run(RECLAIM);
        let token = s.claim("A", "holder");
        let written = together(&db, 2, |number, s| {
            // The holder writes; the rival takes the card away and writes.
            let mut mine = token;
            if (number + round) % 2 == 1 {
                s.run(RECLAIM);
                mine = s.claim("A", "rival");
            }
            s.run("begin");
            let held = s.attempt(&assert_held(mine)).is_ok();
            if held {
                s.run(&format!("update latest set token = {mine}"));
            }
            s.run(if held { "commit" } else { "rollback" });
            held
        });
        assert!(written.contains(&true));
        let now = s.token("A");
        assert_eq!(
            now,
            Some(s.number("select token from latest")),
            "a stale write came last"
        );
    }
}

#[test]
fn the_guard_changes_nothing_itself() {
    let db = Database::fresh();
    let (mut s, token) = prepare(&db);
    let (before, events) = (s.card("A"), s.events());
    s.run(&assert_held(token));
    assert_eq!(s.card("A"), before);
    assert_eq!(s.events(), events);
}
