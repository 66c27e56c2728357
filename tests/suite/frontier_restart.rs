//! Restarts, prepared transactions, and databases that are copies of others.

use std::process::Command;

use mosaic_backlog_tests::cluster::{Cluster, SUPERUSER};
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::programs::{postgresql, run};
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::{account, folder, wait};

use crate::frontier::{claims, drain, warm};

const NONE: [&str; 0] = [];

fn cluster(settings: &[&str]) -> (Cluster, Session) {
    let cluster = Cluster::start(settings);
    let mut s = cluster.session("postgres");
    s.run("create extension mosaic_backlog_ext");
    (cluster, s)
}

/// The name of a prepared transaction, which a server knows once, in all of its databases.
fn prepared(s: &mut Session, name: &str) -> String {
    format!("{name} in {}", s.text("select current_database()"))
}

fn prepare(s: &mut Session, name: &str, work: &str) {
    let name = prepared(s, name);
    s.run(&format!(
        "begin; set local mosaic.notify = off; {work}; prepare transaction '{name}'"
    ));
}

fn commit(s: &mut Session, name: &str) {
    let name = prepared(s, name);
    s.run(&format!("commit prepared '{name}'"));
}

fn roll_back(s: &mut Session, name: &str) {
    let name = prepared(s, name);
    s.run(&format!("rollback prepared '{name}'"));
}

const CREATE_A: &str = "select from mosaic.backlog_create('t', id => 'A', priority => 9)";

#[test]
fn a_prepared_create_is_found_after_its_commit_by_a_session_that_never_heard_of_us() {
    let (db, mut s) = warm();
    prepare(&mut s, "create", CREATE_A);
    let mut other = db.session();
    assert_eq!(drain(&mut other), NONE);
    commit(&mut db.session(), "create");
    assert_eq!(drain(&mut other), ["A"]);
    prepare(
        &mut s,
        "create",
        "select from mosaic.backlog_create('t', id => 'B', priority => 9)",
    );
    roll_back(&mut db.session(), "create");
    assert_eq!(drain(&mut other), NONE);
}

#[test]
fn a_prepared_claim_gives_the_card_back_when_it_is_rolled_back() {
    let (db, mut s) = warm();
    let mut other = db.session();
    s.run(CREATE_A);
    for by in ["", ", id => 'A'", ", offers => '{x}'"] {
        prepare(
            &mut s,
            "claim",
            &format!("select from mosaic.backlog_claim('w'{by})"),
        );
        assert_eq!(drain(&mut other), NONE);
        roll_back(&mut db.session(), "claim");
        other.run("begin");
        assert_eq!(drain(&mut other), ["A"], "{by}");
        other.run("rollback");
    }
    prepare(&mut s, "claim", "select from mosaic.backlog_claim('w')");
    commit(&mut db.session(), "claim");
    assert_eq!(drain(&mut other), NONE);
}

/// Nothing but a claim heeds those that have ended; they must not pile up.
#[test]
fn transactions_are_prepared_one_after_the_other_without_a_claim_in_between() {
    let (_cluster, mut s) = cluster(&["max_prepared_transactions = 2"]);
    for n in 0..1_500 {
        let create = format!("select from mosaic.backlog_create('t', id => 'c{n}')");
        prepare(&mut s, "create", &create);
        commit(&mut s, "create");
    }
    assert_eq!(drain(&mut s).len(), 1_500);
}

#[test]
fn the_lease_of_a_prepared_claim_is_swept_by_the_first_claim_after_its_end() {
    let (db, mut s) = warm();
    s.run(CREATE_A);
    prepare(&mut s, "claim", "select from mosaic.backlog_claim('w')");
    let mut other = db.session();
    other.run("set mosaic.clock = '2026-01-01 00:20Z'");
    assert_eq!(drain(&mut other), NONE);
    commit(&mut db.session(), "claim");
    assert_eq!(claims(&mut other, "max_cards => 1"), ["A"]);
}

#[test]
fn the_lease_of_a_prepared_claim_is_reclaimed_on_demand() {
    let (db, mut s) = warm();
    s.create("B");
    s.run("select from mosaic.backlog_claim('w', id => 'B', ttl => '1 hour')");
    s.run(CREATE_A);
    prepare(&mut s, "claim", "select from mosaic.backlog_claim('w')");
    let mut other = db.session();
    other.run("set mosaic.clock = '2026-01-01 00:20Z'");
    assert_eq!(drain(&mut other), NONE);
    commit(&mut db.session(), "claim");
    assert_eq!(other.text("select id from mosaic.backlog_reclaim()"), "A");
}

