//! What audits of a head know: when it was last compared with the table, whom they suspect to be lost,
//! and what does not end.
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

use super::{Few, Head, Key};

const SUSPECTS: usize = 16;

/// When all this was last compared with the table, and what has come of it.
#[derive(Clone, Copy)]
pub(super) struct Proof {
    /// When an audit last ended, and began; microseconds of the server's clock.
    pub(super) proved_at: i64,
    pub(super) begun_at: i64,
    /// Members that the table has and that were not known here. Whoever has them in hand after
    /// all says so, and takes them off.
    pub(super) suspects: Few<Key, SUSPECTS>,
    /// Flights that were open when they were found, and have not ended.
    pub(super) older: usize,
    /// An audit is under way.
    pub(super) running: bool,
    /// Tells one audit from the next.
    pub(super) number: u64,
}

/// Members that nobody knew of, and that nobody had in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    pub count: u64,
    pub first: Key,
}

/// Flights that do not end hold up every claim that finds nothing.
#[derive(Clone, Copy)]
pub(super) struct Stuck {
    /// When those were counted that were open.
    pub(super) at: i64,
    /// The epoch that began then.
    pub(super) epoch: u64,
    pub(super) count: usize,
    /// Flights of before are not counted any more.
    pub(super) ignored_before: u64,
}

impl Proof {
    pub(super) const fn none(now: i64) -> Self {
        Self {
            proved_at: now,
            begun_at: now,
            suspects: Few::new(0),
            older: 0,
            running: false,
            number: 0,
        }
    }
}

impl Stuck {
    pub(super) const fn none(now: i64) -> Self {
        Self {
            at: now,
            epoch: 0,
            count: 0,
            ignored_before: 0,
        }
    }
}

impl Head {
    /// Whether all this was not compared with the table for `interval`, and nobody does that. One
    /// that has not ended for `patience` does not count.
    pub fn is_unproved(&self, now: i64, interval: i64, patience: i64) -> bool {
        if self.proof.running && now - self.proof.begun_at < patience {
            return false;
        }
        let last = self.proof.proved_at.max(self.proof.begun_at);
        // A time ahead is one from before the clock was set back.
        now - last >= interval || now < last
    }

    /// An audit begins. What has not ended for `patience` is given up for lost. Gives the number
    /// of the audit, and whether anything was given up.
    pub fn begin_audit(&mut self, now: i64, patience: i64) -> (u64, bool) {
        self.proof.begun_at = now;
        self.proof.running = true;
        self.proof.number += 1;
        self.proof.suspects = Few::new(0);
        (self.proof.number, self.give_up_stuck(now, patience))
    }

    /// Gives up for lost what has not ended for `patience`. Whether there was anything.
    pub fn give_up_stuck(&mut self, now: i64, patience: i64) -> bool {
        let mut was_stuck = false;
        if self.looking && now - self.scanning_since >= patience {
            self.looking = false;
            was_stuck = true;
        }
        if now - self.stuck.at >= patience {
            if self.stuck.count > 0 {
                self.trying = self.trying.saturating_sub(self.stuck.count);
                self.stuck.ignored_before = self.stuck.epoch;
                self.pruned_from = Key::MAX;
                if self.trying == 0 {
                    self.trying_from = Key::MAX;
                }
                was_stuck = true;
            }
            self.epoch += 1;
            self.stuck.at = now;
            self.stuck.epoch = self.epoch;
            self.stuck.count = self.trying;
        }
        was_stuck
    }

    fn is_audited_by(&self, number: u64) -> bool {
        self.proof.running && self.proof.number == number
    }

    /// The audit was cut off: the next claim makes another.
    pub fn give_up_audit(&mut self, number: u64) {
        if self.is_audited_by(number) {
            self.proof.begun_at = self.proof.proved_at;
            self.proof.running = false;
            self.proof.suspects = Few::new(0);
        }
    }

    /// Which of the members that the table has, ascending, are not known here. They may be in
    /// somebody's hands: whoever has them says so from now on.
    pub fn suspect(&mut self, number: u64, found: &[Key]) -> Vec<Key> {
        if !self.is_audited_by(number) {
            return Vec::new();
        }
        let unknown: Vec<Key> = found
            .iter()
            .copied()
            .filter(|key| !self.covers(*key))
            .collect();
        self.epoch += 1;
        let proof = &mut self.proof;
        proof.older = self.trying;
        proof.suspects = Few::new(0);
        for key in &unknown {
            proof.suspects.push(*key);
        }
        unknown
    }

    /// Ends an audit: of the suspects, `free` can be claimed indeed, and nobody is about to tell of
    /// them. Gives those that turn out to have been lost; others may later, when flights end.
    pub fn end_audit(&mut self, number: u64, free: &[Key], now: i64) -> Option<Lost> {
        if !self.is_audited_by(number) {
            return None;
        }
        self.absolve(|key| !free.contains(&key));
        self.proof.running = false;
        self.proof.proved_at = now;
        self.settled &= free.is_empty();
        self.make_candidates(free);
        self.convict()
    }

    /// These were in somebody's hands.
    pub(super) fn absolve(&mut self, was_in_hand: impl Fn(Key) -> bool) {
        if self.proof.suspects.items().is_empty() {
            return;
        }
        let mut kept = Few::new(0);
        for key in self.proof.suspects.items() {
            if !was_in_hand(*key) {
                kept.push(*key);
            }
        }
        self.proof.suspects = kept;
    }

    /// The suspects were in nobody's hands, once all have spoken.
    pub(super) fn convict(&mut self) -> Option<Lost> {
        if self.proof.running || self.proof.older > 0 {
            return None;
        }
        let suspects = std::mem::replace(&mut self.proof.suspects, Few::new(0));
        suspects.items().first().map(|first| Lost {
            count: suspects.items().len() as u64,
            first: *first,
        })
    }
}
