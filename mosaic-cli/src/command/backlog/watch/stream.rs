//! `watch --json`: the history as it grows, one event a line.

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use serde_json::Value;

use super::history;
use crate::database::call::Call;
use crate::database::limit::ANSWER;
use crate::database::store::{Address, Store, silent};
use crate::failure::{Exit, Failure, sentence};
use crate::interrupt;
use crate::output::reply::{Reply, say, warn};
use crate::output::screen::escaped_json;
use crate::output::stdout;

/// Events that are read at a time.
const PAGE: usize = 1_000;

pub enum Start {
    Beginning,
    Now,
    After(String),
}

/// Goes on until the reader goes away or something cannot be mended by trying again.
pub fn run(
    address: &Address,
    card: Option<String>,
    start: Start,
    interval: Duration,
) -> Result<Reply, Failure> {
    let mut store = Store::open(address)?;
    let mut after = match start {
        Start::Beginning => None,
        Start::After(cursor) => Some(cursor),
        Start::Now => Some(history::end(&mut store, card.as_deref())?.to_string()),
    };
    loop {
        let call = Call::new("backlog_events")
            .text("id", card.clone())
            .text("after", after.clone())
            .int("max_events", PAGE as i32);
        // One that was let in and gets no answer is let in again once the server is back.
        let answer = store.attend(ANSWER, move |store| store.rows(&call));
        let (answer, connected) = match answer {
            Some((answer, store)) => (answer, Some(store)),
            None => (Err(silent()), None),
        };
        match (answer, connected) {
            (Ok(events), Some(connected)) => {
                store = connected;
                let count = events.len();
                for event in events {
                    let event = Value::Object(event);
                    let cursor = event["cursor"].as_str().map(str::to_owned);
                    if !print(&event)? {
                        return Ok(Reply::Written(Exit::Success));
                    }
                    after = cursor;
                }
                if count == PAGE {
                    continue;
                }
            }
            (Ok(_), None) => unreachable!("who answers is connected"),
            (Err(failure), _) if failure.retryable() => {
                warn(&format!("{}; trying again", failure.message));
                match reconnected(address, interval)? {
                    Some(again) => store = again,
                    None => return Ok(Reply::Written(Exit::Success)),
                }
                say("connected again");
                continue;
            }
            (Err(failure), _) => return Err(failure),
        }
        if !stdout::is_read(interval) {
            return Ok(Reply::Written(Exit::Success));
        }
    }
}

/// A new connection, however long it takes; `None` if the reader went away first.
fn reconnected(address: &Address, interval: Duration) -> Result<Option<Store>, Failure> {
    while stdout::is_read(interval) {
        match Store::reopen(address) {
            Ok(store) => return Ok(Some(store)),
            Err(failure) if failure.retryable() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(None)
}

/// Prints a line; says whether somebody still reads.
fn print(event: &Value) -> Result<bool, Failure> {
    let line = escaped_json(event.to_string()) + "\n";
    let mut stdout = io::stdout().lock();
    let write = || {
        stdout.write_all(line.as_bytes())?;
        stdout.flush()
    };
    match interrupt::whole(write) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            Err(Failure::io("cannot write to standard output", &error).detail(sentence(&error)))
        }
    }
}