#[test]
fn prepared_transactions_are_heeded_across_a_crash() {
    let (cluster, mut s) = cluster(&[]);
    s.create_numbered("warm", 3);
    assert_eq!(drain(&mut s).len(), 3);
    s.create("C");
    s.create("D");
    prepare(&mut s, "create", CREATE_A);
    prepare(
        &mut s,
        "claim C",
        "select from mosaic.backlog_claim('w', id => 'C')",
    );
    prepare(
        &mut s,
        "claim D",
        "select from mosaic.backlog_claim('w', id => 'D')",
    );
    cluster.crash();
    cluster.resume();
    let mut other = cluster.session("postgres");
    assert_eq!(drain(&mut other), NONE);
    let mut ignorant = cluster.session("postgres");
    commit(&mut ignorant, "create");
    assert_eq!(drain(&mut other), ["A"]);
    roll_back(&mut ignorant, "claim C");
    assert_eq!(drain(&mut other), ["C"]);
    commit(&mut ignorant, "claim D");
    assert_eq!(drain(&mut other), NONE);
}

#[test]
fn a_prepared_create_is_heeded_after_a_crash_among_many_others() {
    let (cluster, mut s) = cluster(&["max_prepared_transactions = 300"]);
    s.create_numbered("warm", 3);
    s.run("create table t (n int)");
    for n in 0..270 {
        s.run(&format!(
            "begin; insert into t values (1); prepare transaction 'other {n}'"
        ));
    }
    prepare(&mut s, "create", CREATE_A);
    cluster.crash();
    cluster.resume();
    let mut other = cluster.session("postgres");
    assert_eq!(drain(&mut other).len(), 3);
    commit(&mut cluster.session("postgres"), "create");
    assert_eq!(drain(&mut other), ["A"]);
}

#[test]
fn all_cards_are_handed_out_after_a_crash_with_a_warm_frontier() {
    let (cluster, mut s) = cluster(&[]);
    s.create_numbered("c", 500);
    assert_eq!(claims(&mut s, "max_cards => 100").len(), 100);
    let mut open = cluster.session("postgres");
    open.run("begin");
    assert_eq!(claims(&mut open, "max_cards => 100").len(), 100);
    s.run("checkpoint");
    cluster.crash();
    cluster.resume();
    let mut found = drain(&mut cluster.session("postgres"));
    assert_eq!(found.len(), 400);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 400);
}

#[test]
fn all_cards_are_handed_out_after_a_backend_was_killed_in_the_middle_of_claims() {
    let (cluster, mut s) = cluster(&[]);
    s.create_numbered("c", 1000);
    let mut victim = cluster.session("postgres");
    let pid = victim.pid();
    let claimer = std::thread::spawn(move || {
        let mut claimed = 0;
        while victim
            .attempt("select id from mosaic.backlog_claim('v')")
            .is_ok()
        {
            claimed += 1;
        }
        claimed
    });
    wait::until("claims", || {
        (s.number("select count(*) from mosaic.backlog where status = 'claimed'") > 50)
            .then_some(())
    });
    run(Command::new("kill").args(["-9", &pid.to_string()]));
    let claimed: usize = claimer.join().expect("the claimer");
    // Until the server has noticed, it still lets sessions in, and ends them a moment later.
    wait::until("the server ends all sessions", || {
        s.attempt("select").is_err().then_some(())
    });
    let mut s = wait::until("the server is back", || {
        Session::try_open(&cluster.config("postgres", SUPERUSER))
    });
    let left = s.number("select count(*) from mosaic.backlog where opened") as usize;
    assert!(
        left > 0 && left + claimed >= 999,
        "{left} left, {claimed} claimed"
    );
    assert_eq!(drain(&mut s).len(), left);
}

#[test]
fn two_databases_of_one_server_do_not_share_cards() {
    let (a, mut in_a) = warm();
    let (b, mut in_b) = warm();
    in_a.create("A");
    assert_eq!(drain(&mut b.session()), NONE);
    in_b.create_numbered("b", 2);
    assert_eq!(drain(&mut a.session()), ["A"]);
    assert_eq!(drain(&mut b.session()), ["b1", "b2"]);
}

