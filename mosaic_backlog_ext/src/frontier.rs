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
//! - `gate`: the counters of dependents, and who is woken when one opens
//! - `head`: the knowledge about one ordered set, as plain data
//! - `audit`: the knowledge compared with the table, for whatever is wrong in it
//! - `heads`: all of them of one database
//! - `key`: where a card stands in the order of a head
//! - `memory`: the shared memory that they live in
//! - `report`: what audits have found, for operators
//! - `transaction`: commit and rollback
//! - `watch`: the trigger that sees every change of a card

mod addition;
mod audit;
mod few;
pub mod gate;
mod head;
mod heads;
mod key;
mod memory;
mod report;
pub mod scheduled;
mod transaction;
pub mod wake;
mod watch;

use std::collections::HashSet;

use pgrx::prelude::*;
use sha2::{Digest, Sha256};

use crate::postgres::clock;
use crate::postgres::roles;
use addition::Addition;
pub use audit::{AUDITED, Audit, audit};
pub use head::SCAN;
use heads::Filter;
pub use heads::Set;
pub use key::{Key, Range};
use memory::Memory;
pub use memory::{Sharing, sharing};
pub use report::report;
pub use transaction::{
    add_claimable, add_come, add_lease, own_claimable, own_floor, own_leases_end, own_taken,
    take_own_scheduled,
};
pub use watch::opened;

/// How long a card that somebody has locked is left alone while others can be had.
const AGAIN_AFTER: i64 = 10_000;
/// How far ahead a scan at times reads, in microseconds.
const WINDOW: i64 = 1_000_000;
/// How long one waits for what somebody else does, in milliseconds, before scanning the table.
const PATIENCE: i64 = 100;

fn now() -> i64 {
    clock::server()
}

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
    let memory = memory::attach();
    memory.lock().claims(filter, roles::process(), now())
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

/// The same, also where another session has them in hand.
pub fn may_come(set: Set, last: Key) -> bool {
    memory::attach()
        .lock()
        .head(set)
        .is_some_and(|head| head.concerns(last) || head.tries(last))
}

/// How to go on.
pub enum Next {
    /// The first members in order, as far as is known, and up to where that is; they are this
    /// flight's.
    Candidates(Vec<Key>, Key),
    /// A range has to be looked through first.
    Scan(Scan),
    /// Somebody else scans or tries, and takes long.
    Unknown,
    /// There are none.
    Nothing,
}

/// Candidates of one set that this session tries. Others wait for what becomes of them, until it
/// is dropped; where a session is ended without that, until the end of its transaction. It is told
/// what became of each: `settle` or `put_aside`; what it was not told of is given back when it is
/// dropped, whatever the way out. A flight may be begun while another is open: a trigger of a user's
/// can claim.
pub struct Flight {
    memory: Memory,
    set: Set,
    /// Known once there is anything in flight.
    id: Option<u64>,
    /// Those of which it was not told yet.
    open: Vec<Key>,
}

impl Flight {
    pub fn begin(set: Set) -> Self {
        Self {
            memory: memory::attach(),
            set,
            id: None,
            open: Vec::new(),
        }
    }

    /// The next candidates of the set up to `last`, at most `max`.
    pub fn next(&mut self, last: Key, max: usize) -> Next {
        let deadline = now() + PATIENCE * 1_000;
        loop {
            let now = now();
            let mut heads = self.memory.lock();
            let resets = heads.resets();
            let Some(head) = heads.head(self.set) else {
                return Next::Unknown;
            };
            head.try_again(now);
            let mut keys = Vec::new();
            head.take(last, max, &mut keys);
            if !keys.is_empty() {
                let known = head.known();
                self.add(heads, &keys);
                return Next::Candidates(keys, known);
            }
            if let Some(scan) = head.begin_scan(last, now) {
                drop(heads);
                return Next::Scan(Scan {
                    id: transaction::begin_scan(self.memory, self.set, resets, scan.number),
                    memory: self.memory,
                    set: self.set,
                    resets,
                    scan,
                });
            }
            // Who has some in hand does not wait for others: they might wait for these.
            if !head.is_in_motion() || self.id.is_some() {
                return Next::Nothing;
            }
            drop(heads);
            if now >= deadline || transaction::has_flight() {
                return Next::Unknown;
            }
            let still = || {
                let mut heads = self.memory.lock();
                heads.head(self.set).is_some_and(|head| head.is_in_motion())
            };
            debug2!("waiting for cards that another session tries or looks for");
            self.memory.wait(still, PATIENCE);
            check_for_interrupts!();
        }
    }

    /// Puts taken candidates in flight.
    fn add(&mut self, mut heads: memory::Locked, keys: &[Key]) {
        let resets = heads.resets();
        let Some(head) = heads.head(self.set) else {
            return;
        };
        self.open.extend(keys);
        match self.id {
            Some(id) => {
                if transaction::resets_of_flight(id) == Some(resets) {
                    head.extend_flight(keys);
                }
                drop(heads);
                transaction::extend_flight(id, keys);
            }
            None => {
                let epoch = head.begin_flight(keys);
                drop(heads);
                let id = transaction::begin_flight(self.memory, self.set, resets, epoch, keys);
                self.id = Some(id);
            }
        }
    }

