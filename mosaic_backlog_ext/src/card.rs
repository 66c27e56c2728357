//! A card as the verbs see it, and as they return it.

pub mod check;
pub mod cycle;
pub mod dependency;
mod dependent;
pub mod history;
mod refused;
pub mod row;
pub mod said;
pub mod search;
pub mod status;

use std::collections::HashSet;

use crate::card::status::Status;
use crate::postgres::clock::Micros;
use crate::postgres::rows::{Rows, Shape, shapes};
use crate::postgres::settings;
use crate::postgres::statement::{Answer, Session, param, statements};
use crate::postgres::table::Against;
use crate::refusal::Refusal;

/// The columns of a card in a `RETURNS TABLE`.
macro_rules! card_table {
    () => {
        "id text, title text, body text, phase text, labels text[], requires text[], priority integer, \
         status mosaic.backlog_status, acceptance jsonb, idempotency_key text, not_before timestamptz, \
         claim_owner text, claim_token bigint, claim_ttl_seconds integer, claimed_at timestamptz, \
         claim_expires_at timestamptz, attempts integer, max_attempts integer, block_kind text, \
         block_reason text, result jsonb, open_dependencies integer, created_at timestamptz, \
         updated_at timestamptz, completed_at timestamptz, depends_on text[]"
    };
}
pub(crate) use card_table;

/// The columns of the table among them, under the alias `c`.
macro_rules! own_columns {
    () => {
        "c.id, c.title, c.body, c.phase, c.labels, c.requires, c.priority, c.status, c.acceptance, \
         c.idempotency_key, c.not_before, c.claim_owner, c.claim_token, c.claim_ttl_seconds, c.claimed_at, \
         c.claim_expires_at, c.attempts, c.max_attempts, c.block_kind, c.block_reason, c.result, \
         c.open_dependencies, c.created_at, c.updated_at, c.completed_at"
    };
}
pub(crate) use own_columns;

/// All of them in a select list or a RETURNING. The token is its holder's, who has it from the
/// claim, and an operator's, who asks for it by name: `claim_token` is null.
macro_rules! card_columns {
    () => {
        concat!(
            "c.id, c.title, c.body, c.phase, c.labels, c.requires, c.priority, c.status, c.acceptance, \
             c.idempotency_key, c.not_before, c.claim_owner, null::bigint, c.claim_ttl_seconds, c.claimed_at, \
             c.claim_expires_at, c.attempts, c.max_attempts, c.block_kind, c.block_reason, c.result, \
             c.open_dependencies, c.created_at, c.updated_at, c.completed_at, \
             case when c.linked then array(select d.depends_on from mosaic.backlog_dependency d \
                where d.card_id = c.id order by d.depends_on limit 100000) else '{}' end"
        )
    };
}
pub(crate) use card_columns;

shapes! {
    /// A card and its dependencies.
    CardRow = concat!("TABLE (", card_table!(), ")");
}

macro_rules! lock_columns {
    () => {
        "select id, status::text, claim_owner, claim_token, claim_ttl_seconds, claim_expires_at, attempts, \
         max_attempts, open_dependencies, not_before, settled_token, requires, created_at, \
         claimable_since, last_failure, block_kind, block_reason from mosaic.backlog "
    };
}

