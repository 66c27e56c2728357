//! Where the next card is, without walking over all that were claimed before it.
//!
//! An index keeps an entry for every card that has left it until no snapshot can see that card
//! any more. A scan from the start of the index therefore takes longer with every claim, and a
//! forgotten transaction keeps it so. Here shared memory holds what the table cannot tell
//! cheaply: the next few candidates, and which ranges of the order nobody has examined. A claim
//! takes a candidate and locks its row; only the row decides. `docs/design.md` has the proof
//! that no card is overlooked.
//!
//! - `addition`: members that come in together, made ready for the heads
//! - `few`: lists that allocate nothing
//! - `head`: the knowledge about one ordered set, as plain data
//! - `heads`: all of them of one database
//! - `memory`: the shared memory that they live in
//! - `transaction`: commit and rollback
//! - `watch`: the trigger that sees every change of a card

mod addition;
mod few;
mod head;
mod heads;
mod memory;
mod transaction;
mod watch;

use pgrx::prelude::*;
use sha2::{Digest, Sha256};

use addition::Addition;
pub use head::{Key, LOOK, Range};
use heads::Filter;
pub use heads::Set;
use memory::Memory;
pub use memory::{Sharing, sharing};
pub use transaction::{
    add_claimable, add_lease, own_claimable, own_floor, own_leases_end, own_taken, take_own_due,
};
pub use watch::opened;

/// How long a card that somebody has locked is left alone while others can be had.
const AGAIN_AFTER: i64 = 10_000;
/// How far ahead a look at times reads, in microseconds.
const WINDOW: i64 = 1_000_000;
/// How long one waits for what somebody else does, in milliseconds, before scanning the table.
const PATIENCE: i64 = 100;

/// What every call that uses the frontier begins with.
pub fn begin() {
    memory::attach().begin();
}

/// The extension is being dropped.
pub fn drop_memory() {
    if let Some(memory) = memory::mapped() {
        transaction::add_dropped(memory);
    }
}

