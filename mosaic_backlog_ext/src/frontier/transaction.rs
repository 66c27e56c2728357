//! What the end of a transaction does to the heads: its commit adds the cards that it made
//! claimable, and if it ends without effect, what it took from the heads is given back.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use pgrx::prelude::*;

use super::head::Key;
use super::memory::{self, Memory, Set};

/// A candidate that this transaction took.
struct Taken {
    by: pg_sys::SubTransactionId,
    from: Source,
    key: Key,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Shared(Memory, Set),
    /// One that the transaction itself made claimable.
    Own,
}

#[derive(Default)]
struct Pending {
    /// Known since the first change: at the end of a transaction the catalogue is out of reach.
    memory: Option<Memory>,
    claimable: Vec<Key>,
    leases: Vec<Key>,
    due: Vec<Key>,
    taken: Vec<Taken>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.claimable.is_empty()
            && self.leases.is_empty()
            && self.due.is_empty()
            && self.taken.is_empty()
    }
}

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::new(Pending::default());
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// From now on the ends of this session's transactions are seen.
fn watch() {
    if !WATCHING.replace(true) {
        unsafe {
            pg_sys::RegisterXactCallback(Some(transaction_event), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(subtransaction_event), std::ptr::null_mut());
        }
    }
}

fn change(work: impl FnOnce(&mut Pending)) {
    let memory = memory::attach();
    watch();
    PENDING.with_borrow_mut(|pending| {
        pending.memory = Some(memory);
        work(pending);
    });
}

/// This transaction makes a card claimable.
pub fn add_claimable(order: Key) {
    change(|pending| pending.claimable.push(order));
}

/// This transaction makes a lease that ends then.
pub fn add_lease(end: Key) {
    change(|pending| pending.leases.push(end));
}

/// This transaction makes a card that is claimable from then on.
pub fn add_due(at: Key) {
    change(|pending| pending.due.push(at));
}

/// The cards that this transaction itself made claimable, up to `max`; `None`: there are more.
pub fn own_claimable(max: usize) -> Option<Vec<Key>> {
    PENDING
        .with_borrow(|pending| (pending.claimable.len() <= max).then(|| pending.claimable.clone()))
}

/// The smallest of them.
pub fn own_floor() -> Key {
    PENDING.with_borrow(|pending| pending.claimable.iter().copied().min().unwrap_or(Key::MAX))
}

/// Whether a lease that this transaction itself made has ended by `now`.
pub fn own_leases_end(now: Key) -> bool {
    PENDING.with_borrow(|pending| pending.leases.iter().any(|end| *end <= now))
}

/// The times, up to `now`, for which cards wait that this transaction itself made wait.
pub fn own_due(now: Key) -> Vec<Key> {
    PENDING.with_borrow(|pending| {
        let due = pending.due.iter().copied();
        due.filter(|at| *at <= now).collect()
    })
}

/// This transaction took candidates.
pub fn add_taken(set: Set, keys: &[Key]) {
    if !keys.is_empty() {
        change(|pending| {
            let by = unsafe { pg_sys::GetCurrentSubTransactionId() };
            let from = Source::Shared(memory::attach(), set);
            let taken = keys.iter().map(|key| Taken {
                by,
                from,
                key: *key,
            });
            pending.taken.extend(taken);
        });
    }
}

/// Candidates that it took and has given back itself.
pub fn remove_taken(set: Set, keys: &[Key]) {
    PENDING.with_borrow_mut(|pending| {
        pending
            .taken
            .retain(|taken| !taken.is_from(set) || !keys.contains(&taken.key));
    });
}

/// Cards that this transaction made claimable and has claimed as well.
pub fn own_taken(keys: &HashSet<Key>) {
    PENDING.with_borrow_mut(|pending| {
        if pending.claimable.is_empty() {
            return;
        }
        let by = unsafe { pg_sys::GetCurrentSubTransactionId() };
        let (taken, left) = std::mem::take(&mut pending.claimable)
            .into_iter()
            .partition(|key| keys.contains(key));
        pending.claimable = left;
        let from = Source::Own;
        let taken = taken.into_iter().map(|key| Taken { by, from, key });
        pending.taken.extend(taken);
    });
}

impl Taken {
    fn is_from(&self, set: Set) -> bool {
        matches!(self.from, Source::Shared(_, from) if from == set)
    }

    fn give_back(&self) {
        match self.from {
            Source::Shared(memory, set) => {
                if let Some(head) = memory.lock().head(set) {
                    head.give_back(&[self.key]);
                }
            }
            Source::Own => PENDING.with_borrow_mut(|pending| pending.claimable.push(self.key)),
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_event(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    if PENDING.with_borrow(Pending::is_empty) {
        return;
    }
    match event {
        pg_sys::XactEvent::XACT_EVENT_COMMIT => {
            let mut pending = PENDING.take();
            // Sorted, as the heads want them.
            pending.claimable.sort_unstable();
            pending.leases.sort_unstable();
            pending.due.sort_unstable();
            let Some(memory) = pending.memory else { return };
            let mut heads = memory.lock();
            heads.add_claimable(&pending.claimable);
            for (set, keys) in [(Set::Leases, &pending.leases), (Set::Due, &pending.due)] {
                if let Some(head) = heads.head(set) {
                    head.add(keys);
                }
            }
        }
        pg_sys::XactEvent::XACT_EVENT_ABORT => {
            // Of its own cards there is nothing left.
            let taken = PENDING.take().taken;
            let shared = taken.iter().filter(|taken| taken.from != Source::Own);
            shared.for_each(Taken::give_back);
        }
        pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => {
            let transaction = unsafe { pg_sys::GetTopTransactionIdIfAny() };
            let room = transaction == pg_sys::InvalidTransactionId
                || memory::attach().lock().add_prepared(transaction);
            if !room {
                ereport!(
                    ERROR,
                    PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                    "too many prepared transactions have changed cards",
                    "resource: Nothing was prepared.\nHINT: Commit or roll back prepared transactions first."
                );
            }
        }
        pg_sys::XactEvent::XACT_EVENT_PREPARE => drop(PENDING.take()),
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
            for taken in pending.taken.iter_mut().filter(|taken| taken.by == own) {
                taken.by = parent;
            }
        }),
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            let undone = PENDING.with_borrow_mut(|pending| {
                let (undone, kept) = std::mem::take(&mut pending.taken)
                    .into_iter()
                    .partition::<Vec<_>, _>(|taken| taken.by == own);
                pending.taken = kept;
                undone
            });
            undone.iter().for_each(Taken::give_back);
        }
        _ => {}
    }
}
