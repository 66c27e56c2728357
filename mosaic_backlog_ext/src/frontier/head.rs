//! What is known of the front of one ordered set of cards, as plain data without pointers.
//!
//! Every member of the set is a candidate, or waits for another scan because somebody has it
//! locked, or lies in a range that has not been examined, or has been taken by a transaction
//! that gives it back if it ends without effect. Whatever else is in here costs a vain scan at
//! one row and nothing more, since the row decides.
//!
//! A commit runs through it, where nothing may panic: see `transaction::end`.

#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod proof;

use super::addition::{Addition, SPANS};
use super::few::Few;
use super::key::{Key, Range};
pub use proof::Lost;
use proof::{Proof, Stuck};

const CANDIDATES: usize = 128;
const RANGES: usize = 16;
const LOCKED: usize = 16;

/// Keys that one scan collects. The rest of the room is for those that come in between.
pub const SCAN: usize = 64;

/// A member that somebody else had locked.
#[derive(Clone, Copy)]
struct Locked {
    key: Key,
    again_at: i64,
}

#[derive(Clone, Copy)]
pub struct Head {
    /// Largest first, so that the next is at the end.
    candidates: [Key; CANDIDATES],
    candidates_len: usize,
    /// Not examined; ascending and disjoint.
    ranges: [Range; RANGES],
    ranges_len: usize,
    locked: [Locked; LOCKED],
    locked_len: usize,
    /// The largest key that has been seen; `Key::MIN`: none.
    highest: Key,
    /// Nothing has been added since a scan found the last range empty.
    settled: bool,
    /// Flights that are open at this moment.
    trying: usize,
    /// None of their candidates sorts below.
    trying_from: Key,
    /// A flight is of the epoch that it began in; each audit begins another.
    epoch: u64,
    /// The first of those that somebody prunes; `Key::MAX`: nobody does.
    pruned_from: Key,
    /// A scan is under way; what came in meanwhile may lie in what it has examined.
    looking: bool,
    scanning_from: Key,
    added_meanwhile: bool,
    smallest_meanwhile: Key,
    /// Tells one scan from the next.
    scans: u64,
    scanning_since: i64,
    proof: Proof,
    stuck: Stuck,
}

/// A scan at the first unexamined range, to be ended by `Head::end_look` or `give_up_look`.
#[derive(Clone, Copy)]
pub struct Scan {
    pub range: Range,
    /// No key above has been seen; what appears there meanwhile has told so.
    pub highest: Option<Key>,
    pub number: u64,
}

impl Head {
    /// Of a set of which nothing is known at the time `now` but that it has no keys below `from`.
    pub const fn unexamined(from: Key, now: i64) -> Self {
        Self {
            candidates: [0; CANDIDATES],
            candidates_len: 0,
            ranges: [Range { from, to: Key::MAX }; RANGES],
            ranges_len: 1,
            locked: [Locked {
                key: 0,
                again_at: 0,
            }; LOCKED],
            locked_len: 0,
            highest: Key::MIN,
            settled: false,
            trying: 0,
            trying_from: Key::MAX,
            epoch: 1,
            pruned_from: Key::MAX,
            looking: false,
            scanning_from: Key::MIN,
            added_meanwhile: false,
            smallest_meanwhile: Key::MAX,
            scans: 0,
            scanning_since: 0,
            proof: Proof::none(now),
            stuck: Stuck::none(now),
        }
    }

    fn candidates(&self) -> &[Key] {
        self.candidates
            .get(..self.candidates_len)
            .unwrap_or(&self.candidates)
    }

    fn locked(&self) -> &[Locked] {
        self.locked.get(..self.locked_len).unwrap_or(&self.locked)
    }

    pub fn ranges(&self) -> &[Range] {
        self.ranges.get(..self.ranges_len).unwrap_or(&self.ranges)
    }

    /// The largest key that has been seen, if any.
    fn highest(&self) -> Option<Key> {
        (self.highest != Key::MIN).then_some(self.highest)
    }

    /// Nothing known or unknown sorts below, nor what is being tried.
    pub fn floor(&self) -> Key {
        let range = self.ranges().first().map_or(Key::MAX, |range| range.from);
        let candidate = self.candidates().last().copied().unwrap_or(Key::MAX);
        self.locked()
            .iter()
            .map(|locked| locked.key)
            .fold(range.min(candidate).min(self.trying_from), Key::min)
    }

    /// Whether a claim up to `last` needs an answer from the table: a candidate, or a scan.
    pub fn concerns(&self, last: Key) -> bool {
        self.candidates().last().is_some_and(|key| *key <= last)
            || self.locked_len > 0
            || !self.settled && self.ranges().first().is_some_and(|r| r.from <= last)
    }

