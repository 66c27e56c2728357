//! What became of a card, and of the run as a whole.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::{Value, json};

use crate::command::backlog::holding::Lease;
use crate::failure::Exit;
use crate::output::reply::say;
use crate::output::screen::one_line;

pub struct Outcome {
    pub lease: Lease,
    pub end: End,
    pub reason: Option<String>,
    /// What it makes of the run's exit code.
    pub exit: Exit,
    /// How the command ended, if it ran.
    pub status: Option<ExitStatus>,
}

/// Where the card went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Completed,
    Failed,
    Released,
    Blocked,
    /// It was no longer ours.
    Lost,
    /// The database could not be told; the card comes back by its lease.
    Unreported,
}

const WORDS: [(End, &str); 6] = [
    (End::Completed, "completed"),
    (End::Failed, "failed"),
    (End::Released, "released"),
    (End::Blocked, "blocked"),
    (End::Lost, "lost"),
    (End::Unreported, "unreported"),
];

impl End {
    fn word(self) -> &'static str {
        let row = WORDS.into_iter().find(|(end, _)| *end == self);
        row.map_or("", |(_, word)| word)
    }

    /// The end that an event of the history reports, if it is one that a worker can bring about.
    pub fn of_event(kind: &str) -> Option<End> {
        WORDS
            .into_iter()
            .take(4)
            .find(|(_, word)| *word == kind)
            .map(|(end, _)| end)
    }
}

/// `exit code 3` or `signal 9 (SIGKILL)`.
pub fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => match signal(status) {
            Some(name) => format!("signal {number} ({name})"),
            None => format!("signal {number}"),
        },
        (None, None) => "no exit code".to_owned(),
    }
}

fn signal(status: ExitStatus) -> Option<&'static str> {
    signal_hook::low_level::signal_name(status.signal()?)
}

impl Outcome {
    fn to_json(&self) -> Value {
        json!({
            "id": self.lease.id,
            "claim_token": self.lease.token,
            "outcome": self.end.word(),
            "exit": self.status.and_then(|status| status.code()),
            "signal": self.status.and_then(signal),
            "reason": self.reason,
        })
    }

    fn line(&self) -> String {
        let id = one_line(&self.lease.id);
        match &self.reason {
            Some(reason) => format!("{id} {}: {}", self.end.word(), one_line(reason)),
            None => format!("{id} {}", self.end.word()),
        }
    }
}

/// What all cards come to.
pub struct Tally {
    /// Kept for `--json` alone: a run may last for ever.
    keeps: bool,
    pub cards: Vec<Value>,
    begun: usize,
    worst: Option<Exit>,
}

/// A run's exit code is the first of these that one of its cards calls for.
const WORST_FIRST: [Exit; 9] = [
    Exit::Internal,
    Exit::Database,
    Exit::Busy,
    Exit::Usage,
    Exit::Conflict,
    Exit::State,
    Exit::WorkerBroken,
    Exit::CommandFailed,
    Exit::Success,
];

impl Tally {
    pub fn new(keeps: bool) -> Self {
        Tally {
            keeps,
            cards: Vec::new(),
            begun: 0,
            worst: None,
        }
    }

    /// The number of the next card.
    pub fn next(&mut self) -> usize {
        self.begun += 1;
        self.begun
    }

    pub fn add(&mut self, outcome: Outcome) {
        say(&outcome.line());
        if self.keeps {
            self.cards.push(outcome.to_json());
        }
        let rank = |exit| WORST_FIRST.iter().position(|known| *known == exit);
        self.worst = match self.worst {
            Some(worst) if rank(worst) <= rank(outcome.exit) => Some(worst),
            _ => Some(outcome.exit),
        };
    }

    pub fn is_empty(&self) -> bool {
        self.begun == 0
    }

    pub fn exit(&self) -> Exit {
        self.worst.unwrap_or(Exit::NoWork)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(end: End, exit: Exit) -> Outcome {
        Outcome {
            lease: Lease {
                id: "A".into(),
                token: 1,
                worker: "w".into(),
                since: "2030-01-01T00:00:00+00:00".into(),
            },
            end,
            reason: None,
            exit,
            status: Some(ExitStatus::from_raw(9)),
        }
    }

    #[test]
    fn the_run_exits_with_the_worst() {
        let mut tally = Tally::new(false);
        assert_eq!(tally.exit(), Exit::NoWork);
        for (end, exit, worst) in [
            (End::Completed, Exit::Success, Exit::Success),
            (End::Failed, Exit::CommandFailed, Exit::CommandFailed),
            (End::Lost, Exit::Conflict, Exit::Conflict),
            (End::Completed, Exit::Success, Exit::Conflict),
            (End::Unreported, Exit::Database, Exit::Database),
        ] {
            tally.add(outcome(end, exit));
            assert_eq!(tally.exit(), worst);
        }
        assert!(tally.cards.is_empty());
    }

    #[test]
    fn a_signal_is_told_by_name() {
        assert_eq!(how(ExitStatus::from_raw(9)), "signal 9 (SIGKILL)");
        assert_eq!(how(ExitStatus::from_raw(3 << 8)), "exit code 3");
        let document = outcome(End::Failed, Exit::CommandFailed).to_json();
        assert_eq!(document["signal"], "SIGKILL");
        assert_eq!(document["exit"], Value::Null);
    }

    #[test]
    fn only_a_worker_s_own_acts_settle_a_card() {
        assert_eq!(End::of_event("blocked"), Some(End::Blocked));
        assert_eq!(End::of_event("lapsed"), None);
        assert_eq!(End::of_event("lost"), None);
    }
}
