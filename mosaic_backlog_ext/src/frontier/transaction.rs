//! What a transaction does to the heads when it ends: its commit adds the cards that it made
//! claimable. If it ends without effect, what it took is given back, and what it looked through
//! is unknown again, since it saw its own changes.
//!
//! Here it is noted; `end` does it.

mod before;
mod end;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use super::heads::Set;
use super::key::{Key, Range};
use super::memory::{self, Memory};
use crate::postgres::transaction::{self, SubId};

/// What a transaction did to the cards of one memory. There can be two, where the extension is
/// dropped and created in one transaction.
struct Changes {
    memory: Memory,
    claimable: Vec<Key>,
    leases: Vec<Key>,
    due: Vec<Key>,
    /// The last time of a claimable card that has come, by this session's clock.
    come: Option<Key>,
    /// Cards were changed by hand.
    unknown: bool,
}

/// What is to be undone if the subtransaction `by` ends without effect.
struct Undo {
    by: SubId,
    memory: Memory,
    what: Undone,
}

#[derive(Clone, Copy, PartialEq)]
enum Undone {
    Taken(Set, Key),
    /// A card that the transaction itself made claimable.
    TakenOwn(Key),
    Examined(Set, Range),
}

/// Candidates of a set that are being tried.
struct Flight {
    id: u64,
    by: SubId,
    memory: Memory,
    set: Set,
    /// How often all had been forgotten when it began: what was forgotten knows of no flight.
    resets: u64,
    epoch: u64,
    keys: Vec<Key>,
    /// Whether others pass none of them over.
    prunes: bool,
}

/// A scan at a range of a set.
struct Scan {
    id: u64,
    by: SubId,
    memory: Memory,
    set: Set,
    resets: u64,
    number: u64,
}

#[derive(Default)]
struct Pending {
    changes: Vec<Changes>,
    undo: Vec<Undo>,
    /// Those that are open, the innermost last: a trigger of a user's can claim while a claim
    /// writes.
    flights: Vec<Flight>,
    scans: Vec<Scan>,
    /// How many of them were opened.
    opened: u64,
    /// Memories of extensions that were dropped.
    dropped: Vec<(SubId, Memory)>,
    /// Memories of extensions that were created.
    made: Vec<(SubId, Memory)>,
}

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::new(Pending::default());
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// From now on the ends of this session's transactions are seen.
pub fn watch() {
    if !WATCHING.replace(true) {
        // To be there takes memory, which a commit must not ask for.
        PENDING.with(|_| ());
        transaction::watch::<end::Ends>();
    }
}

fn current() -> SubId {
    transaction::subtransaction()
}

fn pending<R>(work: impl FnOnce(&mut Pending) -> R) -> R {
    watch();
    PENDING.with_borrow_mut(work)
}

impl Pending {
    fn changes(&mut self, memory: Memory) -> &mut Changes {
        let known = self.changes.iter().position(|c| c.memory == memory);
        let at = known.unwrap_or_else(|| {
            self.changes.push(Changes {
                memory,
                claimable: Vec::new(),
                leases: Vec::new(),
                due: Vec::new(),
                come: None,
                unknown: false,
            });
            self.changes.len() - 1
        });
        &mut self.changes[at]
    }
}

/// Notes a change of cards.
fn change(work: impl FnOnce(&mut Changes)) {
    let memory = memory::attach();
    pending(|pending| work(pending.changes(memory)));
}

/// What is noted of the changes of this transaction.
fn own<R>(read: impl FnOnce(&mut Changes) -> R) -> Option<R> {
    let memory = memory::attach();
    PENDING.with_borrow_mut(|pending| {
        let changes = pending.changes.iter_mut().find(|c| c.memory == memory);
        changes.map(read)
    })
}

/// This transaction makes a card claimable.
pub fn add_claimable(order: Key) {
    change(|changes| changes.claimable.push(order));
}

/// This transaction makes a lease that ends then.
pub fn add_lease(end: Key) {
    change(|changes| changes.leases.push(end));
}

/// This transaction makes a card that is claimable from then on.
pub fn add_scheduled(at: Key) {
    change(|changes| changes.due.push(at));
}

/// This transaction makes a card claimable that waited for a time, which has come.
pub fn add_come(at: Key) {
    change(|changes| changes.come = changes.come.max(Some(at)));
}

/// This transaction changes cards that nobody tells of.
pub fn forget() {
    change(|changes| changes.unknown = true);
}

/// The cards that this transaction itself made claimable, up to `max`; `None`: there are more,
/// or they are not known.
pub fn own_claimable(max: usize) -> Option<Vec<Key>> {
    own(|changes| {
        let known = changes.claimable.len() <= max && !changes.unknown;
        known.then(|| changes.claimable.clone())
    })
    .unwrap_or(Some(Vec::new()))
}