    /// Takes all that was put aside, before its time, ascending.
    pub fn take_locked(&mut self) -> Vec<Key> {
        let mut heads = self.memory.lock();
        let keys = heads
            .head(self.set)
            .map_or_else(Vec::new, |head| head.take_locked());
        if !keys.is_empty() {
            self.add(heads, &keys);
        }
        keys
    }

    /// Takes candidates that may be none any more. Others pass none of them over.
    pub fn prune(&mut self) -> Vec<Key> {
        let mut heads = self.memory.lock();
        let keys = heads
            .head(self.set)
            .map_or_else(Vec::new, |head| head.begin_prune(SCAN));
        if !keys.is_empty() {
            self.add(heads, &keys);
            if let Some(id) = self.id {
                transaction::prune_flight(id);
            }
        }
        keys
    }

    /// Candidates that are none any more: taken, or found to be no members.
    pub fn settle(&mut self, keys: &[Key]) {
        let told: HashSet<&Key> = keys.iter().collect();
        self.open.retain(|key| !told.contains(key));
    }

    /// Candidates whose cards are members indeed, but locked by somebody else. False if there is
    /// no room to put them aside.
    pub fn put_aside(&mut self, keys: &[Key]) -> bool {
        if keys.is_empty() {
            return true;
        }
        self.settle(keys);
        let again_at = now() + AGAIN_AFTER;
        let done = self
            .memory
            .lock()
            .head(self.set)
            .is_none_or(|head| head.put_aside(keys, again_at));
        transaction::remove_taken(self.set, keys);
        done
    }

    /// The cards that waited for `times`, which are this flight's, have become claimable.
    pub fn come(mut self, times: &[Key], mut orders: Vec<Key>) {
        self.settle(times);
        let added = Addition::new(&mut orders);
        let mut heads = self.memory.lock();
        heads.add_claimable(&added);
        heads.end_scheduled(times);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.open.is_empty() {
            if let Some(head) = self.memory.lock().head(self.set) {
                head.give_back(&self.open);
            }
            transaction::remove_taken(self.set, &self.open);
        }
        if let Some(id) = self.id {
            transaction::end_flight(id);
        }
    }
}

/// A scan that this session has begun. Given up if it is dropped before its end, and where a
/// session is ended without that, by the end of its transaction.
pub struct Scan {
    id: u64,
    memory: Memory,
    set: Set,
    resets: u64,
    scan: head::Scan,
}

impl Scan {
    pub fn range(&self) -> Range {
        self.scan.range
    }

    /// Whether no key has been seen in the set yet.
    pub fn is_first(&self) -> bool {
        self.scan.highest.is_none()
    }

    /// The last key that any card has: there is nothing to be looked for behind it.
    pub fn set_highest(&mut self, highest: Option<Key>) {
        self.scan.highest = highest;
    }

    /// `found` are all members of the range before `rest`, ascending; `None`: all of it.
    fn end(self, found: &[Key], rest: Option<Key>) {
        let mut examined = Range::default();
        let mut heads = self.memory.lock();
        if heads.resets() == self.resets
            && let Some(head) = heads.head(self.set)
        {
            examined = head.end_scan(&self.scan, found, rest);
        }
        drop(heads);
        transaction::end_scan(self.id, self.memory, self.set, examined);
        self.memory.wake();
    }

    /// Ends a scan at claimable cards at the time `now`: `found` are the first `limit` of them.
    pub fn end_claims(self, found: &[Key], limit: usize, now: Key) {
        self.memory.lock().watch_scheduled_from(now);
        let rest = (found.len() == limit).then(|| found[limit - 1] + 1);
        self.end(found, rest);
    }

    /// The times that a scan at the time `now` reads: up to a little later, so that there are
    /// few scans, and no further, where what has long been removed would be walked over.
    pub fn window(&self, now: Key) -> Range {
        let to = now.saturating_add(WINDOW).max(self.scan.range.from);
        Range {
            from: self.scan.range.from,
            to: to.min(self.scan.range.to),
        }
    }

    /// Ends a scan at times: `times` are the first `SCAN + 1` of the window at `now`.
    pub fn end_times(self, times: &[Key], now: Key) {
        let window = self.window(now);
        let found = times.len().min(SCAN);
        let rest = times.get(SCAN).copied().or_else(|| {
            let all = window.to == self.scan.range.to;
            (!all).then_some(window.to)
        });
        self.end(&times[..found], rest);
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        transaction::give_up_scan(self.id);
    }
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
    if let Some(head) = memory::attach().lock().head(Set::Scheduled) {
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
        let now = now();
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
