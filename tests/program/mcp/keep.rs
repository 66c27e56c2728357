//! `mosaic mcp --keep`.

use mosaic_backlog_tests::cluster::{Cluster, SUPERUSER};
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::home::signal;
use mosaic_backlog_tests::program::{backlog, mosaic};
use mosaic_backlog_tests::wait;
use serde_json::json;

use super::client::Client;

fn keeping(db: &Database) -> Client {
    Client::of(mosaic(&["mcp", "--worker", "w", "--keep"]).on_as(db, "worker"))
}

fn renewals(db: &Database) -> i64 {
    db.session().number(
        "select count(*) from mosaic.backlog
        where claim_expires_at > claimed_at + interval '1.2 seconds' and status = 'claimed'",
    )
}

#[test]
fn a_lease_is_kept_while_the_client_lives_and_lapses_after() {
    let db = Database::fresh();
    db.session().create("A");
    let client = keeping(&db);
    client.call("claim", json!({"ttl": "1s"}));
    // Three times as long as the lease.
    let mut s = db.session();
    wait::until("three leases have passed", || {
        s.truth("select clock_timestamp() > claimed_at + interval '3 seconds' from mosaic.backlog")
            .then_some(())
    });
    assert_eq!(renewals(&db), 1);
    let other = Client::on(&db, "other");
    assert_eq!(other.call("claim", json!({})), json!({"cards": []}));
    signal("KILL", client.server());
    client.end();
    wait::until("the lease lapses", || {
        let claimed = other.call("claim", json!({}));
        (claimed != json!({"cards": []})).then_some(())
    });
}

#[test]
fn without_keep_a_lease_lapses() {
    let db = Database::fresh();
    db.session().create("A");
    let client = Client::on(&db, "w");
    client.call("claim", json!({"ttl": "1s"}));
    let other = Client::on(&db, "other");
    wait::until("the lease lapses", || {
        let claimed = other.call("claim", json!({}));
        (claimed != json!({"cards": []})).then_some(())
    });
}

#[test]
fn a_lease_that_was_lost_is_told_with_the_next_call_about_its_card() {
    let db = Database::fresh();
    db.session().create("A");
    let client = keeping(&db);
    let claimed = client.call("claim", json!({"ttl": "2s"}));
    let token = claimed["cards"][0]["claim_token"].clone();
    backlog(&["reclaim", "A", "--force"]).on(&db).json();
    let lost = wait::until("it is told", || {
        let shown = client.call("show", json!({"id": "A"}));
        shown.get("claim_lost").cloned()
    });
    let told = lost.as_str().expect("a text");
    assert!(told.contains("stop working"), "{told}");
    // Once.
    assert_eq!(
        client.call("show", json!({"id": "A"})).get("claim_lost"),
        None
    );
    assert_eq!(
        client.code("complete", json!({"id": "A", "claim_token": token})),
        "claim_lost"
    );
}

#[test]
fn what_was_finished_is_kept_no_longer() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    let client = keeping(&db);
    let claimed = client.call("claim", json!({"id": "A", "ttl": "1s"}));
    let token = claimed["cards"][0]["claim_token"].clone();
    client.call("complete", json!({"id": "A", "claim_token": token}));
    client.call("claim", json!({"id": "B", "ttl": "2s"}));
    // It comes later than one of A would have come.
    wait::until("B is renewed", || {
        s.truth("select claim_expires_at > claimed_at + interval '2 seconds' from mosaic.backlog where id = 'B'")
            .then_some(())
    });
    let shown = client.call("show", json!({"id": "A"}));
    assert_eq!(shown.get("claim_lost"), None);
}

/// Another session gets the card once its lease has lapsed.
fn lapses(db: &Database) {
    let other = Client::on(db, "other");
    wait::until("the lease lapses", || {
        let claimed = other.call("claim", json!({"ttl": "1h"}));
        (claimed != json!({"cards": []})).then_some(())
    });
    assert_eq!(db.session().card("A")["claim_owner"], "other");
}

#[test]
fn when_the_client_has_closed_the_session_nothing_is_kept() {
    let db = Database::fresh();
    db.session().create("A");
    let client = keeping(&db);
    client.call("claim", json!({"ttl": "1s"}));
    assert_eq!(client.close().exit, 0);
    lapses(&db);
}

#[test]
fn a_session_that_was_stopped_for_too_long_does_not_take_its_card_back() {
    let db = Database::fresh();
    db.session().create("A");
    let client = keeping(&db);
    client.call("claim", json!({"ttl": "1s"}));
    signal("STOP", client.server());
    lapses(&db);
    signal("CONT", client.server());
    wait::until("it is told", || {
        let shown = client.call("show", json!({"id": "A"}));
        shown.get("claim_lost").cloned()
    });
    assert_eq!(db.session().card("A")["claim_owner"], "other");
    assert_eq!(client.close().exit, 0);
}

#[test]
fn a_lease_is_kept_over_a_restart_of_the_database() {
    let cluster = Cluster::start(&[]);
    let mut s = cluster.session("postgres");
    s.run("create extension mosaic_backlog_ext");
    s.create("A");
    let url = cluster.url("postgres", SUPERUSER);
    let client = Client::of(mosaic(&["mcp", "--worker", "w", "--keep"]).env("DATABASE_URL", url));
    client.call("claim", json!({"ttl": "6s"}));
    cluster.crash();
    cluster.resume();
    let mut s = cluster.session("postgres");
    wait::until("the lease is longer than it was given", || {
        s.truth(
            "select claim_expires_at > claimed_at + interval '7 seconds' and status = 'claimed' from mosaic.backlog",
        )
        .then_some(())
    });
    client.close();
}
