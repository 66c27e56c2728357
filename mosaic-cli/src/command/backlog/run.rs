//! `run`: a whole worker. It claims cards, runs a command for each under a lease that it keeps,
//! and reports how the command ended.
//!
//! One thread decides, here. Others wait for what takes time, and tell it: one claims, one for
//! each card looks after its command, one waits for signals.

mod command;
mod event;
mod group;
mod job;
mod keeper;
mod outcome;
mod plan;
mod report;
mod streak;
mod work;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT};

use super::waiting::{Catch, Waiter};
use super::wanted::Wanted;
use crate::database::reconnecting::ReconnectingStore;
use crate::database::store::{self, Address, Choice};
use crate::failure::{Exit, Failure};
use crate::input::duration;
use crate::interrupt;
use crate::output::error;
use crate::output::reply::{Reply, say};
use crate::output::selection::Selection;
use job::{Job, stopped_by};
use outcome::{End, Outcome, Tally};
use plan::Plan;
use streak::Streak;

/// A worker that found nothing while others of this run are busy looks again after so long.
const PAUSE: Duration = Duration::from_secs(1);
/// After a signal, the reports of how commands ended get so long.
const LAST_REPORTS: Duration = Duration::from_secs(30);

/// Claim cards and run a command for each
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog run -- ./work.sh
  mosaic backlog run --loop --wait --jobs 4 --label parser -- ./work.sh
  mosaic backlog run -- sh -c 'jq -r .title | my-agent > \"$MOSAIC_RESULT_FILE\"'

The command finds the card as JSON on standard input and in the file that MOSAIC_CARD_FILE names, and MOSAIC_CARD_ID and
MOSAIC_CLAIM_TOKEN in its environment. Its lease is renewed while it runs.
Exit code 0 of the command completes the card, with the JSON of the file that MOSAIC_RESULT_FILE names, if it was written.
75 releases the card; any other exit code, or a signal, fails it.
If it fails on --max-failures different cards in a row, the worker is taken for broken: the last card is released
without blame, and the exit code is 9.
If the lease is lost the command is ended, and nothing is completed.")]
pub struct Run {
    #[command(flatten)]
    wanted: Wanted,

    /// Wait until something can be claimed, up to this long or for ever
    #[arg(long, value_name = "DURATION", num_args = 0..=1, value_parser = duration)]
    wait: Option<Option<u64>>,

    /// Go on with the next card, until there is nothing to claim
    #[arg(long = "loop")]
    is_loop: bool,

    /// Work on at most N cards at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    jobs: u16,

    /// End after failures in a row on N different cards; 0: never
    #[arg(long, value_name = "N", default_value_t = 3)]
    max_failures: u16,

    /// How long the command may take to end when it is told to
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    grace: u64,

