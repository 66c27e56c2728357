//! The primary dies under load, and the standby takes over. What the workers were told is compared
//! with what the new primary knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mosaic_backlog_tests::damage;
use mosaic_backlog_tests::program::{self, backlog};
use mosaic_backlog_tests::replica::Pair;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;
use postgres::error::SqlState;
use postgres::types::Type;
use postgres::{Client, NoTls};
use serde_json::Value;
use uuid::Uuid;

const BY_SQL: usize = 4;
const BY_PROGRAM: usize = 2;
/// More than a sequence's numbers that the log is ahead of: fewer would hide tokens that repeat.
const ENOUGH: usize = 60;

/// What a worker was told.
#[derive(Clone, Debug)]
enum Told {
    Created(String),
    Claimed(String, i64),
    Completed(String, i64),
}

struct Fleet<'a> {
    pair: &'a Pair,
    promoted: AtomicBool,
    over: AtomicBool,
    before: Mutex<Vec<Told>>,
    /// By calls that began after the promotion.
    after: Mutex<Vec<Told>>,
    /// Answers that no worker may get.
    refused: Mutex<Vec<String>>,
}

/// One worker's way to call functions. What broke is done again under the same key.
trait Caller {
    fn create(&mut self, id: &str) -> Result<(), String>;
    fn claim(&mut self, worker: &str, request: Uuid) -> Result<Option<(String, i64)>, String>;
    fn complete(&mut self, id: &str, token: i64) -> Result<(), String>;
}

struct BySql<'a> {
    pair: &'a Pair,
    client: Option<Client>,
}

impl BySql<'_> {
    fn rows(
        &mut self,
        query: &str,
        arguments: &[(&(dyn postgres::types::ToSql + Sync), Type)],
    ) -> Result<Vec<postgres::Row>, String> {
        wait::until("a primary", || {
            let Some(client) = &mut self.client else {
                self.client = (self.pair.config("postgres", "postgres").connect(NoTls)).ok();
                return None;
            };
            let error = match client.query_typed(query, arguments) {
                Ok(rows) => return Some(Ok(rows)),
                Err(error) => error,
            };
            let ended = [
                SqlState::ADMIN_SHUTDOWN,
                SqlState::CRASH_SHUTDOWN,
                SqlState::CANNOT_CONNECT_NOW,
            ];
            if error.code().is_some_and(|code| !ended.contains(code)) {
                return Some(Err(format!("{query}: {:?}", error.as_db_error())));
            }
            self.client = None;
            None
        })
    }
}

impl Caller for BySql<'_> {
    fn create(&mut self, id: &str) -> Result<(), String> {
        let query = "select id from mosaic.backlog_create('t', id => $1, idempotency_key => $1)";
        self.rows(query, &[(&id, Type::TEXT)]).map(drop)
    }

    fn claim(&mut self, worker: &str, request: Uuid) -> Result<Option<(String, i64)>, String> {
        let query = "select id, claim_token from mosaic.backlog_claim($1, request_id => $2)";
        let rows = self.rows(query, &[(&worker, Type::TEXT), (&request, Type::UUID)])?;
        Ok(rows.first().map(|row| (row.get(0), row.get(1))))
    }

    fn complete(&mut self, id: &str, token: i64) -> Result<(), String> {
        let query = "select id from mosaic.backlog_complete($1, $2)";
        self.rows(query, &[(&id, Type::TEXT), (&token, Type::INT8)])
            .map(drop)
    }
}

struct ByProgram {
    url: String,
}

impl ByProgram {
    fn call(&self, arguments: &[&str]) -> Result<Value, String> {
        wait::until("a primary", || {
            let outcome = backlog(arguments).env("DATABASE_URL", &self.url).run();
            let document: Value = serde_json::from_str(&outcome.stdout)
                .unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
            if outcome.exit == 0 || outcome.exit == 3 {
                Some(Ok(document))
            } else if document["error"]["retryable"] != true {
                Some(Err(format!("{arguments:?}: {document}")))
            } else {
                None
            }
        })
    }
}

impl Caller for ByProgram {
    fn create(&mut self, id: &str) -> Result<(), String> {
        self.call(&["create", "t", "--id", id, "--idempotency-key", id])
            .map(drop)
    }

    fn claim(&mut self, worker: &str, request: Uuid) -> Result<Option<(String, i64)>, String> {
        let document = self.call(&[
            "claim",
            "--worker",
            worker,
            "--request-id",
            &request.to_string(),
        ])?;
        Ok(document["cards"].get(0).map(|card| {
            let id = card["id"].as_str().expect("an id").to_owned();
            (id, card["claim_token"].as_i64().expect("a token"))
        }))
    }

    fn complete(&mut self, id: &str, token: i64) -> Result<(), String> {
        self.call(&["complete", id, "--token", &token.to_string()])
            .map(drop)
    }
}

