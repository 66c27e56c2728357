//! What the frontier promises in every state, and which bug breaks which promise.

use stateright::{Model, Property};

use super::{Action, At, Bug, Frontier, State, Worker};
use crate::check::{assert_breaks, assert_holds};
use crate::head::{Head, Key, Room};

const COVERED: &str = "every claimable card is known, unexamined or in somebody's hands";
const ALONE: &str = "a claim beside which nobody has anything open does not wait";
const FOUND: &str = "an empty answer means that nothing was free all along";

impl Model for Frontier {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            claimable: vec![true; self.cards as usize],
            head: Head::unexamined(self.room),
            workers: vec![Worker::default(); self.workers],
            overlooked: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (worker, me) in state.workers.iter().enumerate() {
            match me.at {
                At::Outside if me.begun == self.transactions => {}
                At::Outside => {
                    actions.extend(self.keys().map(|key| Action::Change { worker, key }));
                    actions.push(Action::Claim { worker });
                }
                At::Inside => {
                    // Cards that the transaction itself made claimable are merged with the
                    // candidates; that is left out here.
                    if me.took.is_none() && me.changed.is_some_and(|(_, to)| !to) {
                        actions.push(Action::Claim { worker });
                    }
                    actions.push(Action::Commit { worker });
                    actions.push(Action::Rollback { worker });
                }
                At::Ended { .. } | At::Added => actions.push(Action::Step { worker }),
                _ => {
                    actions.push(Action::Step { worker });
                    actions.push(Action::Rollback { worker });
                    actions.push(Action::Patience { worker });
                }
            }
        }
        let aside = state.head.locked.iter();
        actions.extend(aside.map(|key| Action::Again { key: *key }));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Change { worker, key } => {
                if !next.is_free(worker, key) {
                    return None;
                }
                let to = !next.claimable[key as usize];
                next.is_gone(key);
                next.workers[worker].begun += 1;
                next.workers[worker].changed = Some((key, to));
                next.workers[worker].at = At::Inside;
            }
            Action::Claim { worker } => {
                let told = |key: &Key| {
                    let mut others = next.workers.iter();
                    !others.any(|o| {
                        matches!(o.at, At::Ended { .. })
                            && (o.changed.is_some_and(|(own, _)| own == *key)
                                || o.took == Some(*key)
                                || o.taken.contains(key)
                                || o.examined.iter().any(|(f, t)| f <= key && key < t))
                    })
                };
                let free = self
                    .keys()
                    .filter(|key| next.sees(worker, *key) && next.is_free(worker, *key))
                    .filter(told)
                    .collect();
                if state.workers[worker].at == At::Outside {
                    next.workers[worker].begun += 1;
                }
                next.workers[worker].free = free;
                next.workers[worker].at = At::Asking;
            }
            Action::Step { worker } => return self.step(state, worker),
            Action::Commit { worker } => return self.end(state, worker, true),
            Action::Rollback { worker } => return self.end(state, worker, false),
            Action::Again { key } => next.head.try_again(key),
            Action::Patience { worker } => {
                let waits =
                    state.workers[worker].at == At::Asking && !next.clone().ask(self, worker);
                if !waits {
                    return None;
                }
                next.workers[worker].at = At::ScanningTable;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(COVERED, |model: &Frontier, state: &State| {
                model
                    .keys()
                    .all(|key| !state.claimable[key as usize] || state.is_covered(key))
            }),
            Property::always(ALONE, |_, state: &State| {
                let mut workers = state.workers.iter();
                let open = |w: &Worker| !matches!(w.at, At::Outside | At::Inside | At::Asking);
                workers.any(open) || !state.head.is_in_motion()
            }),
            Property::always(FOUND, |_, state: &State| state.overlooked.is_none()),
            Property::sometimes("a card is put aside", |_, state: &State| {
                !state.head.locked.is_empty()
            }),
            Property::sometimes("a claim waits for another", |model, state: &State| {
                (0..state.workers.len()).any(|worker| {
                    state.workers[worker].at == At::Asking && !state.clone().ask(model, worker)
                })
            }),
        ]
    }
}

const LITTLE: Room = Room {
    candidates: 2,
    ranges: 2,
    locked: 1,
    scan: 1,
};

fn fleet(workers: usize, cards: Key, bug: Option<Bug>) -> Frontier {
    Frontier {
        transactions: 3,
        workers,
        cards,
        room: LITTLE,
        bug,
    }
}

fn no_card_is_overlooked(workers: usize, cards: Key, transactions: u8) {
    let model = Frontier {
        transactions,
        ..fleet(workers, cards, None)
    };
    assert_holds(model, Frontier::sorted);
}

#[test]
fn two_workers_overlook_none_of_two_cards() {
    no_card_is_overlooked(2, 2, 2);
}

#[test]
fn two_workers_overlook_none_of_four_cards_that_there_is_no_room_for() {
    no_card_is_overlooked(2, 4, 1);
}

#[test]
fn two_workers_overlook_no_card_again_and_again() {
    no_card_is_overlooked(2, 1, 5);
}

#[test]
fn three_workers_overlook_no_card() {
    no_card_is_overlooked(3, 1, 1);
}

#[test]
fn a_card_that_is_added_before_it_is_visible_is_lost() {
    assert_breaks(fleet(2, 1, Some(Bug::AddedBeforeCommit)), COVERED);
}

#[test]
fn a_scan_that_is_not_told_of_a_commit_loses_its_card() {
    assert_breaks(fleet(2, 2, Some(Bug::RaisedPastAdded)), COVERED);
}

#[test]
fn a_commit_that_does_not_add_its_card_loses_it() {
    assert_breaks(fleet(2, 1, Some(Bug::NotAdded)), COVERED);
}

#[test]
fn a_rollback_that_keeps_its_candidate_loses_the_card() {
    assert_breaks(fleet(2, 1, Some(Bug::CandidateKept)), COVERED);
}

#[test]
fn a_rollback_that_keeps_what_it_examined_loses_the_card_that_it_had_changed() {
    assert_breaks(fleet(1, 1, Some(Bug::ExaminedKept)), COVERED);
}

#[test]
fn a_rollback_that_keeps_a_head_settled_loses_the_card_that_it_had_changed() {
    assert_breaks(fleet(2, 2, Some(Bug::SettledKept)), COVERED);
}

#[test]
fn a_session_that_ends_in_a_scan_and_leaves_it_open_is_waited_for() {
    assert_breaks(fleet(2, 1, Some(Bug::ScanLeftOpen)), ALONE);
}

#[test]
fn a_locked_card_that_is_dropped_is_lost() {
    assert_breaks(fleet(2, 1, Some(Bug::LockedDropped)), COVERED);
}

#[test]
fn a_claim_that_does_not_wait_for_others_overlooks_what_they_have_in_hand() {
    assert_breaks(fleet(2, 1, Some(Bug::NotWaited)), FOUND);
}

#[test]
fn a_claim_that_leaves_what_was_put_aside_overlooks_a_card() {
    assert_breaks(fleet(3, 1, Some(Bug::AsideLeft)), FOUND);
}

#[test]
fn a_scan_from_where_the_head_begins_overlooks_what_others_have_in_hand() {
    assert_breaks(fleet(2, 1, Some(Bug::ScannedFromFloor)), FOUND);
}
