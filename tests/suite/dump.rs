//! Dump and restore.

use std::path::{Path, PathBuf};
use std::process::Command;

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::installation::Installation;
use mosaic_backlog_tests::programs::{postgresql, run};
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::{account, folder};
use serde_json::Value;

/// A backlog with some of everything; the token of the card "held".
pub fn populate(s: &mut Session) -> i64 {
    s.run(
        "select from mosaic.backlog_create('A', id => 'A', idempotency_key => 'k', body => E'line\\n\"quoted\"\\t',
           acceptance => '{\"n\": 1.50}', labels => array['x', '{,}\"'], requires => '{gpu}', priority => 3);
         select from mosaic.backlog_create('B', id => 'B', depends_on => '{A}');
         select from mosaic.backlog_create('C', id => 'C', depends_on => '{A,B}', not_before => '2100-01-01');
         select from mosaic.backlog_create('D', id => 'D');
         select from mosaic.backlog_complete('D', result => '[1, 2]');
         select from mosaic.backlog_create('E', id => 'E', depends_on => '{D}');
         select from mosaic.backlog_block('E', 'need a key', 'input');
         select from mosaic.backlog_create('held', id => 'held');
         select from mosaic.backlog_create('F', id => 'F');
         select from mosaic.backlog_cancel('F', 'why')",
    );
    s.rows("select * from mosaic.backlog_claim('other', request_id => '6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c', id => 'A', offers => '{gpu}')");
    s.claim("held", "w")
}

/// Everything that a dump has to keep.
pub fn contents(s: &mut Session) -> Vec<Vec<Value>> {
    let mut contents: Vec<Vec<Value>> = [
        "mosaic.backlog t order by id",
        "mosaic.backlog_dependency t order by card_id, depends_on",
        "mosaic.backlog_event t order by event_id",
        "mosaic.backlog_claim_request t order by request_id",
    ]
    .iter()
    .map(|from| s.rows(&format!("select to_jsonb(t) as row from {from}")))
    .collect();
    contents.push(s.rows(
        "select 'token' as name, last_value, is_called from mosaic.backlog_claim_token_seq
         union all select 'event', last_value, is_called from mosaic.backlog_event_id_seq
         union all select 'creation', last_value, is_called from mosaic.backlog_creation_seq",
    ));
    assert!(contents.iter().all(|rows| !rows.is_empty()));
    contents
}

const DUMP: &str = "dump";

/// A dump of a database, in a folder.
fn dumped(db: &Database, folder: &Path) -> PathBuf {
    let file = folder.join(DUMP);
    run(program(db.cluster(), "pg_dump", db.name())
        .args(["--format=custom", "--file"])
        .arg(&file));
    file
}

fn restore(file: &Path, cluster: &Cluster, database: &str) {
    run(program(cluster, "pg_restore", database)
        .arg("--exit-on-error")
        .arg(file));
}

/// The restored backlog goes on where the dumped one stopped.
pub fn assert_goes_on(s: &mut Session, token: i64) {
    s.assert_counters_are_right();
    // The lease holds, its token is good, and the next one is larger.
    s.run(&format!("select mosaic.backlog_renew('held', {token})"));
    s.run(&format!(
        "select from mosaic.backlog_release('held', {token})"
    ));
    assert!(s.claim("held", "w2") > token);
    // A retried create and a retried claim find what they made.
    assert!(!s.truth(
        "select created from mosaic.backlog_create('A', id => 'A', idempotency_key => 'k', body => E'line\\n\"quoted\"\\t',
           acceptance => '{\"n\": 1.50}', labels => array['x', '{,}\"'], requires => '{gpu}', priority => 3)"
    ));
    let again = s.rows("select * from mosaic.backlog_claim('other', request_id => '6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c', id => 'A', offers => '{gpu}')");
    assert_eq!(again[0]["id"], "A");
    // The gate works.
    s.run("select from mosaic.backlog_complete('A', force => true)");
    assert_eq!(s.open_dependencies("B"), 0);
    s.create("new");
    // A follower sees all of the history that came along.
    let events = s.events();
    mosaic_backlog_tests::wait::until("the history is shown to its end", || {
        let shown = s.number("select count(*) from mosaic.backlog_events(max_events => 1000)");
        (shown == events).then_some(())
    });
}