    /// Whether members up to `last` may be among what others try at this moment.
    pub fn tries(&self, last: Key) -> bool {
        self.trying > 0 && self.trying_from <= last
    }

    /// Whether the next claim finds the member here, or is told of it by who has it in flight.
    pub fn covers(&self, key: Key) -> bool {
        self.candidates().contains(&key)
            || self.locked().iter().any(|l| l.key == key)
            || !self.settled && self.is_covered(key)
    }

    /// Members were added, or came back, each committed before this call. How much work that is
    /// does not depend on how many there are, but for their logarithm.
    pub fn add(&mut self, added: &Addition) {
        let Some(last) = added.last() else {
            return;
        };
        self.highest = self.highest.max(last);
        if self.looking {
            self.tell_scan(added.first_from(self.scanning_from).as_slice());
        }
        self.absolve(|key| added.first_from(key) == Some(key));
        self.settled = false;
        // What lies in a range is found by the next scan.
        let mut unknown: Few<Key, { CANDIDATES + 1 }> = Few::new(0);
        let mut from = Some(Key::MIN);
        for range in self.ranges() {
            added.collect(from.unwrap_or(Key::MAX), Some(range.from), &mut unknown);
            from = (range.to != Key::MAX).then_some(range.to);
        }
        if let Some(from) = from {
            added.collect(from, None, &mut unknown);
        }
        match unknown.items() {
            [] => {}
            [key] => self.remember(*key),
            keys => self.remember_some(keys, unknown.is_full().then_some(added)),
        }
    }

    /// What comes in while a scan is under way may lie in what it has examined already.
    fn tell_scan(&mut self, keys: &[Key]) {
        if self.looking {
            self.added_meanwhile = true;
            let inside = keys.partition_point(|key| *key < self.scanning_from);
            if let Some(key) = keys.get(inside) {
                self.smallest_meanwhile = self.smallest_meanwhile.min(*key);
            }
        }
    }

    /// Nothing is known of the keys from `from` up to `to` any more.
    pub fn forget(&mut self, range: Range) {
        // Whoever looked may have seen what only it saw, at the end of the order as well.
        self.settled = false;
        if range.from >= range.to {
            return;
        }
        self.tell_scan(&[range.from.max(self.scanning_from)]);
        self.cover_ranges(&[range]);
    }

    fn is_covered(&self, key: Key) -> bool {
        self.ranges()
            .iter()
            .any(|range| range.from <= key && (key < range.to || range.to == Key::MAX))
    }

    fn remember(&mut self, key: Key) {
        if self.candidates_len >= CANDIDATES {
            self.remember_some(&[key], None);
            return;
        }
        let at = self.candidates().partition_point(|other| *other > key);
        if self.candidates().get(at) == Some(&key) {
            return;
        }
        self.candidates.copy_within(at..self.candidates_len, at + 1);
        if let Some(slot) = self.candidates.get_mut(at) {
            *slot = key;
            self.candidates_len += 1;
        }
    }

    fn remember_many(&mut self, keys: &[Key]) {
        for some in keys.chunks(CANDIDATES) {
            self.remember_some(some, None);
        }
    }

    /// Takes the smallest as candidates and leaves the rest to scans of where they lie. With
    /// `more`, the keys are not all that it has.
    fn remember_some(&mut self, keys: &[Key], more: Option<&Addition>) {
        let mut all: Few<Key, { 2 * CANDIDATES + 1 }> = Few::new(0);
        for key in keys.iter().chain(self.candidates()) {
            all.push(*key);
        }
        all.items_mut().sort_unstable();
        all.merge(|kept, key| *kept == *key);
        let room = if all.items().len() > CANDIDATES {
            CANDIDATES - SCAN
        } else {
            CANDIDATES
        };
        let (kept, rest) = all.items().split_at(room.min(all.items().len()));
        self.candidates_len = kept.len();
        for (slot, key) in self.candidates.iter_mut().zip(kept.iter().rev()) {
            *slot = *key;
        }
        let Some(first) = rest.first() else {
            return;
        };
        self.tell_scan(rest);
        let mut ranges: Few<Range, { SPANS + 2 * CANDIDATES + 1 }> = Few::new(Range::default());
        for key in rest {
            ranges.push(Range {
                from: *key,
                to: key.saturating_add(1),
            });
        }
        for span in more.map_or(&[][..], Addition::spans) {
            if span.to > *first || span.to == Key::MAX {
                ranges.push(Range {
                    from: span.from.max(*first),
                    to: span.to,
                });
            }
        }
        self.cover_ranges(ranges.items());
    }

