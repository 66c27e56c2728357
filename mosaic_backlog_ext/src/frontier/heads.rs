//! The heads of one database, as plain data: a head for each filter of claims, one for leases and
//! one for cards that wait for their time.
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

use std::ops::{Deref, DerefMut};
use std::thread::panicking;

use super::addition::Addition;
use super::head::{Head, Lost};
use super::key::{Key, Range};
use super::now;

pub const FILTERS: usize = 256;
/// A session that has so many heads of its own makes room among these.
pub const SHARE: usize = 32;
/// How long a head that several sessions have used stays before those of single ones, in
/// microseconds.
const STAYS: i64 = 60_000_000;

/// Which cards a head is about, as a fingerprint; zeros for a claim that names nothing.
pub type Filter = [u8; 16];

#[derive(Clone, Copy)]
struct Claims {
    filter: Filter,
    /// Distinguishes one use of the slot from the next; 0: never used.
    generation: u64,
    used_at: u64,
    /// The only session that has used it; 0: there are several.
    user: i32,
    /// When it was last used, in microseconds of the server's clock.
    seen_at: i64,
    head: Head,
}

impl Claims {
    /// Whether others than `user` have used it, and not long ago.
    fn is_shared(&self, now: i64) -> bool {
        // A time ahead is one from before the clock was set back.
        self.user == 0 && self.seen_at.abs_diff(now) < STAYS as u64
    }
}

/// The heads of one database.
pub struct Heads {
    leases: Head,
    due: Head,
    /// From here on `due` knows of all cards that wait for their time, and up to here those
    /// were made known to claims.
    scheduled_from: Key,
    scheduled_until: Key,
    claims: [Claims; FILTERS],
    claims_len: usize,
    uses: u64,
    /// How often all was forgotten.
    resets: u64,
    /// When waiters were last woken.
    woken_at: i64,
    audits: Audits,
}

/// Heads that are being changed. What a panic leaves half changed is not trusted: all is forgotten.
pub struct Changing<'a> {
    heads: &'a mut Heads,
    /// They are changed by what is dropped in the course of a panic, which is not theirs.
    in_panic: bool,
}

impl<'a> Changing<'a> {
    pub fn begin(heads: &'a mut Heads) -> Self {
        Self {
            heads,
            in_panic: panicking(),
        }
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        if panicking() && !self.in_panic {
            self.heads.reset();
        }
    }
}

impl Deref for Changing<'_> {
    type Target = Heads;

    fn deref(&self) -> &Heads {
        self.heads
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut Heads {
        self.heads
    }
}

/// What audits have found, of all sets.
#[derive(Clone, Copy)]
pub struct Audits {
    /// How many there were.
    pub count: u64,
    /// Cards, and ends of leases, that nobody knew of; when the last was found, and where.
    pub lost: u64,
    pub lost_at: i64,
    pub last: Option<(Set, Key)>,
    /// How many of them the server's log tells of.
    pub told: u64,
    /// Scans and flights that did not end.
    pub stuck: u64,
    pub stuck_at: i64,
    /// No audit before, so that they do not take more than a part of the time.
    free_at: i64,
}

/// How much longer than an audit took it is until the next.
const AUDIT_SHARE: i64 = 10;

/// One of the ordered sets of cards.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// Leases by their end.
    Leases,
    /// Cards that wait for their time, by it.
    Scheduled,
    /// Claimable cards that pass a filter, by claim order.
    Claims { slot: usize, generation: u64 },
}

impl Heads {
    /// The head of a set; `None` if its slot has been given to another filter.
    pub fn head(&mut self, set: Set) -> Option<&mut Head> {
        match set {
            Set::Leases => Some(&mut self.leases),
            Set::Scheduled => Some(&mut self.due),
            Set::Claims { slot, generation } => {
                let claims = self.claims.get_mut(slot)?;
                (claims.generation == generation).then_some(&mut claims.head)
            }
        }
    }

    fn used(&self) -> &[Claims] {
        self.claims.get(..self.claims_len).unwrap_or(&self.claims)
    }

