//! Where the heads live: a segment of shared memory a database, made by whoever needs it first.
//!
//! It is a dynamic segment, pinned until the server ends, so that nothing has to be preloaded.
//! Its handle is kept in a sequence, because that is read and written outside of transactions.
//! After a restart or a promotion the handle leads nowhere, and an empty segment is made.
//!
//! A newer library that lays the segment out in another way cannot share it. It makes one of its
//! own, and retires the other: sessions with the older library are ended when they next need it.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::head::{Head, Key, Range};
use crate::statement::{session, statements};

/// Says that a segment is ours, whatever the version.
const MAGIC: u64 = u64::from_le_bytes(*b"mosaic b");
/// How it is laid out: a newer layout is greater. Whatever changes `Segment` has to change this.
const LAYOUT: u64 = u64::from_le_bytes(*b"layout 1");

const FILTERS: usize = 256;

/// Which cards a head is about, as a fingerprint; zeros for a claim that names nothing.
pub type Filter = [u8; 16];

#[derive(Clone, Copy)]
struct Claims {
    filter: Filter,
    /// Distinguishes one use of the slot from the next; 0: never used.
    generation: u64,
    used_at: u64,
    head: Head,
}

/// The heads of one database.
pub struct State {
    leases: Head,
    due: Head,
    /// From here on `due` knows of all cards that wait for their time, and up to here those
    /// were made known to claims.
    due_from: Key,
    due_until: Key,
    claims: [Claims; FILTERS],
    claims_len: usize,
    uses: u64,
    /// How often all was forgotten.
    resets: u64,
    /// When waiters were last woken.
    woken_at: i64,
}

/// One of the ordered sets of cards.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Leases by their end.
    Leases,
    /// Cards that wait for their time, by it.
    Due,
    /// Claimable cards that pass a filter, by claim order.
    Claims { slot: usize, generation: u64 },
}

impl State {
    /// The head of a set; `None` if its slot has been given to another filter.
    pub fn head(&mut self, set: Set) -> Option<&mut Head> {
        match set {
            Set::Leases => Some(&mut self.leases),
            Set::Due => Some(&mut self.due),
            Set::Claims { slot, generation } => {
                let claims = &mut self.claims[slot];
                (claims.generation == generation).then_some(&mut claims.head)
            }
        }
    }

    /// The set of cards that pass `filter`. The one that was not asked for the longest gives
    /// way when there are too many.
    pub fn claims(&mut self, filter: Filter) -> Set {
        self.uses += 1;
        let known = self.claims[..self.claims_len]
            .iter()
            .position(|claims| claims.filter == filter);
        let slot = known.unwrap_or_else(|| {
            let slot = if self.claims_len < FILTERS {
                self.claims_len += 1;
                self.claims_len - 1
            } else {
                (0..FILTERS)
                    .filter(|slot| !self.claims[*slot].head.is_looking())
                    .min_by_key(|slot| self.claims[*slot].used_at)
                    .unwrap_or(0)
            };
            self.claims[slot] = Claims {
                filter,
                generation: self.uses,
                used_at: 0,
                head: Head::unexamined(Key::MIN),
            };
            slot
        });
        self.claims[slot].used_at = self.uses;
        Set::Claims {
            slot,
            generation: self.claims[slot].generation,
        }
    }

    /// Cards became claimable; `orders` ascending.
    pub fn add_claimable(&mut self, orders: &[Key]) {
        if !orders.is_empty() {
            for claims in &mut self.claims[..self.claims_len] {
                claims.head.add(orders);
            }
        }
    }

    /// A look at claimable cards at the time `now` passes over those that wait for a later one.
    pub fn watch_due_from(&mut self, now: Key) {
        if now < self.due_from {
            self.due.forget(Range {
                from: now,
                to: self.due_from,
            });
            self.due_from = now;
        }
        // Made known before the look, which then passed over them.
        if now < self.due_until {
            self.due.forget(Range {
                from: now,
                to: self.due_until.saturating_add(1),
            });
            self.due_until = now;
        }
    }

    /// The cards that wait for `times` are known to claims.
    pub fn end_due(&mut self, times: &[Key]) {
        self.due.remove(times);
        for time in times {
            self.due_until = self.due_until.max(*time);
        }
    }

    /// Forgets all. Looks that are under way end without effect.
    pub fn reset(&mut self) {
        self.resets += 1;
        self.leases = Head::unexamined(Key::MIN);
        self.due = Head::unexamined(Key::MAX);
        self.due_from = Key::MAX;
        self.due_until = Key::MIN;
        self.claims_len = 0;
        for claims in &mut self.claims {
            claims.generation = 0;
        }
    }

    pub fn may_wake(&mut self, now: i64, throttle: i64) -> bool {
        // A time ahead is one from before the clock was set back.
        let may = now - self.woken_at >= throttle || now < self.woken_at;
        if may {
            self.woken_at = now;
        }
        may
    }

    pub fn resets(&self) -> u64 {
        self.resets
    }
}

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
    /// 1: it stays also while nobody has it mapped.
    pinned: AtomicU32,
    /// 1: a library with a newer layout has taken over.
    retired: AtomicU32,
}

