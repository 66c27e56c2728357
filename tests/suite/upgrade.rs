//! A new version arrives while workers work.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::installation::Installation;
use mosaic_backlog_tests::program::{backlog, mosaic};
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;
use serde_json::json;

const NEWER: &str = "999.0.0";

fn start(installation: &Installation) -> Cluster {
    let cluster = Cluster::start_from(installation.bin(), &[]);
    cluster
        .session("postgres")
        .run("create extension mosaic_backlog_ext");
    cluster
}

/// The library as a newer version would be that keeps other things in shared memory.
fn with_a_newer_layout(mut library: Vec<u8>) -> Vec<u8> {
    let (own, newer) = (b"layout 1", b"layout 2");
    let places: Vec<usize> = (0..library.len() - own.len())
        .filter(|at| library[*at..].starts_with(own))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        library[at..at + own.len()].copy_from_slice(newer);
    }
    library
}

/// Creates a card, claims one and completes it.
fn round(s: &mut Session, worker: &str, number: usize) -> String {
    s.create(&format!("{worker}-{number}"));
    let row = s.row(&format!(
        "select id, claim_token from mosaic.backlog_claim('{worker}')"
    ));
    let (id, token) = (row["id"].as_str().expect("an id"), &row["claim_token"]);
    s.run(&format!(
        "select from mosaic.backlog_complete('{id}', {token})"
    ));
    id.to_owned()
}

/// Runs workers, of which half connect anew for each round, while `arrive` does its work and for
/// a while after. No call may fail, and each card is completed once.
fn under_traffic(cluster: &Cluster, arrive: impl FnOnce()) {
    let (over, done) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let more = |count: usize| {
        let before = done.lock().expect("a list").len();
        wait::until("the workers go on", || {
            let now = done.lock().expect("a list").len();
            (now >= before + count).then_some(())
        });
    };
    thread::scope(|scope| {
        for worker in 0..6 {
            let (over, done) = (&over, &done);
            scope.spawn(move || {
                let mut session = cluster.session("postgres");
                for number in 0.. {
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                    if worker % 2 == 0 {
                        session = cluster.session("postgres");
                    }
                    let id = round(&mut session, &format!("w{worker}"), number);
                    done.lock().expect("a list").push(id);
                }
            });
        }
        let stop = Stop(&over);
        more(50);
        arrive();
        more(100);
        drop(stop);
    });
    let mut done = done.into_inner().expect("a list");
    let count = done.len();
    done.sort();
    done.dedup();
    assert_eq!(done.len(), count, "a card was completed twice");
    let stats = cluster
        .session("postgres")
        .row("select ready, claimed, done from mosaic.backlog_stats()");
    assert_eq!(stats, json!({"ready": 0, "claimed": 0, "done": count}));
}

/// Lets the workers come to their end, also where the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn workers_do_not_notice_that_the_library_is_replaced_and_the_extension_updated() {
    let installation = Installation::copy();
    let cluster = start(&installation);
    under_traffic(&cluster, || {
        installation.replace_library(|library| library);
        installation.add_version(
            NEWER,
            "alter table mosaic.backlog add column of_the_newer_version text;
             create or replace function mosaic.backlog_stats_of_the_newer_version() returns bigint
               language sql as 'select count(*) from mosaic.backlog';",
        );
        let mut admin = cluster.session("postgres");
        admin.run("alter extension mosaic_backlog_ext update");
        assert!(admin.number("select mosaic.backlog_stats_of_the_newer_version()") > 0);
        installation.replace_library(|library| library);
    });
}

#[test]
fn sessions_with_an_older_layout_end_before_they_change_what_others_would_not_hear_of() {
    let installation = Installation::copy();
    let cluster = start(&installation);
    let mut idle = cluster.session("postgres");
    idle.create("A");
    let mut late = cluster.session("postgres");
    late.run("begin");
    late.create("late");
    let mut fresh = cluster.session("postgres");
    fresh.run("set mosaic.notify = on");
    let _ = fresh.row("select * from mosaic.backlog_stats()");
    installation.replace_library(with_a_newer_layout);

    let mut new = cluster.session("postgres");
    assert_eq!(new.claim_next("w").as_deref(), Some("A"));
    // Also one that had not used its memory before must not take it back.
    for (mut older, what) in [
        (late, "commit"),
        (idle, "select from mosaic.backlog_create('t', id => 'B')"),
        (fresh, "select from mosaic.backlog_claim('w')"),
    ] {
        let refused = older.attempt_run(what).expect_err(what);
        // The client library reports the one or the other: both came at once.
        let ended = ["57P01", "08006"].contains(&refused.sqlstate.as_str());
        assert!(ended, "{what}: {refused:?}");
        wait::until("the session has ended", || {
            older.attempt_run("select 1").is_err().then_some(())
        });
    }
    assert_eq!(new.claim_next("w"), None);
    let mut again = cluster.session("postgres");
    again.create("B");
    assert_eq!(new.claim_next("w").as_deref(), Some("B"));
    assert_eq!(
        new.column("select id from mosaic.backlog order by id"),
        ["A", "B"]
    );
}

