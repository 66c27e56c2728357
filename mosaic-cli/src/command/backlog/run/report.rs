//! Telling the database how the work on a card ended.

use std::thread;
use std::time::{Duration, Instant};

use super::outcome::End;
use super::work::Work;
use crate::command::backlog::holding::Lease;
use crate::database::call::Call;
use crate::database::reconnecting::ReconnectingStore;
use crate::failure::{Code, Exit, Failure};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);
const PAGE: i32 = 1000;

impl Lease {
    /// What was done to the card under this claim, by the command itself for one: its calls, and
    /// ours whose answer got lost.
    pub fn settled(&self, store: &mut ReconnectingStore) -> Result<Option<End>, Failure> {
        let mut after: Option<String> = None;
        let mut is_ours = false;
        loop {
            let page = Call::new("backlog_events")
                .text("id", self.id.clone())
                .text("after", after)
                .int("max_events", PAGE);
            let events = match store.call(&page) {
                Err(failure) if failure.code == Code::NotFound => return Ok(None),
                events => events?,
            };
            let end = events.iter().find_map(|event| {
                let kind = event["kind"].as_str()?;
                match kind {
                    "claimed" => is_ours = self.began_with(event),
                    "lapsed" | "reclaimed" => is_ours = false,
                    _ => {}
                }
                End::of_event(kind).filter(|_| is_ours)
            });
            let Some(last) = events.last().filter(|_| end.is_none()) else {
                return Ok(end);
            };
            after = last["cursor"].as_str().map(str::to_owned);
        }
    }
}

/// What is to be told.
#[derive(Clone)]
pub enum Verdict {
    /// With the result, and what had to be said about it.
    Complete(Option<Work>),
    /// Without the result, and why.
    CompleteWithout(String),
    Fail(String),
    Release {
        reason: String,
        retry_in: Option<u64>,
    },
}

pub struct Report {
    pub end: End,
    pub reason: Option<String>,
    pub exit: Exit,
}

impl Verdict {
    fn call(&self, lease: &Lease) -> Call {
        match self.clone() {
            Verdict::Complete(work) => lease
                .call("backlog_complete")
                .json("result", work.map(|work| work.json))
                .text("actor", lease.worker.clone()),
            Verdict::CompleteWithout(_) => Verdict::Complete(None).call(lease),
            Verdict::Fail(reason) => lease.call("backlog_fail").text("reason", reason),
            Verdict::Release { reason, retry_in } => lease
                .call("backlog_release")
                .text("reason", reason)
                .seconds("retry_in", retry_in),
        }
    }

    fn reported(self) -> Report {
        match self {
            Verdict::Complete(work) => {
                Report::of(End::Completed, work.and_then(|work| work.remark))
            }
            Verdict::CompleteWithout(remark) => Report::of(End::Completed, Some(remark)),
            Verdict::Fail(reason) => Report::of(End::Failed, Some(reason)),
            Verdict::Release { reason, .. } => Report {
                exit: Exit::CommandFailed,
                ..Report::of(End::Released, Some(reason))
            },
        }
    }

    /// Tells it, and goes on trying until then. A repeat does no harm.
    pub fn tell(mut self, store: &mut ReconnectingStore, lease: &Lease, until: Instant) -> Report {
        loop {
            let failure = match store.call(&self.call(lease)) {
                Ok(_) => return self.reported(),
                Err(failure) if Lease::is_over(&failure) => match lease.settled(store) {
                    Ok(Some(end)) => return Report::of(end, None),
                    Ok(None) => return Report::of(End::Lost, Some(failure.message)),
                    Err(failure) => failure,
                },
                // The work is done, but what it says of itself cannot be kept as it is.
                Err(failure) if failure.code == Code::InvalidArgument => match self {
                    Verdict::Complete(Some(work)) => {
                        let refused = format!("the result was refused: {}", failure.message);
                        self = match work.into_text(&refused) {
                            Some(text) => Verdict::Complete(Some(text)),
                            None => Verdict::Fail(refused),
                        };
                        continue;
                    }
                    _ => failure,
                },
                Err(failure) => failure,
            };
            if !failure.retryable() || Instant::now() >= until {
                return Report {
                    exit: failure.exit(),
                    ..Report::of(End::Unreported, Some(failure.message))
                };
            }
            thread::sleep(PAUSE);
        }
    }
}

impl Report {
    pub fn of(end: End, reason: Option<String>) -> Self {
        let exit = match end {
            End::Completed | End::Blocked | End::Released => Exit::Success,
            End::Failed => Exit::CommandFailed,
            End::Lost => Exit::Conflict,
            End::Unreported => Exit::Database,
        };
        Report { end, reason, exit }
    }
}