    /// The set of cards that pass `filter`, for the session `user`.
    pub fn claims(&mut self, filter: Filter, user: i32, now: i64) -> Set {
        self.uses += 1;
        let mut used = self.used().iter();
        let known = used.position(|claims| claims.filter == filter);
        let slot = known.unwrap_or_else(|| {
            let slot = if self.claims_len < FILTERS {
                self.claims_len += 1;
                self.claims_len - 1
            } else {
                self.make_room(user, now)
            };
            if let Some(claims) = self.claims.get_mut(slot) {
                *claims = Claims {
                    filter,
                    generation: self.uses,
                    used_at: 0,
                    user,
                    seen_at: now,
                    head: Head::unexamined(Key::MIN, now),
                };
            }
            slot
        });
        let Some(claims) = self.claims.get_mut(slot) else {
            // A set without a head; there is no such slot.
            let generation = 0;
            return Set::Claims { slot, generation };
        };
        claims.used_at = self.uses;
        claims.seen_at = now;
        if claims.user != user {
            claims.user = 0;
        }
        Set::Claims {
            slot,
            generation: claims.generation,
        }
    }

    /// The head that gives way to another. The one of the claims that name nothing never does, as
    /// everybody has it. A session with many filters of its own takes from itself, so that it
    /// cannot push out what others use. Else it is one that a single session has used, or that
    /// nobody has for a while. Of several, the one that was not asked for the longest.
    fn make_room(&self, user: i32, now: i64) -> usize {
        let own = self.claims.iter().filter(|claims| claims.user == user);
        let has_many = own.count() >= SHARE;
        let rank = |claims: &Claims| {
            (
                claims.filter == Filter::default(),
                has_many && claims.user != user,
                claims.head.is_scanning(),
                claims.is_shared(now),
                claims.used_at,
            )
        };
        let slots = self.claims.iter().enumerate();
        slots
            .min_by_key(|(_, claims)| rank(claims))
            .map_or(0, |(slot, _)| slot)
    }

    /// Cards became claimable.
    pub fn add_claimable(&mut self, added: &Addition) {
        if !added.is_empty() {
            for claims in self.claims.iter_mut().take(self.claims_len) {
                claims.head.add(added);
            }
        }
    }

    /// Of claimable cards that require nothing, by their place in the order and the time that they
    /// waited for, those that a claim which names nothing would not find.
    pub fn unseen(&self, cards: &[(Key, Option<Key>)]) -> Vec<Key> {
        let Some(plain) = self.used().iter().find(|c| c.filter == Filter::default()) else {
            return Vec::new();
        };
        let holds = |head: &Head, key| head.covers(key) || head.tries(key);
        cards
            .iter()
            .filter(|(key, at)| {
                !holds(&plain.head, *key) && !at.is_some_and(|at| holds(&self.due, at))
            })
            .map(|(key, _)| *key)
            .collect()
    }

    /// A scan at claimable cards at the time `now` passes over those that wait for a later one.
    pub fn watch_scheduled_from(&mut self, now: Key) {
        if now < self.scheduled_from {
            self.due.forget(Range {
                from: now,
                to: self.scheduled_from,
            });
            self.scheduled_from = now;
        }
        // Made known before the scan, which then passed over them.
        if now < self.scheduled_until {
            self.due.forget(Range {
                from: now,
                to: self.scheduled_until.saturating_add(1),
            });
            self.scheduled_until = now;
        }
    }

    /// The cards that wait for `times` are known to claims: a scan whose clock is behind that of
    /// whoever made them known passes them over, and makes these times unknown.
    pub fn end_scheduled(&mut self, times: &[Key]) {
        for time in times {
            self.scheduled_until = self.scheduled_until.max(*time);
        }
    }

    /// Forgets all. Scans that are under way end without effect.
    pub fn reset(&mut self) {
        self.resets += 1;
        self.leases = Head::unexamined(Key::MIN, now());
        self.due = Head::unexamined(Key::MAX, now());
        self.scheduled_from = Key::MAX;
        self.scheduled_until = Key::MIN;
        self.claims_len = 0;
        for claims in &mut self.claims {
            claims.generation = 0;
        }
    }

