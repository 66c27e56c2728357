//! A model of the backlog: what the functions promise, in the plainest terms.
//!
//! It doubles as the documentation of the semantics. There is no lock, no counter and no index
//! here: the gate of a card is looked up in its edges whenever somebody asks, history is a list,
//! and a call either answers with an error and changes nothing, or takes effect as a whole.
//! `replay` tells the same calls to a real database and compares after each.
//!
//! Where the contract leaves something open, the model follows the code and says so with
//! "(Silent.)".

mod block;
pub mod call;
mod card;
mod claim;
mod create;
mod finish;
mod gate;
mod lease;
mod read;
pub mod replay;
mod sql;
mod stats;
pub mod strategy;
mod update;
mod why;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use call::{Call, Claim, Role, Step, Token};
use card::{Card, Status};

/// Seconds since 1970, by the server's clock.
pub type Time = i64;
pub type Seconds = i64;

/// When every model begins: 2030-01-01 00:00 UTC.
pub const START: Time = 1_893_456_000;

/// The setting `mosaic.max_attempts` in databases that are compared with the model: small, so
/// that quarantine is frequent.
pub const MAX_ATTEMPTS: i32 = 3;

/// The role that all sessions log in as.
pub const LOGIN_ROLE: &str = "postgres";

/// The rows of an answer, or the stable code of an error.
pub type Answer = Result<Vec<Value>, &'static str>;

/// What the database draws for itself: the model takes it from the answer and checks that it
/// is fresh.
#[derive(Default)]
pub struct Drawn {
    /// The ids of the answer's rows, in their order.
    pub ids: Vec<String>,
    /// The tokens of the answer's rows, by card.
    pub tokens: BTreeMap<String, i64>,
}

/// A line of the history.
#[derive(Clone, Debug)]
pub struct Event {
    pub card: String,
    pub at: Time,
    pub kind: &'static str,
    pub actor: String,
    pub token: Option<i64>,
    pub old: Option<Status>,
    pub new: Status,
    /// Of a claim: how long the card had been claimable. Of a completion: how long ago the
    /// card was created.
    pub seconds: Option<Seconds>,
}

/// Who calls: as which role, and under which name in the history.
struct Caller {
    role: Role,
    actor: String,
}

impl Caller {
    /// `force` is an operator's.
    fn may_force(&self, force: bool) -> Result<(), &'static str> {
        if force && self.role == Role::Worker {
            return Err("unauthorized");
        }
        Ok(())
    }
}

/// The answer to a claim that was made with a request id.
struct Remembered {
    at: Time,
    claim: Claim,
    tokens: Vec<(String, i64)>,
}

#[derive(Default)]
pub struct Backlog {
    pub now: Time,
    cards: BTreeMap<String, Card>,
    pub events: Vec<Event>,
    requests: BTreeMap<u8, Remembered>,
    /// All tokens that were handed out, with their cards, oldest first.
    tokens: Vec<(String, i64)>,
    /// How many cards were ever created.
    born: usize,
}

impl Backlog {
    pub fn new() -> Self {
        Self {
            now: START,
            ..Self::default()
        }
    }

    /// Time passes. A deferred card becomes claimable at its hour, whoever looks.
    pub fn pass(&mut self, seconds: Seconds) {
        self.now += seconds;
        for id in self.ids() {
            if self.is_claimable(&id) && self.cards[&id].claimable_since.is_none() {
                let card = self.card_mut(&id);
                card.claimable_since = card.not_before;
            }
        }
    }

    /// Takes a call and answers it.
    pub fn answer(&mut self, step: &Step, drawn: &Drawn) -> Answer {
        let by = Caller {
            role: step.role,
            actor: step.actor.unwrap_or(LOGIN_ROLE).to_owned(),
        };
        // Cancel, reopen and update are an operator's altogether.
        if by.role == Role::Worker && step.call.is_for_operators() {
            return Err("unauthorized");
        }
        let answer = match &step.call {
            Call::Create(new) => self.create(new, &by, drawn),
            Call::CreateMany(new) => self.create_many(new, &by, drawn),
            Call::Get { id } => self.get(id),
            Call::List(filter) => self.list(filter),
            Call::Claim(claim) => self.claim(claim, drawn),
            Call::Renew { id, token, ttl } => self.renew(id, *token, *ttl),
            Call::Release {
                id,
                token,
                retry_in,
                reason,
            } => self.release(id, *token, *retry_in, *reason),
            Call::Fail {
                id,
                token,
                reason,
                retry_in,
            } => self.fail(id, *token, reason, *retry_in),
            Call::Complete {
                id,
                token,
                result,
                force,
            } => self.complete(id, *token, *result, *force, &by),
            Call::Block {
                id,
                reason,
                kind,
                token,
            } => self.block(id, reason, kind, *token, &by),
            Call::Unblock { id } => self.unblock(id, &by),
            Call::Cancel {
                id,
                reason,
                cascade,
                force,
            } => self.cancel(id, reason, *cascade, *force, &by),
            Call::Reopen { id, reason } => self.reopen(id, reason, &by),
            Call::Update(update) => self.update(update, &by),
            Call::Link { id, depends_on } => self.link(id, depends_on, &by),
            Call::Unlink { id, depends_on } => self.unlink(id, depends_on, &by),
            Call::Reclaim {
                id,
                force,
                grace,
                max_cards,
            } => self.reclaim(id.as_deref(), *force, *grace, *max_cards, &by, drawn),
            Call::Stats { phase } => self.stats(*phase),
            Call::Why { id } => self.why(id),
            Call::AssertHeld { id, token } => self.assert_held(id, *token),
        };
        self.note_what_is_claimable();
        answer
    }

