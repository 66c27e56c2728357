//! The same calls told to the model and to a real database, compared after each.

use serde_json::{Value, json};

use super::call::{Call, Filter, Role, Step};
use super::card::USED_UP;
use super::{Answer, Backlog, Drawn, LOGIN_ROLE, MAX_ATTEMPTS, START, strategy::SESSIONS};
use super::{Event, sql};
use crate::database::Database;
use crate::refused::Refused;
use crate::session::Session;

pub struct Replay {
    model: Backlog,
    sessions: Vec<Session>,
    watcher: Session,
    /// The last event that was compared.
    cursor: String,
}

/// What is compared after each call, beside the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Every column of every card, and what the history says of the call.
    Everything,
    /// The answer alone, for long runs.
    Answers,
}

impl Replay {
    /// An empty backlog in a database that may have seen others.
    #[track_caller]
    pub fn new(database: &Database) -> Self {
        let mut watcher = database.session();
        watcher.run(
            "delete from mosaic.backlog_dependency; delete from mosaic.backlog;
             delete from mosaic.backlog_event; delete from mosaic.backlog_claim_request",
        );
        let sessions = (0..SESSIONS)
            .map(|_| {
                let mut session = database.session();
                session.run(&format!("set mosaic.max_attempts = {MAX_ATTEMPTS}"));
                session
            })
            .collect();
        Self {
            model: Backlog::new(),
            sessions,
            watcher,
            cursor: "0".to_owned(),
        }
    }

    /// Begins anew, in the same sessions.
    #[track_caller]
    pub fn restart(&mut self) {
        self.watcher.run(
            "delete from mosaic.backlog_dependency; delete from mosaic.backlog;
             delete from mosaic.backlog_event; delete from mosaic.backlog_claim_request",
        );
        self.model = Backlog::new();
    }

    /// Takes a step on both sides, or says how they differ.
    pub fn step(&mut self, step: &Step, compare: Compare) -> Result<(), String> {
        let mut step = step.clone();
        self.model.pass(step.pause);
        step.call.resolve(&self.model);
        let actual = self.call(&step);
        let drawn = drawn(actual.as_ref().unwrap_or(&Vec::new()));
        let told = self.model.events.len();
        let expected = self.model.answer(&step, &drawn);
        let expected = expected.map(|rows| told_of(&step.call, rows));
        let at = format!("{:?} at {}", step, self.model.now - START);
        let (expected, actual) = (in_order(&step.call, expected), in_order(&step.call, actual));
        match (&expected, &actual) {
            (Ok(expected), Ok(actual)) => {
                compare_rows(&format!("{at}: the answer"), expected, actual)?
            }
            (expected, actual) if expected == actual => {}
            _ => return Err(format!("{at}: expected {expected:?}, got {actual:?}")),
        }
        if compare == Compare::Everything {
            self.model.check();
            let (cards, events) = self.look();
            compare_rows(&format!("{at}: a card"), &self.model.state(), &cards)?;
            let expected: Vec<Value> = self.model.events[told..].iter().map(event_row).collect();
            compare_rows(
                &format!("{at}: an event"),
                &sorted(expected),
                &sorted(events),
            )?;
        }
        Ok(())
    }

    /// Compares the figures, which sum up what went before.
    pub fn stats(&mut self) -> Result<(), String> {
        for phase in [None, Some("p"), Some("q")] {
            let step = Call::Stats { phase }.after(0);
            self.step(&step, Compare::Answers)?;
        }
        Ok(())
    }

    /// Makes the call in the database.
    fn call(&mut self, step: &Step) -> Result<Vec<Value>, String> {
        let session = &mut self.sessions[step.session];
        let role = match step.role {
            Role::Worker => "mosaic_worker",
            Role::Operator => "mosaic_operator",
        };
        let now = self.model.now;
        session.run(&format!(
            "reset role; select set_config('mosaic.clock', to_timestamp({now})::text, false); set role {role}"
        ));
        let answer = match &step.call {
            Call::List(filter) => all_pages(session, filter),
            call => session.attempt(&sql::query(call, step.actor)),
        };
        if answer.is_err() {
            // The error arrives before its transaction has let go of the rows that it locked,
            // which the next claim would pass over. What is asked now is answered after that.
            session.run("");
        }
        answer.map_err(|refused| code(&refused))
    }

    /// All cards, and the events since the last look. Both are read from the tables: the
    /// function that reads events waits for transactions that other tests have open.
    fn look(&mut self) -> (Vec<Value>, Vec<Value>) {
        let (columns, cursor) = (sql::CARD, &self.cursor);
        let row = self.watcher.row(&format!(
            "select
               (select json_agg(card) from (
                  select {columns}, array(select d.depends_on from mosaic.backlog_dependency d
                    where d.card_id = c.id order by d.depends_on) as depends_on
                  from mosaic.backlog c order by c.id) card) as cards,
               (select json_agg(event) from (
                  select card_id, extract(epoch from at)::bigint as at, kind, actor, login_role, claim_token,
                    old_status, new_status, event_id::text as cursor
                  from mosaic.backlog_event where event_id > {cursor} order by event_id) event) as events"
        ));
        let list = |name: &str| row[name].as_array().cloned().unwrap_or_default();
        let (cards, mut events) = (list("cards"), list("events"));
        for event in &mut events {
            let fields = event.as_object_mut().expect("a row");
            let cursor = fields.remove("cursor").expect("a cursor");
            self.cursor = cursor.as_str().expect("a text").to_owned();
        }
        (cards, events)
    }
}

