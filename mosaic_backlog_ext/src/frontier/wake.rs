//! Wake-ups: `NOTIFY mosaic_backlog` when cards may have become claimable.
//!
//! A hint on which nothing depends. PostgreSQL lets one notifying transaction commit at a
//! time, so that a NOTIFY in each would serialise all commits; hence at most one goes out in
//! `THROTTLE` across all sessions. A waiter that looks again that long after a wake-up misses
//! nothing that was held back.
//!
//! Whose turn it is is decided right before the commit: a transaction that is rolled back must
//! not silence the others.

use std::cell::{Cell, RefCell};

use pgrx::prelude::*;

use crate::frontier::{self, Turn, Waking};
use crate::postgres::clock::{Micros, SECOND};
use crate::postgres::settings;

const THROTTLE: Micros = SECOND / 10;

thread_local! {
    /// The subtransactions that made cards claimable, and where the turns of their backlog are kept.
    static WANTED: RefCell<Vec<(pg_sys::SubTransactionId, Waking)>> = const { RefCell::new(Vec::new()) };
    /// The turn of a transaction that is about to commit.
    static TURN: Cell<Option<Turn>> = const { Cell::new(None) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Tells waiters, on commit, that cards may have become claimable.
pub fn waiters() {
    if !settings::NOTIFY.get() {
        return;
    }
    let wish = (
        unsafe { pg_sys::GetCurrentSubTransactionId() },
        frontier::waking(),
    );
    // What is registered last is called first: the frontier may unmap its memory after that.
    if !WATCHING.replace(true) {
        unsafe {
            pg_sys::RegisterXactCallback(Some(transaction_event), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(subtransaction_event), std::ptr::null_mut());
        }
    }
    WANTED.with_borrow_mut(|wanted| {
        if wanted.last() != Some(&wish) {
            wanted.push(wish);
        }
    });
}

fn notify() {
    let wanted = WANTED.take();
    // There can be two backlogs, where the extension is dropped and created in one transaction.
    if let Some((_, waking)) = wanted.last()
        && let Some(turn) = waking.take_turn(THROTTLE)
    {
        TURN.set(Some(turn));
        unsafe {
            pgrx::direct_function_call::<()>(
                pg_sys::pg_notify,
                &["mosaic_backlog".into_datum(), "".into_datum()],
            );
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_event(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT => notify(),
        // A transaction that notified could not be prepared. Waiters find its cards by themselves.
        pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => drop(WANTED.take()),
        pg_sys::XactEvent::XACT_EVENT_COMMIT => TURN.set(None),
        pg_sys::XactEvent::XACT_EVENT_ABORT => {
            drop(WANTED.take());
            if let Some(turn) = TURN.take() {
                turn.give_back();
            }
        }
        _ => {}
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn subtransaction_event(
    event: pg_sys::SubXactEvent::Type,
    own: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    WANTED.with_borrow_mut(|wanted| match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => {
            for (by, _) in wanted.iter_mut().filter(|(by, _)| *by == own) {
                *by = parent;
            }
            wanted.dedup();
        }
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => wanted.retain(|(by, _)| *by != own),
        _ => {}
    });
}
