//! Wake-ups: `NOTIFY mosaic_backlog` when cards may have become claimable.
//!
//! A hint on which nothing depends. PostgreSQL lets one notifying transaction commit at a
//! time, so that a NOTIFY in each would serialise all commits; hence at most one goes out in
//! `THROTTLE` across all sessions. A waiter that looks again that long after a wake-up misses
//! nothing that was held back.

use crate::clock::{Micros, SECOND};
use crate::frontier;
use crate::settings;
use crate::statement::{Session, statements};

const THROTTLE: Micros = SECOND / 10;

statements! {
    NOTIFY() = "select pg_catalog.pg_notify('mosaic_backlog', '')";
}

/// Tells waiters, on commit, that cards may have become claimable.
pub fn waiters(session: &Session) {
    if settings::NOTIFY.get() && frontier::may_wake(THROTTLE) {
        session.run(&NOTIFY, &[]);
    }
}