    /// Gives when waiters were woken before, if that is `throttle` ago.
    pub fn take_turn(&mut self, now: i64, throttle: i64) -> Option<i64> {
        // A time ahead is one from before the clock was set back.
        let is_due = now - self.woken_at >= throttle || now < self.woken_at;
        is_due.then(|| std::mem::replace(&mut self.woken_at, now))
    }

    /// The turn taken `now` woke nobody.
    pub fn give_turn_back(&mut self, now: i64, before: i64) {
        if self.woken_at == now {
            self.woken_at = before;
        }
    }

    /// How often claims asked for a head.
    pub fn uses(&self) -> u64 {
        self.uses
    }

    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// A flight is over, of candidates of one of the sets.
    pub fn end_flight(&mut self, set: Set, epoch: u64, keys: &[Key], prunes: bool) {
        let lost = self
            .head(set)
            .and_then(|head| head.end_flight(epoch, keys, prunes));
        self.add_lost(set, lost);
    }

    /// Begins an audit of the set if none was made for `interval`, and the last ones left time.
    /// Gives its number.
    pub fn begin_audit(&mut self, set: Set, now: i64, interval: i64, patience: i64) -> Option<u64> {
        let is_free = interval == 0
            || now >= self.audits.free_at
            || self.audits.free_at - now > AUDIT_SHARE * patience.max(interval);
        let head = self.head(set)?;
        if !is_free || !head.is_unproved(now, interval, patience) {
            return None;
        }
        let (number, mut was_stuck) = head.begin_audit(now, patience);
        // Times are not compared by themselves: whose card nobody knows of is found by its order.
        was_stuck |= self.due.give_up_stuck(now, patience);
        self.audits.count += 1;
        if was_stuck {
            self.audits.stuck += 1;
            self.audits.stuck_at = now;
        }
        Some(number)
    }

    /// Which of the first members of the set that the table has, ascending and each with the time
    /// that it waited for, are not known.
    pub fn suspect(&mut self, set: Set, number: u64, found: &[(Key, Option<Key>)]) -> Vec<Key> {
        let keys = self.unknown_to_scheduled(found);
        self.head(set)
            .map_or_else(Vec::new, |head| head.suspect(number, &keys))
    }

    /// Ends an audit of the set that began at the time `begun`. `free` are the suspects that
    /// nobody has, each with the time that it waited for.
    pub fn end_audit(&mut self, set: Set, number: u64, free: &[(Key, Option<Key>)], begun: i64) {
        let keys = self.unknown_to_scheduled(free);
        let now = now();
        let lost = self
            .head(set)
            .and_then(|head| head.end_audit(number, &keys, now));
        self.add_lost(set, lost);
        self.audits.free_at = now + AUDIT_SHARE * (now - begun).max(0);
    }

    /// What waited for a time may be known by it, or be in flight with it. Both pass: a flight ends,
    /// and a commit tells of its times. So it is asked when an audit has read and when it ends.
    fn unknown_to_scheduled(&self, cards: &[(Key, Option<Key>)]) -> Vec<Key> {
        let is_unknown = |at: Key| !self.due.covers(at) && !self.due.tries(at);
        let cards = cards.iter();
        cards
            .filter(|(_, at)| at.is_none_or(is_unknown))
            .map(|(key, _)| *key)
            .collect()
    }

    fn add_lost(&mut self, set: Set, lost: Option<Lost>) {
        if let Some(lost) = lost {
            self.audits.lost += lost.count;
            self.audits.lost_at = now();
            self.audits.last = Some((set, lost.first));
        }
    }

    /// The memory is new.
    pub fn forget_audits(&mut self) {
        self.audits = Audits {
            count: 0,
            lost: 0,
            lost_at: 0,
            last: None,
            told: 0,
            stuck: 0,
            stuck_at: 0,
            free_at: 0,
        };
    }

    pub fn audits(&self) -> Audits {
        self.audits
    }

    /// How many were lost that nobody was told of.
    pub fn take_untold(&mut self) -> u64 {
        let untold = self.audits.lost.saturating_sub(self.audits.told);
        self.audits.told = self.audits.lost;
        untold
    }
}
