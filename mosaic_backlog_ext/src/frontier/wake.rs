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

use crate::frontier::{self, Turn, Waking};
use crate::postgres::clock::{Micros, SECOND};
use crate::postgres::settings;
use crate::postgres::transaction::{self, End, SubId, Watch};

const THROTTLE: Micros = SECOND / 10;

thread_local! {
    /// The subtransactions that made cards claimable, and where the turns of their backlog are kept.
    static WANTED: RefCell<Vec<(SubId, Waking)>> = const { RefCell::new(Vec::new()) };
    /// The turn of a transaction that is about to commit.
    static TURN: Cell<Option<Turn>> = const { Cell::new(None) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Tells waiters, on commit, that cards may have become claimable.
pub fn waiters() {
    if !settings::NOTIFY.get() {
        return;
    }
    let wish = (transaction::subtransaction(), frontier::waking());
    // What is registered last is called first: the frontier may unmap its memory after that.
    if !WATCHING.replace(true) {
        transaction::watch::<Notifying>();
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
        transaction::notify("mosaic_backlog");
    }
}

struct Notifying;

impl Watch for Notifying {
    fn ends(end: End) {
        match end {
            End::BeforeCommit => notify(),
            // A transaction that notified could not be prepared. Waiters find its cards by themselves.
            End::BeforePrepare => drop(WANTED.take()),
            // As in `transaction::end`, nothing can go wrong here.
            End::Commit => TURN.set(None),
            End::Abort => {
                drop(WANTED.take());
                if let Some(turn) = TURN.take() {
                    turn.give_back();
                }
            }
            End::Prepare => {}
        }
    }

    fn joins(own: SubId, parent: SubId) {
        WANTED.with_borrow_mut(|wanted| {
            for (by, _) in wanted.iter_mut().filter(|(by, _)| *by == own) {
                *by = parent;
            }
            wanted.dedup();
        });
    }

    fn is_undone(own: SubId) {
        WANTED.with_borrow_mut(|wanted| wanted.retain(|(by, _)| *by != own));
    }
}