/// The claimable cards that a claim with these arguments may get.
pub fn claims(phase: Option<&str>, labels: &[String], offers: &[String]) -> Set {
    let filter = if phase.is_none() && labels.is_empty() && offers.is_empty() {
        Filter::default()
    } else {
        fingerprint(phase, labels, offers)
    };
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    let user = unsafe { pg_sys::MyProcPid };
    memory::attach().lock().claims(filter, user, now)
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

/// The next candidates of a set up to `last`, at most `max`. Others wait for what becomes of
/// them, until `tried`.
pub fn next(set: Set, last: Key, max: usize) -> Next {
    let memory = memory::attach();
    let next = find(set, last, |head| {
        let mut keys = Vec::new();
        head.take(last, max, &mut keys);
        head.begin_trial(&keys);
        keys
    });
    if let Next::Candidates(keys, _) = &next {
        transaction::begin_trial(memory, set, keys);
    }
    next
}

/// What became of the candidates taken is decided.
pub fn tried() {
    transaction::end_trial();
}

/// As `next`, but they stay there for others too, until they are `come`.
pub fn peek_due(now: Key, max: usize) -> Next {
    find(Set::Due, now, |head| {
        let mut keys = Vec::new();
        head.peek(now, max, &mut keys);
        keys
    })
}

/// The cards that waited for `times` have become claimable.
pub fn come(times: &[Key], mut orders: Vec<Key>) {
    let memory = memory::attach();
    transaction::add_taken(memory, Set::Due, times);
    let added = Addition::new(&mut orders);
    let mut heads = memory.lock();
    heads.add_claimable(&added);
    heads.end_due(times);
}

fn find(set: Set, last: Key, collect: impl Fn(&mut head::Head) -> Vec<Key>) -> Next {
    let memory = memory::attach();
    let deadline = unsafe { pg_sys::GetCurrentTimestamp() } + PATIENCE * 1_000;
    loop {
        let now = unsafe { pg_sys::GetCurrentTimestamp() };
        let mut heads = memory.lock();
        let resets = heads.resets();
        let Some(head) = heads.head(set) else {
            return Next::Unknown;
        };
        head.try_again(now);
        let keys = collect(head);
        if !keys.is_empty() {
            return Next::Candidates(keys, head.known());
        }
        if let Some(look) = head.begin_look(last) {
            drop(heads);
            transaction::begin_look(memory, set, resets);
            return Next::Look(Look {
                memory,
                set,
                resets,
                look,
            });
        }
        // Who has some in hand does not wait for others: they might wait for these.
        if !head.is_in_motion() || transaction::has_trial() {
            return Next::Nothing;
        }
        drop(heads);
        if now >= deadline {
            return Next::Unknown;
        }
        let still = || {
            let mut heads = memory.lock();
            heads.head(set).is_some_and(|head| head.is_in_motion())
        };
        debug2!("waiting for cards that another session tries or looks for");
        memory.wait(still, PATIENCE);
        check_for_interrupts!();
    }
}

/// A look that this session has begun. Given up if it is dropped before its end, and where a
/// session is ended without that, by the end of its transaction.
pub struct Look {
    memory: Memory,
    set: Set,
    resets: u64,
    look: head::Look,
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
    fn end(self, found: &[Key], rest: Option<Key>) {
        let mut examined = Range::default();
        let mut heads = self.memory.lock();
        if heads.resets() == self.resets
            && let Some(head) = heads.head(self.set)
        {
            examined = head.end_look(&self.look, found, rest);
        }
        drop(heads);
        transaction::end_look(self.memory, self.set, examined);
        self.memory.wake();
    }

    /// Ends a look at claimable cards at the time `now`: `found` are the first `limit` of them.
    pub fn end_claims(self, found: &[Key], limit: usize, now: Key) {
        self.memory.lock().watch_due_from(now);
        let rest = (found.len() == limit).then(|| found[limit - 1] + 1);
        self.end(found, rest);
    }

    /// The times that a look at the time `now` reads: up to a little later, so that there are
    /// few looks, and no further, where what has long been removed would be walked over.
    pub fn window(&self, now: Key) -> Range {
        let to = now.saturating_add(WINDOW).max(self.look.range.from);
        Range {
            from: self.look.range.from,
            to: to.min(self.look.range.to),
        }
    }

    /// Ends a look at times: `times` are the first `LOOK + 1` of the window at `now`.
    pub fn end_times(self, times: &[Key], now: Key) {
        let window = self.window(now);
        let found = times.len().min(LOOK);
        let rest = times.get(LOOK).copied().or_else(|| {
            let all = window.to == self.look.range.to;
            (!all).then_some(window.to)
        });
        self.end(&times[..found], rest);
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        transaction::give_up_look();
    }
}

/// Candidates whose cards are members indeed, but locked by somebody else. False if there is
/// no room to put them aside.
pub fn put_aside(set: Set, keys: &[Key]) -> bool {
    if keys.is_empty() {
        return true;
    }
    let again_at = unsafe { pg_sys::GetCurrentTimestamp() } + AGAIN_AFTER;
    let done = memory::attach()
        .lock()
        .head(set)
        .is_none_or(|head| head.put_aside(keys, again_at));
    transaction::remove_taken(set, keys);
    done
}

/// Takes candidates that may be none any more. Others wait until they are `tried`, and pass none of
/// them over.
pub fn begin_sift(set: Set) -> Vec<Key> {
    let memory = memory::attach();
    let sift = |head: &mut head::Head| head.begin_sift(LOOK);
    let keys = memory.lock().head(set).map_or_else(Vec::new, sift);
    if !keys.is_empty() {
        transaction::begin_sift(memory, set, &keys);
    }
    keys
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

/// Takes all that was put aside, before its time, ascending; as `next`.
pub fn take_locked(set: Set) -> Vec<Key> {
    let memory = memory::attach();
    let mut heads = memory.lock();
    let mut keys = Vec::new();
    if let Some(head) = heads.head(set) {
        keys = head.take_locked();
        head.begin_trial(&keys);
    }
    drop(heads);
    if !keys.is_empty() {
        transaction::begin_trial(memory, set, &keys);
    }
    keys
}

/// No member of the set sorts below, whether it is known, unknown or being tried.
pub fn floor(set: Set) -> Key {
    memory::attach()
        .lock()
        .head(set)
        .map_or(Key::MIN, |head| head.floor())
}

/// A card waits for a time that another session has seen come already.
pub fn waits_again(time: Key) {
    let times = &mut [time];
    let added = Addition::new(times);
    if let Some(head) = memory::attach().lock().head(Set::Due) {
        head.add(&added);
    }
}

/// Of claimable cards that require nothing, those that claims which name nothing would not find.
pub fn unseen(cards: &[(Key, Option<Key>)]) -> Vec<Key> {
    memory::peek(|heads| heads.unseen(cards)).unwrap_or_default()
}

/// Where it is kept when waiters were last woken.
#[derive(Clone, Copy, PartialEq)]
pub struct Waking(Memory);

pub fn waking() -> Waking {
    Waking(memory::attach())
}

impl Waking {
    /// The turn to wake waiters, if nobody had it in the last `throttle` microseconds.
    pub fn take_turn(self, throttle: i64) -> Option<Turn> {
        let now = unsafe { pg_sys::GetCurrentTimestamp() };
        let before = self.0.lock().take_turn(now, throttle)?;
        Some(Turn {
            memory: self.0,
            now,
            before,
        })
    }
}

pub struct Turn {
    memory: Memory,
    now: i64,
    before: i64,
}

impl Turn {
    /// Nobody was woken after all.
    pub fn give_back(self) {
        self.memory.lock().give_turn_back(self.now, self.before);
    }
}