/// Nothing that this transaction itself made claimable sorts below.
pub fn own_floor() -> Key {
    own(|changes| match changes.claimable.iter().min() {
        _ if changes.unknown => Key::MIN,
        smallest => smallest.copied().unwrap_or(Key::MAX),
    })
    .unwrap_or(Key::MAX)
}

/// Whether a lease that this transaction itself made has ended by `now`.
pub fn own_leases_end(now: Key) -> bool {
    own(|changes| changes.unknown || changes.leases.iter().any(|end| *end <= now)).unwrap_or(false)
}

/// The times, up to `now`, for which cards wait that this transaction itself made wait. Their
/// cards have to be added as claimable: the times are not known to it any more.
pub fn take_own_scheduled(now: Key) -> Vec<Key> {
    own(|changes| {
        let (past, left) = changes.due.iter().partition(|at| **at <= now);
        changes.due = left;
        past
    })
    .unwrap_or_default()
}

/// Cards that this transaction made claimable and has claimed as well.
pub fn own_taken(keys: &HashSet<Key>) {
    let memory = memory::attach();
    let taken = own(|changes| {
        let (taken, left) = std::mem::take(&mut changes.claimable)
            .into_iter()
            .partition::<Vec<Key>, _>(|key| keys.contains(key));
        changes.claimable = left;
        taken
    });
    for key in taken.unwrap_or_default() {
        add_undo(memory, Undone::TakenOwn(key));
    }
}

fn add_undo(memory: Memory, what: Undone) {
    let by = current();
    pending(|pending| pending.undo.push(Undo { by, memory, what }));
}

/// Candidates were taken to be tried. `epoch` is what the head gave.
pub fn begin_flight(memory: Memory, set: Set, resets: u64, epoch: u64, keys: &[Key]) -> u64 {
    add_taken(memory, set, keys);
    let by = current();
    pending(|pending| {
        pending.opened += 1;
        pending.flights.push(Flight {
            id: pending.opened,
            by,
            memory,
            set,
            resets,
            epoch,
            keys: keys.to_vec(),
            prunes: false,
        });
        pending.opened
    })
}

/// More candidates were taken to be tried with those of a flight.
pub fn extend_flight(id: u64, keys: &[Key]) {
    let more = pending(|pending| {
        let flight = pending.flights.iter_mut().find(|flight| flight.id == id)?;
        flight.keys.extend(keys);
        Some((flight.memory, flight.set))
    });
    if let Some((memory, set)) = more {
        add_taken(memory, set, keys);
    }
}

/// Others pass none of the flight's candidates over.
pub fn prune_flight(id: u64) {
    pending(|pending| {
        if let Some(flight) = pending.flights.iter_mut().find(|flight| flight.id == id) {
            flight.prunes = true;
        }
    });
}

/// Whether the head of the flight is still the one that it began with.
pub fn resets_of_flight(id: u64) -> Option<u64> {
    PENDING.with_borrow(|pending| {
        let flight = pending.flights.iter().find(|flight| flight.id == id);
        flight.map(|flight| flight.resets)
    })
}

/// Whether this transaction tries candidates.
pub fn has_flight() -> bool {
    PENDING.with_borrow(|pending| !pending.flights.is_empty())
}

/// What a flight tried has been decided.
pub fn end_flight(id: u64) {
    end::end_flights(|flight| flight.id == id);
}

pub fn add_taken(memory: Memory, set: Set, keys: &[Key]) {
    for key in keys {
        add_undo(memory, Undone::Taken(set, *key));
    }
}

/// Candidates that this transaction has given back itself.
pub fn remove_taken(set: Set, keys: &[Key]) {
    pending(|pending| {
        pending.undo.retain(|undo| match undo.what {
            Undone::Taken(from, key) => from != set || !keys.contains(&key),
            _ => true,
        });
    });
}

pub fn begin_scan(memory: Memory, set: Set, resets: u64, number: u64) -> u64 {
    let by = current();
    pending(|pending| {
        pending.opened += 1;
        pending.scans.push(Scan {
            id: pending.opened,
            by,
            memory,
            set,
            resets,
            number,
        });
        pending.opened
    })
}

/// The scan is over; `examined` is known from now on, unless this transaction is undone.
pub fn end_scan(id: u64, memory: Memory, set: Set, examined: Range) {
    pending(|pending| pending.scans.retain(|scan| scan.id != id));
    add_undo(memory, Undone::Examined(set, examined));
}

/// The scan, if it is still open, was cut off.
pub fn give_up_scan(id: u64) {
    end::give_up_scans(|scan| scan.id == id);
}

/// The extension that `memory` is of is being dropped.
pub fn add_dropped(memory: Memory) {
    let by = current();
    pending(|pending| pending.dropped.push((by, memory)));
}

/// The extension that `memory` is of was created by this subtransaction.
pub fn add_made(by: SubId, memory: Memory) {
    pending(|pending| pending.made.push((by, memory)));
}
