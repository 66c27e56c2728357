//! Who may connect and nothing else cannot stop those who work.

use mosaic_backlog_tests::database::Database;
use serde_json::json;

const REQUEST: &str = "6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c";

#[test]
fn a_strangers_advisory_locks_stop_nobody() {
    let (db, file) = (Database::fresh(), Database::fresh());
    file.session().create("imported");
    let lines = file
        .session()
        .value("select jsonb_agg(line::jsonb) from mosaic.backlog_export() line");
    let mut stranger = db.session_as("stranger");
    // Whatever numbers are ours, and what the request's id may be made into.
    stranger.run(&format!(
        "select count(pg_advisory_lock(20260, n)) from generate_series(0, 100) n;
         with bytes as (select decode(replace('{REQUEST}', '-', ''), 'hex') as all_of_them),
           halves as (select ('x' || encode(substring(all_of_them, 1, 8), 'hex'))::bit(64)::bigint as a,
                             ('x' || encode(substring(all_of_them, 9, 8), 'hex'))::bit(64)::bigint as b from bytes)
         select pg_advisory_lock(a # b), pg_advisory_lock(a), pg_advisory_lock(b) from halves"
    ));
    let mut s = db.session_as("worker");
    s.run("set statement_timeout = '5s'");
    s.create("A");
    s.create("B");
    s.link("A", &["B"]);
    let claim = format!("select id from mosaic.backlog_claim('w', request_id => '{REQUEST}')");
    assert_eq!(s.rows(&claim), [json!({"id": "B"})]);
    let mut operator = db.session_as("operator");
    operator.run("set statement_timeout = '5s'");
    let lines = mosaic_backlog_tests::cards::quote(&lines.to_string());
    let import = format!("select cards from mosaic.backlog_import({lines})");
    assert_eq!(operator.rows(&import), [json!({"cards": 1})]);
}

#[test]
fn a_stranger_can_lock_nothing_of_ours() {
    let db = Database::fresh();
    let tables = db.session().column(
        "select oid::regclass::text from pg_class where relnamespace = 'mosaic'::regnamespace and relkind = 'r'",
    );
    let mut stranger = db.session_as("stranger");
    for table in tables {
        let table = table.as_str().expect("text");
        for mode in ["access share", "row share", "exclusive", "access exclusive"] {
            let lock = format!("begin; lock table {table} in {mode} mode nowait");
            let refused = stranger.attempt_run(&lock).expect_err(&lock);
            assert_eq!(refused.sqlstate, "42501", "{lock}");
            stranger.run("rollback");
        }
    }
}

#[test]
fn linking_importing_and_equal_requests_still_wait_for_each_other() {
    let db = Database::fresh();
    let file = Database::fresh();
    file.session().create("imported");
    let lines = file
        .session()
        .value("select jsonb_agg(line::jsonb) from mosaic.backlog_export() line");
    let lines = mosaic_backlog_tests::cards::quote(&lines.to_string());
    let mut s = db.session();
    for id in ["A", "B", "C", "D"] {
        s.create(id);
    }
    for (first, second) in [
        ("link('A', '{B}')".to_owned(), "link('C', '{D}')".to_owned()),
        (format!("import({lines})"), format!("import({lines})")),
        (
            format!("claim('w', request_id => '{REQUEST}')"),
            format!("claim('w', request_id => '{REQUEST}')"),
        ),
    ] {
        s.run(&format!("begin; select from mosaic.backlog_{first}"));
        let waiting = db
            .session()
            .begin_call(&format!("select 1 as n from mosaic.backlog_{second}"))
            .until_it_waits(&db);
        let mut watcher = db.session();
        let held = watcher.text(
            "select distinct classid::regclass::text from pg_locks where locktype = 'object' and database =
               (select oid from pg_database where datname = current_database()) and granted",
        );
        assert!(held.starts_with("mosaic.backlog"), "{held}");
        s.run("rollback");
        waiting.rows();
    }
    // Other requests do not.
    s.run("begin; select from mosaic.backlog_claim('w', request_id => gen_random_uuid())");
    let mut other = db.session();
    other.run("select from mosaic.backlog_claim('w', request_id => gen_random_uuid())");
}
