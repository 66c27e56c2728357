//! What was acknowledged survives a crash, and no token is handed out twice.

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;

const SHOWN: &str = "select current_setting('synchronous_commit')";

#[test]
fn a_writing_call_raises_synchronous_commit_until_the_commit() {
    let db = Database::fresh();
    let mut s = db.session();
    for weak in ["off", "local", "remote_write"] {
        s.run(&format!("set synchronous_commit = {weak}"));
        for call in [
            "create('t', id => 'A')",
            "claim('w')",
            "reclaim()",
            "claim('w')",
        ] {
            s.run(&format!("begin; select from mosaic.backlog_{call}"));
            assert_eq!(s.text(SHOWN), "on", "{weak}, {call}");
            s.run("commit");
            assert_eq!(s.text(SHOWN), weak, "after {call}");
        }
        s.run("truncate mosaic.backlog");
    }
}

#[test]
fn a_stronger_setting_is_not_lowered() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set synchronous_commit = remote_apply; begin; select from mosaic.backlog_create('t')");
    assert_eq!(s.text(SHOWN), "remote_apply");
}

#[test]
fn the_setting_is_still_raised_when_deferred_triggers_run_at_commit() {
    let db = Database::fresh();
    let mut s = db.session();
    // From PostgreSQL 18 on the trigger runs as the role that queued it.
    s.run(
        "create table at_commit (setting text);
         grant all on at_commit to public;
         create function note() returns trigger language plpgsql as $$
           begin insert into at_commit values (current_setting('synchronous_commit')); return null; end $$;
         create constraint trigger note after insert on mosaic.backlog
           deferrable initially deferred for each row execute function note();
         set synchronous_commit = off",
    );
    s.create("A");
    assert_eq!(s.text("select setting from at_commit"), "on");
}

#[test]
fn inherit_leaves_the_sessions_own_value() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "set mosaic.durability = 'inherit'; set synchronous_commit = off;
         begin; select from mosaic.backlog_create('t')",
    );
    assert_eq!(s.text(SHOWN), "off");
}

#[test]
fn a_worker_cannot_set_inherit_and_an_operator_can() {
    let db = Database::fresh();
    for (role, outcome) in [("worker", "on"), ("reader", "on"), ("operator", "off")] {
        let mut s = db.session_as(role);
        // Once before and once after the library is loaded.
        for _ in 0..2 {
            let _ = s.attempt_run("set mosaic.durability = 'inherit'");
            let _ = s.attempt("select * from mosaic.backlog_stats()");
        }
        if role == "reader" {
            continue;
        }
        s.run("set synchronous_commit = off; begin; select from mosaic.backlog_create('t')");
        assert_eq!(s.text(SHOWN), outcome, "{role}");
    }
}

#[test]
fn neither_a_claim_nor_its_token_is_lost_in_a_crash_although_synchronous_commit_is_off() {
    // The background writer of the log hardly ever comes by: what a commit did not flush is lost.
    let cluster = Cluster::start(&["synchronous_commit = off", "wal_writer_delay = 10s"]);
    cluster
        .session("postgres")
        .run("create extension mosaic_backlog_ext");
    let mut tokens = Vec::new();
    for round in 0..3 {
        let mut s = cluster.session("postgres");
        s.create(&format!("c{round}"));
        tokens.push(s.claim(&format!("c{round}"), "w"));
        cluster.crash();
        cluster.resume();
        let mut s = cluster.session("postgres");
        assert_eq!(s.token(&format!("c{round}")), Some(tokens[round]));
    }
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}

#[test]
fn durability_cannot_be_switched_off_behind_a_call() {
    let cluster = Cluster::start(&["synchronous_commit = off", "wal_writer_delay = 10s"]);
    let mut admin = cluster.session("postgres");
    admin.run(
        "create extension mosaic_backlog_ext;
         create role w login; grant mosaic_worker to w; grant create on schema public to w",
    );
    let session = || Session::open(&cluster.config("postgres", "w"));
    session().run(
        "create table late (n int);
         create function lower() returns trigger language plpgsql as $$ begin
           perform set_config('synchronous_commit', 'off', true); return null; end $$;
         create constraint trigger lower after insert on late deferrable initially deferred
           for each row execute function lower();
         create function claim(id text) returns bigint language sql set synchronous_commit = off as
           $$ select claim_token from mosaic.backlog_claim('w', id => id) $$",
    );
    let ways = [
        ("", "set local synchronous_commit = off"),
        ("", "set synchronous_commit = off"),
        ("", "reset synchronous_commit"),
        ("", "reset all"),
        ("", "select set_config('synchronous_commit', 'local', true)"),
        (
            "savepoint a;",
            "set local synchronous_commit = off; release a",
        ),
        ("", "insert into late values (1)"),
    ];
    let mut tokens = Vec::new();
    for (at, (before, after)) in ways.into_iter().enumerate() {
        let id = format!("c{at}");
        admin = cluster.session("postgres");
        admin.create(&id);
        let mut s = session();
        s.run(&format!("begin; {before}"));
        tokens.push(s.claim(&id, "w"));
        s.run(&format!("{after}; commit"));
        cluster.crash();
        cluster.resume();
        let mut s = cluster.session("postgres");
        let kept = format!("select claim_token from mosaic.backlog where id = '{id}'");
        assert_eq!(s.number(&kept), tokens[at], "{after}");
    }
    // The setting of a function ends with it, and with it what the call set.
    let mut s = cluster.session("postgres");
    s.create("by a function");
    tokens.push(session().number("select claim('by a function')"));
    cluster.crash();
    cluster.resume();
    let mut s = cluster.session("postgres");
    assert_eq!(s.status("by a function"), "claimed");
    s.create("next");
    tokens.push(s.claim("next", "w"));
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}

#[test]
fn a_worker_cannot_set_inherit_behind_a_call_and_an_operator_can() {
    let db = Database::fresh();
    db.session().create("A");
    for (role, may) in [("worker", false), ("operator", true)] {
        let mut s = db.session_as(role);
        s.run("begin; select from mosaic.backlog_claim('w')");
        let inherit = s.attempt_run("set local mosaic.durability = 'inherit'");
        assert_eq!(inherit.is_ok(), may, "{role}");
        s.run("rollback");
    }
}
