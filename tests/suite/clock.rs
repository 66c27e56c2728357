//! The clock that tests set, and who else cannot.

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;

#[test]
fn the_clock_is_the_servers_and_not_the_transactions() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    s.run("begin");
    let times = "select claimed_at from mosaic.backlog_claim('w')";
    let first = s.text(times);
    let second = s.text(times);
    assert!(first < second, "{first} {second}");
    s.run("rollback");
}

#[test]
fn the_time_of_a_decision_is_read_after_the_wait_for_the_lock() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "w");
    let mut holder = db.session();
    holder.run("begin; select from mosaic.backlog where id = 'A' for update");
    let renewal = db
        .session()
        .begin_call(&format!("select mosaic.backlog_renew('A', {token})"))
        .until_it_waits(&db);
    let released = holder.text("select clock_timestamp()");
    holder.run("commit");
    renewal.rows();
    assert!(s.truth(&format!(
        "select updated_at >= '{released}'::timestamptz from mosaic.backlog_get('A')"
    )));
}

#[test]
fn a_superuser_sets_the_clock_for_a_session_or_a_database() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.clock = '2031-02-03 04:05:06+00'");
    assert_eq!(
        s.text("select created_at from mosaic.backlog_create('t')"),
        "2031-02-03T04:05:06+00:00"
    );
    s.run("set mosaic.clock = ''");
    assert!(s.truth("select created_at <= clock_timestamp() from mosaic.backlog_create('t')"));
    db.fix_clock("2032-01-01 00:00+00");
    assert_eq!(
        db.session_as("worker")
            .text("select created_at from mosaic.backlog_create('t')"),
        "2032-01-01T00:00:00+00:00"
    );
}

#[test]
fn a_clock_that_is_none_is_an_error_and_not_some_other_time() {
    let db = Database::fresh();
    let mut s = db.session();
    for clock in ["soon", "2030-13-01"] {
        let set = s.attempt_run(&format!("set mosaic.clock = '{clock}'"));
        let call = s.attempt("select * from mosaic.backlog_create('t')");
        let refused = set.err().or(call.err());
        let refused = refused.unwrap_or_else(|| panic!("{clock} was taken"));
        assert_ne!(refused.sqlstate, "XX000", "{clock}: {refused:?}");
        s.run("set mosaic.clock = ''");
    }
}

/// Whether the session's claims and sweeps go by another clock than the server's.
fn moved_the_clock(s: &mut Session) -> bool {
    !s.rows("select * from mosaic.backlog_reclaim()").is_empty()
        || !s.truth(
            "select created_at between now() - interval '1 hour' and now() + interval '1 hour'
             from mosaic.backlog_create('t')",
        )
}

#[test]
fn a_worker_cannot_set_the_clock_by_any_way() {
    let db = Database::fresh();
    let mut admin = db.session();
    admin.create("A");
    admin.claim("A", "victim");
    const SET: &str = "set mosaic.clock = '2100-01-01'";
    for role in ["worker", "operator"] {
        // Before the library is loaded, which makes a placeholder of the setting.
        let mut s = db.session_as(role);
        let _ = s.attempt_run(SET);
        assert!(
            !moved_the_clock(&mut s),
            "{role}: SET before the library is loaded"
        );
        // After it.
        assert_eq!(s.attempt_run(SET).expect_err("refused").sqlstate, "42501");
        assert!(
            !moved_the_clock(&mut s),
            "{role}: SET after the library is loaded"
        );
        let call = "select set_config('mosaic.clock', '2100-01-01', false)";
        assert!(s.attempt(call).is_err());
        // In the transaction that loads the library.
        let mut s = db.session_as(role);
        s.run("begin");
        let _ = s.attempt("select set_config('mosaic.clock', '2100-01-01', true)");
        assert!(!moved_the_clock(&mut s), "{role}: SET LOCAL");
        s.run("rollback");
        // By the connection's options.
        let mut config = db.config(role);
        config.options("-c mosaic.clock=2100-01-01");
        let mut s = Session::open(&config);
        assert!(
            !moved_the_clock(&mut s),
            "{role}: options of the connection"
        );
        // By its own settings for later sessions.
        let mut s = db.session_as(role);
        let _ = s.attempt_run(&format!(
            "alter role {role} set mosaic.clock = '2100-01-01'"
        ));
        let _ = s.attempt_run(&format!("alter database {} {SET}", db.name()));
        let mut s = db.session_as(role);
        assert!(!moved_the_clock(&mut s), "{role}: ALTER ROLE");
        admin.run(&format!("alter role {role} reset all"));
        // By a function's SET clause, in a schema of its own.
        admin.run(&format!(
            "create schema if not exists {role} authorization {role}"
        ));
        let mut s = db.session_as(role);
        let made = s.attempt_run(&format!(
            "create or replace function {role}.sweep() returns bigint language sql set mosaic.clock = '2100-01-01'
               as 'select count(*) from mosaic.backlog_reclaim()'"
        ));
        if made.is_ok()
            && let Ok(rows) = s.attempt(&format!("select {role}.sweep() as swept"))
        {
            assert_eq!(rows[0]["swept"], 0, "{role}: SET of a function");
        }
    }
    assert_eq!(admin.status("A"), "claimed");
}

#[test]
fn no_setting_that_weakens_a_guarantee_is_a_workers_to_set() {
    let db = Database::fresh();
    let mut s = db.session_as("worker");
    s.run("select from mosaic.backlog_stats()");
    for setting in [
        "mosaic.clock = '2100-01-01'",
        "mosaic.durability = 'inherit'",
        "mosaic.max_attempts = 1000000",
        "mosaic.retry_base = 0",
        "mosaic.retry_max = 0",
        "mosaic.allow_drop = on",
    ] {
        let refused = s.attempt_run(&format!("set {setting}")).expect_err(setting);
        assert_eq!(refused.sqlstate, "42501", "{setting}: {refused:?}");
    }
}

#[test]
fn a_lease_that_is_running_is_not_lost_when_the_server_restarts() {
    let cluster = Cluster::start(&[]);
    let mut s = cluster.session("postgres");
    s.run("create extension mosaic_backlog_ext");
    s.create("A");
    let token = s.claim("A", "w");
    cluster.crash();
    cluster.resume();
    let mut s = cluster.session("postgres");
    s.run(&format!("select mosaic.backlog_renew('A', {token})"));
    assert_eq!(s.claim_next("w2"), None);
}
