//! What the gate promises in every state, and which bug breaks which promise.

use stateright::{Model, Property};

use super::{Action, Bug, Call, Gate, State};
use crate::check::{assert_breaks, assert_holds};

const COUNTED: &str = "each counter says how many dependencies are open";
const GATED: &str = "no card is handed out while a dependency is open";
const MOVING: &str = "no two calls wait for each other";

impl Model for Gate {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.state()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (worker, open) in state.calls.iter().enumerate() {
            match open {
                None => actions.extend(self.calls.iter().map(|call| Action::Begin {
                    worker,
                    call: *call,
                })),
                Some(open) if open.change.is_some() => {
                    actions.push(Action::Commit { worker });
                    actions.push(Action::Rollback { worker });
                }
                Some(open) if open.taken == open.locks.len() => {
                    actions.push(Action::Decide { worker });
                }
                Some(_) => actions.push(Action::Lock { worker }),
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        match action {
            Action::Begin { worker, call } => self.begin(state, worker, call),
            Action::Lock { worker } => self.lock(state, worker),
            Action::Decide { worker } => self.decide(state, worker),
            Action::Commit { worker } => self.commit(state, worker),
            Action::Rollback { worker } => {
                let mut next = state.clone();
                next.calls[worker] = None;
                Some(next)
            }
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(COUNTED, |_, state: &State| {
                (0..state.cards.len())
                    .all(|card| state.cards[card].counter == state.open_dependencies(card))
            }),
            Property::always(GATED, |_, state: &State| !state.gate_passed),
            Property::always(MOVING, |_, state: &State| !state.is_stuck()),
            Property::sometimes("a claimed card waits again", |_, state: &State| {
                state
                    .cards
                    .iter()
                    .any(|card| card.claimed && card.counter == 1)
            }),
        ]
    }
}

/// Three cards. The one that others wait for sorts first, last or between them.
fn three(workers: usize, bug: Option<Bug>) -> Gate {
    Gate {
        workers,
        cards: 3,
        calls: vec![
            Call::Link(0, 1),
            Call::Link(0, 2),
            Call::Link(2, 1),
            Call::Unlink(0, 1),
            Call::Complete(0),
            Call::CompleteForced(1),
            Call::CompleteForced(2),
            Call::Reopen(1),
            Call::Reopen(2),
            Call::Claim(0),
        ],
        bug,
    }
}

/// Two cards and more workers.
fn two(workers: usize, bug: Option<Bug>) -> Gate {
    Gate {
        workers,
        cards: 2,
        calls: vec![
            Call::Link(0, 1),
            Call::Unlink(0, 1),
            Call::Complete(1),
            Call::Reopen(1),
            Call::Claim(0),
            Call::GiveUp(0),
        ],
        bug,
    }
}

#[test]
fn the_gate_holds_for_two_workers_and_three_cards() {
    assert_holds(three(2, None), Gate::sorted);
}

#[test]
fn the_gate_holds_for_three_workers_and_two_cards() {
    assert_holds(two(3, None), Gate::sorted);
}

#[test]
fn a_link_that_reads_before_it_locks_counts_wrongly() {
    assert_breaks(two(2, Some(Bug::LinkReadsBeforeLock)), COUNTED);
}

#[test]
fn a_link_that_does_not_lock_counts_wrongly() {
    assert_breaks(two(2, Some(Bug::LinkWithoutLock)), COUNTED);
}

#[test]
fn a_completion_that_does_not_read_its_dependents_again_counts_wrongly() {
    assert_breaks(two(2, Some(Bug::DependentsNotReadAgain)), COUNTED);
}

#[test]
fn a_completion_that_opens_cards_before_its_commit_lets_them_be_claimed() {
    assert_breaks(two(2, Some(Bug::OpenedBeforeCommit)), GATED);
}

#[test]
fn a_claim_that_does_not_judge_the_locked_row_passes_the_gate() {
    assert_breaks(two(2, Some(Bug::ClaimNotJudgedAgain)), GATED);
}

#[test]
fn locks_in_the_order_of_need_wait_for_each_other() {
    assert_breaks(three(2, Some(Bug::LockedInOrderOfNeed)), MOVING);
}

#[test]
fn latecomers_that_are_locked_on_top_wait_for_each_other() {
    assert_breaks(three(3, Some(Bug::LatecomersLockedOnTop)), MOVING);
}
