//! Ten workers of a line of shell each, whose commands fail, die and hang, build 200 cards that
//! wait for each other, on the embedded server.

use std::collections::HashMap;
use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use mosaic_backlog_tests::home::{Home, signal};
use mosaic_backlog_tests::program::{backlog, mosaic};
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;
use serde_json::Value;

const CARDS: usize = 200;
const WORKERS: usize = 10;

/// What the token says goes wrong: a failure, a command that is killed, a worker that is killed,
/// a worker that stands still for longer than its lease.
const WORK: &str = "
    case $((MOSAIC_CLAIM_TOKEN % 29)) in
        3|17) echo 'the tests fail' >&2; exit 1 ;;
        7) kill -9 $$ ;;
        11) kill -9 $PPID; sleep 60 ;;
        23) kill -STOP $PPID; sleep 3; kill -CONT $PPID; sleep 60 ;;
    esac
    echo \"{\\\"by\\\": $MOSAIC_CLAIM_TOKEN}\" > \"$MOSAIC_RESULT_FILE\"";

/// Each card waits for up to three of the ten before it.
fn plan() -> (String, HashMap<String, Vec<String>>) {
    let mut seed: usize = 7;
    let mut random = |below: usize| {
        seed = (seed * 1_103_515_245 + 12_345) % (1 << 31);
        (seed >> 8) % below
    };
    let mut lines = String::new();
    let mut needs = HashMap::new();
    for number in 0..CARDS {
        let mut before: Vec<String> = (0..3)
            .map(|_| random(10) + 1)
            .filter(|back| *back <= number)
            .map(|back| format!("c{}", number - back))
            .collect();
        before.sort();
        before.dedup();
        let card =
            serde_json::json!({"id": format!("c{number}"), "title": "t", "depends_on": before});
        writeln!(lines, "{card}").expect("a line");
        needs.insert(format!("c{number}"), before);
    }
    (lines, needs)
}

/// A worker that does not outlive its test.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn worker(home: &Home, number: usize) -> Worker {
    let name = format!("w{number}");
    let call = mosaic(&[
        "backlog", "run", "--loop", "--wait", "--ttl", "2s", "--grace", "1s", "--worker", &name,
        "--", "sh", "-c", WORK,
    ])
    .at(home)
    .with(|command| {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    });
    Worker(call.spawn())
}

#[test]
fn ten_workers_that_fail_die_and_hang_build_200_cards_to_the_end() {
    let home = Home::new();
    let (lines, needs) = plan();
    backlog(&["create", "--batch", "-"])
        .at(&home)
        .input(&lines)
        .json();
    // Failures are tried again at once, as often as it takes.
    let set = |setting: &str| {
        let sql = format!("alter database mosaic set {setting}");
        let outcome = mosaic(&["db", "psql", "--admin", "--", "-qc", &sql])
            .at(&home)
            .run();
        assert_eq!(outcome.exit, 0, "{outcome:?}");
    };
    set("mosaic.retry_base = 0");
    set("mosaic.max_attempts = 1000");

    let url = mosaic(&["db", "url", "--admin"]).at(&home).run().stdout;
    let mut s = Session::open(&url.trim().parse().expect("a URL"));
    let mut workers: Vec<Worker> = (0..WORKERS).map(|number| worker(&home, number)).collect();
    let mut killed = 0;
    let mut done = 0;
    while done < CARDS {
        done = wait::until("another card is done", || {
            for (number, place) in workers.iter_mut().enumerate() {
                let Some(status) = place.0.try_wait().expect("a worker") else {
                    continue;
                };
                assert_eq!(
                    status.signal(),
                    Some(9),
                    "worker {number} ended by itself: {status}"
                );
                killed += 1;
                *place = worker(&home, number);
            }
            let now =
                s.number("select count(*) from mosaic.backlog where status = 'done'") as usize;
            (now > done).then_some(now)
        });
    }
    for place in &mut workers {
        signal("TERM", place.0.id());
        assert_eq!(place.0.wait().expect("its end").code(), Some(143));
    }

    // With the tokens, which `events` does not tell.
    let events = s.value("select json_agg(e order by e.event_id) from mosaic.backlog_event e");
    let history = check(&events, &needs);
    // All that can go wrong has gone wrong.
    assert!(killed > 0);
    for kind in ["failed", "lapsed"] {
        assert!(
            history.get(kind).is_some_and(|count| *count > 0),
            "{history:?}"
        );
    }
}

/// Follows the history, and counts what happened.
fn check(events: &Value, needs: &HashMap<String, Vec<String>>) -> HashMap<String, usize> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut holds: HashMap<&str, i64> = HashMap::new();
    let mut last_token: HashMap<&str, i64> = HashMap::new();
    let mut done: HashMap<&str, i64> = HashMap::new();
    for event in events.as_array().expect("events") {
        let text = |key: &str| event[key].as_str().expect("text");
        let (card, kind) = (text("card_id"), text("kind"));
        *counts.entry(kind.to_owned()).or_default() += 1;
        let token = || event["claim_token"].as_i64().expect("a token");
        match kind {
            "created" => {}
            "claimed" => {
                assert_eq!(
                    holds.insert(card, token()),
                    None,
                    "two hold {card}: {event}"
                );
                let before = last_token.insert(card, token());
                assert!(before.is_none_or(|before| before < token()), "{event}");
                for need in &needs[card] {
                    assert!(done.contains_key(need.as_str()), "{need} was open: {event}");
                }
            }
            "renewed" => assert_eq!(holds.get(card), Some(&token()), "{event}"),
            "failed" | "released" | "lapsed" => {
                assert_eq!(holds.remove(card), Some(token()), "{event}");
            }
            "completed" => {
                assert_eq!(holds.remove(card), Some(token()), "{event}");
                assert_eq!(done.insert(card, token()), None, "{event}");
            }
            other => panic!("{other}: {event}"),
        }
    }
    assert_eq!(done.len(), CARDS);
    assert!(holds.is_empty(), "{holds:?}");
    counts
}