    /// What to run for each card, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

enum Event {
    Signal(i32),
    Claimed(Result<Catch, Failure>),
    Ended(usize, Outcome, Option<ReconnectingStore>),
}

impl Run {
    pub fn run(self, address: &Address, selection: &Selection) -> Result<Reply, Failure> {
        command::check(&self.command[0])?;
        command::check_folder()?;
        let choice = store::choose(address)?;
        let (sender, events) = mpsc::channel();
        let signals = sender.clone();
        interrupt::tell(move |signal| {
            let _ = signals.send(Event::Signal(signal));
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let waiter = Waiter::new(choice.clone(), stop.clone());
        let plan = Plan {
            command: self.command,
            worker: self.wanted.worker(),
            ttl: Duration::from_secs(self.wanted.ttl),
            grace: Duration::from_secs(self.grace),
            json: selection.is_json(),
            database_url: address.0.clone(),
            streak: Streak::new(self.max_failures),
        };
        let wait = match self.wait {
            None => Duration::ZERO,
            Some(seconds) => seconds.map_or(Duration::MAX, Duration::from_secs),
        };
        let mut fleet = Fleet {
            plan: Arc::new(plan),
            choice,
            places: self.jobs.into(),
            asks: claimer(waiter, self.wanted, wait, sender.clone()),
            sender,
            is_asked: false,
            is_dry: false,
            is_last: false,
            rests_until: Instant::now(),
            stop,
            signal: None,
            running: HashMap::new(),
            stores: Vec::new(),
            tally: Tally::new(selection.is_json()),
            failure: None,
        };
        fleet.work(&events, self.is_loop);
        fleet.reply(selection)
    }
}

/// The thread that claims: so many cards as it is asked for.
fn claimer(
    mut waiter: Waiter,
    wanted: Wanted,
    wait: Duration,
    events: Sender<Event>,
) -> Sender<i32> {
    let (asks, asked) = mpsc::channel();
    thread::spawn(move || {
        for max in asked {
            let catch = waiter.claim(&wanted, max, None, wait);
            if events.send(Event::Claimed(catch)).is_err() {
                break;
            }
        }
    });
    asks
}

/// The cards that are worked on, and what is known about the rest.
struct Fleet {
    plan: Arc<Plan>,
    choice: Choice,
    places: usize,
    asks: Sender<i32>,
    sender: Sender<Event>,
    /// Whether a claim is under way.
    is_asked: bool,
    /// Whether the last claim found nothing, and nothing has changed since.
    is_dry: bool,
    /// Whether there is to be no other claim.
    is_last: bool,
    /// No claim before that.
    rests_until: Instant,
    stop: Arc<AtomicBool>,
    /// The first signal, and when waiting for what it ends is over.
    signal: Option<(i32, Instant)>,
    running: HashMap<usize, Sender<event::Event>>,
    /// Connections of jobs that ended, for the next ones.
    stores: Vec<ReconnectingStore>,
    tally: Tally,
    failure: Option<Failure>,
}

impl Fleet {
    fn work(&mut self, events: &Receiver<Event>, is_loop: bool) {
        loop {
            let free = self.places.saturating_sub(self.running.len());
            let wants = free > 0 && !self.is_asked && !self.is_dry && !self.is_last;
            let rest = self.rests_until.saturating_duration_since(Instant::now());
            let rests = wants && !rest.is_zero();
            if wants && !rests {
                self.is_asked = self.asks.send(free as i32).is_ok();
                self.is_last = !is_loop;
            }
            if self.running.is_empty() && !self.is_asked && !rests {
                return;
            }
            let pause = match self.signal {
                Some((_, end)) => end.saturating_duration_since(Instant::now()),
                None if rests => rest.min(PAUSE),
                None => PAUSE,
            };
            match events.recv_timeout(pause) {
                Ok(Event::Signal(signal)) => self.stop(signal),
                Ok(Event::Claimed(claimed)) => self.take(claimed),
                Ok(Event::Ended(number, outcome, store)) => self.end(number, outcome, store),
                Err(RecvTimeoutError::Timeout) if self.signal.is_none() => self.is_dry = false,
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, claimed: Result<Catch, Failure>) {
        self.is_asked = false;
        match claimed {
            Ok(catch) => {
                self.is_dry = catch.cards.is_empty();
                for card in catch.cards {
                    self.start(card, catch.since);
                }
            }
            Err(failure) => {
                self.is_last = true;
                self.failure = Some(failure);
            }
        }
    }

    fn start(&mut self, card: store::Record, since: Instant) {
        let (sender, events) = mpsc::channel();
        let job = Job {
            plan: self.plan.clone(),
            card,
            since,
            store: self
                .stores
                .pop()
                .unwrap_or_else(|| ReconnectingStore::new(self.choice.clone())),
            sender: sender.clone(),
            events,
            // A card that was claimed while the run was told to end goes back at once.
            stopped: match self.signal {
                Some((signal, _)) => Some(stopped_by(signal)),
                None if self.plan.streak.is_over() => Some("the worker is broken".to_owned()),
                None => None,
            },
        };
        let number = self.tally.next();
        let ended = self.sender.clone();
        thread::spawn(move || {
            let (outcome, store) = job.run();
            let _ = ended.send(Event::Ended(number, outcome, store));
        });
        self.running.insert(number, sender);
    }

    fn end(&mut self, number: usize, outcome: Outcome, store: Option<ReconnectingStore>) {
        self.running.remove(&number);
        self.stores.extend(store);
        self.is_dry = false;
        // A command that cannot be run would send back one card after the other.
        self.is_last |= outcome.exit == Exit::Usage;
        let streak = &self.plan.streak;
        match outcome.end {
            End::Completed | End::Blocked => streak.end(),
            End::Failed => {
                streak.note(
                    &outcome.lease.id,
                    outcome.reason.as_deref().unwrap_or_default(),
                );
                self.rests_until = Instant::now() + streak.pause();
            }
            End::Released | End::Lost | End::Unreported => {}
        }
        self.tally.add(outcome);
        if self.plan.streak.is_over() {
            self.is_last = true;
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    /// No other claim, and every command is told.
    fn stop(&mut self, signal: i32) {
        self.stop.store(true, Ordering::Relaxed);
        self.is_last = true;
        let end = Instant::now() + self.plan.grace + LAST_REPORTS;
        self.signal.get_or_insert((signal, end));
        for job in self.running.values() {
            let _ = job.send(event::Event::Signal(signal));
        }
    }

    fn reply(mut self, selection: &Selection) -> Result<Reply, Failure> {
        if self.failure.is_none() && self.signal.is_none() {
            self.failure = self.plan.streak.failure();
        }
        let exit = match (self.signal, &self.failure) {
            (Some((SIGINT, _)), _) => Exit::Interrupted,
            (Some((SIGHUP, _)), _) => Exit::HungUp,
            (Some(_), _) => Exit::Terminated,
            (None, Some(failure)) => failure.exit(),
            (None, None) => self.tally.exit(),
        };
        match self.failure {
            Some(failure) if !selection.is_json() || self.tally.is_empty() => Err(failure),
            Some(failure) => {
                let mut document = json!({"cards": self.tally.cards});
                document["error"] = error::document(&failure, selection.words)["error"].take();
                Ok(Reply::exiting(document, nothing, exit))
            }
            None if selection.is_json() => Ok(Reply::exiting(
                json!({"cards": self.tally.cards}),
                nothing,
                exit,
            )),
            None => {
                if exit == Exit::NoWork {
                    say("nothing to claim");
                }
                let _ = io::stdout().flush();
                Ok(Reply::Written(exit))
            }
        }
    }
}

/// Standard output is the command's.
fn nothing(_: &Value, _: &crate::output::screen::Screen) -> String {
    String::new()
}
