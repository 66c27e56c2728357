//! Locks that nobody can take but these functions, held until the transaction ends.
//!
//! An advisory lock is anybody's who can connect: a stranger could stop the fleet with it. These
//! are locks of PostgreSQL on objects, as catalogues have them, in the name of a table of ours;
//! no statement takes one. They are taken before any row lock, and survive no transaction, so that
//! a pooler passes none on.

use std::ffi::CStr;

use pgrx::datum::Uuid;
use pgrx::prelude::*;
use sha2::{Digest, Sha256};

use crate::postgres::table;

/// One linking at a time: row locks on the two ends of an edge would miss a cycle that closes
/// through other cards.
pub fn linking() {
    take(c"backlog_dependency", 0, 0, pg_sys::ExclusiveLock);
}

/// One import at a time: two of the same cards would wait for each other.
pub fn import() {
    take(c"backlog", 0, 0, pg_sys::ExclusiveLock);
}

/// One claim at a time under a request id: the second of two equal calls waits here until the first
/// has committed its answer. Two ids in 2^48 share a lock, and wait for each other in vain.
pub fn request(id: &Uuid) {
    let hash = Sha256::digest(id.as_bytes());
    let object = u32::from_be_bytes(hash[..4].try_into().expect("4 bytes"));
    let part = u16::from_be_bytes(hash[4..6].try_into().expect("2 bytes"));
    take(
        c"backlog_claim_request",
        object,
        part,
        pg_sys::ExclusiveLock,
    );
}

/// The table of cards, and what of it tells gates from the lock of imports.
const GATES: (&CStr, u16) = (c"backlog", 1);

/// Whoever links to a card passes one, shared; who needs all links to hold still closes it. See
/// `dependency::Gates`, which alone leaves before the transaction ends.
pub fn gate(number: u32, mode: u32) {
    let (table, part) = GATES;
    take(table, number, part, mode);
}

pub fn leave_gate(number: u32, mode: u32) {
    let (table, part) = GATES;
    leave(table, number, part, mode);
}

/// One session at a time looks where the sequences are, and sets them. Left at once.
pub fn setting_sequences(work: impl FnOnce()) {
    take(c"backlog_event", 0, 0, pg_sys::ExclusiveLock);
    work();
    leave(c"backlog_event", 0, 0, pg_sys::ExclusiveLock);
}

fn take(table: &CStr, object: u32, part: u16, mode: u32) {
    let (table, mode) = (table::relation_id(table), mode as pg_sys::LOCKMODE);
    // SAFETY: a lock is taken by numbers, which need not be anything's; what cannot be had is an error.
    unsafe { pg_sys::LockDatabaseObject(table, object.into(), part, mode) };
}

fn leave(table: &CStr, object: u32, part: u16, mode: u32) {
    let (table, mode) = (table::relation_id(table), mode as pg_sys::LOCKMODE);
    // SAFETY: numbers alone; one that is not held is a warning.
    unsafe { pg_sys::UnlockDatabaseObject(table, object.into(), part, mode) };
}

/// A lock of a relation, left when it is dropped. At an error, the end of the transaction does that.
pub struct Relation {
    relation: pg_sys::Oid,
    mode: pg_sys::LOCKMODE,
}

/// Nobody else makes the frontier's memory meanwhile.
pub fn making_memory(sequence: pg_sys::Oid) -> Relation {
    lock_relation(sequence, pg_sys::ShareUpdateExclusiveLock)
}

/// Reads of the cards come before reads of the history, to the end of the transaction.
pub fn cards_first() {
    let lock = lock_relation(table::relation_id(c"backlog"), pg_sys::AccessShareLock);
    std::mem::forget(lock);
}

/// Nobody draws from the sequence meanwhile; `None` if somebody has it, or waits for it.
pub fn try_against_drawing(sequence: pg_sys::Oid) -> Option<Relation> {
    let mode = pg_sys::ShareRowExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: as for other locks.
    let is_held = unsafe { pg_sys::ConditionalLockRelationOid(sequence, mode) };
    is_held.then_some(Relation {
        relation: sequence,
        mode,
    })
}

fn lock_relation(relation: pg_sys::Oid, mode: u32) -> Relation {
    let mode = mode as pg_sys::LOCKMODE;
    // SAFETY: as for other locks.
    unsafe { pg_sys::LockRelationOid(relation, mode) };
    Relation { relation, mode }
}

impl Drop for Relation {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: numbers alone, and it is held.
            unsafe { pg_sys::UnlockRelationOid(self.relation, self.mode) };
        }
    }
}
