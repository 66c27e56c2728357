//! Where the heads live: a segment of shared memory a database, made by whoever needs it first.
//!
//! It is a dynamic segment, so that nothing has to be preloaded. Its handle is kept in a sequence,
//! because that is read and written outside of transactions. It lives as long as a process has it
//! mapped, a session or the worker that keeps it: PostgreSQL could not find out that its database is
//! gone. After that, and after a restart or a promotion, the handle leads nowhere, and an empty
//! segment is made.
//!
//! A newer library that lays the segment out in another way cannot share it. It makes one of its
//! own, and retires the other: sessions with the older library are ended when they next need it.

mod ask;
mod attach;
mod keeper;

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};

use pgrx::prelude::*;

use super::heads::Heads;
pub use attach::{
    Sharing, attach, end_session, end_transaction, let_go, mapped, peek, shared_now, sharing,
};

/// Says that a segment is ours, whatever the version.
const MAGIC: u64 = u64::from_le_bytes(*b"mosaic b");
/// How it is laid out: a newer layout is greater. Whatever changes `Segment` has to change this.
const LAYOUT: u64 = u64::from_le_bytes(*b"layout 2");

/// What a segment begins with, in all versions.
#[repr(C)]
struct Header {
    magic: u64,
    layout: u64,
    size: u64,
    database: pg_sys::Oid,
    table: pg_sys::Oid,
    server_start: i64,
    handle: pg_sys::dsm_handle,
    /// 1: it stays also while nobody has it mapped, as those of version 0.1.0 do.
    pinned: AtomicU32,
    /// 1: a library with a newer layout has taken over.
    retired: AtomicU32,
}

impl Header {
    fn is_of(&self, table: pg_sys::Oid) -> bool {
        self.magic == MAGIC
            && self.database == unsafe { pg_sys::MyDatabaseId }
            && self.table == table
            && self.server_start == unsafe { pg_sys::PgStartTime }
    }

    /// How it is laid out, as compared with here. Another size is another layout in any case.
    fn compare(&self) -> std::cmp::Ordering {
        (self.layout, self.size).cmp(&(LAYOUT, size_of::<Segment>() as u64))
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst) != 0
    }

    /// The segment stays although nobody may have it mapped for a while.
    fn pin(&self) {
        if self.pinned.swap(1, Ordering::SeqCst) == 0 {
            unsafe { pg_sys::dsm_pin_segment(pg_sys::dsm_find_mapping(self.handle)) };
        }
    }

    /// Lets the segment go once nobody has it mapped any more.
    fn unpin(&self) {
        if self.pinned.swap(0, Ordering::SeqCst) != 0 {
            unsafe { pg_sys::dsm_unpin_segment(self.handle) };
        }
    }
}

#[repr(C)]
struct Segment {
    header: Header,
    lock: pg_sys::LWLock,
    changed: pg_sys::ConditionVariable,
    heads: Heads,
    /// 1: a worker keeps it, or is about to.
    kept: AtomicU32,
    /// 1: nobody finds it any more.
    abandoned: AtomicU32,
    /// Transactions follow that may tell nobody here what they change: prepared ones, and those
    /// that ran when the segment was made. When one of them ends, nothing is known any more.
    prepared_room: usize,
    prepared_len: usize,
    /// While a transaction before this one runs, nothing is known: it may be one of those, and is
    /// not among them yet, or there are more than there is room for. 0: there is none.
    unsettled: pg_sys::TransactionId,
    prepared: [pg_sys::TransactionId; 0],
}

/// How many transactions can be prepared, or about to be.
fn prepared_max() -> usize {
    unsafe {
        let value = pg_sys::GetConfigOption(c"max_prepared_transactions".as_ptr(), false, false);
        let text = std::ffi::CStr::from_ptr(value).to_string_lossy();
        text.parse().unwrap_or(0) + pg_sys::MaxBackends as usize
    }
}

/// A segment that this session has mapped, for as long as the session lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Memory(*mut Segment);

thread_local! {
    /// For want of shared memory; of use within one call alone.
    static PRIVATE: Cell<Option<Memory>> = const { Cell::new(None) };
    static IS_NAMED: Cell<bool> = const { Cell::new(false) };
}

/// Under which number the locks are named among what sessions wait for. Numbers that the server gives
/// out are used up, one for each segment. If another extension has this one, one of the two is
/// shown under the other's name.
const TRANCHE: i32 = pg_sys::BuiltinTrancheIds::LWTRANCHE_FIRST_USER_DEFINED as i32 + 200;

/// The memory of a session that cannot have a shared one.
fn private() -> Memory {
    PRIVATE.get().unwrap_or_else(|| {
        let memory = unsafe {
            let size = size_of::<Segment>();
            let segment = pg_sys::MemoryContextAllocHuge(pg_sys::TopMemoryContext, size);
            lay_out(segment.cast(), pg_sys::InvalidOid, 0)
        };
        PRIVATE.set(Some(memory));
        memory
    })
}

