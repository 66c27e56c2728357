//! What leases promise in every state, and which bug breaks which promise.

use std::collections::BTreeSet;

use stateright::{Model, Property};

use super::{Action, Bug, Doing, Lease, State, Status, Time, Token, Verb};
use crate::check::{assert_breaks, assert_holds};

const ONE_HOLDER: &str = "a card has one live holder";
const GROWING: &str = "the tokens of a card grow";
const FENCED: &str = "nothing is completed under a stale token";
const BOUNDED: &str = "attempts stay within the maximum";
const RECOVERED: &str = "whoever comes back can finish everything";

impl Model for Lease {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.state()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (worker, me) in state.workers.iter().enumerate() {
            match &me.doing {
                Doing::Nothing => {
                    let mut scan = |card, verb| actions.push(Action::Scan { worker, card, verb });
                    for card in 0..state.cards.len() {
                        if me.holds.is_none() && state.next_token <= self.tokens {
                            scan(card, Verb::Claim { ttl: 1 });
                        }
                        scan(card, Verb::Sweep);
                    }
                    if let Some((card, _)) = me.holds {
                        scan(card, Verb::Complete);
                        scan(card, Verb::Fail { retry_in: 0 });
                        scan(card, Verb::Renew { ttl: 1 });
                    }
                }
                Doing::Scanned { .. } => actions.push(Action::Lock {
                    worker,
                    token: state.next_token,
                }),
                Doing::Open { .. } => {
                    actions.push(Action::Commit { worker });
                    actions.push(Action::Rollback { worker });
                }
            }
            if me.holds.is_some() || me.doing != Doing::Nothing {
                actions.push(Action::Crash { worker });
            }
        }
        if state.now < self.until {
            actions.push(Action::Pass { to: state.now + 1 });
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        match action {
            Action::Scan { worker, card, verb } => self.scan(state, worker, card, verb),
            Action::Lock { worker, token } => self.lock(state, worker, token),
            Action::Commit { worker } => self.commit(state, worker),
            Action::Rollback { worker } => {
                let mut next = state.clone();
                next.workers[worker].doing = Doing::Nothing;
                Some(next)
            }
            Action::Crash { worker } => Some(self.crash(state, worker)),
            Action::Pass { to } => Some(State {
                now: to,
                ..state.clone()
            }),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_HOLDER, |_, state: &State| {
                let held: BTreeSet<usize> = state.grants.iter().map(|g| g.card).collect();
                held.len() == state.grants.len()
            }),
            Property::always(GROWING, |_, state: &State| state.tokens_grow),
            Property::always(FENCED, |_, state: &State| {
                let mut cards = state.cards.iter();
                cards.all(|card| card.settled.is_none_or(|token| token == card.newest))
            }),
            Property::always(BOUNDED, |_, state: &State| {
                state.cards.iter().all(|card| {
                    card.attempts <= card.max_attempts
                        && (card.status != Status::Ready || card.attempts < card.max_attempts)
                })
            }),
            Property::always(RECOVERED, |model, state: &State| {
                model.can_be_finished(state)
            }),
            Property::sometimes("a card is quarantined", |_, state: &State| {
                state.cards.iter().any(|c| c.status == Status::Blocked)
            }),
            Property::sometimes(
                "a card is completed at the second attempt",
                |_, state: &State| {
                    let mut cards = state.cards.iter();
                    cards.any(|card| card.status == Status::Done && card.attempts == 2)
                },
            ),
        ]
    }
}

fn fleet(workers: usize, cards: usize, until: Time, bug: Option<Bug>) -> Lease {
    Lease {
        workers,
        cards,
        max_attempts: 2,
        until,
        tokens: 2 * cards as Token + 1,
        bug,
    }
}

#[test]
fn leases_hold_for_two_workers_and_two_cards() {
    assert_holds(fleet(2, 2, 1, None), Lease::sorted);
}

#[test]
fn leases_hold_for_three_workers_and_one_card() {
    assert_holds(fleet(3, 1, 2, None), Lease::sorted);
}

#[test]
fn a_claim_that_does_not_judge_the_locked_row_gives_a_card_to_two() {
    assert_breaks(fleet(2, 1, 1, Some(Bug::ClaimNotJudgedAgain)), ONE_HOLDER);
}

#[test]
fn a_sweep_that_does_not_judge_the_locked_row_takes_a_renewed_lease() {
    assert_breaks(fleet(3, 1, 2, Some(Bug::SweepNotJudgedAgain)), ONE_HOLDER);
}

#[test]
fn a_sweep_of_live_leases_gives_a_card_to_two() {
    assert_breaks(fleet(2, 1, 1, Some(Bug::LiveLeaseSwept)), ONE_HOLDER);
}

#[test]
fn a_token_that_is_drawn_before_the_lock_can_be_smaller_than_the_last() {
    assert_breaks(fleet(2, 1, 2, Some(Bug::TokenDrawnBeforeLock)), GROWING);
}

#[test]
fn without_a_fence_a_worker_completes_what_another_holds() {
    assert_breaks(fleet(2, 1, 2, Some(Bug::NoFence)), FENCED);
}

#[test]
fn without_a_maximum_a_card_is_tried_for_ever() {
    assert_breaks(fleet(1, 1, 4, Some(Bug::NoMaximum)), BOUNDED);
}

#[test]
fn without_a_sweep_a_dead_workers_card_is_lost() {
    assert_breaks(fleet(1, 1, 1, Some(Bug::NeverSwept)), RECOVERED);
}
