//! Where the heads live: a segment of shared memory a database, made by whoever needs it first.
//!
//! It is a dynamic segment, pinned until the server ends, so that nothing has to be preloaded.
//! Its handle is kept in a sequence, because that is read and written outside of transactions.
//! After a restart or a promotion the handle leads nowhere, and an empty segment is made.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use pgrx::prelude::*;

use super::head::{Head, Key, Range};
use crate::statement::{session, statements};

/// Says that a segment is ours and laid out as here. To be changed with the layout.
const MAGIC: u64 = 0x6d6f_7361_6963_0001;

const FILTERS: usize = 128;
const PREPARED: usize = 256;

/// Which cards a head is about, as a fingerprint; `ALL` for a claim that names nothing.
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
    /// From here on `due` knows of all cards that wait for their time.
    due_from: Key,
    claims: [Claims; FILTERS],
    claims_len: usize,
    uses: u64,
    /// How often all was forgotten.
    resets: u64,
    /// Prepared transactions; when one of them ends, nothing is known any more.
    prepared: [pg_sys::TransactionId; PREPARED],
    prepared_len: usize,
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
    }

    /// Forgets all. Looks that are under way end without effect.
    fn reset(&mut self) {
        self.resets += 1;
        self.leases = Head::unexamined(Key::MIN);
        self.due = Head::unexamined(Key::MAX);
        self.due_from = Key::MAX;
        self.claims_len = 0;
        for claims in &mut self.claims {
            claims.generation = 0;
        }
    }

    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Remembers a transaction that is being prepared; false if there are too many.
    pub fn add_prepared(&mut self, transaction: pg_sys::TransactionId) -> bool {
        if self.prepared_len == PREPARED {
            return false;
        }
        self.prepared[self.prepared_len] = transaction;
        self.prepared_len += 1;
        true
    }

    pub fn prepared(&self) -> &[pg_sys::TransactionId] {
        &self.prepared[..self.prepared_len]
    }

    /// Prepared transactions have ended, in another session or before a restart.
    pub fn remove_prepared(&mut self, ended: &[pg_sys::TransactionId]) {
        let left: Vec<pg_sys::TransactionId> = self
            .prepared()
            .iter()
            .copied()
            .filter(|transaction| !ended.contains(transaction))
            .collect();
        if left.len() < self.prepared_len {
            self.prepared_len = left.len();
            self.prepared[..left.len()].copy_from_slice(&left);
            self.reset();
        }
    }
}

#[repr(C)]
struct Segment {
    magic: u64,
    database: pg_sys::Oid,
    table: pg_sys::Oid,
    server_start: i64,
    lock: pg_sys::LWLock,
    changed: pg_sys::ConditionVariable,
    state: State,
}

/// A segment that this session has mapped, for as long as the session lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Memory(*mut Segment);

/// What the table and its sequence are called now: they change when the extension is dropped
/// and created again.
#[derive(Clone, Copy)]
pub struct Place {
    pub table: pg_sys::Oid,
    sequence: pg_sys::Oid,
}

thread_local! {
    static MAPPED: Cell<Option<(Memory, Place)>> = const { Cell::new(None) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static TRANCHE: Cell<Option<i32>> = const { Cell::new(None) };
}

statements! {
    PREPARED_BEFORE() =
        "select p.transaction from pg_catalog.pg_prepared_xact() p
         where p.dbid operator(pg_catalog.=)
           (select d.oid from pg_catalog.pg_database d
            where d.datname operator(pg_catalog.=) pg_catalog.current_database())";
}

/// The heads of this database.
pub fn attach() -> Memory {
    MAPPED
        .get()
        .unwrap_or_else(|| {
            let place = find_place();
            let mapped = (map(place).unwrap_or_else(|| create(place)), place);
            watch_catalogue();
            MAPPED.set(Some(mapped));
            mapped
        })
        .0
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

fn map(place: Place) -> Option<Memory> {
    unsafe {
        let handle: Option<i64> = pgrx::direct_function_call(
            pg_sys::pg_sequence_last_value,
            &[place.sequence.into_datum()],
        );
        let handle = u32::try_from(handle?).ok()?;
        let mut segment = pg_sys::dsm_find_mapping(handle);
        let known = !segment.is_null();
        if !known {
            segment = pg_sys::dsm_attach(handle);
        }
        if segment.is_null() {
            return None;
        }
        let memory = pg_sys::dsm_segment_address(segment).cast::<Segment>();
        let ours = pg_sys::dsm_segment_map_length(segment) >= size_of::<Segment>()
            && (*memory).magic == MAGIC
            && (*memory).database == pg_sys::MyDatabaseId
            && (*memory).table == place.table
            && (*memory).server_start == pg_sys::PgStartTime;
        if !ours {
            if !known {
                pg_sys::dsm_detach(segment);
            }
            return None;
        }
        if !known {
            pg_sys::dsm_pin_mapping(segment);
        }
        register_tranche((*memory).lock.tranche.into());
        Some(Memory(memory))
    }
}

/// Makes the segment, unless somebody else has just done it.
fn create(place: Place) -> Memory {
    let mode = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
    unsafe { pg_sys::LockRelationOid(place.sequence, mode) };
    let memory = map(place).unwrap_or_else(|| {
        // Whatever transaction changes a card attaches to the segment before: those that do
        // not know of it yet have changed none. Prepared ones may be from before a restart.
        let prepared = session(|session| {
            let answer = session.run(&PREPARED_BEFORE, &[]);
            Ok::<_, std::convert::Infallible>(answer.column(1))
        });
        let prepared: Vec<pg_sys::TransactionId> = match prepared {
            Ok(prepared) => prepared,
        };
        unsafe {
            let segment = pg_sys::dsm_create(size_of::<Segment>(), 0);
            let memory = pg_sys::dsm_segment_address(segment).cast::<Segment>();
            let tranche = pg_sys::LWLockNewTrancheId();
            std::ptr::write_bytes(memory, 0, 1);
            (*memory).database = pg_sys::MyDatabaseId;
            (*memory).table = place.table;
            (*memory).server_start = pg_sys::PgStartTime;
            pg_sys::LWLockInitialize(&raw mut (*memory).lock, tranche);
            pg_sys::ConditionVariableInit(&raw mut (*memory).changed);
            (*memory).state.reset();
            for transaction in prepared {
                (*memory).state.add_prepared(transaction);
            }
            (*memory).magic = MAGIC;
            pg_sys::dsm_pin_segment(segment);
            pg_sys::dsm_pin_mapping(segment);
            register_tranche(tranche);
            let handle = i64::from(pg_sys::dsm_segment_handle(segment));
            pgrx::direct_function_call::<i64>(
                pg_sys::setval_oid,
                &[place.sequence.into_datum(), handle.into_datum()],
            );
            Memory(memory)
        }
    });
    unsafe { pg_sys::UnlockRelationOid(place.sequence, mode) };
    memory
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

    /// Wakes those who wait for a look to end.
    pub fn look_ended(self) {
        unsafe { pg_sys::ConditionVariableBroadcast(&raw mut (*self.0).changed) };
    }

    /// Waits for the end of a look, at most `millis`.
    pub fn await_look(self, still: impl Fn() -> bool, millis: i64) {
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
