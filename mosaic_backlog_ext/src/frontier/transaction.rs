//! What the end of a transaction does to the heads: its commit adds the cards that it made
//! claimable. If it ends without effect, what it took is given back, and what it looked through
//! is unknown again, since it saw its own changes.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use pgrx::prelude::*;

use super::addition::Addition;

use super::heads::Set;
use super::key::{Key, Range};
use super::memory::{self, Memory};

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
    by: pg_sys::SubTransactionId,
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
struct Trial {
    id: u64,
    by: pg_sys::SubTransactionId,
    memory: Memory,
    set: Set,
    /// How often all had been forgotten when it began: what was forgotten knows of no trial.
    resets: u64,
    epoch: u64,
    keys: Vec<Key>,
    /// Whether others pass none of them over.
    sifts: bool,
}

/// A look at a range of a set.
struct Look {
    id: u64,
    by: pg_sys::SubTransactionId,
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
    trials: Vec<Trial>,
    looks: Vec<Look>,
    /// How many of them were opened.
    opened: u64,
    /// Memories of extensions that were dropped.
    dropped: Vec<(pg_sys::SubTransactionId, Memory)>,
    /// Memories of extensions that were created.
    made: Vec<(pg_sys::SubTransactionId, Memory)>,
}

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::new(Pending::default());
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// From now on the ends of this session's transactions are seen.
pub fn watch() {
    if !WATCHING.replace(true) {
        unsafe {
            pg_sys::RegisterXactCallback(Some(transaction_event), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(subtransaction_event), std::ptr::null_mut());
        }
    }
}

