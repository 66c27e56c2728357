//! The work on one card, from its claim to its report.

use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGKILL, SIGTERM};
use signal_hook::low_level::signal_name;

use super::command::{Left, Running};
use super::event::{Event, News};
use super::keeper::Keeper;
use super::outcome::{End, Outcome, how};
use super::plan::Plan;
use super::report::{Report, Verdict};
use super::streak::Streak;
use crate::command::backlog::holding::Lease;
use crate::database::reconnecting::ReconnectingStore;
use crate::database::store::Record;
use crate::failure::Exit;
use crate::output::reply::say;
use crate::output::screen::one_line;

/// A command's "not now", from sysexits.h.
const TEMPORARY: i32 = 75;
/// A card that was given back with it rests for so long, or this worker would get it again at once.
const REST: u64 = 30;
/// A report gets so long at least, also if the lease ends before.
const REPORT: Duration = Duration::from_secs(10);
/// … and a database that does not even refuse so much more.
const SILENCE: Duration = Duration::from_secs(15);
/// How often a group that is to end is looked at.
const STEP: Duration = Duration::from_millis(20);

/// Why a card goes back that the command was not started for.
pub type Stopped = String;

pub fn stopped_by(signal: i32) -> Stopped {
    format!("stopped by {}", signal_name(signal).unwrap_or("a signal"))
}

pub struct Job {
    pub plan: Arc<Plan>,
    pub card: Record,
    pub since: Instant,
    pub store: ReconnectingStore,
    pub sender: Sender<Event>,
    pub events: Receiver<Event>,
    /// The run is to end, and was so before this began.
    pub stopped: Option<Stopped>,
}

/// Why a command was told to end.
enum Told {
    Lost(String),
    Stopped(Stopped),
}

impl Job {
    pub fn run(self) -> (Outcome, Option<ReconnectingStore>) {
        let lease = match Lease::of(&self.card) {
            Ok(lease) => lease,
            Err(failure) => {
                let lease = Lease {
                    id: String::new(),
                    token: 0,
                    worker: String::new(),
                    since: String::new(),
                };
                let report = Report {
                    end: End::Unreported,
                    reason: Some(failure.message),
                    exit: Exit::Internal,
                };
                return (outcome(lease, report, None), None);
            }
        };
        let keeper = Keeper::start(
            self.store,
            lease.clone(),
            self.since,
            self.plan.ttl,
            self.sender.clone(),
        );
        let mut supervision = Supervision {
            events: self.events,
            held_until: self.since + self.plan.ttl,
            is_settled: false,
            told: self.stopped.map(Told::Stopped),
            exited: None,
        };
        let started = match &supervision.told {
            Some(_) => None,
            None => {
                let title = self.card["title"].as_str().unwrap_or_default();
                say(&format!(
                    "{} claimed: {}",
                    one_line(&lease.id),
                    one_line(title)
                ));
                Some(Running::start(&self.plan, &self.card, &lease, self.sender))
            }
        };
        let (verdict, exit) = match started {
            Some(Ok(running)) => {
                supervision.over(&running, self.plan.grace);
                (
                    supervision.verdict(&running, &self.plan.streak, &lease.id),
                    None,
                )
            }
            Some(Err(failure)) => {
                let reason = format!(
                    "{}: {}",
                    failure.message,
                    failure.detail.unwrap_or_default()
                );
                let verdict = Verdict::Release {
                    reason,
                    retry_in: None,
                };
                (Ok(verdict), Some(Exit::Usage))
            }
            None => (supervision.stopped_verdict(), None),
        };
        let (mut report, store) = match verdict {
            Ok(verdict) => supervision.report(&keeper, verdict),
            Err(reason) => (Report::of(End::Lost, Some(reason)), None),
        };
        report.exit = exit.unwrap_or(report.exit);
        (outcome(lease, report, supervision.exited), store)
    }
}

fn outcome(lease: Lease, report: Report, status: Option<ExitStatus>) -> Outcome {
    Outcome {
        lease,
        end: report.end,
        reason: report.reason,
        exit: report.exit,
        status,
    }
}

/// What is known while the command runs.
struct Supervision {
    events: Receiver<Event>,
    held_until: Instant,
    /// The command finished the card or gave it back by itself.
    is_settled: bool,
    told: Option<Told>,
    exited: Option<ExitStatus>,
}

