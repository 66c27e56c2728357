//! What a claim takes from a head and owes it.

use super::super::bug::Bug;
use super::super::world::{OpenTrial, Undone, World};
use super::{Session, step};
use crate::real_head::frontier::head::Look;
use crate::real_head::frontier::heads::Set;
use crate::real_head::frontier::key::Key;

/// How many steps a claim waits for others.
const PATIENCE: usize = 60;
const AGAIN_AFTER: i64 = 20;

pub enum Next {
    Candidates(Vec<Key>, Key),
    Look(Look),
    Unknown,
    Nothing,
}

impl Session {
    pub(super) async fn next(
        &self,
        trial: &mut Option<u64>,
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
                    self.try_keys(&mut world, trial, set, &keys);
                    return Next::Candidates(keys, known);
                }
                if let Some(look) = head.begin_look(last, now) {
                    let pending = &mut world.pending[self.me];
                    pending.looks.push((pending.depth, set, look.number));
                    return Next::Look(look);
                }
                if !head.is_in_motion() || trial.is_some() {
                    return Next::Nothing;
                }
                if !world.pending[self.me].trials.is_empty() {
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
        trial: &mut Option<u64>,
        set: Set,
        keys: &[Key],
    ) {
        let overwrites = world.bug == Some(Bug::TrialOverwritten);
        let number = world.next_number();
        let Some(head) = world.heads.head(set) else {
            return;
        };
        let epoch = if trial.is_some() {
            head.extend_trial(keys);
            0
        } else {
            head.begin_trial(keys)
        };
        let pending = &mut world.pending[self.me];
        let taken = keys
            .iter()
            .map(|key| (pending.depth, Undone::Taken(set, *key)));
        pending.undo.extend(taken.collect::<Vec<_>>());
        match trial {
            Some(id) => {
                if let Some(open) = pending.trials.iter_mut().find(|open| open.id == *id) {
                    open.keys.extend(keys);
                }
            }
            None => {
                if overwrites {
                    pending.trials.clear();
                }
                pending.trials.push(OpenTrial {
                    id: number,
                    depth: pending.depth,
                    set,
                    epoch,
                    keys: keys.to_vec(),
                    sifts: false,
                });
                *trial = Some(number);
            }
        }
    }

    pub(super) fn end_trial(&self, trial: Option<u64>) {
        if let Some(id) = trial {
            self.world().end_trials(self.me, |open| open.id == id);
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

    pub(super) fn end_look(&self, set: Set, look: &Look, found: &[Key], rest: Option<Key>) {
        let mut world = self.world();
        let head = world.heads.head(set);
        let examined = head.map(|head| head.end_look(look, found, rest));
        let pending = &mut world.pending[self.me];
        pending
            .looks
            .retain(|(_, of, number)| (*of, *number) != (set, look.number));
        if let Some(examined) = examined {
            let depth = pending.depth;
            pending.undo.push((depth, Undone::Examined(set, examined)));
        }
    }
}