    /// Makes the ranges cover `more`, with as little else as there is room for.
    fn cover_ranges(&mut self, more: &[Range]) {
        const ALL: usize = RANGES + SPANS + 2 * CANDIDATES + 1;
        self.settled = false;
        let mut all: Few<Range, ALL> = Few::new(Range::default());
        for range in self.ranges().iter().chain(more) {
            all.push(*range);
        }
        all.items_mut().sort_unstable_by_key(|range| range.from);
        all.merge(|before, range| {
            let joined = range.from <= before.to;
            if joined {
                before.to = before.to.max(range.to);
            }
            joined
        });
        if all.items().len() > RANGES {
            let gap = |before: &Range, after: &Range| after.from.abs_diff(before.to);
            let mut gaps: Few<u64, ALL> = Few::new(0);
            for (before, after) in all.items().iter().zip(all.items().iter().skip(1)) {
                gaps.push(gap(before, after));
            }
            // The widest gaps stay out of it.
            let (_, narrow, _) = gaps
                .items_mut()
                .select_nth_unstable_by(RANGES - 1, |a, b| b.cmp(a));
            let narrow = *narrow;
            all.merge(|before, range| {
                let joined = gap(before, range) <= narrow;
                if joined {
                    before.to = range.to;
                }
                joined
            });
        }
        self.set_ranges(all.items());
    }

    fn set_ranges(&mut self, ranges: &[Range]) {
        self.ranges_len = ranges.len().min(RANGES);
        for (slot, range) in self.ranges.iter_mut().zip(ranges) {
            *slot = *range;
        }
    }

    /// All members below are candidates, or locked by somebody, or being tried one by one.
    pub fn known(&self) -> Key {
        let examined = match self.ranges().first() {
            Some(range) if !self.settled => range.from,
            _ => Key::MAX,
        };
        examined.min(self.pruned_from)
    }

    /// Takes up to `max` candidates that sort before all that is unexamined, up to `last`.
    pub fn take(&mut self, last: Key, max: usize, taken: &mut Vec<Key>) {
        let known = self.known();
        while taken.len() < max
            && let Some(key) = self.candidates().last().copied()
            && key <= last
            && key < known
        {
            self.candidates_len -= 1;
            taken.push(key);
        }
    }

    /// Begins a scan at the first unexamined range, if there is one up to `last`, nothing sorts
    /// before it and nobody scans already.
    pub fn begin_scan(&mut self, last: Key, now: i64) -> Option<Scan> {
        let range = *self.ranges().first()?;
        // Of what lies behind a prune nobody takes anything: a scan would find the same again.
        if self.settled || self.looking || range.from > last.min(self.pruned_from) {
            return None;
        }
        self.looking = true;
        self.scanning_since = now;
        self.scans += 1;
        self.scanning_from = range.from;
        self.added_meanwhile = false;
        self.smallest_meanwhile = Key::MAX;
        Some(Scan {
            range,
            highest: self.highest(),
            number: self.scans,
        })
    }

    pub fn is_scanning(&self) -> bool {
        self.looking
    }

    /// Candidates were taken that may come back at once. Gives the epoch of the flight.
    pub fn begin_flight(&mut self, keys: &[Key]) -> u64 {
        self.trying += 1;
        self.extend_flight(keys);
        self.epoch
    }

    /// More were taken for a flight that is open.
    pub fn extend_flight(&mut self, keys: &[Key]) {
        self.trying_from = keys.iter().copied().fold(self.trying_from, Key::min);
    }

    /// What became of `keys` is decided. Gives the members that turn out to have been lost.
    pub fn end_flight(&mut self, epoch: u64, keys: &[Key], prunes: bool) -> Option<Lost> {
        if prunes {
            self.pruned_from = Key::MAX;
        }
        if epoch < self.stuck.ignored_before {
            return None;
        }
        self.trying = self.trying.saturating_sub(1);
        if self.trying == 0 {
            self.trying_from = Key::MAX;
        }
        if epoch < self.stuck.epoch {
            self.stuck.count = self.stuck.count.saturating_sub(1);
        }
        if epoch < self.epoch {
            self.absolve(|key| keys.contains(&key));
            self.proof.older = self.proof.older.saturating_sub(1);
        }
        self.convict()
    }

    /// Takes the next candidates, up to `max`, that may be none any more. Nobody takes what sorts
    /// behind the first of them until `end_sift`. None if somebody does that already.
    pub fn begin_prune(&mut self, max: usize) -> Vec<Key> {
        let mut keys = Vec::new();
        if self.pruned_from == Key::MAX {
            self.take(Key::MAX, max, &mut keys);
            self.pruned_from = keys.first().copied().unwrap_or(Key::MAX);
        }
        keys
    }

