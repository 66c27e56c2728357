//! `watch --json`: the history as it grows, a line each.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::home::signal;
use mosaic_backlog_tests::program::{Mosaic, backlog, exit_code};
use mosaic_backlog_tests::wait;
use serde_json::Value;

fn watch(more: &[&str]) -> Mosaic {
    let mut all = vec!["watch"];
    all.extend(more);
    backlog(&all)
}

/// A stream that runs, and the lines that it has printed.
struct Stream {
    child: Child,
    lines: Receiver<Value>,
}

impl Stream {
    #[track_caller]
    fn start(call: Mosaic) -> Self {
        let mut child = call.spawn();
        let output = child.stdout.take().expect("its output");
        Stream {
            lines: lines(output),
            child,
        }
    }

    #[track_caller]
    fn next(&self) -> Value {
        self.lines
            .recv_timeout(Duration::from_secs(60))
            .expect("a line")
    }

    /// The next so many, as "A1 created".
    #[track_caller]
    fn take(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| told(&self.next())).collect()
    }

    /// Whatever else there is, once the stream has ended.
    fn rest(&self) -> Vec<Value> {
        self.lines.iter().collect()
    }

    #[track_caller]
    fn exit(&mut self) -> i32 {
        let status = wait::until("the end", || self.child.try_wait().expect("the program"));
        exit_code(status)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(output: ChildStdout) -> Receiver<Value> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let value = serde_json::from_str(&line).unwrap_or_else(|_| Value::String(line));
            if sender.send(value).is_err() {
                return;
            }
        }
    });
    receiver
}

fn told(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or("?").to_owned();
    format!("{} {}", text("card_id"), text("kind"))
}

#[test]
fn it_tells_what_happens_from_now_on() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("old");
    // What happens is told once no older transaction of the server runs.
    let mut reader = db.session();
    wait::until("the history tells of it", || {
        let told = reader.rows("select 1 as n from mosaic.backlog_events()");
        (!told.is_empty()).then_some(())
    });
    drop(reader);
    let stream = Stream::start(watch(&[]).on(&db));
    until_it_looks(&db);
    s.create("A1");
    s.claim("A1", "w1");
    assert_eq!(stream.take(2), ["A1 created", "A1 claimed"]);
    s.run("select from mosaic.backlog_complete('A1', force => true)");
    let event = stream.next();
    assert_eq!(told(&event), "A1 completed");
    let keys: Vec<&String> = event.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        [
            "event_id",
            "card_id",
            "at",
            "kind",
            "actor",
            "login_role",
            "claim_token",
            "old_status",
            "new_status",
            "detail",
            "cursor"
        ]
    );
}

/// Waits until the stream has found its beginning: it asks again and again from then on.
fn until_it_looks(db: &Database) {
    let mut s = db.session();
    wait::until("the stream looks for events", || {
        s.truth(
            "select exists (select from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid() and state = 'idle'
                 and query like '%backlog_events%' and query not like '%event_id%')",
        )
        .then_some(())
    });
}

#[test]
fn a_cursor_goes_on_where_it_was_and_from_start_begins_with_the_first() {
    let db = Database::fresh();
    let mut s = db.session();
    // More than one look takes.
    s.create_numbered("c", 2_500);
    let stream = Stream::start(watch(&["--from-start"]).on(&db));
    let first: Vec<Value> = (0..1_200).map(|_| stream.next()).collect();
    let told_first: Vec<String> = first.iter().map(told).collect();
    let cursor = first[1_199]["cursor"]
        .as_str()
        .expect("a cursor")
        .to_owned();
    drop(stream);
    let stream = Stream::start(watch(&["--after", &cursor]).on(&db));
    let mut all = told_first;
    all.extend(stream.take(1_300));
    let expected: Vec<String> = (1..=2_500).map(|n| format!("c{n} created")).collect();
    assert_eq!(all, expected);
}

#[test]
fn one_card_alone_can_be_followed() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A1");
    s.create("A2");
    s.claim("A2", "w1");
    let stream = Stream::start(watch(&["A2", "--from-start"]).on(&db));
    assert_eq!(stream.take(2), ["A2 created", "A2 claimed"]);
    s.complete("A1");
    s.run("select from mosaic.backlog_complete('A2', force => true)");
    assert_eq!(stream.take(1), ["A2 completed"]);
}