fn program(cluster: &Cluster, name: &str, database: &str) -> Command {
    let mut command = Command::new(postgresql(name));
    account::serve(&mut command)
        .arg("--dbname")
        .arg(cluster.url(database, "postgres"))
        .current_dir("/");
    command
}

#[test]
fn a_dump_restored_into_another_database_has_everything_and_goes_on() {
    let db = Database::fresh();
    let mut s = db.session();
    let token = populate(&mut s);
    let expected = contents(&mut s);
    let folder = folder::create();
    account::give(&folder);
    for format in ["custom", "plain", "directory"] {
        let file = folder.join(format);
        run(program(db.cluster(), "pg_dump", db.name())
            .arg(format!("--format={format}"))
            .arg("--file")
            .arg(&file));
        let target = Database::bare();
        if format == "plain" {
            run(program(db.cluster(), "psql", target.name())
                .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f"])
                .arg(&file));
        } else {
            run(program(db.cluster(), "pg_restore", target.name())
                .args(["--exit-on-error", "--jobs=2"])
                .arg(&file));
        }
        let mut restored = target.session();
        assert_eq!(contents(&mut restored), expected, "{format}");
        assert_goes_on(&mut restored, token);
    }
}

#[test]
fn a_dump_restored_into_another_cluster_has_everything_and_goes_on() {
    let db = Database::fresh();
    let mut s = db.session();
    let token = populate(&mut s);
    let expected = contents(&mut s);
    let cluster = Cluster::start(&[]);
    let file = dumped(&db, cluster.folder());
    restore(&file, &cluster, "postgres");
    let mut restored = cluster.session("postgres");
    assert_eq!(contents(&mut restored), expected);
    assert_goes_on(&mut restored, token);
    restored.run("create role restored_worker login; grant mosaic_worker to restored_worker");
    let mut worker = Session::open(&cluster.config("postgres", "restored_worker"));
    worker.create("by a worker");
}

#[test]
fn a_backlog_under_load_dumps_to_a_consistent_state() {
    let db = Database::fresh();
    db.session().create_numbered("c", 200);
    let folder = folder::create();
    account::give(&folder);
    let done = std::sync::atomic::AtomicBool::new(false);
    mosaic_backlog_tests::calls::together(&db, 5, |number, s| {
        use std::sync::atomic::Ordering::SeqCst;
        if number == 0 {
            dumped(&db, &folder);
            done.store(true, SeqCst);
            return;
        }
        let mut round = number;
        while !done.load(SeqCst) {
            round += 4;
            let (a, b) = (round % 200 + 1, round * 7 % 200 + 1);
            for call in [
                format!("link('c{a}', '{{c{b}}}')"),
                format!("complete('c{b}')"),
                format!("claim('w{number}')"),
                format!("reopen('c{b}', 'why')"),
            ] {
                let _ = s.attempt(&format!("select 1 as n from mosaic.backlog_{call}"));
            }
        }
    });
    let target = Database::bare();
    restore(&folder.join(DUMP), target.cluster(), target.name());
    let mut restored = target.session();
    restored.assert_counters_are_right();
    // Sequences are read later than the rows, so that no restored token comes again.
    assert!(restored.truth(
        "select last_value >= (select coalesce(max(claim_token), 0) from mosaic.backlog)
         from mosaic.backlog_claim_token_seq"
    ));
}

#[test]
fn a_dump_restored_under_a_newer_version_has_everything_and_goes_on() {
    let db = Database::fresh();
    let mut s = db.session();
    let token = populate(&mut s);
    let expected = contents(&mut s);
    let newer = Installation::copy();
    newer.add_version(
        "999.0.0",
        "alter table mosaic.backlog add column of_the_newer_version text;",
    );
    let cluster = Cluster::start_from(newer.bin(), &[]);
    let file = dumped(&db, cluster.folder());
    restore(&file, &cluster, "postgres");
    let mut restored = cluster.session("postgres");
    assert_eq!(
        restored.text("select extversion from pg_extension where extname = 'mosaic_backlog_ext'"),
        "999.0.0"
    );
    // The newer version's own column aside.
    restored.run("alter table mosaic.backlog drop column of_the_newer_version");
    assert_eq!(contents(&mut restored), expected);
    assert_goes_on(&mut restored, token);
    drop(cluster);
}