impl Fleet<'_> {
    fn tell(&self, began_after: bool, told: Told) {
        let list = if began_after {
            &self.after
        } else {
            &self.before
        };
        list.lock().expect("a list").push(told);
    }

    /// Creates a card, claims one and completes it, until all is over.
    fn work(&self, worker: &str, caller: &mut impl Caller) {
        for round in 0.. {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let after = || self.promoted.load(Ordering::SeqCst);
            let mut attempt = || -> Result<(), String> {
                let (id, began_after) = (format!("{worker}-{round}"), after());
                caller.create(&id)?;
                self.tell(began_after, Told::Created(id));
                let began_after = after();
                let Some((id, token)) = caller.claim(worker, Uuid::new_v4())? else {
                    return Ok(());
                };
                self.tell(began_after, Told::Claimed(id.clone(), token));
                let began_after = after();
                caller.complete(&id, token)?;
                self.tell(began_after, Told::Completed(id, token));
                Ok(())
            };
            if let Err(refused) = attempt() {
                self.refused.lock().expect("a list").push(refused);
            }
        }
    }

    fn until_told(&self, what: &str, list: &Mutex<Vec<Told>>, claims: usize) {
        wait::until(what, || {
            let list = list.lock().expect("a list");
            let count = list
                .iter()
                .filter(|told| matches!(told, Told::Claimed(..)))
                .count();
            (count >= claims).then_some(())
        });
    }

    /// What the workers were told and the new primary does not know, in a sentence each.
    fn problems(&self, now: &mut Session) -> Vec<String> {
        let mut problems = self.refused.lock().expect("a list").clone();
        let ids: BTreeSet<String> = now
            .column("select id from mosaic.backlog")
            .iter()
            .map(|id| id.as_str().expect("an id").to_owned())
            .collect();
        let events = now.rows(
            "select card_id, kind, claim_token from mosaic.backlog_event where kind in ('claimed', 'completed')",
        );
        let known: BTreeSet<(&str, &str, i64)> = events
            .iter()
            .map(|event| {
                let text = |key: &str| event[key].as_str().expect("a text");
                (
                    text("kind"),
                    text("card_id"),
                    event["claim_token"].as_i64().expect("a token"),
                )
            })
            .collect();
        if known.len() != events.len() {
            problems.push("one token was handed out or used twice".to_owned());
        }
        let mut owners: BTreeMap<i64, String> = BTreeMap::new();
        let (before, after) = (
            self.before.lock().expect("a list"),
            self.after.lock().expect("a list"),
        );
        for told in before.iter().chain(after.iter()) {
            let there = match told {
                Told::Created(id) => ids.contains(id),
                Told::Claimed(id, token) => {
                    if let Some(other) = owners.insert(*token, id.clone()) {
                        problems.push(format!("token {token} was given for {other} and for {id}"));
                    }
                    known.contains(&("claimed", id.as_str(), *token))
                }
                Told::Completed(id, token) => known.contains(&("completed", id.as_str(), *token)),
            };
            if !there {
                problems.push(format!("lost: {told:?}"));
            }
        }
        problems
    }
}

/// Lets the workers come to their end, also where the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Lets the primary die and the standby take over; with an asynchronous one that has fallen behind.
fn fail_over(synchronous: bool) -> Vec<String> {
    let pair = Pair::start(&["max_connections = 50"]);
    pair.primary
        .session("postgres")
        .run("create extension mosaic_backlog_ext");
    if synchronous {
        pair.synchronise();
    }
    let fleet = Fleet {
        pair: &pair,
        promoted: AtomicBool::new(false),
        over: AtomicBool::new(false),
        before: Mutex::default(),
        after: Mutex::default(),
        refused: Mutex::default(),
    };
    thread::scope(|scope| {
        let _stop = Stop(&fleet.over);
        for number in 0..BY_SQL {
            let (fleet, client) = (&fleet, None);
            scope.spawn(move || {
                fleet.work(
                    &format!("sql{number}"),
                    &mut BySql {
                        pair: fleet.pair,
                        client,
                    },
                )
            });
        }
        for number in 0..BY_PROGRAM {
            let (fleet, url) = (&fleet, pair.url("postgres", "postgres"));
            scope.spawn(move || fleet.work(&format!("program{number}"), &mut ByProgram { url }));
        }
        fleet.until_told("claims of the old primary", &fleet.before, ENOUGH);
        if !synchronous {
            pair.disconnect();
            let count = fleet.before.lock().expect("a list").len();
            fleet.until_told(
                "claims that the standby misses",
                &fleet.before,
                count + ENOUGH,
            );
        }
        pair.kill_the_primary();
        pair.promote();
        fleet.promoted.store(true, Ordering::SeqCst);
        fleet.until_told("claims of the new primary", &fleet.after, 2 * ENOUGH);
    });
    let mut now = pair.standby.session("postgres");
    let mut problems = fleet.problems(&mut now);
    problems.extend(damage::find(&mut now));
    problems
}

#[test]
fn a_synchronous_standby_takes_over_and_nothing_acknowledged_is_lost() {
    assert_eq!(fail_over(true), Vec::<String>::new());
}

/// What docs/high-availability.md warns of, and that the test above would see it.
#[test]
fn an_asynchronous_standby_that_fell_behind_loses_work_and_repeats_tokens() {
    let problems = fail_over(false);
    let some = |part: &str| problems.iter().any(|problem| problem.contains(part));
    assert!(some("lost: Created"), "{problems:?}");
    assert!(some("lost: Claimed"), "{problems:?}");
    assert!(some("lost: Completed"), "{problems:?}");
    assert!(some("was given for"), "{problems:?}");
}

#[test]
fn until_a_standby_takes_over_the_program_says_that_it_can_be_tried_again() {
    let pair = Pair::start(&[]);
    pair.primary
        .session("postgres")
        .run("create extension mosaic_backlog_ext");
    pair.kill_the_primary();
    let claim = ["backlog", "claim", "--worker", "w", "--json"];
    let url = pair.url("postgres", "postgres");
    let error = &program::mosaic(&claim)
        .env("DATABASE_URL", &url)
        .run()
        .json(4)["error"];
    assert_eq!(
        (&error["code"], &error["retryable"]),
        (&"unreachable".into(), &true.into()),
        "{error}"
    );
    pair.promote();
    assert_eq!(
        program::mosaic(&claim)
            .env("DATABASE_URL", &url)
            .run()
            .json(3)["cards"],
        serde_json::json!([])
    );
}
