//! Keeping a lease: a thread with a connection of its own renews it, and in the end reports.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::event::{Event, News};
use super::report::Verdict;
use crate::command::backlog::holding::Lease;
use crate::database::reconnecting::ReconnectingStore;
use crate::failure::Failure;

/// Between two tries after a failure, at most.
const PAUSE: Duration = Duration::from_secs(1);
/// Nothing is to be done any more but to wait for the verdict.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

pub struct Keeper {
    verdicts: Sender<(Verdict, Instant)>,
}

impl Keeper {
    /// Renews a lease that began at `since`. A keeper that is dropped stops.
    pub fn start(
        store: ReconnectingStore,
        lease: Lease,
        since: Instant,
        ttl: Duration,
        events: Sender<Event>,
    ) -> Self {
        let (verdicts, orders) = mpsc::channel::<(Verdict, Instant)>();
        let mut heartbeat = Heartbeat {
            store,
            lease,
            ttl,
            due: since + ttl / 3,
        };
        thread::spawn(move || {
            loop {
                let left = heartbeat.due.saturating_duration_since(Instant::now());
                let news = match orders.recv_timeout(left) {
                    Ok((verdict, until)) => {
                        let report = verdict.tell(&mut heartbeat.store, &heartbeat.lease, until);
                        let _ = events.send(Event::News(News::Reported(report, heartbeat.store)));
                        return;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => heartbeat.renew(),
                };
                if let Some(news) = news
                    && events.send(Event::News(news)).is_err()
                {
                    return;
                }
            }
        });
        Keeper { verdicts }
    }

    /// Reports how it ended, and goes on trying until then.
    pub fn report(&self, verdict: Verdict, until: Instant) {
        let _ = self.verdicts.send((verdict, until));
    }
}

struct Heartbeat {
    store: ReconnectingStore,
    lease: Lease,
    ttl: Duration,
    /// When the next renewal is due.
    due: Instant,
}

impl Heartbeat {
    fn renew(&mut self) -> Option<News> {
        let sent = Instant::now();
        match self.try_to_renew() {
            Ok(News::Held(_)) => {
                self.due = sent + self.ttl / 3;
                Some(News::Held(sent + self.ttl))
            }
            Ok(news) => {
                self.due = sent + NEVER;
                Some(news)
            }
            // Whatever it is, it may pass before the lease ends.
            Err(_) => {
                self.due = Instant::now() + PAUSE.min(self.ttl / 10);
                None
            }
        }
    }

    fn try_to_renew(&mut self) -> Result<News, Failure> {
        let renew = self
            .lease
            .call("backlog_renew")
            .seconds("ttl", Some(self.ttl.as_secs()))
            .returning("claim_expires_at");
        match self.store.call(&renew) {
            Ok(_) => Ok(News::Held(Instant::now())),
            Err(failure) if Lease::is_over(&failure) => {
                let settled = self.lease.settled(&mut self.store)?;
                Ok(settled.map_or(News::Lost(failure.message), |_| News::Settled))
            }
            Err(failure) => Err(failure),
        }
    }
}
