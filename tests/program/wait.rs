//! `claim --wait`: woken, by itself, through a pooler, over a restart, and at its end.

use std::process::Child;

use mosaic_backlog_tests::cluster::{Cluster, SUPERUSER};
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::home::signal;
use mosaic_backlog_tests::pooler::Pooler;
use mosaic_backlog_tests::program::{Mosaic, Outcome, backlog};
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;
use serde_json::{Value, json};

fn waiter(wait: &str) -> Mosaic {
    backlog(&["claim", "--worker", "w", "--wait", wait])
}

fn id(document: &Value) -> &str {
    document["cards"][0]["id"].as_str().expect("a card")
}

/// The sessions that have looked in vain and do nothing since.
const RESTING: &str = "select pid from pg_stat_activity
    where datname = current_database() and query like '%backlog_claim%' and pid <> pg_backend_pid()
      and state = 'idle' and state_change < clock_timestamp() - interval '50 milliseconds'";

/// Waits until a waiter rests; its session's process.
fn resting(s: &mut Session) -> i64 {
    wait::until("a waiter rests", || {
        s.column(RESTING).first().and_then(Value::as_i64)
    })
}

#[test]
fn a_card_that_is_created_ends_the_wait_and_nobody_sleeps_through_it() {
    let db = Database::fresh();
    let mut s = db.session();
    let mut waited = Vec::new();
    for number in 0..3 {
        let call = waiter("1m").on(&db).spawn();
        resting(&mut s);
        s.create(&format!("c{number}"));
        let document = Outcome::of(call).json(0);
        assert_eq!(id(&document), format!("c{number}"));
        waited.push(s.number(&format!(
            "select ((detail->>'waited_seconds')::numeric * 1000)::bigint from mosaic.backlog_event
             where kind = 'claimed' and card_id = 'c{number}'"
        )));
    }
    // One that only looks once a second would have rested on for most of that.
    let least = waited.iter().min().expect("three waits");
    assert!(*least < 500, "woken after {waited:?} ms");
}

#[test]
fn at_the_end_of_the_wait_there_is_no_work() {
    let db = Database::fresh();
    assert_eq!(waiter("1s").on(&db).run().json(3), json!({"cards": []}));
    assert_eq!(waiter("0s").on(&db).run().json(3), json!({"cards": []}));
}

#[test]
fn what_can_be_claimed_at_once_is_not_waited_for() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 3);
    let document = backlog(&["claim", "--wait", "1h", "--max", "5"])
        .on(&db)
        .json();
    assert_eq!(document["cards"].as_array().expect("cards").len(), 3);
}

#[test]
fn a_time_that_comes_and_a_lease_that_ends_end_the_wait() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', not_before => now() + interval '1 second')");
    assert_eq!(id(&waiter("1m").on(&db).json()), "A");
    s.create("B");
    s.run("select from mosaic.backlog_claim('dead', '1 second')");
    assert_eq!(id(&waiter("1m").on(&db).json()), "B");
}

#[test]
fn a_waiter_takes_only_what_fits() {
    let db = Database::fresh();
    let mut s = db.session();
    let call = backlog(&["claim", "--wait", "1m", "--label", "wanted"])
        .on(&db)
        .spawn();
    resting(&mut s);
    s.create("other");
    s.run("select from mosaic.backlog_create('t', id => 'fits', labels => '{wanted}')");
    assert_eq!(id(&Outcome::of(call).json(0)), "fits");
    assert_eq!(s.status("other"), "ready");
}

#[test]
fn an_idle_waiter_looks_at_most_once_a_second() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(&format!(
        "alter database {} set track_functions = 'all'",
        db.name()
    ));
    waiter("4s").on(&db).run().json(3);
    let looks = wait::until("the server has counted", || {
        let calls = s.column(
            "select calls from pg_stat_user_functions
             where schemaname = 'mosaic' and funcname = 'backlog_claim'",
        );
        calls.first().and_then(Value::as_i64)
    });
    // At the beginning, when it listens, four in between, and at the end.
    assert!((4..=7).contains(&looks), "{looks} looks");
}

