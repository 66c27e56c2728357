//! Claims under leases. A call looks at a card as it is committed, then locks it and judges the
//! newest version, then commits or does not; between any two of these steps others take theirs.

mod checked;

use std::collections::BTreeSet;

use stateright::Model;

pub type Time = i64;
pub type Token = i64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    Ready,
    Claimed,
    Blocked,
    Done,
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Card {
    pub status: Status,
    /// Of the claim that it is under, and when that lease ends.
    pub lease: Option<(Token, Time)>,
    pub attempts: i32,
    pub max_attempts: i32,
    pub not_before: Time,
    /// The newest token that it was claimed under; 0: none.
    pub newest: Token,
    /// The token under which it was completed.
    pub settled: Option<Token>,
}

impl Card {
    pub fn new(max_attempts: i32) -> Self {
        Self {
            status: Status::Ready,
            lease: None,
            attempts: 0,
            max_attempts,
            not_before: 0,
            newest: 0,
            settled: None,
        }
    }

    fn turned(&self, status: Status) -> Self {
        Self {
            status,
            lease: None,
            ..self.clone()
        }
    }

    /// Ready again, or blocked if the attempts are used up.
    fn requeued(&self, attempts: i32, not_before: Option<Time>) -> Self {
        if attempts >= self.max_attempts {
            return self.turned(Status::Blocked);
        }
        Self {
            attempts,
            not_before: not_before.unwrap_or(self.not_before),
            ..self.turned(Status::Ready)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    Claim { ttl: Time },
    Sweep,
    // By who holds the card.
    Renew { ttl: Time },
    Complete,
    Fail { retry_in: Time },
    Release { retry_in: Option<Time> },
    Block,
    // By anybody who may.
    BlockUnheld,
    CompleteUnheld,
    ReclaimForced,
    Unblock,
    Cancel,
    Reopen,
}

impl Verb {
    /// Passes over cards that somebody has locked.
    fn skips(self) -> bool {
        matches!(self, Self::Claim { .. } | Self::Sweep)
    }

    fn needs_token(self) -> bool {
        matches!(
            self,
            Self::Renew { .. }
                | Self::Complete
                | Self::Fail { .. }
                | Self::Release { .. }
                | Self::Block
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A claim takes the card as it saw it before it had the lock.
    ClaimNotJudgedAgain,
    /// A sweep does.
    SweepNotJudgedAgain,
    /// A token is drawn before the lock.
    TokenDrawnBeforeLock,
    /// A call with a token only needs the card to be claimed.
    NoFence,
    /// A sweep takes leases that have not ended.
    LiveLeaseSwept,
    /// Nobody takes ended leases away.
    NeverSwept,
    /// Attempts are counted but nobody looks at them.
    NoMaximum,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Doing {
    Nothing,
    /// Has chosen a card by what was committed then.
    Scanned {
        card: usize,
        verb: Verb,
        seen: Card,
        drawn: Option<Token>,
    },
    /// Has the card locked; the change takes effect at the commit.
    Open {
        card: usize,
        verb: Verb,
        then: Card,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Worker {
    /// What it believes to hold.
    holds: Option<(usize, Token)>,
    doing: Doing,
}

/// A claim that was acknowledged, as an observer counts it: until its holder gives it up, or
/// it is taken away after its end or by force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Grant {
    card: usize,
    token: Token,
    end: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub now: Time,
    pub cards: Vec<Card>,
    next_token: Token,
    workers: Vec<Worker>,
    grants: BTreeSet<Grant>,
    tokens_grow: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Scan {
        worker: usize,
        card: usize,
        verb: Verb,
    },
    /// Locks the card and judges it; a claim takes it under this token.
    Lock {
        worker: usize,
        token: Token,
    },
    Commit {
        worker: usize,
    },
    Rollback {
        worker: usize,
    },
    /// The worker is gone, and a new one is there in its place.
    Crash {
        worker: usize,
    },
    Pass {
        to: Time,
    },
}

pub struct Lease {
    pub workers: usize,
    pub cards: usize,
    pub max_attempts: i32,
    pub until: Time,
    /// How many tokens are drawn at most, also by claims that are rolled back.
    pub tokens: Token,
    pub bug: Option<Bug>,
}

impl Lease {
    pub fn state(&self) -> State {
        let idle = Worker {
            holds: None,
            doing: Doing::Nothing,
        };
        State {
            now: 0,
            cards: vec![Card::new(self.max_attempts); self.cards],
            next_token: 1,
            workers: vec![idle; self.workers],
            grants: BTreeSet::new(),
            tokens_grow: true,
        }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// What a verb makes of a card; `None`: it does not apply.
    fn judge(
        &self,
        card: &Card,
        verb: Verb,
        token: Option<Token>,
        drawn: Token,
        now: Time,
    ) -> Option<Card> {
        let held = |token: Token| {
            card.status == Status::Claimed
                && (self.has(Bug::NoFence) || card.lease.is_some_and(|(t, _)| t == token))
        };
        if verb.needs_token() && !held(token?) {
            return None;
        }
        let is_open = |card: &Card| {
            matches!(
                card.status,
                Status::Ready | Status::Claimed | Status::Blocked
            )
        };
        match verb {
            Verb::Claim { ttl } => {
                let used_up = card.attempts >= card.max_attempts && !self.has(Bug::NoMaximum);
                let claimable = card.status == Status::Ready && card.not_before <= now && !used_up;
                claimable.then(|| Card {
                    lease: Some((drawn, now + ttl)),
                    attempts: card.attempts + 1,
                    newest: card.newest.max(drawn),
                    settled: None,
                    ..card.turned(Status::Claimed)
                })
            }
            Verb::Sweep => {
                let (_, end) = card.lease?;
                let ended =
                    end <= now && !self.has(Bug::NeverSwept) || self.has(Bug::LiveLeaseSwept);
                ended.then(|| self.requeued(card, None))
            }
            Verb::ReclaimForced => card.lease.map(|_| self.requeued(card, None)),
            Verb::Renew { ttl } => Some(Card {
                lease: card.lease.map(|(token, _)| (token, now + ttl)),
                ..card.clone()
            }),
            Verb::Complete => Some(Card {
                settled: token,
                ..card.turned(Status::Done)
            }),
            Verb::Fail { retry_in } => Some(self.requeued(card, Some(now + retry_in))),
            Verb::Release { retry_in } => Some(card.requeued(
                (card.attempts - 1).max(0),
                retry_in.map(|delay| now + delay),
            )),
            Verb::Block => Some(card.turned(Status::Blocked)),
            Verb::BlockUnheld => matches!(card.status, Status::Ready | Status::Blocked)
                .then(|| card.turned(Status::Blocked)),
            Verb::CompleteUnheld => {
                (card.status == Status::Ready).then(|| card.turned(Status::Done))
            }
            Verb::Unblock => (card.status == Status::Blocked).then(|| Card {
                attempts: 0,
                ..card.turned(Status::Ready)
            }),
            Verb::Cancel => is_open(card).then(|| card.turned(Status::Cancelled)),
            Verb::Reopen => matches!(card.status, Status::Done | Status::Cancelled).then(|| Card {
                attempts: 0,
                settled: None,
                ..card.turned(Status::Ready)
            }),
        }
    }

    fn requeued(&self, card: &Card, not_before: Option<Time>) -> Card {
        if self.has(Bug::NoMaximum) {
            return card.turned(Status::Ready);
        }
        card.requeued(card.attempts, not_before)
    }

    fn scan(&self, state: &State, worker: usize, card: usize, verb: Verb) -> Option<State> {
        let seen = state.cards.get(card)?;
        let me = state.workers.get(worker)?;
        if me.doing != Doing::Nothing || verb.needs_token() && me.holds.is_none_or(|h| h.0 != card)
        {
            return None;
        }
        if verb.skips() {
            self.judge(seen, verb, None, state.next_token, state.now)?;
        }
        let mut next = state.clone();
        let early = self.has(Bug::TokenDrawnBeforeLock) && matches!(verb, Verb::Claim { .. });
        let drawn = early.then(|| {
            next.next_token += 1;
            state.next_token
        });
        next.workers[worker].doing = Doing::Scanned {
            card,
            verb,
            seen: seen.clone(),
            drawn,
        };
        Some(next)
    }

    fn lock(&self, state: &State, worker: usize, token: Token) -> Option<State> {
        let me = state.workers.get(worker)?;
        let Doing::Scanned {
            card,
            verb,
            seen,
            drawn,
        } = &me.doing
        else {
            return None;
        };
        let mut next = state.clone();
        if state.is_locked(*card) {
            // Who does not pass over it waits.
            next.workers[worker].doing = Doing::Nothing;
            return verb.skips().then_some(next);
        }
        let newest = &state.cards[*card];
        let judged = match verb {
            Verb::Claim { .. } if self.has(Bug::ClaimNotJudgedAgain) => seen,
            Verb::Sweep if self.has(Bug::SweepNotJudgedAgain) => seen,
            _ => newest,
        };
        let own = me.holds.map(|(_, token)| token);
        let token = drawn.unwrap_or(token);
        match self.judge(judged, *verb, own, token, state.now) {
            Some(mut then) => {
                if matches!(verb, Verb::Claim { .. }) {
                    // Fresh, whatever the order in which others draw theirs.
                    if drawn.is_none() && state.cards.iter().any(|c| c.newest == token) {
                        return None;
                    }
                    next.next_token = next.next_token.max(token + 1);
                    next.tokens_grow &= token > newest.newest;
                    then.newest = newest.newest.max(token);
                }
                next.workers[worker].doing = Doing::Open {
                    card: *card,
                    verb: *verb,
                    then,
                };
            }
            None => {
                next.workers[worker].doing = Doing::Nothing;
                if verb.needs_token() {
                    next.workers[worker].holds = None;
                }
            }
        }
        Some(next)
    }

    fn commit(&self, state: &State, worker: usize) -> Option<State> {
        let me = state.workers.get(worker)?;
        let Doing::Open { card, verb, then } = &me.doing else {
            return None;
        };
        let mut next = state.clone();
        let grants = &mut next.grants;
        let own = me.holds.map(|(_, token)| token);
        let of_this = |grant: &Grant| grant.card == *card;
        match verb {
            Verb::Claim { .. } => {}
            // A live lease is not the sweep's to end.
            Verb::Sweep => grants.retain(|g| !of_this(g) || g.end > state.now),
            verb if verb.needs_token() => {
                grants.retain(|g| !of_this(g) || Some(g.token) != own);
            }
            _ => grants.retain(|g| !of_this(g)),
        }
        next.workers[worker].doing = Doing::Nothing;
        match (verb, then.lease) {
            (Verb::Claim { .. } | Verb::Renew { .. }, Some((token, end))) => {
                next.workers[worker].holds = Some((*card, token));
                next.grants.insert(Grant {
                    card: *card,
                    token,
                    end,
                });
            }
            _ if verb.needs_token() => next.workers[worker].holds = None,
            _ => {}
        }
        next.cards[*card] = then.clone();
        Some(next)
    }

    /// Several steps of one worker, one after the other.
    fn steps(&self, state: &State, actions: &[Action]) -> Option<State> {
        let mut state = state.clone();
        for action in actions {
            state = self.next_state(&state, action.clone())?;
        }
        Some(state)
    }

    /// A whole call of a worker.
    pub fn call(
        &self,
        state: &State,
        worker: usize,
        card: usize,
        verb: Verb,
        token: Token,
    ) -> Option<State> {
        self.steps(
            state,
            &[
                Action::Scan { worker, card, verb },
                Action::Lock { worker, token },
                Action::Commit { worker },
            ],
        )
    }

    /// Whether one worker can bring all cards to an end after all others are gone.
    fn can_be_finished(&self, state: &State) -> bool {
        let mut state = state.clone();
        for worker in 0..self.workers {
            state = self.crash(&state, worker);
        }
        state.now += 100;
        for card in 0..state.cards.len() {
            for verb in [Verb::Sweep, Verb::Claim { ttl: 1 }, Verb::Complete] {
                let token = state.next_token;
                state = self.call(&state, 0, card, verb, token).unwrap_or(state);
            }
        }
        let is_over = |card: &Card| !matches!(card.status, Status::Ready | Status::Claimed);
        state.cards.iter().all(is_over)
    }

    /// The workers are interchangeable.
    fn sorted(state: &State) -> State {
        let mut state = state.clone();
        state.workers.sort();
        state
    }

    fn crash(&self, state: &State, worker: usize) -> State {
        let mut next = state.clone();
        next.workers[worker] = Worker {
            holds: None,
            doing: Doing::Nothing,
        };
        next
    }
}

impl State {
    fn is_locked(&self, card: usize) -> bool {
        let mut workers = self.workers.iter();
        workers.any(|w| matches!(&w.doing, Doing::Open { card: locked, .. } if *locked == card))
    }

    /// A worker takes over a claim that another one made: who holds the token holds the card.
    pub fn hand_token(&mut self, worker: usize, card: usize, token: Token) {
        self.workers[worker].holds = Some((card, token));
    }
}
