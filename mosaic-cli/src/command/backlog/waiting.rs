//! A claim that waits until there is something to claim.
//!
//! The waiter looks, which is a claim that finds nothing, and rests until it is woken, a second
//! at most: nobody tells when a lease or a `not_before` ends. Wake-ups come to all waiters at
//! once, and the looks that follow are spread. A waiter that is woken again and again for cards
//! that it does not get spreads its looks wider, so that a busy backlog does not wear it out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::wanted::Wanted;
use crate::database::call::Call;
use crate::database::limit::ANSWER;
use crate::database::reconnecting::ReconnectingStore;
use crate::database::store::{Choice, Record};
use crate::failure::{Code, Failure};
use crate::output::reply::say;
use crate::output::stdout;

/// Between two looks of which none was woken.
const IDLE: Duration = Duration::from_secs(1);
/// The server holds wake-ups back for so long after one.
const THROTTLE: Duration = Duration::from_millis(100);
/// A rest is looked at so often for whether it is to be broken off.
const STEP: Duration = Duration::from_millis(100);
/// So long after the end of the wait the server has to say what the last look found.
const GRACE: Duration = Duration::from_secs(2);
/// The longest wait: nobody lives to see its end.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

pub struct Waiter {
    store: ReconnectingStore,
    /// Set from outside: the wait is over.
    stop: Arc<AtomicBool>,
    /// Whether the wait is over as well when nobody reads standard output any more.
    for_reader: bool,
    /// Over how much time the looks that follow a wake-up are spread.
    spread: Duration,
    /// Whether a look has to follow for what was held back.
    echo: bool,
    /// The pause after a failure.
    pause: Duration,
}

/// What a claim brought.
pub struct Catch {
    pub cards: Vec<Record>,
    /// The leases began then, or later.
    pub since: Instant,
}

impl Waiter {
    pub fn new(choice: Choice, stop: Arc<AtomicBool>) -> Self {
        Waiter {
            store: ReconnectingStore::new(choice),
            stop,
            for_reader: false,
            spread: THROTTLE,
            echo: false,
            pause: THROTTLE,
        }
    }

    /// A waiter whose cards go to whoever reads standard output.
    pub fn for_reader(choice: Choice) -> Self {
        Waiter {
            for_reader: true,
            ..Waiter::new(choice, Arc::default())
        }
    }

    /// Claims, for as long as `wait` says. No cards: a look at the end of the wait found none. That
    /// a card was claimed and the answer got lost is covered by the request id.
    pub fn claim(
        &mut self,
        wanted: &Wanted,
        max: i32,
        request_id: Option<Uuid>,
        wait: Duration,
    ) -> Result<Catch, Failure> {
        let end = Instant::now() + wait.min(FOREVER);
        let caught = self.wait(wanted, max, request_id, end);
        self.store.ignore();
        caught
    }

    fn wait(
        &mut self,
        wanted: &Wanted,
        max: i32,
        request_id: Option<Uuid>,
        end: Instant,
    ) -> Result<Catch, Failure> {
        let deadline = end + GRACE;
        let mut request = request_id.unwrap_or_else(Uuid::new_v4);
        let mut lost_answer = false;
        loop {
            let since = Instant::now();
            // Nobody is there to work on what would be claimed; an answer that got lost is asked for once more.
            if self.is_stopped() && !lost_answer {
                return Ok(Catch {
                    cards: Vec::new(),
                    since,
                });
            }
            let is_last = since >= end || self.is_stopped();
            let call = wanted.call(max).uuid("request_id", Some(request));
            match self.store.call_by(call, deadline.min(since + ANSWER)) {
                Ok(cards) if lost_answer && !cards.is_empty() => return Ok(self.renewed(cards)),
                Ok(cards) if is_last || !cards.is_empty() => return Ok(Catch { cards, since }),
                Ok(_) => {
                    lost_answer = false;
                    self.pause = THROTTLE;
                    self.rest(end, deadline);
                }
                // What the lost answer held has lapsed.
                Err(failure) if failure.code == Code::ClaimLost && request_id.is_none() => {
                    request = Uuid::new_v4();
                    lost_answer = false;
                }
                Err(failure) if is_last || !failure.retryable() || Instant::now() >= deadline => {
                    return Err(failure);
                }
                Err(failure) => {
                    lost_answer = true;
                    self.recover(&failure, end);
                }
            }
        }
    }

    /// Cards whose claim may be older than the answer get a whole lease.
    fn renewed(&mut self, cards: Vec<Record>) -> Catch {
        let since = Instant::now();
        let cards = cards
            .into_iter()
            .filter(|card| {
                let renew = Call::new("backlog_renew")
                    .text("id", card["id"].as_str().map(str::to_owned))
                    .bigint("claim_token", card["claim_token"].as_i64())
                    .returning("claim_expires_at");
                let end = Instant::now() + ANSWER;
                self.store.call_by(renew, end).is_ok()
            })
            .collect();
        Catch { cards, since }
    }

    /// Until the next look.
    fn rest(&mut self, end: Instant, deadline: Instant) {
        if std::mem::take(&mut self.echo) {
            self.sleep(THROTTLE + random(THROTTLE), end);
        } else if self.store.listen(deadline.min(Instant::now() + ANSWER)) {
            // A card that came before wakes nobody: look at once.
        } else if self.is_woken(IDLE + random(IDLE / 4), end) {
            self.sleep(random(self.spread), end);
            self.spread = (self.spread * 2).min(IDLE);
            self.echo = true;
        } else {
            self.spread = THROTTLE;
        }
    }

    /// After a failure that may pass.
    fn recover(&mut self, failure: &Failure, end: Instant) {
        if self.pause == THROTTLE {
            say(&format!("{}; trying again", failure.message));
        }
        self.echo = false;
        self.sleep(self.pause / 2 + random(self.pause / 2), end);
        self.pause = (self.pause * 2).min(IDLE);
    }

    fn is_woken(&mut self, longest: Duration, end: Instant) -> bool {
        let until = (Instant::now() + longest).min(end);
        while let Some(left) = left(until).filter(|_| !self.is_stopped()) {
            let step = left.min(STEP);
            let begin = Instant::now();
            if self.store.is_woken(step) {
                return true;
            }
            if begin.elapsed() < step {
                // The connection broke, which the next look finds out.
                return false;
            }
        }
        false
    }

    fn sleep(&self, longest: Duration, end: Instant) {
        let until = (Instant::now() + longest).min(end);
        while let Some(left) = left(until).filter(|_| !self.is_stopped()) {
            std::thread::sleep(left.min(STEP));
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || (self.for_reader && !stdout::is_read(Duration::ZERO))
    }
}

fn left(until: Instant) -> Option<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

fn random(most: Duration) -> Duration {
    most.mul_f64(fastrand::f64())
}
