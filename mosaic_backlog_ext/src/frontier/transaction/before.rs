//! The last moment at which a transaction can still be refused: what may go wrong has to do so here.

use std::collections::HashSet;

use super::super::memory::{self, Memory};
use super::{PENDING, Pending, transaction};

/// What is committed has to be heard of by all.
pub fn commit() {
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

/// Whoever commits what is prepared may never have heard of us.
pub fn prepare() {
    commit();
    let memories: HashSet<Memory> = PENDING.with_borrow(|pending| {
        let changed = pending.changes.iter().map(|changes| changes.memory);
        changed
            .chain(pending.undo.iter().map(|undo| undo.memory))
            .collect()
    });
    if let Some(transaction) = transaction::top_id() {
        for memory in memories {
            memory.heed_prepared();
            memory.lock().add_prepared(transaction);
        }
    }
}