impl Header {
    fn is_of(&self, place: Place) -> bool {
        self.magic == MAGIC
            && self.database == unsafe { pg_sys::MyDatabaseId }
            && self.table == place.table
            && self.server_start == unsafe { pg_sys::PgStartTime }
    }

    /// How it is laid out, as compared with here. Another size is another layout in any case.
    fn compare(&self) -> std::cmp::Ordering {
        (self.layout, self.size).cmp(&(LAYOUT, size_of::<Segment>() as u64))
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst) != 0
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
    state: State,
    /// Prepared transactions follow. When one of them ends, nothing is known any more.
    prepared_room: usize,
    prepared_len: usize,
    /// While a transaction before this one runs, nothing is known: it may be of a session with an
    /// older library, which tells nobody here. 0: there is none.
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

/// What the table and its sequence are called now: they change when the extension is dropped
/// and created again.
#[derive(Clone, Copy, Default)]
struct Place {
    table: pg_sys::Oid,
    sequence: pg_sys::Oid,
}

thread_local! {
    static MAPPED: Cell<Option<(Memory, Place)>> = const { Cell::new(None) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    /// For want of shared memory; of use within one call alone.
    static PRIVATE: Cell<Option<Memory>> = const { Cell::new(None) };
    static TRANCHE: Cell<Option<i32>> = const { Cell::new(None) };
}

statements! {
    PREPARED_BEFORE() =
        "select p.transaction from pg_catalog.pg_prepared_xact() p
         where p.dbid operator(pg_catalog.=)
           (select d.oid from pg_catalog.pg_database d
            where d.datname operator(pg_catalog.=) pg_catalog.current_database())";
}

/// What the handle leads to.
enum Found {
    Ours(Memory),
    /// Laid out by an older library.
    Older,
    Nothing,
}

/// The heads of this database.
pub fn attach() -> Memory {
    let memory = MAPPED
        .get()
        .unwrap_or_else(|| {
            let place = find_place();
            let memory = match map(place, true) {
                Found::Ours(memory) => memory,
                _ => create(place).unwrap_or_else(private),
            };
            watch_catalogue();
            MAPPED.set(Some((memory, place)));
            (memory, place)
        })
        .0;
    if memory.is_retired() {
        end_session();
    }
    memory
}

/// A newer library has taken over, and would not hear of what this session changes. A client
/// connects again, and has that library too.
pub fn end_session() -> ! {
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN,
        "terminating connection because a newer version of the backlog's library is in use",
        "mosaic_backlog_ext",
    )
    .set_detail("This session had the older one. Its transaction has no effect.")
    .set_hint("Connect again. If the older version was put back, restart the server.")
    .report(PgLogLevel::FATAL);
    unreachable!("the session has ended")
}

/// Whether the sessions of this database share what they know.
pub enum Sharing {
    Shared,
    /// Whoever needs the memory first makes it.
    NotYet,
    /// The server has no more segments to give.
    Refused,
}

/// Looks, and makes nothing that stays.
pub fn sharing() -> Sharing {
    let is_mapped = MAPPED
        .get()
        .is_some_and(|(memory, _)| PRIVATE.get() != Some(memory));
    if is_mapped || matches!(map(find_place(), false), Found::Ours(_)) {
        return Sharing::Shared;
    }
    unsafe {
        let flags = pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32;
        let segment = pg_sys::dsm_create(size_of::<Segment>(), flags);
        if segment.is_null() {
            return Sharing::Refused;
        }
        // Nobody else has it, so that this ends it.
        pg_sys::dsm_detach(segment);
        Sharing::NotYet
    }
}

fn private() -> Memory {
    PRIVATE.get().unwrap_or_else(|| {
        let memory = unsafe {
            let segment = std::alloc::alloc_zeroed(std::alloc::Layout::new::<Segment>());
            lay_out(segment.cast(), Place::default(), 0)
        };
        PRIVATE.set(Some(memory));
        memory
    })
}

fn find_place() -> Place {
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"mosaic".as_ptr(), false);
        Place {
            table: pg_sys::get_relname_relid(c"backlog".as_ptr(), schema),
            sequence: pg_sys::get_relname_relid(c"backlog_frontier_seq".as_ptr(), schema),
        }
    }
}

/// Another look at the catalogue is due when the table or the sequence changed.
fn watch_catalogue() {
    #[pg_guard]
    unsafe extern "C-unwind" fn changed(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
        if let Some((_, place)) = MAPPED.get()
            && (relation == pg_sys::InvalidOid
                || relation == place.table
                || relation == place.sequence)
        {
            MAPPED.set(None);
        }
    }
    if !WATCHING.replace(true) {
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(changed), pg_sys::Datum::null()) };
    }
}

