//! What is wrong with the backlog and the server under it. Looks, and changes nothing: it does
//! not install, start or migrate, and asks the server in read-only transactions.
//!
//! What is wrong with cards, the extension finds out itself.

mod embedded;
mod server;
mod surroundings;

use serde::Serialize;

use crate::database::store::{self, Address, Choice};
use crate::failure::Failure;
use crate::output::error::whole;
use crate::output::hint::Words;
use crate::output::redact::redact;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// The backlog does what it should, but somebody has to look at this.
    Warning,
    /// The backlog cannot be used, or may do wrong.
    Error,
    /// It could not be looked at.
    Unknown,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub name: String,
    pub state: State,
    pub detail: String,
    pub hint: Option<String>,
}

impl Finding {
    fn ok(name: &str, detail: impl Into<String>) -> Self {
        Finding {
            name: name.to_owned(),
            state: State::Ok,
            detail: detail.into(),
            hint: None,
        }
    }

    fn not_ok(
        name: &str,
        state: State,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Finding {
            name: name.to_owned(),
            state,
            detail: detail.into(),
            hint: Some(hint.into()),
        }
    }

    /// What kept something from being looked at; `hint` is for failures that have none.
    fn failed(name: &str, state: State, failure: &Failure, hint: &str) -> Self {
        Finding {
            name: name.to_owned(),
            state,
            detail: whole(failure),
            hint: Some(redact(failure.hint.as_deref().unwrap_or(hint))),
        }
    }
}

pub struct Examination {
    pub findings: Vec<Finding>,
    /// Whether the backlog itself could be looked at.
    pub reached: bool,
}

impl Examination {
    pub fn is_healthy(&self) -> bool {
        self.reached && self.findings.iter().all(|found| found.state == State::Ok)
    }
}

/// Looks at the chosen backlog. Transactions that are open for longer than `max_age` seconds are
/// reported.
pub fn examine(address: &Address, max_age: u64, words: Words) -> Result<Examination, Failure> {
    let mut findings = Vec::new();
    surroundings::examine(address, &mut findings);
    let (client, embedded) = match store::choose(address)? {
        Choice::External(dsn) => (store::connect(dsn).map(Some), false),
        Choice::Embedded => (embedded::examine(&mut findings)?, true),
    };
    let reached = match client {
        Ok(Some(client)) => server::examine(client, embedded, max_age, &mut findings),
        Ok(None) => false,
        Err(failure) => {
            findings.push(Finding::failed(
                "server",
                State::Error,
                &failure,
                "Is the server up, and is the address right?",
            ));
            false
        }
    };
    for finding in &mut findings {
        finding.hint = finding.hint.as_deref().map(|hint| words.told(hint));
    }
    Ok(Examination { findings, reached })
}
