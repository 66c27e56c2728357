//! What is wrong with the backlog and the server under it. Looks, and changes nothing: it does
//! not install, start or migrate, and asks the server in read-only transactions.
//!
//! What is wrong with cards, the extension finds out itself.

use super::finding::{Finding, State};
use super::{embedded, server, surroundings};
use crate::database::store::{self, Address, Choice};
use crate::failure::Failure;
use crate::output::hint::Words;

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