#[test]
fn none_is_missed_that_commits_late() {
    let db = Database::fresh();
    let stream = Stream::start(watch(&[]).on(&db));
    until_it_looks(&db);
    let mut slow = db.session();
    slow.run("begin");
    slow.create("slow");
    let mut quick = db.session();
    quick.create("quick");
    // The quick one has the larger number, and waits for the slow one.
    assert!(
        stream
            .lines
            .recv_timeout(Duration::from_millis(2_500))
            .is_err()
    );
    slow.run("commit");
    assert_eq!(stream.take(2), ["slow created", "quick created"]);
}

#[test]
fn it_survives_a_restart_of_the_server_without_gap_or_repeat() {
    let cluster = Cluster::start(&[]);
    let mut s = cluster.session("postgres");
    s.run("create extension mosaic_backlog_ext");
    s.create("A1");
    let call = watch(&["--from-start"]).env("DATABASE_URL", cluster.url("postgres", "postgres"));
    let mut stream = Stream::start(call);
    assert_eq!(stream.take(1), ["A1 created"]);
    cluster.crash();
    let complaints = BufReader::new(stream.child.stderr.take().expect("stderr"));
    let complaint = complaints.lines().next().expect("a line").expect("text");
    assert!(complaint.contains("trying again"), "{complaint}");
    cluster.resume();
    let mut s = cluster.session("postgres");
    s.create("A2");
    s.create("A3");
    assert_eq!(stream.take(2), ["A2 created", "A3 created"]);
    signal("INT", stream.child.id());
    assert_eq!(stream.exit(), 130);
    assert_eq!(stream.rest().len(), 1);
}

#[test]
fn an_interrupt_is_the_last_line() {
    let db = Database::fresh();
    db.session().create("A1");
    let mut stream = Stream::start(watch(&["--from-start"]).on(&db));
    assert_eq!(stream.take(1), ["A1 created"]);
    signal("INT", stream.child.id());
    assert_eq!(stream.exit(), 130);
    let rest = stream.rest();
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0]["error"]["code"], "interrupted");
}

#[test]
fn a_reader_that_goes_away_ends_it_even_while_nothing_happens() {
    let db = Database::fresh();
    db.session().create("A1");
    let call = watch(&["--from-start"]).on(&db);
    let mut child = call.spawn();
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    drop(output);
    let status = wait::until("the end", || child.try_wait().expect("the program"));
    let mut stderr = String::new();
    let mut complaints = child.stderr.take().expect("stderr");
    complaints.read_to_string(&mut stderr).expect("text");
    assert_eq!((exit_code(status), stderr.as_str()), (0, ""));
}

#[test]
fn what_is_wrong_is_one_line_as_ever() {
    let db = Database::fresh();
    for (more, code, exit) in [
        (&["--after", "nonsense"][..], "invalid_argument", 2),
        (&["--phase", "p"], "usage", 2),
        (&["--interval", "0s"], "usage", 2),
        (&["--after", "1", "--from-start"], "usage", 2),
    ] {
        assert_eq!(watch(more).on(&db).code(exit), code, "{more:?}");
    }
    let nowhere = "postgresql://postgres@127.0.0.1:1/postgres";
    assert_eq!(
        watch(&[]).env("DATABASE_URL", nowhere).code(4),
        "unreachable"
    );
}

#[test]
fn what_trying_again_cannot_mend_is_the_last_line() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A1");
    let role = format!("follower_of_{}", db.name());
    s.run(&format!("create role {role} login in role mosaic_reader"));
    let mut stream = Stream::start(watch(&["--from-start"]).on_as(&db, &role));
    assert_eq!(stream.take(1), ["A1 created"]);
    s.run(&format!("revoke mosaic_reader from {role}"));
    let last = stream.next();
    assert_eq!(last["error"]["code"], "unauthorized");
    assert_eq!(stream.exit(), 4);
    s.run(&format!("drop role {role}"));
}