/// `retires`: a segment of an older library, if there is one, is not to be used any more.
fn map(place: Place, retires: bool) -> Found {
    unsafe {
        let handle: Option<i64> = pgrx::direct_function_call(
            pg_sys::pg_sequence_last_value,
            &[place.sequence.into_datum()],
        );
        let Some(handle) = handle.and_then(|handle| u32::try_from(handle).ok()) else {
            return Found::Nothing;
        };
        let mut segment = pg_sys::dsm_find_mapping(handle);
        let known = !segment.is_null();
        if !known {
            segment = pg_sys::dsm_attach(handle);
        }
        if segment.is_null() {
            return Found::Nothing;
        }
        let address = pg_sys::dsm_segment_address(segment);
        let header = address.cast::<Header>();
        let ours = pg_sys::dsm_segment_map_length(segment) >= size_of::<Header>()
            && (*header).is_of(place);
        let found = if !ours {
            Found::Nothing
        } else {
            match (*header).compare() {
                std::cmp::Ordering::Equal if !(*header).is_retired() => {
                    Found::Ours(Memory(address.cast()))
                }
                std::cmp::Ordering::Less => {
                    if retires {
                        (*header).retired.store(1, Ordering::SeqCst);
                        (*header).unpin();
                    }
                    Found::Older
                }
                _ => end_session(),
            }
        };
        match found {
            Found::Ours(memory) => {
                if !known {
                    pg_sys::dsm_pin_mapping(segment);
                }
                register_tranche((*memory.0).lock.tranche.into());
            }
            _ if !known => pg_sys::dsm_detach(segment),
            _ => {}
        }
        found
    }
}

/// Makes the segment, unless somebody else has just done it; `None` if the server has no more
/// shared memory to give.
fn create(place: Place) -> Option<Memory> {
    let mode = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
    unsafe { pg_sys::LockRelationOid(place.sequence, mode) };
    let memory = match map(place, true) {
        Found::Ours(memory) => Some(memory),
        Found::Older => {
            // Each transaction that the older library has let pass has its number already.
            let next = unsafe { pg_sys::ReadNextFullTransactionId() }.value as u32;
            make(place, next.into())
        }
        Found::Nothing => make(place, pg_sys::InvalidTransactionId),
    };
    unsafe { pg_sys::UnlockRelationOid(place.sequence, mode) };
    memory
}

fn make(place: Place, unsettled: pg_sys::TransactionId) -> Option<Memory> {
    // Whatever transaction changes a card attaches to the segment before: those that do
    // not know of it yet have changed none. Prepared ones may be from before a restart.
    let Ok(prepared): Result<Vec<pg_sys::TransactionId>, std::convert::Infallible> =
        session(|session| Ok(session.run(&PREPARED_BEFORE, &[]).column(1)));
    let room = prepared_max();
    let size = size_of::<Segment>() + room * size_of::<pg_sys::TransactionId>();
    unsafe {
        let flags = pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32;
        let segment = pg_sys::dsm_create(size, flags);
        if segment.is_null() {
            return None;
        }
        let memory = lay_out(pg_sys::dsm_segment_address(segment).cast(), place, room);
        (*memory.0).unsettled = unsettled;
        for transaction in prepared {
            memory.lock().add_prepared(transaction);
        }
        pg_sys::dsm_pin_segment(segment);
        pg_sys::dsm_pin_mapping(segment);
        (*memory.0).header.handle = pg_sys::dsm_segment_handle(segment);
        (*memory.0).header.pinned = AtomicU32::new(1);
        let handle = i64::from((*memory.0).header.handle);
        pgrx::direct_function_call::<i64>(
            pg_sys::setval_oid,
            &[place.sequence.into_datum(), handle.into_datum()],
        );
        Some(memory)
    }
}

/// Writes an empty segment, with room for prepared transactions.
unsafe fn lay_out(segment: *mut Segment, place: Place, prepared_room: usize) -> Memory {
    unsafe {
        let tranche = pg_sys::LWLockNewTrancheId();
        std::ptr::write_bytes(segment, 0, 1);
        (*segment).header.layout = LAYOUT;
        (*segment).header.size = size_of::<Segment>() as u64;
        (*segment).header.database = pg_sys::MyDatabaseId;
        (*segment).header.table = place.table;
        (*segment).header.server_start = pg_sys::PgStartTime;
        (*segment).prepared_room = prepared_room;
        pg_sys::LWLockInitialize(&raw mut (*segment).lock, tranche);
        pg_sys::ConditionVariableInit(&raw mut (*segment).changed);
        (*segment).state.reset();
        register_tranche(tranche);
        (*segment).header.magic = MAGIC;
        Memory(segment)
    }
}

fn register_tranche(tranche: i32) {
    if TRANCHE.replace(Some(tranche)) != Some(tranche) {
        unsafe { pg_sys::LWLockRegisterTranche(tranche, c"mosaic_backlog".as_ptr()) };
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
        if PRIVATE.get() == Some(self) {
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

    /// Lets the memory go once nobody has it mapped any more.
    pub fn unpin(self) {
        unsafe {
            let header = &(*self.0).header;
            if !pg_sys::dsm_find_mapping(header.handle).is_null() {
                header.unpin();
            }
        }
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
    type Target = State;

    fn deref(&self) -> &State {
        unsafe { &(*self.0).state }
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut State {
        unsafe { &mut (*self.0).state }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        unsafe { pg_sys::LWLockRelease(&raw mut (*self.0).lock) };
    }
}
