//! How sessions end, and what becomes of their leases.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::home::signal;
use mosaic_backlog_tests::program::{backlog, mosaic};
use mosaic_backlog_tests::{programs, wait};
use serde_json::{Value, json};

use super::client::Client;

fn with_a_card() -> Database {
    let db = Database::fresh();
    db.session().create("A");
    db
}

fn releasing(db: &Database) -> Client {
    Client::of(mosaic(&["mcp", "--worker", "w", "--on-exit", "release"]).on_as(db, "worker"))
}

#[test]
fn a_lease_outlives_its_session_and_its_token_stays_good() {
    let db = with_a_card();
    let client = Client::on(&db, "w");
    let (_, token) = client.claim();
    let outcome = client.close();
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (0, ""));
    assert_eq!(db.session().card("A")["claim_owner"], "w");
    let next = Client::on(&db, "w");
    next.call("renew", json!({"id": "A", "claim_token": token}));
    backlog(&["complete", "A", "--token", &token.to_string()])
        .on(&db)
        .json();
}

#[test]
fn with_on_exit_release_the_cards_come_back_without_blame() {
    let db = with_a_card();
    for id in ["B", "C"] {
        db.session().create(id);
    }
    let client = releasing(&db);
    let claimed = client.call("claim", json!({"max_cards": 3}));
    let token = &claimed["cards"][1]["claim_token"];
    client.call("complete", json!({"id": "B", "claim_token": token}));
    assert_eq!(client.close().exit, 0);
    let mut s = db.session();
    for (id, status) in [("A", "ready"), ("B", "done"), ("C", "ready")] {
        let card = s.card(id);
        assert_eq!(card["status"], status, "{card}");
        assert_eq!(card["attempts"], i64::from(status == "done"), "{card}");
    }
}

#[test]
fn with_on_exit_release_a_card_of_somebody_else_stays_theirs() {
    let db = with_a_card();
    let client = releasing(&db);
    client.claim();
    backlog(&["reclaim", "A", "--force"]).on(&db).json();
    db.session().claim("A", "other");
    let outcome = client.close();
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (0, ""));
    assert_eq!(db.session().card("A")["claim_owner"], "other");
}

#[test]
fn signals_end_a_session_as_its_client_does() {
    for (name, exit) in [("TERM", 0), ("HUP", 0), ("INT", 130)] {
        let db = with_a_card();
        let client = releasing(&db);
        client.claim();
        signal(name, client.server());
        let outcome = client.end();
        assert_eq!(outcome.exit, exit, "{name}: {outcome:?}");
        assert_eq!(db.session().status("A"), "ready", "{name}");
    }
}

/// A client that is a process of its own: it claims, says so, and waits.
const CLIENT: &str = r#"
    coproc server { "$1" mcp --worker w; }
    say() { printf '%s\n' "$1" >&"${server[1]}"; }
    say '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}'
    say '{"jsonrpc":"2.0","method":"notifications/initialized"}'
    say '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"backlog_claim","arguments":{}}}'
    read -r begin <&"${server[0]}"
    read -r claimed <&"${server[0]}"
    printf '%s\n' "$server_PID" "$claimed"
    read -r forever"#;

#[test]
fn a_killed_client_takes_its_server_along_and_the_card_comes_back_with_its_lease() {
    let db = with_a_card();
    let mut client = Command::new("bash")
        .args(["-c", CLIENT, "client"])
        .arg(programs::mosaic())
        .env("DATABASE_URL", db.url("worker"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash");
    let mut said = BufReader::new(client.stdout.take().expect("a pipe")).lines();
    let server: u32 = said
        .next()
        .expect("a line")
        .expect("text")
        .parse()
        .expect("a pid");
    let claimed: Value =
        serde_json::from_str(&said.next().expect("a line").expect("text")).expect("JSON");
    let card = &claimed["result"]["structuredContent"]["cards"][0];
    assert_eq!(card["id"], "A");
    let token = card["claim_token"].as_i64().expect("a token");

    signal("KILL", client.id());
    client.wait().expect("its end");
    wait::until("the server ends", || (!is_there(server)).then_some(()));
    let other = Client::on(&db, "other");
    assert_eq!(other.call("claim", json!({})), json!({"cards": []}));
    drop(other);
    db.fix_clock("2100-01-01");
    let (card, fresh) = Client::on(&db, "other").claim();
    assert_eq!(card["id"], "A");
    assert!(fresh > token);
}

/// Whether the process runs; one that nobody waited for does not.
fn is_there(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_killed_server_costs_nothing_but_the_session() {
    let db = with_a_card();
    let client = Client::on(&db, "w");
    let (_, token) = client.claim();
    signal("KILL", client.server());
    client.end();
    let next = Client::on(&db, "w");
    let done = next.call("complete", json!({"id": "A", "claim_token": token}));
    assert_eq!(done["card"]["status"], "done");
}

#[test]
fn standard_input_that_is_closed_before_a_session_began_is_no_error() {
    let db = Database::fresh();
    let mut server = mosaic(&["mcp"]).on(&db).with_open_input().spawn();
    server.stdin.take().expect("a pipe").flush().expect("flush");
    let output = server.wait_with_output().expect("its end");
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
}
