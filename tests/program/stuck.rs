//! A server that is there and says nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mosaic_backlog_tests::cluster::{PORT, SUPERUSER};
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::home::{Home, signal};
use mosaic_backlog_tests::program::{Outcome, backlog, mosaic};
use mosaic_backlog_tests::wait;
use serde_json::{Value, json};

/// A limit of a second, and the work around it on a busy machine.
const SOON: Duration = Duration::from_secs(8);

#[test]
fn calls_on_a_server_that_is_held_up_end_and_it_can_be_ended_by_force() {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    let server = home.server().expect("a server");
    signal("STOP", server);
    let call = |arguments: &[&str]| {
        let start = Instant::now();
        let outcome = mosaic(arguments)
            .at(&home)
            .env("MOSAIC_CONNECT_TIMEOUT", "1s")
            .run();
        assert!(
            start.elapsed() < SOON,
            "{arguments:?}: {:?}",
            start.elapsed()
        );
        outcome
    };
    for arguments in [
        &["backlog", "list", "--json"][..],
        &["backlog", "claim", "--json"],
        &["db", "url", "--json"],
        &["db", "start", "--json"],
        &["db", "migrate", "--json"],
        &["db", "backup", "/nonexistent/f", "--json"],
        &["backlog", "run", "--json", "--", "true"],
        &["backlog", "watch", "--json"],
        &["backlog", "export"],
    ] {
        let outcome = call(arguments);
        assert_eq!(outcome.exit, 4, "{arguments:?}: {outcome:?}");
        if arguments.contains(&"--json") {
            let error = &outcome.json(4)["error"];
            assert_eq!(error["code"], "unreachable", "{arguments:?}");
            let detail = error["detail"].as_str().expect("a detail");
            assert!(detail.contains("SIGSTOP"), "{detail}");
        }
    }
    let status = call(&["db", "status", "--json"]).json(0);
    assert_eq!(
        (&status["state"], &status["running"], &status["pid"]),
        (&json!("stuck"), &json!(true), &json!(server))
    );
    assert!(
        status["problem"]
            .as_str()
            .is_some_and(|text| text.contains("SIGSTOP")),
        "{status}"
    );
    let examined = call(&["backlog", "doctor"]);
    assert_eq!(examined.exit, 4);
    assert!(examined.stdout.contains("SIGSTOP"), "{examined:?}");

    let stopped = call(&["db", "stop"]);
    assert_eq!(stopped.exit, 0, "{stopped:?}");
    for word in ["(fast)", "(immediate)", "(SIGKILL)"] {
        assert!(stopped.stderr.contains(word), "{word}: {stopped:?}");
    }
    assert_eq!(
        stopped.stdout,
        "stopped by force; the next start recovers\n"
    );
    assert!(home.servers().is_empty());
    assert_eq!(
        call(&["backlog", "show", "A", "--json"]).json(0)["card"]["id"],
        "A"
    );
}

#[test]
fn a_process_that_is_held_up_does_not_keep_the_server_from_its_end() {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    let helper = "select pid from pg_stat_activity where backend_type = 'walwriter'";
    let outcome = mosaic(&["db", "psql", "--admin", "--", "-AtXqc", helper])
        .at(&home)
        .run();
    signal("STOP", outcome.stdout.trim().parse().expect("a process"));
    let start = Instant::now();
    let stopped = mosaic(&["db", "stop", "--json", "--connect-timeout", "1s"])
        .at(&home)
        .json();
    assert_eq!(stopped["manner"], "immediate");
    assert!(start.elapsed() < 3 * SOON, "{:?}", start.elapsed());
    backlog(&["show", "A"]).at(&home).json();
}

/// A server that does this with every caller.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        let serve = std::sync::Arc::new(serve);
        for caller in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(caller));
        }
    });
    format!("postgresql://u@127.0.0.1:{port}/d?sslmode=disable")
}

fn say_nothing(mut caller: TcpStream) {
    let _ = std::io::copy(&mut caller, &mut std::io::sink());
}

/// A way to a database on which connections can fall silent, without an end.
struct Relay {
    url: String,
    /// Those with a smaller number are silent.
    floor: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
}

impl Relay {
    fn to(db: &Database) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let socket = db.cluster().folder().join(format!(".s.PGSQL.{PORT}"));
        let relay = Self {
            url: format!(
                "postgresql://{SUPERUSER}@127.0.0.1:{port}/{}?sslmode=disable",
                db.name()
            ),
            floor: Arc::default(),
            begun: Arc::default(),
        };
        let (floor, begun) = (relay.floor.clone(), relay.begun.clone());
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let number = begun.fetch_add(1, Ordering::SeqCst);
                let server = UnixStream::connect(&socket).expect("the server");
                let answers = (
                    server.try_clone().expect("a pipe"),
                    caller.try_clone().expect("a pipe"),
                );
                let (one, other) = (floor.clone(), floor.clone());
                thread::spawn(move || pass_on(answers.0, answers.1, number, &one));
                thread::spawn(move || pass_on(caller, server, number, &other));
            }
        });
        relay
    }

    fn silence(&self, below: usize) {
        self.floor.store(below, Ordering::SeqCst);
    }

    fn connections(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

fn pass_on(mut from: impl Read, mut to: impl Write, number: usize, floor: &AtomicUsize) {
    let mut packet = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut packet) {
        while number < floor.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
        if to.write_all(&packet[..count]).is_err() {
            return;
        }
    }
}

