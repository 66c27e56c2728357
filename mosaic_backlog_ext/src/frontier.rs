//! Where the next card is, without walking over all that were claimed before it.
//!
//! An index keeps an entry for every card that has left it until no snapshot can see that card
//! any more. A scan from the start of the index therefore takes longer with every claim, and a
//! forgotten transaction keeps it so. Here shared memory holds what the table cannot tell
//! cheaply: the next few candidates, and which ranges of the order nobody has examined. A claim
//! takes a candidate and locks its row; only the row decides. `docs/design.md` has the proof
//! that no card is overlooked.
//!
//! - `head`: the knowledge about one ordered set, as plain data
//! - `memory`: the shared memory that the heads live in
//! - `transaction`: commit and rollback
//! - `watch`: the trigger that sees every change of a card

mod head;
mod memory;
mod transaction;
mod watch;

use pgrx::prelude::*;
use sha2::{Digest, Sha256};

pub use head::{Key, LOOK, Range};
pub use memory::Set;
use memory::{Filter, Memory};
pub use transaction::{
    add_claimable, own_claimable, own_due, own_floor, own_leases_end, own_taken,
};

/// How long a card that somebody has locked is left alone while others can be had.
const AGAIN_AFTER: i64 = 10_000;
/// How long one waits for somebody else's look, in milliseconds, before looking for oneself.
const LOOK_PATIENCE: i64 = 100;

/// The claimable cards that a claim with these arguments may get.
pub fn claims(phase: Option<&str>, labels: &[String], offers: &[String]) -> Set {
    let filter = if phase.is_none() && labels.is_empty() && offers.is_empty() {
        Filter::default()
    } else {
        fingerprint(phase, labels, offers)
    };
    let memory = memory::attach();
    heed_prepared(memory);
    memory.lock().claims(filter)
}

fn fingerprint(phase: Option<&str>, labels: &[String], offers: &[String]) -> Filter {
    let mut hash = Sha256::new();
    let mut part = |kind: u8, text: &str| {
        hash.update([kind]);
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    };
    if let Some(phase) = phase {
        part(b'p', phase);
    }
    for (kind, names) in [(b'l', labels), (b'o', offers)] {
        let mut names: Vec<&String> = names.iter().collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            part(kind, name);
        }
    }
    let digest = hash.finalize();
    std::array::from_fn(|byte| digest[byte])
}

/// A prepared transaction may end in a session that has never heard of us.
fn heed_prepared(memory: Memory) {
    let prepared = memory.lock().prepared().to_vec();
    if prepared.is_empty() {
        return;
    }
    let ended: Vec<pg_sys::TransactionId> = prepared
        .into_iter()
        .filter(|transaction| unsafe { !pg_sys::TransactionIdIsInProgress(*transaction) })
        .collect();
    if !ended.is_empty() {
        memory.lock().remove_prepared(&ended);
    }
}

/// Whether the set has, or may have, members up to `last`.
pub fn concerns(set: Set, last: Key) -> bool {
    memory::attach()
        .lock()
        .head(set)
        .is_some_and(|head| head.concerns(last))
}

/// How to go on.
pub enum Next {
    /// The first members in order, as far as is known, and up to where that is; they are this
    /// transaction's to try.
    Candidates(Vec<Key>, Key),
    /// A range has to be looked through first.
    Look(Look),
    /// Somebody else looks, and takes long.
    Unknown,
    /// There are none.
    Nothing,
}

/// The next candidates of a set up to `last`, at most `max`. Those that were put aside are
/// tried again when their time has come, or `all` of them.
pub fn next(set: Set, last: Key, max: usize, all: bool) -> Next {
    let next = find(set, last, all, |head, keys| head.take(last, max, keys));
    if let Next::Candidates(keys, _) = &next {
        transaction::add_taken(set, keys);
    }
    next
}

/// As `next`, but they stay there for others too, until they are `done`.
pub fn peek(set: Set, last: Key, max: usize) -> Next {
    find(set, last, false, |head, keys| head.peek(last, max, keys))
}

/// Takes what was peeked at.
pub fn done(set: Set, keys: &[Key]) {
    transaction::add_taken(set, keys);
    if let Some(head) = memory::attach().lock().head(set) {
        head.remove(keys);
    }
}

