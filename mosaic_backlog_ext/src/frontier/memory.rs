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

use super::heads::{Changing, Heads};
use crate::postgres::transaction;
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
            && self.database == database()
            && self.table == table
            && self.server_start == server_start()
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
            // SAFETY: this header is part of the segment that the handle is of, and can be read: it is mapped.
            unsafe { pg_sys::dsm_pin_segment(pg_sys::dsm_find_mapping(self.handle)) };
        }
    }

    /// Lets the segment go once nobody has it mapped any more.
    fn unpin(&self) {
        if self.pinned.swap(0, Ordering::SeqCst) != 0 {
            // SAFETY: it was pinned, which the swap tells to one alone of those who unpin it.
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

fn database() -> pg_sys::Oid {
    // SAFETY: set when the session connects, and never again.
    unsafe { pg_sys::MyDatabaseId }
}

fn server_start() -> i64 {
    // SAFETY: set when the server starts, and never again.
    unsafe { pg_sys::PgStartTime }
}

/// A segment of this layout that this session has mapped.
///
/// What makes one is in this folder alone, and checks the layout or writes it. It stays mapped while it
/// may be used: `attach` unmaps one at the end of a transaction that no call finds any more, and never
/// one that is locked. In all that follows, that is why its memory is there.
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
        // SAFETY: memory of that size, which is never freed and is aligned for anything.
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
///
/// # Safety
///
/// The memory is aligned, large enough for both, and nobody else has it.
unsafe fn lay_out(segment: *mut Segment, table: pg_sys::Oid, prepared_room: usize) -> Memory {
    // SAFETY: the caller's promise. Zeros are a value of each part: numbers, `None` of an option, a lock
    // and a condition that are set up before anybody uses them.
    unsafe {
        std::ptr::write_bytes(segment, 0, 1);
        (*segment).header.layout = LAYOUT;
        (*segment).header.size = size_of::<Segment>() as u64;
        (*segment).header.database = database();
        (*segment).header.table = table;
        (*segment).header.server_start = server_start();
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
        // SAFETY: the name is not copied: it is part of the library, which stays loaded.
        unsafe { pg_sys::LWLockRegisterTranche(TRANCHE, c"mosaic_backlog".as_ptr()) };
    }
}

/// The lock of a segment, while this session has it.
struct Held(*mut pg_sys::LWLock);

impl Held {
    /// # Safety
    ///
    /// The lock is that of a segment that is mapped, and stays so while this is there.
    unsafe fn take(lock: *mut pg_sys::LWLock) -> Self {
        // SAFETY: the caller's promise; the lock was set up when the segment was laid out.
        unsafe { pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE) };
        Self(lock)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: this session has it since `take`, whose caller promised that it is there.
        unsafe { pg_sys::LWLockRelease(self.0) };
    }
}

/// The heads, while nobody else can read or change them. PostgreSQL must not be called: an
/// error would leave them half changed, and then all is forgotten.
pub struct Locked {
    /// Dropped before the lock is: what a panic left half changed is reset while nobody sees it.
    heads: Changing<'static>,
    segment: *mut Segment,
    _held: Held,
}

impl Memory {
    pub fn lock(self) -> Locked {
        let segment = self.0;
        // SAFETY: places in a segment that is mapped. Nobody else has the heads while the lock is held,
        // and the reference to them is not given away for longer.
        unsafe {
            let held = Held::take(&raw mut (*segment).lock);
            Locked {
                heads: Changing::begin(&mut (*segment).heads),
                segment,
                _held: held,
            }
        }
    }

    /// What all versions have, which does not change but for what is atomic.
    fn header(&self) -> &Header {
        // SAFETY: a segment that is mapped; nothing of the header is written after it was laid out but
        // through atomics, and the handle, before anybody else can find it.
        unsafe { &(*self.0).header }
    }

    fn kept(&self) -> &AtomicU32 {
        // SAFETY: a segment that is mapped.
        unsafe { &(*self.0).kept }
    }

    fn abandoned(&self) -> &AtomicU32 {
        // SAFETY: a segment that is mapped.
        unsafe { &(*self.0).abandoned }
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
        let ended: Vec<transaction::Id> = prepared
            .into_iter()
            .filter(|transaction| !transaction::is_running(*transaction))
            .collect();
        if !ended.is_empty() {
            self.lock().remove_prepared(&ended);
        }
    }

    /// Forgets all as long as there is a transaction that may not tell what it changes here.
    fn heed_unsettled(self) {
        let unsettled = self.unsettled();
        if unsettled != transaction::NONE {
            let is_over = transaction::are_over_before(unsettled);
            let mut heads = self.lock();
            heads.reset();
            if is_over {
                self.set_unsettled(transaction::NONE);
            }
        }
    }

    fn unsettled(self) -> transaction::Id {
        // SAFETY: a segment that is mapped; a number that is read and written whole, by any session.
        unsafe { (&raw const (*self.0).unsettled).read_volatile() }
    }

    fn set_unsettled(self, transaction: transaction::Id) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.0).unsettled).write_volatile(transaction) };
    }

    /// Whether no other session has it.
    pub fn is_private(self) -> bool {
        PRIVATE.get() == Some(self)
    }

    pub fn is_retired(self) -> bool {
        self.header().is_retired()
    }

    /// Wakes those who wait for candidates, or for a scan to end.
    pub fn wake(self) {
        // SAFETY: a segment that is mapped, whose condition was set up when it was laid out.
        unsafe { pg_sys::ConditionVariableBroadcast(&raw mut (*self.0).changed) };
    }

    /// Waits to be woken while something `still` holds, at most `millis`.
    pub fn wait(self, still: impl Fn() -> bool, millis: i64) {
        // SAFETY: as above. To sleep is prepared for first, and cancelled at the end; an error in between
        // cancels it when the transaction is aborted.
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
    /// The prepared transactions, and the room for them.
    fn slots(&self) -> (*mut transaction::Id, usize) {
        // SAFETY: a segment that is mapped, and that was laid out with so much room behind it.
        unsafe {
            let slots = (&raw mut (*self.segment).prepared).cast();
            (slots, (*self.segment).prepared_room)
        }
    }

    pub fn prepared(&self) -> &[transaction::Id] {
        let (slots, room) = self.slots();
        // SAFETY: the first ones were written, and nobody else writes while the lock is held.
        unsafe { std::slice::from_raw_parts(slots, (*self.segment).prepared_len.min(room)) }
    }

    /// Remembers a transaction that is prepared. There is room for all that can be, if those
    /// that have ended were heeded; and none where nothing outlasts a call anyway.
    pub fn add_prepared(&mut self, transaction: transaction::Id) {
        let (slots, room) = self.slots();
        let len = self.prepared().len();
        if self.prepared().contains(&transaction) || len >= room {
            return;
        }
        // SAFETY: there is room for one more, and nobody else reads or writes while the lock is held.
        unsafe {
            slots.add(len).write(transaction);
            (*self.segment).prepared_len = len + 1;
        }
    }

    /// Whether there is room for so many.
    fn has_room_for(&self, prepared: usize) -> bool {
        prepared <= self.slots().1
    }

    /// Prepared transactions have ended.
    pub fn remove_prepared(&mut self, ended: &[transaction::Id]) {
        let mut left = self.prepared().to_vec();
        left.retain(|transaction| !ended.contains(transaction));
        let (slots, _) = self.slots();
        // SAFETY: there are no more than before, and nobody else reads or writes while the lock is held.
        unsafe {
            std::ptr::copy_nonoverlapping(left.as_ptr(), slots, left.len());
            (*self.segment).prepared_len = left.len();
        }
        self.reset();
    }
}

impl Deref for Locked {
    type Target = Heads;

    fn deref(&self) -> &Heads {
        &self.heads
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Heads {
        &mut self.heads
    }
}
