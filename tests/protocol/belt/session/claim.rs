//! A claim, as in `mosaic_backlog_ext/src/verb/claim/next.rs`.

use std::collections::HashSet;

use super::super::INTERVAL;
use super::super::bug::Bug;
use super::super::world::Kind;
use super::flight::Next;
use super::{ALL, Session, step};
use crate::real_head::frontier::addition::Addition;
use crate::real_head::frontier::head::{SCAN, Scan};
use crate::real_head::frontier::heads::Set;
use crate::real_head::frontier::key::{Key, Range};

/// How many members an audit looks at.
const AUDITED: usize = 128;

impl Session {
    pub(super) async fn claim(&self, kind: Kind, mut wanted: usize) {
        let (clock, now) = {
            let world = self.world();
            (world.clock, world.clock + world.pending[self.me].skew)
        };
        let early = self.has(Bug::ScanReadEarly);
        let early = early.then(|| self.read(kind, ALL, now));
        let all_came = self.promote(now).await;
        let set = self
            .world()
            .heads
            .claims(kind.filter(), self.me as i32 + 1, clock);
        self.prove(set, kind, now).await;
        if !all_came {
            self.scan_table(kind, Key::MIN, wanted, now);
            return;
        }
        let mut tried = HashSet::new();
        while wanted > 0 {
            let mut flight = None;
            let gathered = self
                .gather(&mut flight, set, kind, wanted, now, &early)
                .await;
            let Some((shared, known)) = gathered else {
                self.end_flight(flight);
                self.scan_table_from_floor(set, kind, wanted, now);
                break;
            };
            let (again, mut keys): (Vec<Key>, Vec<Key>) =
                shared.into_iter().partition(|key| tried.contains(key));
            let surplus: Vec<Key> = keys.extract_if(.., |key| *key >= known).collect();
            self.give_back(set, &surplus);
            let mut has_room = self.put_aside(set, &again);
            if keys.is_empty() {
                self.end_flight(flight);
                if again.is_empty() {
                    self.take_locked(set, kind, wanted, now).await;
                    break;
                }
                if !has_room {
                    self.scan_table_from_floor(set, kind, wanted, now);
                    break;
                }
                continue;
            }
            step().await;
            let taken: Vec<Key> = keys
                .extract_if(.., |key| self.take(kind, *key, now))
                .collect();
            wanted -= taken.len();
            if self.random(8) == 0 {
                self.claim_within().await;
            }
            step().await;
            let locked = self.settle(kind, &keys, now);
            if !self.has(Bug::LockedDropped) {
                has_room &= self.put_aside(set, &locked);
            }
            self.end_flight(flight);
            if !has_room && wanted > 0 {
                self.scan_table_from_floor(set, kind, wanted, now);
                break;
            }
            if taken.is_empty() && locked.is_empty() {
                self.prune(set).await;
            }
            tried.extend(locked);
        }
    }

    /// As a trigger of a user's may, in a subtransaction.
    async fn claim_within(&self) {
        let depth = self.pending(|pending| {
            pending.depth += 1;
            pending.depth
        });
        if depth < 3 {
            Box::pin(self.claim(self.kind(), 1)).await;
        }
        if self.random(2) == 0 {
            self.undo(depth).await;
        }
        self.world().leave(self.me);
    }

    /// Takes the card if it is there and free.
    fn take(&self, kind: Kind, key: Key, now: Key) -> bool {
        let mut world = self.world();
        let taken = world.is_claimable(self.me, kind, key, now) && world.is_free(self.me, key);
        if taken {
            world.change(self.me, key, false);
        }
        taken
    }

    /// Which of those that could not be taken somebody has locked.
    fn settle(&self, kind: Kind, keys: &[Key], now: Key) -> Vec<Key> {
        let mut world = self.world();
        let mut locked = Vec::new();
        for key in keys {
            if !world.is_open(self.me, *key) || !kind.passes(*key) {
                continue;
            }
            match world.cards[key].at.filter(|at| *at > now) {
                Some(at) => {
                    if let Some(head) = world.heads.head(Set::Scheduled) {
                        head.add(&Addition::new(&mut [at]));
                    }
                }
                None => locked.push(*key),
            }
        }
        locked
    }

    async fn gather(
        &self,
        flight: &mut Option<u64>,
        set: Set,
        kind: Kind,
        wanted: usize,
        now: Key,
        early: &Option<Vec<Key>>,
    ) -> Option<(Vec<Key>, Key)> {
        let mut keys = Vec::new();
        loop {
            match self.next(flight, set, Key::MAX, wanted - keys.len()).await {
                Next::Candidates(more, known) => {
                    keys.extend(more);
                    if keys.len() == wanted {
                        return Some((keys, known));
                    }
                }
                Next::Scan(scan) => self.scan(set, kind, scan, early.clone(), now).await,
                Next::Nothing => return Some((keys, Key::MAX)),
                Next::Unknown => {
                    self.give_back(set, &keys);
                    return None;
                }
            }
        }
    }