statements! {
    LOCK(TEXTOID) = concat!(lock_columns!(), "where id = $1 for no key update");
    TRY_LOCK(TEXTOID) = concat!(lock_columns!(), "where id = $1 for no key update skip locked");
    LOCK_ALONE(TEXTOID) = concat!(lock_columns!(),
        "where id = $1 and not exists (select from mosaic.backlog_dependency where depends_on = $1)
         for update skip locked");
    LOCK_MANY(TEXTARRAYOID) = concat!(lock_columns!(), "where id = any($1) order by id collate \"C\" for no key update");
    GET(TEXTOID) = concat!("select ", card_columns!(), " from mosaic.backlog c where c.id = $1");
    GET_MANY(TEXTARRAYOID) = concat!("select ", card_columns!(),
        " from unnest($1) with ordinality as asked(id, place)
          cross join lateral (select * from mosaic.backlog b where b.id = asked.id limit 1) c order by asked.place");
}

/// A card whose row this transaction has locked.
pub struct Card {
    pub id: String,
    pub status: Status,
    pub claim_owner: Option<String>,
    pub claim_token: Option<i64>,
    pub claim_ttl_seconds: Option<i32>,
    pub claim_expires_at: Option<Micros>,
    pub attempts: i32,
    /// The card's own maximum, else the setting's.
    pub max_attempts: i32,
    pub open_dependencies: i32,
    pub not_before: Option<Micros>,
    /// The token under which the card became done or blocked.
    pub settled_token: Option<i64>,
    pub requires: Vec<String>,
    pub created_at: Micros,
    pub claimable_since: Micros,
    pub last_failure: Option<String>,
    pub block_kind: Option<String>,
    pub block_reason: Option<String>,
}

impl Card {
    fn read(answer: &Answer, row: usize) -> Self {
        Self {
            id: answer.must(row, 1),
            status: Status::parse(answer.must(row, 2)),
            claim_owner: answer.get(row, 3),
            claim_token: answer.get(row, 4),
            claim_ttl_seconds: answer.get(row, 5),
            claim_expires_at: answer.get(row, 6),
            attempts: answer.must(row, 7),
            max_attempts: answer
                .get(row, 8)
                .unwrap_or_else(|| settings::MAX_ATTEMPTS.get()),
            open_dependencies: answer.must(row, 9),
            not_before: answer.get(row, 10),
            settled_token: answer.get(row, 11),
            requires: answer.must(row, 12),
            created_at: answer.must(row, 13),
            claimable_since: answer.must(row, 14),
            last_failure: answer.get(row, 15),
            block_kind: answer.get(row, 16),
            block_reason: answer.get(row, 17),
        }
    }

    /// Locks the card's row, waiting for whoever has it.
    pub fn lock(session: &Session, id: &str) -> Result<Self, Refusal> {
        if let Some(card) = row::lock(id, Against::Changes, || true) {
            return Ok(card);
        }
        let answer = session.run(&LOCK, &[param(id)]);
        if answer.is_empty() {
            return Err(Refusal::not_found(id));
        }
        Ok(Self::read(&answer, 0))
    }

    /// Locks the card's row unless somebody else has it, or it is gone.
    pub fn try_lock(session: &Session, id: &str) -> Option<Self> {
        let answer = session.run(&TRY_LOCK, &[param(id)]);
        (!answer.is_empty()).then(|| Self::read(&answer, 0))
    }

    /// Locks a card on which nothing depends against links to it; `None` if something does, or
    /// somebody else has it, or it is gone.
    pub fn lock_alone(session: &Session, id: &str) -> Option<Self> {
        let is_alone = || dependent::exist(id) == Some(false);
        if let Some(card) = row::lock(id, Against::All, is_alone) {
            return Some(card);
        }
        let answer = session.run(&LOCK_ALONE, &[param(id)]);
        (!answer.is_empty()).then(|| Self::read(&answer, 0))
    }

    /// Locks the rows of cards in the order of their ids, the one order in which all verbs lock.
    pub fn lock_many(session: &Session, ids: &[String]) -> Result<Vec<Self>, Refusal> {
        let answer = session.run(&LOCK_MANY, &[param(ids.to_vec())]);
        let cards: Vec<Self> = (0..answer.len())
            .map(|row| Self::read(&answer, row))
            .collect();
        if cards.len() < ids.len() {
            let known: HashSet<&str> = cards.iter().map(|card| card.id.as_str()).collect();
            let missing = ids.iter().find(|id| !known.contains(id.as_str()));
            return Err(Refusal::not_found(missing.map_or("", String::as_str)));
        }
        Ok(cards)
    }

    /// Whether the card is held under `token`.
    pub fn is_held(&self, token: i64) -> bool {
        self.status == Status::Claimed && self.claim_token == Some(token)
    }

    /// Whether no attempt is left to hand out.
    pub fn is_exhausted(&self) -> bool {
        self.attempts >= self.max_attempts
    }

    /// Whether the lease has ended, swept or not.
    pub fn lease_ended(&self, now: Micros) -> bool {
        self.claim_expires_at.is_some_and(|end| end <= now)
    }
}

/// The card as a result.
pub fn get<T: Shape>(session: &Session, id: &str) -> Result<Rows<T>, Refusal> {
    let answer = session.run(&GET, &[param(id)]);
    if answer.is_empty() {
        Err(Refusal::not_found(id))
    } else {
        Ok(Rows::new(session, &answer))
    }
}

/// Cards as a result, in the order given.
pub fn get_many(session: &Session, ids: &[String]) -> Rows<CardRow> {
    Rows::new(session, &session.run(&GET_MANY, &[param(ids.to_vec())]))
}