/// Waits until a waiter has looked in vain.
fn resting(db: &Database) {
    let mut s = db.session();
    wait::until("a waiter rests", || {
        s.truth(
            "select exists (select from pg_stat_activity where datname = current_database()
               and state = 'idle' and query like '%backlog_claim%' and pid <> pg_backend_pid()
               and state_change < clock_timestamp() - interval '50 milliseconds')",
        )
        .then_some(())
    });
}

#[test]
fn a_wait_on_a_server_that_falls_silent_ends_near_its_limit() {
    for verb in [
        &["backlog", "claim", "--json", "--wait", "3s"][..],
        &["backlog", "run", "--json", "--wait", "3s", "--", "true"],
    ] {
        let db = Database::fresh();
        let relay = Relay::to(&db);
        let start = Instant::now();
        let waiter = mosaic(verb).env("DATABASE_URL", &relay.url).spawn();
        resting(&db);
        relay.silence(usize::MAX);
        let outcome = Outcome::of(waiter);
        let took = start.elapsed();
        assert_eq!(outcome.exit, 4, "{verb:?}: {outcome:?}");
        assert!(took < SOON, "{verb:?}: {took:?}");
        assert_eq!(outcome.json(4)["error"]["code"], "unreachable", "{verb:?}");
    }
}

#[test]
fn a_wait_on_a_server_that_is_held_up_ends_near_its_limit() {
    let home = Home::new();
    mosaic(&["db", "start"]).at(&home).run();
    signal("STOP", home.server().expect("a server"));
    let start = Instant::now();
    let waiter = backlog(&["claim", "--wait", "2s"]).at(&home);
    assert_eq!(waiter.code(4), "unreachable");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    mosaic(&["db", "stop", "--connect-timeout", "1s"])
        .at(&home)
        .run();
}

#[test]
fn a_wait_goes_on_beside_a_connection_that_fell_silent() {
    let db = Database::fresh();
    let relay = Relay::to(&db);
    let waiter = backlog(&["claim", "--wait", "1m"])
        .env("DATABASE_URL", &relay.url)
        .spawn();
    resting(&db);
    relay.silence(relay.connections());
    db.session().create("A");
    let document = Outcome::of(waiter).json(0);
    assert_eq!(document["cards"][0]["id"], "A");
}

#[test]
fn a_stream_of_events_goes_on_beside_a_connection_that_fell_silent() {
    let db = Database::fresh();
    let relay = Relay::to(&db);
    let mut stream = backlog(&["watch", "--from-start"])
        .env("DATABASE_URL", &relay.url)
        .spawn();
    let mut s = db.session();
    s.create("A");
    let mut lines = BufReader::new(stream.stdout.take().expect("a pipe")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("a line").expect("text");
        serde_json::from_str(&line).expect("JSON")
    };
    assert_eq!(next()["card_id"], "A");
    relay.silence(relay.connections());
    s.create("B");
    // One that hangs is ended by whoever waits for the test.
    assert_eq!(next()["card_id"], "B");
    signal("INT", stream.id());
    assert_eq!(Outcome::of(stream).exit, 130);
}

/// Lets the caller in, as a pooler does, and then says nothing.
fn let_in(mut caller: TcpStream) {
    let mut packet = [0; 1024];
    let _ = caller.read(&mut packet);
    let _ = caller.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
    say_nothing(caller);
}

#[test]
fn an_external_server_that_says_nothing_is_unreachable_within_the_limit() {
    for (what, url) in [("silent", server(say_nothing)), ("let in", server(let_in))] {
        for (variable, flag) in [("1", None), ("1h", Some("1s"))] {
            let mut arguments = vec!["backlog", "claim", "--json"];
            arguments.extend(flag.map(|_| "--connect-timeout"));
            arguments.extend(flag);
            let start = Instant::now();
            let document = mosaic(&arguments)
                .env("DATABASE_URL", &url)
                .env("MOSAIC_CONNECT_TIMEOUT", variable)
                .run()
                .json(4);
            assert_eq!(document["error"]["code"], "unreachable", "{what}");
            assert!(start.elapsed() < SOON, "{what}: {:?}", start.elapsed());
        }
        // The address may say it as well.
        let start = Instant::now();
        let document = backlog(&["list"])
            .env("DATABASE_URL", format!("{url}&connect_timeout=1"))
            .run()
            .json(4);
        assert_eq!(document["error"]["code"], "unreachable", "{what}");
        assert!(start.elapsed() < SOON, "{what}: {:?}", start.elapsed());
    }
}

#[test]
fn a_limit_that_is_none_is_refused() {
    for value in ["0", "0s", "soon", "-1"] {
        assert_eq!(
            backlog(&["list", &format!("--connect-timeout={value}")]).code(2),
            "usage"
        );
        let document = backlog(&["list"])
            .env("MOSAIC_CONNECT_TIMEOUT", value)
            .run()
            .json(2);
        assert!(
            document["error"]["message"]
                .as_str()
                .is_some_and(|text| text.contains("MOSAIC_CONNECT_TIMEOUT")),
            "{document}"
        );
    }
}