fn find(set: Set, last: Key, all: bool, collect: impl Fn(&mut head::Head, &mut Vec<Key>)) -> Next {
    let memory = memory::attach();
    let deadline = unsafe { pg_sys::GetCurrentTimestamp() } + LOOK_PATIENCE * 1_000;
    loop {
        let now = unsafe { pg_sys::GetCurrentTimestamp() };
        let mut heads = memory.lock();
        let resets = heads.resets();
        let Some(head) = heads.head(set) else {
            return Next::Unknown;
        };
        head.try_again(now, all);
        let mut keys = Vec::new();
        collect(head, &mut keys);
        if !keys.is_empty() {
            return Next::Candidates(keys, head.known());
        }
        if let Some(look) = head.begin_look(last) {
            return Next::Look(Look {
                memory,
                set,
                resets,
                look,
                ended: false,
            });
        }
        if !head.is_looking() {
            return Next::Nothing;
        }
        drop(heads);
        if now >= deadline {
            return Next::Unknown;
        }
        let still = || {
            memory
                .lock()
                .head(set)
                .is_some_and(|head| head.is_looking())
        };
        memory.await_look(still, LOOK_PATIENCE);
        check_for_interrupts!();
    }
}

/// A look that this session has begun; given up if dropped before its end.
pub struct Look {
    memory: Memory,
    set: Set,
    resets: u64,
    look: head::Look,
    ended: bool,
}

impl Look {
    pub fn range(&self) -> Range {
        self.look.range
    }

    /// Whether no key has been seen in the set yet.
    pub fn is_first(&self) -> bool {
        self.look.highest.is_none()
    }

    /// The last key that any card has: there is nothing to be looked for behind it.
    pub fn set_highest(&mut self, highest: Option<Key>) {
        self.look.highest = highest;
    }

    /// `found` are all members of the range before `rest`, ascending; `None`: all of it.
    fn end(mut self, found: &[Key], rest: Option<Key>) {
        let look = self.look;
        self.finish(|head| head.end_look(&look, found, rest));
    }

    /// Ends a look at claimable cards at the time `now`: `found` are the first `LOOK` of them.
    pub fn end_claims(self, found: &[Key], now: Key) {
        self.memory.lock().watch_due_from(now);
        let rest = (found.len() == LOOK).then(|| found[LOOK - 1] + 1);
        self.end(found, rest);
    }

    /// Ends a look at times: `times` are the first `LOOK + 1` of them, past and to come.
    pub fn end_times(self, times: &[Key], now: Key) {
        let past = times.partition_point(|time| *time <= now).min(LOOK);
        self.end(&times[..past], times.get(past).copied());
    }

    fn finish(&mut self, end: impl FnOnce(&mut head::Head)) {
        self.ended = true;
        let mut heads = self.memory.lock();
        if heads.resets() == self.resets
            && let Some(head) = heads.head(self.set)
        {
            end(head);
        }
        drop(heads);
        self.memory.look_ended();
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        if !self.ended {
            self.finish(head::Head::give_up_look);
        }
    }
}

/// Candidates whose cards are members indeed, but locked by somebody else. False if there is
/// no room to put them aside.
pub fn put_aside(set: Set, keys: &[Key]) -> bool {
    let again_at = unsafe { pg_sys::GetCurrentTimestamp() } + AGAIN_AFTER;
    let done = memory::attach()
        .lock()
        .head(set)
        .is_none_or(|head| head.put_aside(keys, again_at));
    transaction::remove_taken(set, keys);
    done
}

/// Candidates that were not needed, or are not done with.
pub fn give_back(set: Set, keys: &[Key]) {
    if !keys.is_empty() {
        if let Some(head) = memory::attach().lock().head(set) {
            head.give_back(keys);
        }
        transaction::remove_taken(set, keys);
    }
}

/// Whether a set has members that somebody else had locked.
pub fn has_put_aside(set: Set) -> bool {
    memory::attach()
        .lock()
        .head(set)
        .is_some_and(|head| head.has_put_aside())
}

/// No member of the set sorts below.
pub fn floor(set: Set) -> Key {
    memory::attach()
        .lock()
        .head(set)
        .map_or(Key::MIN, |head| head.floor())
}

/// Cards that waited for their time have become claimable; `orders` ascending.
pub fn has_come_due(orders: &[Key]) {
    memory::attach().lock().add_claimable(orders);
}

/// Cards wait for a time that another session has seen come already; `times` ascending.
pub fn waits_again(times: &[Key]) {
    if let Some(head) = memory::attach().lock().head(Set::Due) {
        head.add(times);
    }
}