fn current() -> pg_sys::SubTransactionId {
    unsafe { pg_sys::GetCurrentSubTransactionId() }
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
pub fn add_due(at: Key) {
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
pub fn take_own_due(now: Key) -> Vec<Key> {
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
pub fn begin_trial(memory: Memory, set: Set, resets: u64, epoch: u64, keys: &[Key]) -> u64 {
    add_taken(memory, set, keys);
    let by = current();
    pending(|pending| {
        pending.opened += 1;
        pending.trials.push(Trial {
            id: pending.opened,
            by,
            memory,
            set,
            resets,
            epoch,
            keys: keys.to_vec(),
            sifts: false,
        });
        pending.opened
    })
}

/// More candidates were taken to be tried with those of a trial.
pub fn extend_trial(id: u64, keys: &[Key]) {
    let more = pending(|pending| {
        let trial = pending.trials.iter_mut().find(|trial| trial.id == id)?;
        trial.keys.extend(keys);
        Some((trial.memory, trial.set))
    });
    if let Some((memory, set)) = more {
        add_taken(memory, set, keys);
    }
}

/// Others pass none of the trial's candidates over.
pub fn sift_trial(id: u64) {
    pending(|pending| {
        if let Some(trial) = pending.trials.iter_mut().find(|trial| trial.id == id) {
            trial.sifts = true;
        }
    });
}

/// Whether the head of the trial is still the one that it began with.
pub fn resets_of_trial(id: u64) -> Option<u64> {
    PENDING.with_borrow(|pending| {
        let trial = pending.trials.iter().find(|trial| trial.id == id);
        trial.map(|trial| trial.resets)
    })
}

/// Whether this transaction tries candidates.
pub fn has_trial() -> bool {
    PENDING.with_borrow(|pending| !pending.trials.is_empty())
}

/// What a trial tried has been decided.
pub fn end_trial(id: u64) {
    end_trials(|trial| trial.id == id);
}

fn end_trials(ends: impl Fn(&Trial) -> bool) {
    let ended = PENDING.with_borrow_mut(|pending| {
        let (ended, left) = std::mem::take(&mut pending.trials)
            .into_iter()
            .partition::<Vec<_>, _>(ends);
        pending.trials = left;
        ended
    });
    for trial in ended {
        let mut heads = trial.memory.lock();
        if heads.resets() == trial.resets {
            heads.end_trial(trial.set, trial.epoch, &trial.keys, trial.sifts);
        }
        drop(heads);
        trial.memory.wake();
    }
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

pub fn begin_look(memory: Memory, set: Set, resets: u64, number: u64) -> u64 {
    let by = current();
    pending(|pending| {
        pending.opened += 1;
        pending.looks.push(Look {
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

/// The look is over; `examined` is known from now on, unless this transaction is undone.
pub fn end_look(id: u64, memory: Memory, set: Set, examined: Range) {
    pending(|pending| pending.looks.retain(|look| look.id != id));
    add_undo(memory, Undone::Examined(set, examined));
}

/// The look, if it is still open, was cut off.
pub fn give_up_look(id: u64) {
    give_up_looks(|look| look.id == id);
}

fn give_up_looks(ends: impl Fn(&Look) -> bool) {
    let ended = PENDING.with_borrow_mut(|pending| {
        let (ended, left) = std::mem::take(&mut pending.looks)
            .into_iter()
            .partition::<Vec<_>, _>(ends);
        pending.looks = left;
        ended
    });
    for look in ended {
        let mut heads = look.memory.lock();
        if heads.resets() == look.resets
            && let Some(head) = heads.head(look.set)
        {
            head.give_up_look(look.number);
        }
        drop(heads);
        look.memory.wake();
    }
}

/// The extension that `memory` is of is being dropped.
pub fn add_dropped(memory: Memory) {
    let by = current();
    pending(|pending| pending.dropped.push((by, memory)));
}

/// The extension that `memory` is of was created by this subtransaction.
pub fn add_made(by: pg_sys::SubTransactionId, memory: Memory) {
    pending(|pending| pending.made.push((by, memory)));
}

impl Undo {
    fn run(&self) {
        match self.what {
            Undone::Taken(set, key) => {
                if let Some(head) = self.memory.lock().head(set) {
                    head.give_back(&[key]);
                }
            }
            Undone::Examined(set, range) => {
                if let Some(head) = self.memory.lock().head(set) {
                    head.forget(range);
                }
            }
            Undone::TakenOwn(key) => PENDING.with_borrow_mut(|pending| {
                pending.changes(self.memory).claimable.push(key);
            }),
        }
    }
}

impl Changes {
    /// The transaction is past the point where it could be refused: an error here would take the
    /// server down. Whatever goes wrong, nothing is known any more, and claims look anew.
    fn commit(mut self) {
        let memory = self.memory;
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.tell()));
        if told.is_err() {
            memory.lock().reset();
        }
    }

    fn tell(&mut self) {
        // All that takes the longer the more cards there are is done before others have to wait.
        let claimable = Addition::new(&mut self.claimable);
        let leases = Addition::new(&mut self.leases);
        let due = Addition::new(&mut self.due);
        let mut heads = self.memory.lock();
        if self.unknown {
            heads.reset();
        }
        heads.add_claimable(&claimable);
        heads.end_due(self.come.as_slice());
        for (set, added) in [(Set::Leases, &leases), (Set::Due, &due)] {
            if let Some(head) = heads.head(set) {
                head.add(added);
            }
        }
    }
}

/// What is committed has to be heard of by all. The last moment at which the transaction can still be
/// refused.
fn before_commit() {
    // Another session may have got shared memory since this one was refused it.
    let is_private = |pending: &Pending| pending.changes.iter().any(|c| c.memory.is_private());
    if PENDING.with_borrow(is_private)
        && let Some(memory) = memory::shared_now()
    {
        PENDING.with_borrow_mut(|pending| {
            let changes = pending.changes.iter_mut();
            for changes in changes.filter(|changes| changes.memory.is_private()) {
                changes.memory = memory;
            }
        });
    }
    if PENDING.with_borrow(|pending| pending.changes.iter().any(|c| c.memory.is_retired())) {
        memory::end_session();
    }
    // What the transaction lets go of is not kept.
    let is_left = |memory: &Memory| {
        !memory.is_private()
            && PENDING.with_borrow(|pending| pending.dropped.iter().all(|(_, m)| m != memory))
    };
    if let Some(memory) = memory::mapped().filter(is_left) {
        memory.keep();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_event(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT => before_commit(),
        pg_sys::XactEvent::XACT_EVENT_COMMIT => {
            end_trials(|_| true);
            let pending = PENDING.take();
            pending.changes.into_iter().for_each(Changes::commit);
            for (_, memory) in pending.dropped {
                memory::let_go(memory);
            }
            memory::end_transaction();
        }
        pg_sys::XactEvent::XACT_EVENT_ABORT => {
            let undone = PENDING.with_borrow_mut(|pending| std::mem::take(&mut pending.undo));
            // Of its own cards there is nothing left.
            let shared = |undo: &&Undo| !matches!(undo.what, Undone::TakenOwn(_));
            undone.iter().filter(shared).for_each(Undo::run);
            // Not before: an audit asks trials for what is in nobody else's hands.
            end_trials(|_| true);
            give_up_looks(|_| true);
            let pending = PENDING.take();
            for (_, memory) in pending.made {
                memory::let_go(memory);
            }
            memory::end_transaction();
        }
        pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => {
            before_commit();
            let memories: HashSet<Memory> = PENDING.with_borrow(|pending| {
                let changed = pending.changes.iter().map(|changes| changes.memory);
                changed
                    .chain(pending.undo.iter().map(|undo| undo.memory))
                    .collect()
            });
            let transaction = unsafe { pg_sys::GetTopTransactionIdIfAny() };
            if transaction != pg_sys::InvalidTransactionId {
                for memory in memories {
                    memory.heed_prepared();
                    memory.lock().add_prepared(transaction);
                }
            }
        }
        pg_sys::XactEvent::XACT_EVENT_PREPARE => {
            end_trials(|_| true);
            drop(PENDING.take());
            memory::end_transaction();
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
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => PENDING.with_borrow_mut(|pending| {
            let undo = pending.undo.iter_mut().map(|undo| &mut undo.by);
            let memories = pending.dropped.iter_mut().chain(&mut pending.made);
            let trials = pending.trials.iter_mut().map(|trial| &mut trial.by);
            let looks = pending.looks.iter_mut().map(|look| &mut look.by);
            let all = undo
                .chain(memories.map(|(by, _)| by))
                .chain(trials)
                .chain(looks);
            for by in all.filter(|by| **by == own) {
                *by = parent;
            }
        }),
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            let (undone, unmade) = PENDING.with_borrow_mut(|pending| {
                pending.dropped.retain(|(by, _)| *by != own);
                let unmade: Vec<_> = pending.made.extract_if(.., |(by, _)| *by == own).collect();
                let (undone, kept) = std::mem::take(&mut pending.undo)
                    .into_iter()
                    .partition::<Vec<_>, _>(|undo| undo.by == own);
                pending.undo = kept;
                (undone, unmade)
            });
            undone.iter().for_each(Undo::run);
            // What the callers of this subtransaction try and look at goes on.
            end_trials(|trial| trial.by == own);
            give_up_looks(|look| look.by == own);
            for (_, memory) in unmade {
                memory::let_go(memory);
            }
        }
        _ => {}
    }
}
