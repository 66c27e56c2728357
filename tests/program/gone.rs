//! Who watched, read or asked is gone: a window that was closed, a connection that broke, a harness
//! that died. What worked for them ends, and takes nothing along.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::home::signal;
use mosaic_backlog_tests::program::{Outcome, backlog, exit_code, mosaic};
use mosaic_backlog_tests::wait;
use pty_process::Size;
use pty_process::blocking::{Pts, Pty, open};
use rustix::termios::{Action, tcflow};
use serde_json::json;

fn watch(db: &Database) -> Command {
    let call = mosaic(&["backlog", "watch"]).on(db).env("TERM", "xterm");
    call.into_command()
}

/// Its own session, as a terminal's window gives it: the kernel tells it when the window closes.
fn as_leader(call: Command, pts: &Pts) -> Child {
    let mut call = pty_process::blocking::Command::from(call);
    call.spawn_borrowed(pts).expect("the program")
}

/// In a session of somebody else, who does not pass on that the terminal is gone.
fn as_guest(mut call: Command, pts: &Pts) -> Child {
    let terminal = || Stdio::from(pts.as_fd().try_clone_to_owned().expect("the terminal"));
    call.stdin(terminal()).stdout(terminal()).stderr(terminal());
    call.spawn().expect("the program")
}

/// A terminal that nobody but the test holds, and `watch` on it, once its screen stands.
fn watched(db: &Database, start: fn(Command, &Pts) -> Child) -> (Pty, Pts, Child) {
    let (mut pty, pts) = open().expect("a pseudo-terminal");
    pty.resize(Size::new(24, 80)).expect("a size");
    let child = start(watch(db), &pts);
    let mut seen = Vec::new();
    let mut bytes = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("quits") {
        let count = pty.read(&mut bytes).expect("the screen");
        seen.extend_from_slice(&bytes[..count]);
    }
    (pty, pts, child)
}

fn end_of(mut child: Child) -> i32 {
    let status = wait::until("the program ends", || {
        child.try_wait().expect("the program")
    });
    exit_code(status)
}

#[test]
fn watch_ends_with_its_terminal() {
    let db = Database::fresh();
    for start in [as_leader, as_guest] {
        let (pty, pts, child) = watched(&db, start);
        drop((pty, pts));
        assert_eq!(end_of(child), 129);
    }
}

#[test]
fn watch_ends_when_it_is_told_to_also_on_a_terminal_that_takes_nothing() {
    let db = Database::fresh();
    for (name, exit) in [("TERM", 143), ("HUP", 129)] {
        let (_pty, pts, child) = watched(&db, as_leader);
        tcflow(&pts, Action::OOff).expect("a frozen terminal");
        // It is held up by the first thing that it has to say.
        db.session()
            .run("select from mosaic.backlog_create('news')");
        let state = format!("/proc/{}/wchan", child.id());
        let begin = Instant::now();
        wait::until("it is held up, or its news are out", || {
            let place = std::fs::read_to_string(&state).unwrap_or_default();
            (place.contains("tty") || begin.elapsed() > Duration::from_secs(3)).then_some(())
        });
        signal(name, child.id());
        assert_eq!(end_of(child), exit);
    }
}

#[test]
fn a_claim_does_not_wait_on_for_a_reader_that_is_gone() {
    let db = Database::fresh();
    let mut s = db.session();
    let mut call = backlog(&["claim", "--worker", "w", "--wait", "10m"])
        .on(&db)
        .spawn();
    let looks = "select count(*) from pg_stat_activity
        where datname = current_database() and query like '%backlog_claim%' and pid <> pg_backend_pid()";
    wait::until("it waits", || (s.number(looks) == 1).then_some(()));
    drop(call.stdout.take());
    end_of(call);
    s.create("A");
    assert_eq!(s.status("A"), "ready");
    assert_eq!(
        s.number("select count(*) from mosaic.backlog_event where kind = 'claimed'"),
        0
    );
}

#[test]
fn an_mcp_server_ends_with_whoever_reads_its_answers() {
    let db = Database::fresh();
    let mut server = mosaic(&["mcp", "--worker", "w"])
        .on(&db)
        .with_open_input()
        .spawn();
    let mut input = server.stdin.take().expect("a pipe");
    drop(server.stdout.take());
    let hello = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    });
    // The pipe to it stays open.
    writeln!(input, "{hello}").expect("the pipe");
    end_of(server);
    drop(input);
}

#[test]
fn the_stream_of_events_ends_with_its_reader_and_by_signals() {
    let db = Database::fresh();
    for name in ["TERM", "HUP", "reader"] {
        let mut call = mosaic(&["backlog", "watch", "--from-start", "--json"])
            .on(&db)
            .spawn();
        db.session().run("select from mosaic.backlog_create('t')");
        let mut first = [0; 1];
        let mut reader = call.stdout.take().expect("a pipe");
        reader.read_exact(&mut first).expect("an event");
        match name {
            "reader" => drop(reader),
            name => signal(name, call.id()),
        }
        end_of(call);
    }
}

#[test]
fn a_run_that_waits_ends_by_signals_at_once() {
    let db = Database::fresh();
    let mut s = db.session();
    for (name, exit) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let call = mosaic(&["backlog", "run", "--loop", "--wait", "--", "true"])
            .on(&db)
            .spawn();
        let looks = "select count(*) from pg_stat_activity
            where datname = current_database() and query like '%backlog_claim%' and pid <> pg_backend_pid()";
        wait::until("it waits", || (s.number(looks) == 1).then_some(()));
        signal(name, call.id());
        assert_eq!(Outcome::of(call).exit, exit, "{name}");
    }
}
