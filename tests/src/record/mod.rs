//! What happened, as the callers saw it, and what the database holds in the end: all that the
//! checker looks at.

mod backlog;
mod call;
mod file;

use std::sync::Mutex;
use std::time::Instant;

pub use backlog::{Backlog, Card, Event, Time, time};
pub use call::{Call, Outcome, Verb};
pub use file::{read, write};

use serde::{Deserialize, Serialize};

/// Nanoseconds since the record began, by a clock that only goes forward.
pub type Moment = u64;

/// A call and its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub caller: String,
    pub call: Call,
    /// Before the call was sent.
    pub start: Moment,
    /// After the answer came, or the connection was seen to be broken.
    pub end: Moment,
    pub outcome: Outcome,
}

/// Something that was done to the server or to a caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mark {
    pub at: Moment,
    pub what: String,
    /// Whether the server's clock was moved.
    pub clock: bool,
}

/// A whole run.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub entries: Vec<Entry>,
    pub marks: Vec<Mark>,
    pub backlog: Backlog,
}

/// Takes down calls while they happen.
pub struct Recorder {
    began: Instant,
    entries: Mutex<Vec<Entry>>,
    marks: Mutex<Vec<Mark>>,
}

impl Recorder {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            entries: Mutex::default(),
            marks: Mutex::default(),
        }
    }

    pub fn now(&self) -> Moment {
        u64::try_from(self.began.elapsed().as_nanos()).expect("a short run")
    }

    /// Makes a call and takes it down.
    pub fn call(&self, caller: &str, call: &Call, make: impl FnOnce(&Call) -> Outcome) -> Outcome {
        let start = self.now();
        let outcome = make(call);
        let entry = Entry {
            caller: caller.to_owned(),
            call: call.clone(),
            start,
            end: self.now(),
            outcome: outcome.clone(),
        };
        self.entries.lock().expect("the entries").push(entry);
        outcome
    }

    pub fn mark(&self, what: &str, clock: bool) {
        let mark = Mark {
            at: self.now(),
            what: what.to_owned(),
            clock,
        };
        self.marks.lock().expect("the marks").push(mark);
    }

    /// Looks at the calls that have ended so far.
    pub fn look<T>(&self, look: impl FnOnce(&[Entry]) -> T) -> T {
        look(&self.entries.lock().expect("the entries"))
    }

    /// The record, with what the database holds now.
    pub fn finish(&self, backlog: Backlog) -> Record {
        let mut entries = self.entries.lock().expect("the entries").clone();
        entries.sort_by_key(|entry| entry.start);
        Record {
            entries,
            marks: self.marks.lock().expect("the marks").clone(),
            backlog,
        }
    }
}
