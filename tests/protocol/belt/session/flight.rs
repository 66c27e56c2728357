//! What a claim takes from a head and owes it.

use super::super::bug::Bug;
use super::super::world::{OpenFlight, Undone, World};
use super::{Session, step};
use crate::real_head::frontier::head::Scan;
use crate::real_head::frontier::heads::Set;
use crate::real_head::frontier::key::Key;

/// How many steps a claim waits for others.
const PATIENCE: usize = 60;
const AGAIN_AFTER: i64 = 20;

pub enum Next {
    Candidates(Vec<Key>, Key),
    Scan(Scan),
    Unknown,
    Nothing,
}

impl Session {
    pub(super) async fn next(
        &self,
        flight: &mut Option<u64>,
        set: Set,
        last: Key,
        max: usize,
    ) -> Next {
        for _ in 0..PATIENCE {
            {
                let mut world = self.world();
                let now = world.clock;
                let Some(head) = world.heads.head(set) else {
                    return Next::Unknown;
                };
                head.try_again(now);
                let mut keys = Vec::new();
                head.take(last, max, &mut keys);
                if !keys.is_empty() {
                    let known = head.known();
                    self.try_keys(&mut world, flight, set, &keys);
                    return Next::Candidates(keys, known);
                }
                if let Some(scan) = head.begin_scan(last, now) {
                    let pending = &mut world.pending[self.me];
                    pending.scans.push((pending.depth, set, scan.number));
                    return Next::Scan(scan);
                }
                if !head.is_in_motion() || flight.is_some() {
                    return Next::Nothing;
                }
                if !world.pending[self.me].flights.is_empty() {
                    return Next::Unknown;
                }
            }
            step().await;
        }
        self.world().waits += 1;
        Next::Unknown
    }

    pub(super) fn try_keys(
        &self,
        world: &mut World,
        flight: &mut Option<u64>,
        set: Set,
        keys: &[Key],
    ) {
        let overwrites = world.bug == Some(Bug::FlightOverwritten);
        let number = world.next_number();
        let Some(head) = world.heads.head(set) else {
            return;
        };
        let epoch = if flight.is_some() {
            head.extend_flight(keys);
            0
        } else {
            head.begin_flight(keys)
        };
        let pending = &mut world.pending[self.me];
        let taken = keys
            .iter()
            .map(|key| (pending.depth, Undone::Taken(set, *key)));
        pending.undo.extend(taken.collect::<Vec<_>>());
        match flight {
            Some(id) => {
                if let Some(open) = pending.flights.iter_mut().find(|open| open.id == *id) {
                    open.keys.extend(keys);
                }
            }
            None => {
                if overwrites {
                    pending.flights.clear();
                }
                pending.flights.push(OpenFlight {
                    id: number,
                    depth: pending.depth,
                    set,
                    epoch,
                    keys: keys.to_vec(),
                    prunes: false,
                });
                *flight = Some(number);
            }
        }
    }

    pub(super) fn end_flight(&self, flight: Option<u64>) {
        if let Some(id) = flight {
            self.world().end_flights(self.me, |open| open.id == id);
        }
    }

    pub(super) fn no_undo(&self, set: Set, keys: &[Key]) {
        self.pending(|pending| {
            pending.undo.retain(|(_, undone)| {
                !matches!(undone, Undone::Taken(of, key) if *of == set && keys.contains(key))
            });
        });
    }

    pub(super) fn give_back(&self, set: Set, keys: &[Key]) {
        if let Some(head) = self.world().heads.head(set) {
            head.give_back(keys);
        }
        self.no_undo(set, keys);
    }

    pub(super) fn put_aside(&self, set: Set, keys: &[Key]) -> bool {
        let mut world = self.world();
        let again_at = world.clock + AGAIN_AFTER;
        let head = world.heads.head(set);
        let has_room = head.is_none_or(|head| head.put_aside(keys, again_at));
        drop(world);
        self.no_undo(set, keys);
        has_room
    }

    pub(super) fn end_scan(&self, set: Set, scan: &Scan, found: &[Key], rest: Option<Key>) {
        let mut world = self.world();
        let head = world.heads.head(set);
        let examined = head.map(|head| head.end_scan(scan, found, rest));
        let pending = &mut world.pending[self.me];
        pending
            .scans
            .retain(|(_, of, number)| (*of, *number) != (set, scan.number));
        if let Some(examined) = examined {
            let depth = pending.depth;
            pending.undo.push((depth, Undone::Examined(set, examined)));
        }
    }
}
