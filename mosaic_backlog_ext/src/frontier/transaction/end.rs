//! What the end of a transaction does.
//!
//! Nothing here may panic, or be an error of PostgreSQL. At `End::Commit` the transaction is past the
//! point where it could be refused: an error would take the server down. So nothing is indexed,
//! unwrapped or allocated; lints hold that, here and in what this calls of the heads. What may go wrong
//! belongs into `before`. And if something does after all, nothing is known any more, and claims look
//! anew.

#![deny(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::addition::Addition;
use super::super::heads::Set;
use super::super::memory::{self, Memory};
use super::{Changes, Flight, PENDING, Pending, Scan, Undo, Undone, before};
use crate::postgres::transaction::{End, SubId, Watch};

pub struct Ends;

impl Watch for Ends {
    fn ends(end: End) {
        match end {
            End::BeforeCommit => before::commit(),
            End::Commit => {
                end_flights(|_| true);
                let pending = all();
                pending.changes.into_iter().for_each(Changes::commit);
                for (_, memory) in pending.dropped {
                    memory::let_go(memory);
                }
                memory::end_transaction();
            }
            End::Abort => {
                for undo in taken(|pending| &mut pending.undo) {
                    // Of its own cards there is nothing left.
                    if !matches!(undo.what, Undone::TakenOwn(_)) {
                        undo.run();
                    }
                }
                // Not before: an audit asks flights for what is in nobody else's hands.
                end_flights(|_| true);
                give_up_scans(|_| true);
                for (_, memory) in all().made {
                    memory::let_go(memory);
                }
                memory::end_transaction();
            }
            End::BeforePrepare => before::prepare(),
            End::Prepare => {
                end_flights(|_| true);
                drop(all());
                memory::end_transaction();
            }
        }
    }

    fn joins(own: SubId, parent: SubId) {
        with(|pending| {
            let undo = pending.undo.iter_mut().map(|undo| &mut undo.by);
            let memories = pending.dropped.iter_mut().chain(&mut pending.made);
            let flights = pending.flights.iter_mut().map(|flight| &mut flight.by);
            let scans = pending.scans.iter_mut().map(|scan| &mut scan.by);
            let all = undo
                .chain(memories.map(|(by, _)| by))
                .chain(flights)
                .chain(scans);
            for by in all.filter(|by| **by == own) {
                *by = parent;
            }
        });
    }

    fn is_undone(own: SubId) {
        with(|pending| pending.dropped.retain(|(by, _)| *by != own));
        each_that_ends(
            |pending| &mut pending.undo,
            |undo| undo.by == own,
            Undo::run,
        );
        // What the callers of this subtransaction try and scan goes on.
        end_flights(|flight| flight.by == own);
        give_up_scans(|scan| scan.by == own);
        each_that_ends(
            |pending| &mut pending.made,
            |(by, _)| *by == own,
            |(_, memory)| memory::let_go(*memory),
        );
    }
}

/// Does something with what was noted. Nobody has it in hand: those who have call nothing of
/// PostgreSQL meanwhile.
fn with<R: Default>(work: impl FnOnce(&mut Pending) -> R) -> R {
    PENDING.with(|pending| {
        let pending = pending.try_borrow_mut();
        pending.map_or_else(|_| R::default(), |mut pending| work(&mut pending))
    })
}

/// All that was noted, which is forgotten.
fn all() -> Pending {
    with(std::mem::take)
}

fn taken<T>(of: impl FnOnce(&mut Pending) -> &mut Vec<T>) -> Vec<T> {
    with(|pending| std::mem::take(of(pending)))
}

/// Ends those that `is_over` says, and keeps the others. Meanwhile nothing is noted.
fn each_that_ends<T>(
    of: impl Fn(&mut Pending) -> &mut Vec<T>,
    is_over: impl Fn(&T) -> bool,
    end: impl Fn(&T),
) {
    let mut all = taken(&of);
    all.retain(|one| {
        let is_over = is_over(one);
        if is_over {
            end(one);
        }
        !is_over
    });
    with(|pending| *of(pending) = all);
}

pub fn end_flights(is_over: impl Fn(&Flight) -> bool) {
    each_that_ends(|pending| &mut pending.flights, is_over, Flight::end);
}

pub fn give_up_scans(is_over: impl Fn(&Scan) -> bool) {
    each_that_ends(|pending| &mut pending.scans, is_over, Scan::give_up);
}

/// Tells the heads something. Whatever goes wrong, nothing is known any more.
fn tell(memory: Memory, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        memory.lock().reset();
    }
}

impl Flight {
    fn end(&self) {
        tell(self.memory, || {
            let mut heads = self.memory.lock();
            if heads.resets() == self.resets {
                heads.end_flight(self.set, self.epoch, &self.keys, self.prunes);
            }
        });
        self.memory.wake();
    }
}

impl Scan {
    fn give_up(&self) {
        tell(self.memory, || {
            let mut heads = self.memory.lock();
            if heads.resets() == self.resets
                && let Some(head) = heads.head(self.set)
            {
                head.give_up_scan(self.number);
            }
        });
        self.memory.wake();
    }
}

impl Undo {
    fn run(&self) {
        match self.what {
            Undone::Taken(set, key) => tell(self.memory, || {
                if let Some(head) = self.memory.lock().head(set) {
                    head.give_back(&[key]);
                }
            }),
            Undone::Examined(set, range) => tell(self.memory, || {
                if let Some(head) = self.memory.lock().head(set) {
                    head.forget(range);
                }
            }),
            Undone::TakenOwn(key) => with(|pending| {
                let mut changes = pending.changes.iter_mut();
                if let Some(changes) = changes.find(|changes| changes.memory == self.memory) {
                    changes.claim_undone(key);
                }
            }),
        }
    }
}

impl Changes {
    /// A card that the transaction made claimable, and claimed, is claimable again.
    #[expect(
        clippy::disallowed_methods,
        reason = "room is made before, and that there is none is no panic"
    )]
    fn claim_undone(&mut self, key: super::Key) {
        match self.claimable.try_reserve(1) {
            Ok(()) => self.claimable.push(key),
            Err(_) => self.unknown = true,
        }
    }

    fn commit(mut self) {
        tell(self.memory, || {
            // All that takes the longer the more cards there are is done before others have to wait.
            let claimable = Addition::new(&mut self.claimable);
            let leases = Addition::new(&mut self.leases);
            let due = Addition::new(&mut self.due);
            let mut heads = self.memory.lock();
            if self.unknown {
                heads.reset();
            }
            heads.add_claimable(&claimable);
            heads.end_scheduled(self.come.as_slice());
            for (set, added) in [(Set::Leases, &leases), (Set::Scheduled, &due)] {
                if let Some(head) = heads.head(set) {
                    head.add(added);
                }
            }
        });
    }
}