/// Writes an empty segment, with room for prepared transactions.
unsafe fn lay_out(segment: *mut Segment, table: pg_sys::Oid, prepared_room: usize) -> Memory {
    unsafe {
        std::ptr::write_bytes(segment, 0, 1);
        (*segment).header.layout = LAYOUT;
        (*segment).header.size = size_of::<Segment>() as u64;
        (*segment).header.database = pg_sys::MyDatabaseId;
        (*segment).header.table = table;
        (*segment).header.server_start = pg_sys::PgStartTime;
        (*segment).prepared_room = prepared_room;
        pg_sys::LWLockInitialize(&raw mut (*segment).lock, TRANCHE);
        pg_sys::ConditionVariableInit(&raw mut (*segment).changed);
        (*segment).heads.reset();
        (*segment).heads.forget_audits();
        name_locks();
        (*segment).header.magic = MAGIC;
        Memory(segment)
    }
}

fn name_locks() {
    if !IS_NAMED.replace(true) {
        unsafe { pg_sys::LWLockRegisterTranche(TRANCHE, c"mosaic_backlog".as_ptr()) };
    }
}

/// The heads, while nobody else can read or change them. PostgreSQL must not be called: an
/// error would leave them half changed.
pub struct Locked(*mut Segment);

impl Memory {
    pub fn lock(self) -> Locked {
        unsafe {
            pg_sys::LWLockAcquire(&raw mut (*self.0).lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        }
        Locked(self.0)
    }

    /// What every call begins with: heeds prepared transactions, and forgets what is known where
    /// it is not shared.
    pub fn begin(self) {
        self.heed_prepared();
        self.heed_unsettled();
        if self.is_private() {
            self.lock().reset();
        }
    }

    /// Finds out which prepared transactions have ended, which may be in a session that has
    /// never heard of us.
    pub fn heed_prepared(self) {
        let prepared = self.lock().prepared().to_vec();
        let ended: Vec<pg_sys::TransactionId> = prepared
            .into_iter()
            .filter(|transaction| unsafe { !pg_sys::TransactionIdIsInProgress(*transaction) })
            .collect();
        if !ended.is_empty() {
            self.lock().remove_prepared(&ended);
        }
    }

    /// Forgets all as long as there is a transaction that may not tell what it changes here.
    fn heed_unsettled(self) {
        let unsettled = unsafe { (*self.0).unsettled };
        if unsettled != pg_sys::InvalidTransactionId {
            let is_over = unsafe {
                let oldest = pg_sys::GetOldestActiveTransactionId();
                !pg_sys::TransactionIdPrecedes(oldest, unsettled)
            };
            let mut heads = self.lock();
            heads.reset();
            if is_over {
                unsafe { (*self.0).unsettled = pg_sys::InvalidTransactionId };
            }
        }
    }

    /// Whether no other session has it.
    pub fn is_private(self) -> bool {
        PRIVATE.get() == Some(self)
    }

    pub fn is_retired(self) -> bool {
        unsafe { (*self.0).header.is_retired() }
    }

    /// Wakes those who wait for candidates, or for a look to end.
    pub fn wake(self) {
        unsafe { pg_sys::ConditionVariableBroadcast(&raw mut (*self.0).changed) };
    }

    /// Waits to be woken while something `still` holds, at most `millis`.
    pub fn wait(self, still: impl Fn() -> bool, millis: i64) {
        unsafe {
            let changed = &raw mut (*self.0).changed;
            pg_sys::ConditionVariablePrepareToSleep(changed);
            if still() {
                pg_sys::ConditionVariableTimedSleep(changed, millis, pg_sys::PG_WAIT_EXTENSION);
            }
            pg_sys::ConditionVariableCancelSleep();
        }
    }
}

impl Locked {
    fn slots(&self) -> *mut pg_sys::TransactionId {
        unsafe { (&raw mut (*self.0).prepared).cast() }
    }

    pub fn prepared(&self) -> &[pg_sys::TransactionId] {
        unsafe { std::slice::from_raw_parts(self.slots(), (*self.0).prepared_len) }
    }

    /// Remembers a transaction that is prepared. There is room for all that can be, if those
    /// that have ended were heeded; and none where nothing outlasts a call anyway.
    pub fn add_prepared(&mut self, transaction: pg_sys::TransactionId) {
        if self.prepared().contains(&transaction) {
            return;
        }
        unsafe {
            if (*self.0).prepared_len < (*self.0).prepared_room {
                *self.slots().add((*self.0).prepared_len) = transaction;
                (*self.0).prepared_len += 1;
            }
        }
    }

    /// Prepared transactions have ended.
    pub fn remove_prepared(&mut self, ended: &[pg_sys::TransactionId]) {
        let mut left = self.prepared().to_vec();
        left.retain(|transaction| !ended.contains(transaction));
        unsafe {
            std::ptr::copy_nonoverlapping(left.as_ptr(), self.slots(), left.len());
            (*self.0).prepared_len = left.len();
        }
        self.reset();
    }
}

impl Deref for Locked {
    type Target = Heads;

    fn deref(&self) -> &Heads {
        unsafe { &(*self.0).heads }
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Heads {
        unsafe { &mut (*self.0).heads }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        unsafe { pg_sys::LWLockRelease(&raw mut (*self.0).lock) };
    }
}