    fn read(&self, kind: Kind, range: Range, now: Key) -> Vec<Key> {
        let rows = self.world().claimable(self.me, kind, range, now);
        rows.into_iter().map(|(key, _)| key).collect()
    }

    async fn scan(
        &self,
        set: Set,
        mut kind: Kind,
        mut scan: Scan,
        early: Option<Vec<Key>>,
        now: Key,
    ) {
        step().await;
        if self.has(Bug::OtherFilter) {
            kind = kind.other();
        }
        let range = scan.range;
        let mut found = early.unwrap_or_else(|| self.read(kind, range, now));
        found.retain(|key| range.from <= *key && *key <= range.last());
        found.truncate(SCAN);
        if self.has(Bug::LockedNotSeen) {
            let world = self.world();
            found.retain(|key| world.is_free(self.me, *key));
        }
        if found.is_empty() && scan.highest.is_none() {
            scan.highest = self.world().last(self.me);
        }
        step().await;
        if !self.has(Bug::TimesNotWatched) {
            self.world().heads.watch_scheduled_from(now);
        }
        let mut rest = (found.len() == SCAN).then(|| found[SCAN - 1] + 1);
        if self.has(Bug::RestSkipped) {
            rest = None;
        }
        if self.has(Bug::FoundDropped) {
            found.truncate(1);
        }
        self.end_scan(set, &scan, &found, rest);
    }

    async fn take_locked(&self, set: Set, kind: Kind, mut wanted: usize, now: Key) {
        let mut flight = None;
        let mut left = {
            let mut world = self.world();
            let head = world.heads.head(set);
            let keys = head.map_or_else(Vec::new, |head| head.take_locked());
            if !keys.is_empty() {
                self.try_keys(&mut world, &mut flight, set, &keys);
            }
            keys
        };
        if self.has(Bug::AsideDropped) {
            left.clear();
        }
        left.reverse();
        while wanted > 0
            && let Some(key) = left.pop()
        {
            step().await;
            if self.take(kind, key, now) {
                wanted -= 1;
            } else {
                step().await;
                self.put_aside(set, &self.settle(kind, &[key], now));
            }
        }
        self.put_aside(set, &left);
        self.end_flight(flight);
    }

    async fn prune(&self, set: Set) {
        let mut flight = None;
        let keys = {
            let mut world = self.world();
            let head = world.heads.head(set);
            let keys = head.map_or_else(Vec::new, |head| head.begin_prune(SCAN));
            if !keys.is_empty() {
                self.try_keys(&mut world, &mut flight, set, &keys);
                if let Some(open) = world.pending[self.me].flights.last_mut() {
                    open.prunes = true;
                }
            }
            keys
        };
        if keys.is_empty() {
            return;
        }
        step().await;
        let left: Vec<Key> = {
            let world = self.world();
            keys.into_iter()
                .filter(|key| world.is_open(self.me, *key))
                .collect()
        };
        step().await;
        if !self.has(Bug::PruneDropped) {
            self.give_back(set, &left);
        }
        self.end_flight(flight);
    }

    fn scan_table_from_floor(&self, set: Set, kind: Kind, wanted: usize, now: Key) {
        let from = self.world().heads.head(set).map(|head| head.floor());
        self.scan_table(kind, from.unwrap_or(Key::MIN), wanted, now);
    }

    /// Takes what is there and free, past what is locked.
    fn scan_table(&self, kind: Kind, from: Key, wanted: usize, now: Key) {
        let range = Range { from, to: Key::MAX };
        let found = self.read(kind, range, now);
        found
            .into_iter()
            .filter(|key| self.take(kind, *key, now))
            .take(wanted)
            .for_each(drop);
    }

    /// Compares what is known of the first claimable cards with the table.
    async fn prove(&self, set: Set, kind: Kind, now: Key) {
        let (begun, number) = {
            let mut world = self.world();
            let Some(interval) = world.interval else {
                return;
            };
            let patience = (6 * interval).max(6 * INTERVAL);
            let begun = world.clock;
            let Some(number) = world.heads.begin_audit(set, begun, interval, patience) else {
                return;
            };
            let pending = &mut world.pending[self.me];
            pending.audits.push((pending.depth, set, number));
            (begun, number)
        };
        step().await;
        let mut found = self.world().claimable(self.me, kind, ALL, now);
        found.truncate(AUDITED);
        step().await;
        let suspects = self.world().heads.suspect(set, number, &found);
        let mut free = Vec::new();
        if !suspects.is_empty() {
            step().await;
            let mut told = suspects;
            {
                let world = self.world();
                told.retain(|key| {
                    world.is_claimable(self.me, kind, *key, now) && world.is_told(*key)
                });
            }
            step().await;
            for key in told {
                let world = self.world();
                if world.is_open(self.me, key) && world.is_free(self.me, key) {
                    free.push((key, world.cards[&key].at));
                }
            }
        }
        step().await;
        self.world().heads.end_audit(set, number, &free, begun);
        self.pending(|pending| pending.audits.retain(|(_, _, of)| *of != number));
    }
}