#[test]
fn a_copy_of_a_database_with_a_warm_frontier_has_one_of_its_own() {
    let (cluster, mut s) = cluster(&[]);
    s.run("create database original");
    let mut original = cluster.session("original");
    original.run("create extension mosaic_backlog_ext");
    original.create_numbered("c", 10);
    assert_eq!(claims(&mut original, "max_cards => 4").len(), 4);
    drop(original);
    wait::until("the database is copied", || {
        s.attempt_run("create database copy template original").ok()
    });
    let mut copy = cluster.session("copy");
    let mut original = cluster.session("original");
    copy.run("select from mosaic.backlog_create('t', id => 'first', priority => 9)");
    assert_eq!(claims(&mut original, "max_cards => 2"), ["c5", "c6"]);
    assert_eq!(
        drain(&mut copy),
        ["first", "c5", "c6", "c7", "c8", "c9", "c10"]
    );
    assert_eq!(drain(&mut original), ["c7", "c8", "c9", "c10"]);
}

#[test]
fn a_session_that_stays_connected_finds_the_cards_of_an_extension_created_anew() {
    let (db, mut s) = warm();
    let mut other = db.session();
    assert_eq!(drain(&mut other), NONE);
    for round in 0..3 {
        s.run("set mosaic.allow_drop = on; drop extension mosaic_backlog_ext; create extension mosaic_backlog_ext");
        other.create_numbered("o", 2);
        s.create_numbered("c", 2);
        assert_eq!(drain(&mut other), ["o1", "o2", "c1", "c2"], "{round}");
        s.create("D");
        assert_eq!(drain(&mut other), ["D"], "{round}");
    }
}

#[test]
fn cards_made_around_an_undone_drop_of_the_extension_are_found() {
    let (db, mut s) = warm();
    s.run(
        "set mosaic.allow_drop = on; begin; select from mosaic.backlog_create('t', id => 'A');
         savepoint a; drop extension mosaic_backlog_ext; create extension mosaic_backlog_ext;
         select from mosaic.backlog_create('t', id => 'B'); rollback to a; commit",
    );
    assert_eq!(drain(&mut db.session()), ["A"]);
}

#[test]
fn cards_can_be_prepared_beside_many_prepared_transactions_of_others() {
    let (_cluster, mut s) = cluster(&["max_prepared_transactions = 300"]);
    s.run("create table t (n int)");
    for n in 0..260 {
        s.run(&format!(
            "begin; insert into t values (1); prepare transaction 'other {n}'"
        ));
    }
    prepare(&mut s, "create", CREATE_A);
}

/// Each database and each extension created anew takes shared memory that nobody gives back.
#[test]
fn an_extension_can_be_created_anew_often() {
    let (_cluster, mut s) = cluster(&[
        "max_connections = 5",
        "max_wal_senders = 0",
        "max_worker_processes = 0",
        "autovacuum_max_workers = 1",
        "superuser_reserved_connections = 1",
    ]);
    s.run("set mosaic.allow_drop = on; set mosaic.durability = 'inherit'; set synchronous_commit = off");
    for round in 1..=150 {
        s.run("drop extension mosaic_backlog_ext; create extension mosaic_backlog_ext");
        if let Err(refused) = s.attempt_run("select from mosaic.backlog_create('t', id => 'A')") {
            panic!("round {round}: {refused:?}");
        }
    }
}

#[test]
fn a_restored_dump_hands_out_its_cards() {
    let (db, mut s) = warm();
    s.create_numbered("c", 300);
    assert_eq!(claims(&mut s, "max_cards => 2").len(), 2);
    s.create_after("gated", &["c1"]);
    let folder = folder::kept();
    account::give(&folder);
    let file = folder.join("dump");
    let cluster = db.cluster();
    let mut dump = Command::new(postgresql("pg_dump"));
    run(account::serve(&mut dump)
        .arg("-Fc")
        .arg("-f")
        .arg(&file)
        .arg(db.url("postgres")));
    let target = Database::bare();
    let mut restore = Command::new(postgresql("pg_restore"));
    run(account::serve(&mut restore)
        .arg("-d")
        .arg(target.url("postgres"))
        .arg(&file));
    assert_eq!(target.cluster().folder(), cluster.folder());
    let mut other = target.session();
    other.run("set mosaic.clock = '2026-01-01 00:10Z'");
    let mut restored = target.session();
    restored.run("set mosaic.clock = '2026-01-01 00:10Z'");
    restored.run(CREATE_A);
    assert_eq!(claims(&mut other, "max_cards => 2"), ["A", "c3"]);
    assert_eq!(drain(&mut restored).len(), 297);
    other.run("set mosaic.clock = '2026-01-01 00:20Z'");
    assert_eq!(drain(&mut other), ["c1", "c2"]);
}
