//! The belt: whatever is wrong in the shared memory makes a card late, and never lost.
//!
//! A head that was not compared with the table for `mosaic.frontier_audit` is compared by the next
//! claim that uses it, with one scan from the start. A member that the table has and the head does
//! not know may be in somebody's hands, who says so when he is done with it. One that nobody speaks
//! for was lost: it is a candidate again, and told of.

use pgrx::prelude::*;

use super::heads::Set;
use super::key::Key;
use super::memory::{self, Memory};
use super::now;
use crate::postgres::settings;

/// How many members of a set an audit looks at, the first ones.
pub const AUDITED: usize = 128;

/// An audit that this session has begun. Given up if it is dropped before its end.
pub struct Audit {
    memory: Memory,
    set: Set,
    resets: u64,
    number: u64,
    begun: i64,
    is_over: bool,
}

/// Begins an audit of the set, if one is due.
pub fn audit(set: Set) -> Option<Audit> {
    let interval = i64::from(settings::FRONTIER_AUDIT.get()) * 1_000_000;
    let memory = memory::attach();
    let begun = now();
    // What has not ended six audits later does not end any more.
    let patience = (6 * interval).max(1_000_000);
    let mut heads = memory.lock();
    let resets = heads.resets();
    let number = heads.begin_audit(set, begun, interval, patience)?;
    let audit = Audit {
        memory,
        set,
        resets,
        number,
        begun,
        is_over: false,
    };
    tell(heads);
    Some(audit)
}

/// Tells the server's log what was found and not told yet.
fn tell(mut heads: memory::Locked) {
    let untold = heads.take_untold();
    drop(heads);
    if untold > 0 {
        ereport!(
            PgLogLevel::LOG,
            PgSqlErrorCode::ERRCODE_WARNING,
            format!(
                "the backlog's frontier had lost {untold} cards or ended leases, which an audit found"
            ),
            "They are handed out now. This is a fault of mosaic_backlog_ext: please report it."
        );
    }
}

impl Audit {
    /// Which of the first members that the table has, ascending and each with the time that it
    /// waited for, are not known.
    pub fn suspect(&self, found: &[(Key, Option<Key>)]) -> Vec<Key> {
        let mut heads = self.memory.lock();
        if heads.resets() != self.resets {
            return Vec::new();
        }
        heads.suspect(self.set, self.number, found)
    }

    /// `free` are the suspects that nobody has locked or has just changed, each with the time that
    /// it waited for.
    pub fn end(mut self, free: &[(Key, Option<Key>)]) {
        self.is_over = true;
        let mut heads = self.memory.lock();
        if heads.resets() != self.resets {
            return;
        }
        heads.end_audit(self.set, self.number, free, self.begun);
        let memory = self.memory;
        tell(heads);
        memory.wake();
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if !self.is_over {
            let mut heads = self.memory.lock();
            if heads.resets() == self.resets
                && let Some(head) = heads.head(self.set)
            {
                head.give_up_audit(self.number);
            }
        }
    }
}
