//! Cards that wait for a time, of which several have the same, while some are created and the time
//! of others comes.
//!
//! A promotion takes a time in flight, reads the cards that wait for it, makes them known to claims
//! and ends the flight. A commit tells of the times of its cards once they can be seen.

use stateright::{Model, Property};

use crate::check::{assert_breaks, assert_holds};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// The time stays where it is until its cards are known to claims, and is taken away then. What
    /// a commit adds in between is there already, and goes with it. (So it was until 0.2.)
    Peeked,
    /// A promotion that ends without effect does not give its time back.
    Kept,
    /// A commit tells of its times before its cards can be seen.
    ToldEarly,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    cards: Vec<Card>,
    /// The times that the head knows of.
    due: Vec<u8>,
    promotions: Vec<Promotion>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Card {
    /// It is not committed. `told`: its time is known before.
    Open {
        told: bool,
    },
    /// It can be seen, and its time is not told yet.
    Untold,
    Told,
    /// Claims know of it.
    Known,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Promotion {
    None,
    /// It has taken a time.
    Taken(u8),
    /// And has read the cards that wait for it.
    Read(u8, Vec<usize>),
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    /// The next step of the end of a transaction that created the card.
    Commit(usize),
    Promote(usize),
    Rollback(usize),
}

struct Times {
    /// The time of each card.
    at: Vec<u8>,
    promotions: usize,
    bug: Option<Bug>,
}

impl Times {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn is_covered(&self, state: &State, card: usize) -> bool {
        let at = self.at[card];
        match state.cards[card] {
            Card::Told => {
                let in_hand = |promotion: &Promotion| match promotion {
                    Promotion::None => false,
                    Promotion::Taken(time) => *time == at,
                    Promotion::Read(_, cards) => cards.contains(&card),
                };
                state.due.contains(&at) || state.promotions.iter().any(in_hand)
            }
            _ => true,
        }
    }

    fn add(state: &mut State, at: u8) {
        state.due.push(at);
        state.due.sort_unstable();
        state.due.dedup();
    }
}

const COVERED: &str = "every card is known by its time, or in somebody's hands";

impl Model for Times {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            cards: vec![Card::Open { told: false }; self.at.len()],
            due: Vec::new(),
            promotions: vec![Promotion::None; self.promotions],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let ends = |card: &Card| !matches!(card, Card::Told | Card::Known);
        let cards = state.cards.iter().enumerate();
        actions.extend(
            cards
                .filter(|(_, c)| ends(c))
                .map(|(n, _)| Action::Commit(n)),
        );
        for (number, promotion) in state.promotions.iter().enumerate() {
            actions.push(Action::Promote(number));
            if *promotion != Promotion::None {
                actions.push(Action::Rollback(number));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Commit(card) => {
                next.cards[card] = match state.cards[card] {
                    Card::Open { told: false } if self.has(Bug::ToldEarly) => {
                        Self::add(&mut next, self.at[card]);
                        Card::Open { told: true }
                    }
                    Card::Open { told: true } => Card::Told,
                    Card::Open { told: false } => Card::Untold,
                    Card::Untold => {
                        Self::add(&mut next, self.at[card]);
                        Card::Told
                    }
                    _ => return None,
                };
            }
            Action::Promote(number) => {
                next.promotions[number] = match state.promotions[number].clone() {
                    Promotion::None => {
                        let time = *state.due.first()?;
                        if !self.has(Bug::Peeked) {
                            next.due.remove(0);
                        }
                        Promotion::Taken(time)
                    }
                    Promotion::Taken(time) => {
                        let seen = |card: &usize| {
                            self.at[*card] == time
                                && !matches!(state.cards[*card], Card::Open { .. })
                        };
                        Promotion::Read(time, (0..self.at.len()).filter(seen).collect())
                    }
                    Promotion::Read(time, cards) => {
                        for card in cards {
                            // One that is told of later is known twice, which costs a vain scan.
                            if next.cards[card] == Card::Told {
                                next.cards[card] = Card::Known;
                            }
                        }
                        if self.has(Bug::Peeked) {
                            next.due.retain(|other| *other != time);
                        }
                        Promotion::None
                    }
                };
            }
            Action::Rollback(number) => {
                let promotion = std::mem::replace(&mut next.promotions[number], Promotion::None);
                if let Promotion::Taken(time) | Promotion::Read(time, _) = promotion
                    && !self.has(Bug::Kept)
                {
                    Self::add(&mut next, time);
                }
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(COVERED, |model: &Times, state: &State| {
                (0..model.at.len()).all(|card| model.is_covered(state, card))
            }),
            Property::sometimes("all come", |_, state: &State| {
                state.cards.iter().all(|card| *card == Card::Known)
            }),
        ]
    }
}

fn cards(at: &[u8], bug: Option<Bug>) -> Times {
    Times {
        at: at.to_vec(),
        promotions: 2,
        bug,
    }
}

fn sorted(state: &State) -> State {
    let mut state = state.clone();
    state.promotions.sort();
    state
}

#[test]
fn no_card_of_three_that_wait_for_one_time_is_lost() {
    assert_holds(cards(&[1, 1, 1], None), sorted);
}

#[test]
fn no_card_is_lost_where_some_wait_for_one_time_and_some_for_another() {
    assert_holds(cards(&[1, 2, 1, 2], None), sorted);
}

#[test]
fn a_time_that_is_taken_away_after_its_cards_were_read_loses_one_that_came_in_between() {
    assert_breaks(cards(&[1, 1], Some(Bug::Peeked)), COVERED);
}

#[test]
fn a_time_that_a_rollback_keeps_loses_its_cards() {
    assert_breaks(cards(&[1], Some(Bug::Kept)), COVERED);
}

#[test]
fn a_time_that_is_told_before_its_card_can_be_seen_loses_it() {
    assert_breaks(cards(&[1], Some(Bug::ToldEarly)), COVERED);
}