    /// Since when each claimable card is claimable. (Silent.) A `not_before` that is set to a
    /// time in the past counts as if it had always stood there.
    fn note_what_is_claimable(&mut self) {
        for id in self.ids() {
            let since = self.is_claimable(&id).then_some(self.now);
            let card = self.card_mut(&id);
            card.claimable_since = since
                .map(|now| card.claimable_since.unwrap_or(now))
                .max(card.not_before.filter(|_| since.is_some()));
        }
    }

    fn ids(&self) -> Vec<String> {
        self.cards.keys().cloned().collect()
    }

    fn find(&self, id: &str) -> Result<&Card, &'static str> {
        self.cards.get(id).ok_or("not_found")
    }

    /// A card that is known to exist.
    fn card_mut(&mut self, id: &str) -> &mut Card {
        self.cards.get_mut(id).expect("a card")
    }

    /// A card that changes now.
    fn change(&mut self, id: &str) -> &mut Card {
        let now = self.now;
        let card = self.card_mut(id);
        card.updated_at = now;
        card
    }

    /// Moves a card to another status and writes it down.
    fn turn(&mut self, id: &str, to: Status, kind: &'static str, actor: &str) {
        let now = self.now;
        let card = self.change(id);
        let old = card.status;
        let token = card.claim.as_ref().map(|claim| claim.token);
        let cycle = (to == Status::Done).then_some(now - card.created_at);
        card.status = to;
        if to != Status::Claimed {
            card.claim = None;
        }
        if to != Status::Blocked {
            card.block = None;
        }
        card.completed_at = (to == Status::Done).then_some(now);
        self.record(id, kind, actor, token, Some(old), cycle);
    }

    /// Writes down what happened to a card; its new status is the one that it has.
    fn record(
        &mut self,
        id: &str,
        kind: &'static str,
        actor: &str,
        token: Option<i64>,
        old: Option<Status>,
        seconds: Option<Seconds>,
    ) {
        self.events.push(Event {
            card: id.to_owned(),
            at: self.now,
            kind,
            actor: actor.to_owned(),
            token,
            old,
            new: self.cards[id].status,
            seconds,
        });
    }

    /// Writes down a change that leaves the status as it is.
    fn record_change(&mut self, id: &str, kind: &'static str, actor: &str) {
        let card = &self.cards[id];
        let (token, status) = (
            card.claim.as_ref().map(|claim| claim.token),
            Some(card.status),
        );
        self.record(id, kind, actor, token, status, None);
    }

    /// The number that a kind of token stands for at this moment.
    pub fn token(&self, id: &str, token: Token) -> Token {
        let of_the_card = |back: usize| {
            let mut tokens = self.tokens.iter().rev().filter(|(card, _)| card == id);
            tokens.nth(back).map(|(_, token)| *token)
        };
        let number = match token {
            Token::None | Token::Number(_) => return token,
            Token::Its => of_the_card(0),
            Token::Former => of_the_card(1),
            Token::OfAnother => {
                let mut others = self.tokens.iter().rev().filter(|(card, _)| card != id);
                others.next().map(|(_, token)| *token)
            }
        };
        Token::Number(number.unwrap_or(i64::MAX))
    }

    /// The ids that the database generated, oldest first.
    fn generated(&self, number: usize) -> Option<&str> {
        let mut generated: Vec<&Card> = self.cards.values().filter(|c| c.is_generated).collect();
        generated.sort_by_key(|card| card.born);
        generated.get(number).map(|card| card.id.as_str())
    }

    /// One of the cards of a status.
    fn nth_of(&self, status: &str, number: usize) -> Option<&str> {
        let cards = self
            .cards
            .values()
            .filter(|card| card.status.name() == status);
        let ids: Vec<&str> = cards.map(|card| card.id.as_str()).collect();
        ids.get(number % ids.len().max(1)).copied()
    }

    /// The rows of cards, in the order given.
    fn rows<'a>(&self, ids: impl IntoIterator<Item = &'a String>) -> Vec<Value> {
        ids.into_iter().map(|id| self.row(id)).collect()
    }

    /// The rows of all cards, by id.
    pub fn state(&self) -> Vec<Value> {
        self.rows(self.cards.keys())
    }

    /// What must hold in every state, whatever happened.
    pub fn check(&self) {
        let held: BTreeSet<i64> = self
            .cards
            .values()
            .filter_map(|card| card.claim.as_ref())
            .map(|claim| claim.token)
            .collect();
        let claimed = self.cards.values().filter(|c| c.status == Status::Claimed);
        assert_eq!(held.len(), claimed.count(), "two cards under one token");
        for card in self.cards.values() {
            assert_eq!(card.claim.is_some(), card.status == Status::Claimed);
            assert_eq!(card.block.is_some(), card.status == Status::Blocked);
            assert!(
                card.status != Status::Ready || card.attempts < card.max_attempts(),
                "{} is ready although its attempts are used up",
                card.id
            );
            assert!(!self.leads_to(&card.depends_on, &card.id), "a cycle");
        }
    }
}
