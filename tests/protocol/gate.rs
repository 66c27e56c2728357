//! Links, completions and the counters of open dependencies. Each call takes its row locks one by
//! one, reads, and commits or does not; between any two of these steps others take theirs.

mod checked;

use std::collections::BTreeSet;

/// A card, by its place in the order of ids.
pub type Card = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// The first waits until the second is done.
    Link(Card, Card),
    Unlink(Card, Card),
    Complete(Card),
    /// Also with open dependencies.
    CompleteForced(Card),
    Reopen(Card),
    Claim(Card),
    /// A claim ends without the card being done.
    GiveUp(Card),
}

/// How a row is locked, as in PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Mode {
    KeyShare,
    NoKeyUpdate,
    Update,
}

impl Mode {
    fn excludes(self, other: Self) -> bool {
        !matches!(
            (self, other),
            (Self::KeyShare, Self::KeyShare | Self::NoKeyUpdate)
                | (Self::NoKeyUpdate, Self::KeyShare)
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A link reads whether the dependency is done before it has the lock on it.
    LinkReadsBeforeLock,
    /// A link does not lock the dependency.
    LinkWithoutLock,
    /// A completion reads who depends on the card before it has the lock on it.
    DependentsNotReadAgain,
    /// A completion opens its dependents before it commits.
    OpenedBeforeCommit,
    /// A claim takes the card as it saw it before it had the lock.
    ClaimNotJudgedAgain,
    /// A completion locks the card before its dependents, whatever their order.
    LockedInOrderOfNeed,
    /// A completion that finds another dependent locks it on top of what it has.
    LatecomersLockedOnTop,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct State {
    pub cards: Vec<Row>,
    /// Who waits, and for whom.
    pub links: BTreeSet<(Card, Card)>,
    calls: Vec<Option<Open>>,
    /// A claim took a card whose dependencies were open.
    gate_passed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Row {
    pub done: bool,
    pub claimed: bool,
    /// How many of its dependencies are not done.
    pub counter: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Open {
    call: Call,
    /// In the order in which they are taken, and how many are.
    locks: Vec<(Card, Mode)>,
    taken: usize,
    /// Whether the dependency was done when a link looked.
    seen_done: bool,
    change: Option<Change>,
}

/// What a commit makes visible.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
struct Change {
    done: Option<(Card, bool)>,
    claimed: Option<(Card, bool)>,
    link: Option<((Card, Card), bool)>,
    counters: Vec<(Card, i32)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The statement begins: what it sees is what is committed now.
    Begin {
        worker: usize,
        call: Call,
    },
    /// The next lock.
    Lock {
        worker: usize,
    },
    /// All locks are there: reads and decides.
    Decide {
        worker: usize,
    },
    Commit {
        worker: usize,
    },
    Rollback {
        worker: usize,
    },
}

pub struct Gate {
    pub workers: usize,
    pub cards: usize,
    pub calls: Vec<Call>,
    pub bug: Option<Bug>,
}

impl Gate {
    pub fn state(&self) -> State {
        State {
            cards: vec![Row::default(); self.cards],
            calls: vec![None; self.workers],
            ..State::default()
        }
    }

    /// The workers are interchangeable.
    fn sorted(state: &State) -> State {
        let mut state = state.clone();
        state.calls.sort();
        state
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn locks(&self, state: &State, call: Call) -> Vec<(Card, Mode)> {
        let mut locks = match call {
            Call::Claim(card) | Call::GiveUp(card) => vec![(card, Mode::NoKeyUpdate)],
            Call::Link(card, _) if self.has(Bug::LinkWithoutLock) => {
                vec![(card, Mode::NoKeyUpdate)]
            }
            Call::Link(card, on) | Call::Unlink(card, on) => {
                vec![(card, Mode::NoKeyUpdate), (on, Mode::KeyShare)]
            }
            Call::Complete(card) | Call::CompleteForced(card) | Call::Reopen(card) => {
                let dependents = state.dependents(card);
                let all = [card].into_iter().chain(dependents);
                all.map(|card| (card, Mode::Update)).collect()
            }
        };
        if !self.has(Bug::LockedInOrderOfNeed) {
            locks.sort_unstable();
        }
        locks
    }

    fn begin(&self, state: &State, worker: usize, call: Call) -> Option<State> {
        if state.calls.get(worker)?.is_some() {
            return None;
        }
        let seen_done = match call {
            Call::Link(_, on) | Call::Unlink(_, on) => state.cards[on].done,
            _ => false,
        };
        // What would be refused at once changes nothing.
        self.change(state, call, None)?;
        let mut next = state.clone();
        next.calls[worker] = Some(Open {
            call,
            locks: self.locks(state, call),
            taken: 0,
            seen_done,
            change: None,
        });
        Some(next)
    }

    fn lock(&self, state: &State, worker: usize) -> Option<State> {
        let open = state.calls[worker].as_ref()?;
        let lock = *open.locks.get(open.taken)?;
        let mut next = state.clone();
        if !state.is_free(worker, lock) {
            if !matches!(open.call, Call::Claim(_)) {
                return None;
            }
            next.calls[worker] = None;
            return Some(next);
        }
        next.calls[worker].as_mut()?.taken += 1;
        Some(next)
    }

    /// What a call changes, by what is committed now; `None`: it is refused, or a repeat.
    fn change(&self, state: &State, call: Call, seen_done: Option<bool>) -> Option<Change> {
        let row = |card: Card| state.cards[card];
        let mut change = Change::default();
        match call {
            Call::Link(card, on) => {
                if row(card).done || state.links.contains(&(card, on)) {
                    return None;
                }
                change.link = Some(((card, on), true));
                if !seen_done.unwrap_or(row(on).done) {
                    change.counters.push((card, 1));
                }
            }
            Call::Unlink(card, on) => {
                if row(card).done || !state.links.contains(&(card, on)) {
                    return None;
                }
                change.link = Some(((card, on), false));
                if !row(on).done {
                    change.counters.push((card, -1));
                }
            }
            Call::Complete(card) | Call::CompleteForced(card) => {
                let gated = row(card).counter != 0 && !row(card).claimed;
                if row(card).done || gated && call == Call::Complete(card) {
                    return None;
                }
                change.done = Some((card, true));
                change.claimed = Some((card, false));
                let dependents = state.dependents(card).into_iter();
                change.counters = dependents.map(|card| (card, -1)).collect();
            }
            Call::Reopen(card) => {
                if !row(card).done {
                    return None;
                }
                change.done = Some((card, false));
                let dependents = state.dependents(card).into_iter();
                change.counters = dependents.map(|card| (card, 1)).collect();
            }
            Call::Claim(card) => {
                if row(card).done || row(card).claimed || row(card).counter != 0 {
                    return None;
                }
                change.claimed = Some((card, true));
            }
            Call::GiveUp(card) => {
                if !row(card).claimed {
                    return None;
                }
                change.claimed = Some((card, false));
            }
        }
        Some(change)
    }

    fn decide(&self, state: &State, worker: usize) -> Option<State> {
        let open = state.calls[worker].as_ref()?;
        if open.taken < open.locks.len() || open.change.is_some() {
            return None;
        }
        let mut next = state.clone();
        if let Call::Complete(card) | Call::CompleteForced(card) | Call::Reopen(card) = open.call {
            let wanted = self.locks(state, open.call);
            let late: Vec<(Card, Mode)> = wanted
                .iter()
                .filter(|lock| !open.locks.contains(lock))
                .copied()
                .collect();
            let known: BTreeSet<Card> = open.locks.iter().map(|(card, _)| *card).collect();
            if self.has(Bug::DependentsNotReadAgain) {
                let mut change = self.change(state, open.call, None).unwrap_or_default();
                let by = if change.done == Some((card, true)) {
                    -1
                } else {
                    1
                };
                let others = known.into_iter().filter(|other| *other != card);
                change.counters = others.map(|other| (other, by)).collect();
                next.calls[worker].as_mut()?.change = Some(change);
                return Some(next);
            }
            if !late.is_empty() {
                let again = next.calls[worker].as_mut()?;
                if self.has(Bug::LatecomersLockedOnTop) {
                    again.locks.extend(late);
                } else {
                    // All locks are given back and taken anew, in order.
                    again.locks = wanted;
                    again.taken = 0;
                }
                return Some(next);
            }
        }
        let seen_done = self.has(Bug::LinkReadsBeforeLock).then_some(open.seen_done);
        let mut change = self.change(state, open.call, seen_done);
        if let (Call::Claim(card), true) = (open.call, self.has(Bug::ClaimNotJudgedAgain)) {
            change = Some(Change {
                claimed: Some((card, true)),
                ..Change::default()
            });
        }
        match change {
            None => next.calls[worker] = None,
            Some(mut change) => {
                if self.has(Bug::OpenedBeforeCommit) {
                    for (card, by) in std::mem::take(&mut change.counters) {
                        next.cards[card].counter += by;
                    }
                }
                next.calls[worker].as_mut()?.change = Some(change);
            }
        }
        Some(next)
    }

    fn commit(&self, state: &State, worker: usize) -> Option<State> {
        let change = state.calls[worker].as_ref()?.change.clone()?;
        let mut next = state.clone();
        if let Some((card, true)) = change.claimed {
            next.gate_passed |= state.open_dependencies(card) > 0;
        }
        if let Some((card, done)) = change.done {
            next.cards[card].done = done;
        }
        if let Some((card, claimed)) = change.claimed {
            next.cards[card].claimed = claimed;
        }
        match change.link {
            Some((link, true)) => {
                next.links.insert(link);
            }
            Some((link, false)) => {
                next.links.remove(&link);
            }
            None => {}
        }
        for (card, by) in change.counters {
            next.cards[card].counter += by;
        }
        next.calls[worker] = None;
        Some(next)
    }

    /// A whole call, beside which nothing happens.
    pub fn call(&self, state: &State, call: Call) -> Option<State> {
        let mut state = self.begin(state, 0, call)?;
        while let Some(next) = self.lock(&state, 0) {
            state = next;
        }
        self.commit(&self.decide(&state, 0)?, 0)
    }
}

impl State {
    pub fn dependents(&self, card: Card) -> Vec<Card> {
        let links = self.links.iter().filter(|(_, on)| *on == card);
        links.map(|(waits, _)| *waits).collect()
    }

    /// Counted anew.
    pub fn open_dependencies(&self, card: Card) -> i32 {
        let links = self.links.iter().filter(|(waits, _)| *waits == card);
        links.filter(|(_, on)| !self.cards[*on].done).count() as i32
    }

    fn is_free(&self, worker: usize, (card, mode): (Card, Mode)) -> bool {
        let others = self.calls.iter().enumerate().filter(|(w, _)| *w != worker);
        !others
            .filter_map(|(_, open)| open.as_ref())
            .flat_map(|open| &open.locks[..open.taken])
            .any(|(locked, held)| *locked == card && held.excludes(mode))
    }

    /// Everybody waits for a lock that somebody else has.
    fn is_stuck(&self) -> bool {
        let mut open = false;
        let waits = self.calls.iter().enumerate().all(|(worker, call)| {
            let Some(call) = call else {
                return true;
            };
            open = true;
            let lock = call.locks.get(call.taken);
            lock.is_some_and(|lock| !self.is_free(worker, *lock))
        });
        open && waits
    }
}
