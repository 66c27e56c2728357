//! Wake-ups: `NOTIFY mosaic_backlog` when cards may have become claimable.
//!
//! A hint on which nothing depends. PostgreSQL lets one notifying transaction commit at a
//! time, so that a NOTIFY in each would serialise all commits; hence at most one goes out in
//! `THROTTLE` across all sessions. A waiter that looks again that long after a wake-up misses
//! nothing that was held back.

use pgrx::prelude::*;

use crate::clock::{Micros, SECOND};
use crate::settings;
use crate::statement::{Session, param, statements};

const THROTTLE: Micros = SECOND / 10;

statements! {
    /// A sequence, because it is read and written outside of transactions.
    LAST() = "select last_value from mosaic.backlog_wake_seq";
    STAMP(INT8OID) = "select pg_catalog.setval('mosaic.backlog_wake_seq', $1)";
    NOTIFY() = "select pg_catalog.pg_notify('mosaic_backlog', '')";
}

/// Tells waiters, on commit, that cards may have become claimable.
pub fn waiters(session: &Session) {
    if !settings::NOTIFY.get() {
        return;
    }
    let now: Micros = unsafe { pg_sys::GetCurrentTimestamp() };
    let last: Micros = session.run(&LAST, &[]).must(0, 1);
    if now - last >= THROTTLE || now < last {
        session.run(&STAMP, &[param(now)]);
        session.run(&NOTIFY, &[]);
    }
}