#[test]
fn what_an_older_session_was_committing_is_found_when_it_is_there() {
    let installation = Installation::copy();
    let cluster = start(&installation);
    let mut admin = cluster.session("postgres");
    // Its commit waits for a standby that there is not, past the point of no return.
    admin.run("alter system set synchronous_standby_names = 'nobody'");
    admin.run("select pg_reload_conf()");
    wait::until("the setting is known", || {
        let mut s = cluster.session("postgres");
        (s.text("select current_setting('synchronous_standby_names')") == "nobody").then_some(())
    });
    let committing = cluster
        .session("postgres")
        .begin_call("select id from mosaic.backlog_create('t', id => 'A')");
    wait::until("the commit waits", || {
        admin
            .truth("select exists (select from pg_stat_activity where wait_event = 'SyncRep')")
            .then_some(())
    });
    installation.replace_library(with_a_newer_layout);
    let mut new = cluster.session("postgres");
    new.run("set mosaic.durability = 'inherit'; set synchronous_commit = local");
    assert_eq!(new.claim_next("w"), None);
    assert!(!committing.is_finished());
    admin.run("alter system reset synchronous_standby_names");
    admin.run("select pg_reload_conf()");
    assert_eq!(committing.rows(), [json!({"id": "A"})]);
    assert_eq!(new.claim_next("w").as_deref(), Some("A"));
    // From then on all is told as ever.
    new.create("B");
    assert_eq!(new.claim_next("w").as_deref(), Some("B"));
}

#[test]
fn an_older_program_works_with_a_newer_extension() {
    let installation = Installation::copy();
    let cluster = start(&installation);
    installation.add_version(
        NEWER,
        "alter table mosaic.backlog add column of_the_newer_version text;",
    );
    let url = cluster.url("postgres", "postgres");
    let migrated = mosaic(&["db", "migrate", "--json"])
        .env("DATABASE_URL", &url)
        .json();
    assert_eq!(migrated["to"], NEWER);
    let call = |arguments: &[&str]| backlog(arguments).env("DATABASE_URL", &url).json();
    call(&["create", "t", "--id", "A"]);
    let claimed = call(&["claim", "--worker", "w"]);
    let token = claimed["cards"][0]["claim_token"].to_string();
    assert_eq!(
        call(&["complete", "A", "--token", &token])["card"]["status"],
        "done"
    );
}

#[test]
fn a_newer_program_says_what_to_do_about_an_older_extension() {
    let installation = Installation::copy();
    let cluster = start(&installation);
    let mut admin = cluster.session("postgres");
    // What a version before it came would lack.
    let definition = admin
        .text("select pg_get_functiondef('mosaic.backlog_why'::regproc)")
        .replace(
            "$libdir/mosaic_backlog_ext",
            &installation.library().to_string_lossy(),
        );
    admin.run(
        "alter extension mosaic_backlog_ext drop function mosaic.backlog_why;
         drop function mosaic.backlog_why;
         update pg_extension set extversion = '0.0.1' where extname = 'mosaic_backlog_ext'",
    );
    let url = cluster.url("postgres", "postgres");
    let call = |arguments: &[&str]| backlog(arguments).env("DATABASE_URL", &url);
    call(&["create", "t", "--id", "A"]).json();
    let error = &call(&["why", "A"]).run().json(4)["error"];
    assert_eq!(error["code"], "not_installed");
    assert_eq!(error["retryable"], false);
    let hint = error["hint"].as_str().expect("a hint");
    assert!(hint.contains("mosaic db migrate"), "{hint}");

    installation.add_script(
        "0.0.1",
        env!("CARGO_PKG_VERSION"),
        &format!("{definition};"),
    );
    // Nobody migrates a shared server in passing, unless told to.
    call(&["why", "A"]).code(4);
    assert_eq!(
        call(&["why", "A"]).env("MOSAIC_AUTO_MIGRATE", "1").json()["id"],
        "A"
    );
    call(&["why", "A"]).json();
}
