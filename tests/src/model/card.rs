//! A card, and what can be said about it alone.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::call::{NewCard, Token};
use super::{Backlog, MAX_ATTEMPTS, Seconds, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Ready,
    Claimed,
    Blocked,
    Done,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 5] = [
        Self::Ready,
        Self::Claimed,
        Self::Blocked,
        Self::Done,
        Self::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Claimed => "claimed",
            Self::Blocked => "blocked",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether work on the card is still to be done.
    pub fn is_open(self) -> bool {
        !matches!(self, Self::Done | Self::Cancelled)
    }
}

/// A lease. It lasts until somebody takes it away, which is allowed once it has ended.
pub struct Lease {
    pub owner: String,
    pub token: i64,
    pub ttl: Seconds,
    pub since: Time,
    pub ends: Time,
}

#[derive(PartialEq)]
pub struct Block {
    pub kind: String,
    pub reason: String,
}

/// How the reason of a quarantine is written in expected rows: the words are the database's
/// own, but the last failure must be among them.
pub const USED_UP: &str = "<used up> ";

pub struct Card {
    pub id: String,
    pub title: String,
    pub body: Option<&'static str>,
    pub phase: Option<&'static str>,
    pub labels: BTreeSet<&'static str>,
    pub requires: BTreeSet<&'static str>,
    pub priority: i32,
    pub status: Status,
    pub acceptance: Option<i32>,
    pub idempotency_key: Option<&'static str>,
    pub not_before: Option<Time>,
    pub claim: Option<Lease>,
    pub attempts: i32,
    pub max_attempts: Option<i32>,
    pub block: Option<Block>,
    pub result: Option<i32>,
    pub depends_on: BTreeSet<String>,
    pub created_at: Time,
    pub updated_at: Time,
    pub completed_at: Option<Time>,

    /// The creations before this one: the age that breaks ties among equal priorities.
    pub born: usize,
    pub is_generated: bool,
    /// The request that created the card.
    pub request: NewCard,
    /// The token under which the card became done or blocked: a retry with it is a repeat.
    pub settled: Option<i64>,
    /// The reason of the last `fail`, for the next claimer. It outlives everything.
    pub last_failure: Option<String>,
    /// Since when the card is claimable, if it is.
    pub claimable_since: Option<Time>,
}

impl Card {
    pub fn max_attempts(&self) -> i32 {
        self.max_attempts.unwrap_or(MAX_ATTEMPTS)
    }

    /// A card whose attempts reached the maximum is not handed out again.
    pub fn is_used_up(&self) -> bool {
        self.attempts >= self.max_attempts()
    }

    /// Whether `token` is the one that the card is held under.
    pub fn is_held_under(&self, token: Token) -> bool {
        let held = self.claim.as_ref().map(|claim| Token::Number(claim.token));
        held == Some(token)
    }

    pub fn is_settled_under(&self, token: Token) -> bool {
        self.settled.map(Token::Number) == Some(token)
    }

    /// Higher priority first, then older first.
    pub fn claim_order(&self) -> (i32, usize) {
        (-self.priority, self.born)
    }

    pub fn has_all(&self, labels: &[&'static str]) -> bool {
        labels.iter().all(|label| self.labels.contains(label))
    }

    pub fn owner(&self) -> Option<&str> {
        self.claim.as_ref().map(|claim| claim.owner.as_str())
    }
}

impl Backlog {
    /// The dependencies of a card that are not done.
    pub(super) fn open_dependencies(&self, id: &str) -> Vec<&Card> {
        let depends_on = self.cards[id].depends_on.iter();
        depends_on
            .map(|on| &self.cards[on])
            .filter(|on| on.status != Status::Done)
            .collect()
    }

    pub(super) fn is_gated(&self, id: &str) -> bool {
        !self.open_dependencies(id).is_empty()
    }

    pub(super) fn is_deferred(&self, id: &str) -> bool {
        self.cards[id]
            .not_before
            .is_some_and(|hour| hour > self.now)
    }

    /// Ready, no open dependencies, and `not_before` null or past.
    pub(super) fn is_claimable(&self, id: &str) -> bool {
        self.cards[id].status == Status::Ready && !self.is_gated(id) && !self.is_deferred(id)
    }

    /// The card's columns as the functions return them, times in seconds since 1970.
    pub(super) fn row(&self, id: &str) -> Value {
        let card = &self.cards[id];
        let claim = card.claim.as_ref();
        let block = card.block.as_ref();
        json!({
            "id": card.id,
            "title": card.title,
            "body": card.body,
            "phase": card.phase,
            "labels": card.labels,
            "requires": card.requires,
            "priority": card.priority,
            "status": card.status.name(),
            "acceptance": card.acceptance,
            "idempotency_key": card.idempotency_key,
            "not_before": card.not_before,
            "claim_owner": claim.map(|claim| &claim.owner),
            "claim_token": claim.map(|claim| claim.token),
            "claim_ttl_seconds": claim.map(|claim| claim.ttl),
            "claimed_at": claim.map(|claim| claim.since),
            "claim_expires_at": claim.map(|claim| claim.ends),
            "attempts": card.attempts,
            "max_attempts": card.max_attempts,
            "block_kind": block.map(|block| &block.kind),
            "block_reason": block.map(|block| &block.reason),
            "result": card.result,
            "open_dependencies": self.open_dependencies(id).len(),
            "created_at": card.created_at,
            "updated_at": card.updated_at,
            "completed_at": card.completed_at,
            "depends_on": card.depends_on,
        })
    }
}