    /// Whether there may be more in a moment.
    pub fn is_in_motion(&self) -> bool {
        self.looking || self.trying > 0
    }

    pub fn give_up_scan(&mut self, number: u64) {
        if number == self.scans {
            self.looking = false;
        }
    }

    /// Ends a scan. `found` are the members of the range in ascending order up to the first
    /// that is not in `found`; that is at `rest` or behind it, `None`: there is none.
    /// Gives the part of the order that is known now.
    pub fn end_scan(&mut self, scan: &Scan, found: &[Key], rest: Option<Key>) -> Range {
        if !self.looking || scan.number != self.scans {
            // It was given up for lost.
            return Range::default();
        }
        self.looking = false;
        let seen = found.last().copied().unwrap_or(Key::MIN);
        // A key that was added before the scan began is at most `scan.highest`; one that was
        // added meanwhile has told so.
        let end = match rest {
            Some(rest) => rest,
            None if scan.range.to == Key::MAX => scan
                .highest
                .unwrap_or(Key::MIN)
                .max(seen)
                .saturating_add(1)
                .max(scan.range.from),
            None => scan.range.to,
        };
        let end = end.min(self.smallest_meanwhile);
        // Ranges may have been joined to this one meanwhile; what lies before it stays.
        let examined = Range {
            from: scan.range.from,
            to: end,
        };
        self.uncover(examined);
        self.highest = self.highest.max(seen);
        if rest.is_none() && scan.range.to == Key::MAX && !self.added_meanwhile {
            self.settled = self.ranges_len == 1;
        }
        // What there is no room for is unexamined again, and nothing is settled then.
        let known = found.partition_point(|key| *key < end);
        self.remember_many(found.get(..known).unwrap_or(found));
        examined
    }

    /// Takes `examined` out of the range that it begins in.
    fn uncover(&mut self, examined: Range) {
        let mut left: Few<Range, { RANGES + 1 }> = Few::new(Range::default());
        for range in self.ranges() {
            let inside =
                range.from <= examined.from && (examined.from < range.to || range.to == Key::MAX);
            if !inside {
                left.push(*range);
                continue;
            }
            if range.from < examined.from {
                left.push(Range {
                    from: range.from,
                    to: examined.from,
                });
            }
            if examined.to < range.to || range.to == Key::MAX {
                left.push(Range {
                    from: examined.to,
                    to: range.to,
                });
            }
        }
        // One more than there is room for: the last two become one.
        if left.is_full()
            && let [.., last, end] = left.items_mut()
        {
            *last = Range {
                from: last.from,
                to: end.to,
            };
        }
        self.set_ranges(left.items());
    }

    /// Puts members aside that somebody else has locked, until `again_at`. Those for which
    /// there is no room stay candidates; then the answer is false.
    pub fn put_aside(&mut self, keys: &[Key], again_at: i64) -> bool {
        let mut put = 0;
        let free = self.locked.iter_mut().skip(self.locked_len);
        for (slot, key) in free.zip(keys) {
            *slot = Locked {
                key: *key,
                again_at,
            };
            put += 1;
        }
        self.locked_len += put;
        self.give_back(keys.get(put..).unwrap_or_default());
        put == keys.len()
    }

    /// Makes candidates again of those put aside whose time has come.
    pub fn try_again(&mut self, now: i64) {
        let mut index = 0;
        while let Some(locked) = self.locked().get(index).copied() {
            // A time far ahead is one from before the clock was set back.
            if locked.again_at <= now || locked.again_at > now + 1_000_000 {
                let last = self.locked().last().copied();
                if let Some(slot) = self.locked.get_mut(index) {
                    *slot = last.unwrap_or(locked);
                }
                self.locked_len = self.locked().len().saturating_sub(1);
                self.give_back(&[locked.key]);
            } else {
                index += 1;
            }
        }
    }

    /// Takes all that was put aside, ascending.
    pub fn take_locked(&mut self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.locked().iter().map(|locked| locked.key).collect();
        keys.sort_unstable();
        self.locked_len = 0;
        keys
    }

    /// Makes candidates of taken keys again.
    pub fn give_back(&mut self, keys: &[Key]) {
        self.absolve(|key| keys.contains(&key));
        self.make_candidates(keys);
    }

    fn make_candidates(&mut self, keys: &[Key]) {
        if let [key] = keys {
            self.remember(*key);
        } else if !keys.is_empty() {
            self.remember_many(keys);
        }
    }
}
