//! Lines that cannot be read, batches, and answers that cannot be written.

use std::fs::File;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::mosaic;
use mosaic_backlog_tests::wait;
use serde_json::{Value, json};

use super::raw::{Raw, request};

fn begin(db: &Database, version: &str) -> Raw {
    Raw::begin(
        mosaic(&["mcp", "--worker", "w"]).on_as(db, "worker"),
        version,
    )
}

fn call(id: i64, tool: &str, arguments: Value) -> Value {
    request(
        id,
        "tools/call",
        &json!({"name": tool, "arguments": arguments}),
    )
}

#[test]
fn a_line_that_cannot_be_read_is_answered_at_once() {
    let db = Database::fresh();
    let mut client = begin(&db, "2025-06-18");
    for (id, line) in [
        (json!(7), &br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"backlog_create","arguments":{"title":"cut \ud83d"}}}"#[..]),
        (json!("x"), b"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"ping\",\"params\":{\"a\":\"\xff\xfe\"}}"),
        (json!(9), br#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"#),
        (Value::Null, b"hello"),
    ] {
        client.send(line);
        let answer = client.answer();
        assert_eq!(answer["error"]["code"], -32700, "{answer}");
        assert_eq!(answer["id"], id, "{answer}");
    }
    client.send("{\"jsonrpc\":\"2.0\"}");
    assert_eq!(client.answer()["error"]["code"], -32600);
    let empty = client.call("backlog_list", json!({}));
    assert_eq!(
        empty["result"]["structuredContent"],
        json!({"cards": [], "next": null})
    );
    assert_eq!(client.close().exit, 0);
}

#[test]
fn a_last_line_without_its_end_is_read_or_refused() {
    let db = Database::fresh();
    let begin = request(
        1,
        "initialize",
        &json!({"protocolVersion": "2025-06-18",
        "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}),
    );
    let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let create = call(2, "backlog_create", json!({"title": "t", "id": "A"})).to_string();
    for (last, code) in [
        (create.as_str(), Value::Null),
        (&create[..create.len() - 9], json!(-32700)),
    ] {
        let outcome = mosaic(&["mcp"])
            .on(&db)
            .input(&format!("{begin}\n{ready}\n{last}"))
            .run();
        let answers: Vec<Value> = outcome
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(answers.len(), 2, "{outcome:?}");
        assert_eq!(
            (&answers[1]["id"], &answers[1]["error"]["code"]),
            (&json!(2), &code)
        );
    }
    assert_eq!(db.session().status("A"), "ready");
}

#[test]
fn a_batch_is_answered_in_one_piece_where_the_protocol_has_batches() {
    let db = Database::fresh();
    let mut client = begin(&db, "2025-03-26");
    let batch = json!([
        call(10, "backlog_create", json!({"title": "t", "id": "A"})),
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}},
        call(11, "backlog_claim", json!({"id": "A"})),
        {"jsonrpc": "2.0", "id": 12, "method": "nothing/such"},
        {"id": 13},
    ]);
    client.send(batch.to_string());
    let answers = client.answer();
    let mut ids: Vec<i64> = answers
        .as_array()
        .expect("a batch of answers")
        .iter()
        .map(|answer| answer["id"].as_i64().expect("an id"))
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [10, 11, 12, 13], "{answers}");
    assert_eq!(db.session().status("A"), "claimed");
    // Without requests there is no answer.
    client.send(r#"[{"jsonrpc":"2.0","method":"notifications/initialized"}]"#);
    client.send("[]");
    assert_eq!(client.answer()["error"]["code"], -32600);
    assert_eq!(client.close().exit, 0);

    let mut client = begin(&db, "2025-06-18");
    client.send(json!([call(10, "backlog_list", json!({}))]).to_string());
    let answer = client.answer();
    assert_eq!(answer["error"]["code"], -32600, "{answer}");
    client.call("backlog_list", json!({}));
}

const WAITING: &str = "select exists (select from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock')";

#[track_caller]
fn check_given_back(db: &Database) {
    let mut s = db.session();
    let card = s.card("A");
    assert_eq!(
        (&card["status"], &card["attempts"]),
        (&json!("ready"), &json!(0))
    );
    let kinds = s.column("select kind from mosaic.backlog_events('A') order by event_id");
    assert_eq!(kinds.last(), Some(&json!("released")));
}

#[test]
fn a_claim_whose_reader_went_away_is_given_back() {
    let db = Database::fresh();
    let mut holder = db.session();
    holder.create("A");
    for closes_its_side in [false, true] {
        let mut client = begin(&db, "2025-06-18");
        holder.run("begin; select from mosaic.backlog where id = 'A' for update");
        client.send(call(2, "backlog_claim", json!({"id": "A"})).to_string());
        let mut watcher = db.session();
        wait::until("the claim waits", || watcher.truth(WAITING).then_some(()));
        let mut server = client.stop_reading();
        let input = server.stdin.take().filter(|_| !closes_its_side);
        holder.run("commit");
        wait::until("the server ends", || server.try_wait().expect("a look"));
        drop(input);
        check_given_back(&db);
    }
}

#[test]
fn a_session_that_cannot_begin_says_why() {
    let db = Database::fresh();
    let begin = request(
        1,
        "initialize",
        &json!({"protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"}}),
    );
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let outcome = mosaic(&["mcp"])
        .on(&db)
        .input(&format!("{begin}\n"))
        .with(|command| {
            command.stdout(full);
        })
        .run();
    assert_eq!(outcome.exit, 4, "{outcome:?}");
    assert!(
        outcome
            .stderr
            .starts_with("error: cannot write to standard output\nNo space left on device"),
        "{outcome:?}"
    );
}