/// The stable code of an error. PostgreSQL's own refusal of a function has none.
fn code(refused: &Refused) -> String {
    match (refused.code.as_str(), refused.sqlstate.as_str()) {
        ("", "42501") => "unauthorized".to_owned(),
        ("", _) => format!("{refused:?}"),
        (code, _) => code.to_owned(),
    }
}

/// Follows the cursors to the end: no page is longer than asked for, and none but the last shorter.
fn all_pages(session: &mut Session, filter: &Filter) -> Result<Vec<Value>, Refused> {
    let mut rows = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = session.attempt(&sql::page(filter, after.as_deref()))?;
        let length = page.len();
        for row in page {
            after = row["cursor"].as_str().map(str::to_owned);
            rows.push(json!({
                "id": row["id"], "follows": after.is_some(), "total": row["total"],
            }));
        }
        assert!(length <= filter.max_cards, "{length} cards on a page");
        if after.is_none() || length < filter.max_cards {
            return Ok(rows);
        }
    }
}

fn drawn(rows: &[Value]) -> Drawn {
    let mut drawn = Drawn::default();
    for row in rows {
        if let Some(id) = row["id"].as_str() {
            drawn.ids.push(id.to_owned());
            if let Some(token) = row["claim_token"].as_i64() {
                drawn.tokens.insert(id.to_owned(), token);
            }
        }
    }
    drawn
}

/// Tokens are told by claims alone.
fn told_of(call: &Call, mut rows: Vec<Value>) -> Vec<Value> {
    for row in &mut rows {
        if !matches!(call, Call::Claim(_))
            && let Some(token) = row.get_mut("claim_token")
        {
            *token = Value::Null;
        }
    }
    rows
}

/// An answer whose rows are in an order that both sides agree on, where the contract leaves it
/// open: all rows of a reclaim, and what a cancellation takes along.
fn in_order<E: ToString>(call: &Call, answer: Result<Vec<Value>, E>) -> Result<Vec<Value>, String> {
    let mut rows = answer.map_err(|error| error.to_string())?;
    let fixed = match call {
        Call::Reclaim { .. } => 0,
        Call::Cancel { .. } => 1,
        _ => rows.len(),
    };
    let open = rows.split_off(fixed.min(rows.len()));
    rows.append(&mut sorted(open));
    Ok(rows)
}

fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_cached_key(ToString::to_string);
    rows
}

fn event_row(event: &Event) -> Value {
    json!({
        "card_id": event.card, "at": event.at, "kind": event.kind, "actor": event.actor,
        "login_role": LOGIN_ROLE, "claim_token": event.token,
        "old_status": event.old.map(|status| status.name()), "new_status": event.new.name(),
    })
}

fn compare_rows(what: &str, expected: &[Value], actual: &[Value]) -> Result<(), String> {
    let list = |rows: &[Value]| {
        rows.iter()
            .map(|row| format!("\n  {row}"))
            .collect::<String>()
    };
    if expected.len() != actual.len() {
        return Err(format!(
            "{what}: expected{}\ngot{}",
            list(expected),
            list(actual)
        ));
    }
    for (expected, actual) in expected.iter().zip(actual) {
        let (Some(wanted), Some(found)) = (expected.as_object(), actual.as_object()) else {
            return Err(format!("{what}: no row: {actual}"));
        };
        let mut names: Vec<&String> = wanted.keys().chain(found.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            if !wanted.contains_key(name) || !agrees(&expected[name], &actual[name]) {
                let (expected_value, actual_value) = (&expected[name], &actual[name]);
                return Err(format!(
                    "{what}: {name} is {actual_value} instead of {expected_value}\nexpected {expected}\ngot      {actual}"
                ));
            }
        }
    }
    Ok(())
}

/// Equal, but for the words of a quarantine and the last digits of a fraction.
fn agrees(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::String(expected), Value::String(actual)) => match expected.strip_prefix(USED_UP) {
            Some(failure) => !actual.is_empty() && actual.contains(failure),
            None => expected == actual,
        },
        (Value::Number(expected), Value::Number(actual)) => {
            let (expected, actual) = (expected.as_f64(), actual.as_f64());
            expected
                .zip(actual)
                .is_some_and(|(expected, actual)| (expected - actual).abs() < 1e-6)
        }
        (expected, actual) => expected == actual,
    }
}

/// Whether model and database answer alike, for calls that are written out.
#[track_caller]
pub fn assert_alike(database: &Database, steps: &[Step]) {
    let mut replay = Replay::new(database);
    for step in steps {
        if let Err(difference) = replay.step(step, Compare::Everything) {
            panic!("{difference}");
        }
    }
    if let Err(difference) = replay.stats() {
        panic!("{difference}");
    }
}

/// What the model itself answers, with ids and tokens of its own.
pub fn answer(model: &mut Backlog, step: &Step) -> Answer {
    let mut step = step.clone();
    model.pass(step.pause);
    step.call.resolve(model);
    let born = model.events.len();
    let drawn = Drawn {
        ids: (0..10).map(|n| format!("c{born}-{n}")).collect(),
        ..Drawn::default()
    };
    model.answer(&step, &drawn)
}
