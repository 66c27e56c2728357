//! The heads of one database, as plain data: a head for each filter of claims, one for leases and
//! one for cards that wait for their time.

use super::head::{Head, Key, Range};

const FILTERS: usize = 256;

/// Which cards a head is about, as a fingerprint; zeros for a claim that names nothing.
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
pub struct Heads {
    leases: Head,
    due: Head,
    /// From here on `due` knows of all cards that wait for their time, and up to here those
    /// were made known to claims.
    due_from: Key,
    due_until: Key,
    claims: [Claims; FILTERS],
    claims_len: usize,
    uses: u64,
    /// How often all was forgotten.
    resets: u64,
    /// When waiters were last woken.
    woken_at: i64,
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

impl Heads {
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
        // Made known before the look, which then passed over them.
        if now < self.due_until {
            self.due.forget(Range {
                from: now,
                to: self.due_until.saturating_add(1),
            });
            self.due_until = now;
        }
    }

    /// The cards that wait for `times` are known to claims.
    pub fn end_due(&mut self, times: &[Key]) {
        self.due.remove(times);
        for time in times {
            self.due_until = self.due_until.max(*time);
        }
    }

    /// Forgets all. Looks that are under way end without effect.
    pub fn reset(&mut self) {
        self.resets += 1;
        self.leases = Head::unexamined(Key::MIN);
        self.due = Head::unexamined(Key::MAX);
        self.due_from = Key::MAX;
        self.due_until = Key::MIN;
        self.claims_len = 0;
        for claims in &mut self.claims {
            claims.generation = 0;
        }
    }

    pub fn may_wake(&mut self, now: i64, throttle: i64) -> bool {
        // A time ahead is one from before the clock was set back.
        let may = now - self.woken_at >= throttle || now < self.woken_at;
        if may {
            self.woken_at = now;
        }
        may
    }

    pub fn resets(&self) -> u64 {
        self.resets
    }
}