#[test]
fn of_thirty_waiters_one_gets_the_card_and_the_others_wait_on() {
    let db = Database::fresh();
    let mut s = db.session();
    let calls: Vec<Child> = (0..30).map(|_| waiter("10s").on(&db).spawn()).collect();
    wait::until("all wait", || (s.column(RESTING).len() == 30).then_some(()));
    s.create("A");
    let mut exits: Vec<i32> = calls
        .into_iter()
        .map(|call| Outcome::of(call).exit)
        .collect();
    exits.sort_unstable();
    assert_eq!(exits[0], 0, "{exits:?}");
    assert!(exits[1..].iter().all(|exit| *exit == 3), "{exits:?}");
    assert_eq!(s.number("select attempts from mosaic.backlog"), 1);
}

#[test]
fn a_repeat_with_the_same_request_id_gives_the_same_card() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 2);
    let request = "6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c";
    let call = || {
        waiter("1m")
            .on(&db)
            .with(|command| {
                command.args(["--request-id", request]);
            })
            .json()
    };
    assert_eq!(call(), call());
}

#[test]
fn a_waiter_whose_session_is_ended_waits_on() {
    let db = Database::fresh();
    let mut s = db.session();
    let call = waiter("1m").on(&db).spawn();
    let first = resting(&mut s);
    s.run(&format!("select pg_terminate_backend({first}, 10000)"));
    assert_ne!(resting(&mut s), first);
    s.create("A");
    assert_eq!(id(&Outcome::of(call).json(0)), "A");
}

/// A server that can be crashed, with a backlog.
fn server() -> (Cluster, String) {
    let cluster = Cluster::start(&[]);
    cluster
        .session("postgres")
        .run("create extension mosaic_backlog_ext");
    let url = cluster.url("postgres", SUPERUSER);
    (cluster, url)
}

#[test]
fn a_wait_outlives_a_crash_of_the_server() {
    let (cluster, url) = server();
    let call = waiter("1m").env("DATABASE_URL", &url).spawn();
    resting(&mut cluster.session("postgres"));
    cluster.crash();
    cluster.resume();
    let mut s = cluster.session("postgres");
    s.create("A");
    assert_eq!(id(&Outcome::of(call).json(0)), "A");
}

#[test]
fn a_server_that_is_not_there_at_the_end_is_never_no_work() {
    let (cluster, url) = server();
    let call = waiter("3s").env("DATABASE_URL", &url).spawn();
    resting(&mut cluster.session("postgres"));
    cluster.crash();
    let document = Outcome::of(call).json(4);
    assert_eq!(document["error"]["code"], "unreachable");
    // Nor one that never was.
    let document = waiter("1s").env("DATABASE_URL", &url).run().json(4);
    assert_eq!(document["error"]["code"], "unreachable");
}

#[test]
fn a_wait_works_through_a_pooler_and_leaves_nobody_listening() {
    let db = Database::fresh();
    let pooler = Pooler::start(&db, 1);
    let mut s = db.session();
    // The pooler's connection may be older than the waiter, or made for it.
    for number in 0..2 {
        let call = waiter("1m")
            .env("DATABASE_URL", pooler.url("worker"))
            .spawn();
        resting(&mut s);
        s.create(&format!("c{number}"));
        Outcome::of(call).json(0);
        let mut pooled = pooler.session("worker");
        assert_eq!(
            pooled.number("select count(*) from pg_listening_channels()"),
            0
        );
    }
}

#[test]
fn an_interrupt_ends_the_wait_with_130() {
    let db = Database::fresh();
    let call = waiter("1m").on(&db).spawn();
    resting(&mut db.session());
    signal("INT", call.id());
    let document = Outcome::of(call).json(130);
    assert_eq!(document["error"]["code"], "interrupted");
}

#[test]
fn what_will_not_pass_is_not_waited_for() {
    let db = Database::fresh();
    let refused = waiter("1h").on_as(&db, "reader").code(4);
    assert_eq!(refused, "unauthorized");
    let refused = backlog(&["claim", "--max", "0", "--wait", "1h"]).on(&db);
    assert_eq!(refused.code(2), "invalid_argument");
    for beside in [["--wait", "1h"], ["--max", "3"]] {
        let [option, value] = beside;
        let named = backlog(&["claim", "A", option, value]).on(&db);
        assert_eq!(named.code(2), "usage", "{beside:?}");
    }
}