impl Supervision {
    /// Until the command has ended, and with it, if it was told to end, all of its processes.
    fn over(&mut self, running: &Running, grace: Duration) {
        let mut kill_at: Option<Instant> = None;
        loop {
            if self.exited.is_some() && (self.told.is_none() || running.group.is_deserted()) {
                return;
            }
            let lapses_at = self.is_at_stake().then_some(self.held_until);
            let looks_at = self.exited.map(|_| Instant::now() + STEP);
            let next = [kill_at, lapses_at, looks_at].into_iter().flatten().min();
            match self.next(next) {
                Some(Event::Exited(status)) => self.exited = Some(status),
                Some(Event::News(News::Held(until))) => self.held_until = until,
                Some(Event::News(News::Settled)) => self.is_settled = true,
                Some(Event::News(News::Lost(reason))) => {
                    self.told = Some(Told::Lost(reason));
                    running.group.signal(SIGTERM);
                    kill_at.get_or_insert(Instant::now() + grace);
                }
                Some(Event::News(News::Reported(..))) => {}
                Some(Event::Signal(signal)) => {
                    self.told.get_or_insert(Told::Stopped(stopped_by(signal)));
                    running.group.signal(signal);
                    kill_at.get_or_insert(Instant::now() + grace);
                }
                None if kill_at.is_some_and(|at| at <= Instant::now()) => {
                    running.group.signal(SIGKILL);
                    kill_at = None;
                }
                None if self.is_at_stake() && self.held_until <= Instant::now() => {
                    self.told = Some(Told::Lost(
                        "the lease ended and could not be renewed".to_owned(),
                    ));
                    running.group.signal(SIGTERM);
                    kill_at.get_or_insert(Instant::now() + grace);
                }
                None => {}
            }
        }
    }

    /// Whether the command works under a lease that can end.
    fn is_at_stake(&self) -> bool {
        !self.is_settled && self.exited.is_none() && !matches!(self.told, Some(Told::Lost(_)))
    }

    fn next(&self, until: Option<Instant>) -> Option<Event> {
        match until {
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                self.events.recv_timeout(left).ok()
            }
            None => self.events.recv().ok(),
        }
    }

    /// What the end of the command means; or why the card was lost.
    fn verdict(&mut self, running: &Running, streak: &Streak, id: &str) -> Result<Verdict, String> {
        let Some(status) = self.exited.filter(|_| self.told.is_none()) else {
            return self.stopped_verdict();
        };
        if status.success() {
            return Ok(match running.result() {
                Left::Nothing => Verdict::Complete(None),
                Left::Work(work) => Verdict::Complete(Some(work)),
                Left::Unread(remark) => Verdict::CompleteWithout(remark),
                Left::TooLarge(reason) => Verdict::Fail(reason),
            });
        }
        let mut reason = how(status);
        let last_words = running.last_words();
        if !last_words.is_empty() {
            reason = format!("{reason}\n{last_words}");
        }
        Ok(if status.code() == Some(TEMPORARY) {
            Verdict::Release {
                reason,
                retry_in: Some(REST),
            }
        } else if streak.is_to_blame(id, &reason) {
            Verdict::Release {
                reason: format!("the worker is broken, not the card: {reason}"),
                retry_in: None,
            }
        } else {
            Verdict::Fail(reason)
        })
    }

    fn stopped_verdict(&mut self) -> Result<Verdict, String> {
        match self.told.take() {
            Some(Told::Lost(reason)) => Err(reason),
            Some(Told::Stopped(reason)) => Ok(Verdict::Release {
                reason,
                retry_in: None,
            }),
            None => Err("the command went away".to_owned()),
        }
    }

    fn report(&self, keeper: &Keeper, verdict: Verdict) -> (Report, Option<ReconnectingStore>) {
        let until = self.held_until.max(Instant::now() + REPORT);
        keeper.report(verdict, until);
        loop {
            match self.next(Some(until + SILENCE)) {
                Some(Event::News(News::Reported(report, store))) => {
                    return (report, Some(store));
                }
                Some(_) => {}
                None => {
                    let reason = "the database did not answer".to_owned();
                    return (Report::of(End::Unreported, Some(reason)), None);
                }
            }
        }
    }
}
