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
    take(c"backlog_dependency", 0, 0);
}

/// One import at a time: two of the same cards would wait for each other.
pub fn import() {
    take(c"backlog", 0, 0);
}

/// One claim at a time under a request id: the second of two equal calls waits here until the first
/// has committed its answer. Two ids in 2^48 share a lock, and wait for each other in vain.
pub fn request(id: &Uuid) {
    let hash = Sha256::digest(id.as_bytes());
    let object = u32::from_be_bytes(hash[..4].try_into().expect("4 bytes"));
    let part = u16::from_be_bytes(hash[4..6].try_into().expect("2 bytes"));
    take(c"backlog_claim_request", object, part);
}

/// The table of cards, and what of it tells gates from the lock of imports.
const GATES: (&CStr, u16) = (c"backlog", 1);

/// Whoever links to a card passes one, shared; who needs all links to hold still closes it. See
/// `dependency::Gates`, which alone leaves before the transaction ends.
pub fn gate(number: u32, mode: u32) {
    let (table, part) = GATES;
    unsafe {
        pg_sys::LockDatabaseObject(
            table::relation_id(table),
            number.into(),
            part,
            mode as pg_sys::LOCKMODE,
        );
    }
}

pub fn leave_gate(number: u32, mode: u32) {
    let (table, part) = GATES;
    unsafe {
        pg_sys::UnlockDatabaseObject(
            table::relation_id(table),
            number.into(),
            part,
            mode as pg_sys::LOCKMODE,
        );
    }
}

/// One session at a time looks where the sequences are, and sets them. Left at once.
pub fn setting_sequences(work: impl FnOnce()) {
    let mode = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
    let history = table::relation_id(c"backlog_event");
    take(c"backlog_event", 0, 0);
    work();
    unsafe {
        pg_sys::UnlockDatabaseObject(history, pg_sys::InvalidOid, 0, mode);
    }
}

fn take(table: &CStr, object: u32, part: u16) {
    let mode = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
    unsafe {
        pg_sys::LockDatabaseObject(table::relation_id(table), object.into(), part, mode);
    }
}
