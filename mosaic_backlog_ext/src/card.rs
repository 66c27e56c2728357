//! A card as the verbs see it, and as they return it.

pub mod change;
pub mod check;
pub mod claimable;
pub mod column;
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

use crate::card::claimable::{Hindrance, hindrance, max_attempts};
use crate::card::row::{Places, Row};
use crate::card::status::Status;
use crate::postgres::clock::Micros;
use crate::postgres::rows::{Rows, Shape, shapes};
use crate::postgres::statement::{Answer, Session, param, statements};
use crate::postgres::table::Against;
use crate::refusal::Refusal;

pub(crate) use column::{card_columns, card_table, own_columns};

shapes! {
    /// A card and its dependencies.
    CardRow = concat!("TABLE (", card_table!(), ")");
}

/// What of a card is read with its lock: the columns, as fields, and how each is read from the answer to a statement
/// and from a row.
macro_rules! card {
    ($($(#[$doc:meta])* $column:ident: $type:ty = $read:ident),* $(,)?) => {
        /// A card whose row this transaction has locked.
        pub struct Card {
            pub status: Status,
            /// The card's own maximum, else the setting's.
            pub max_attempts: i32,
            $($(#[$doc])* pub $column: $type,)*
        }

        macro_rules! lock_columns {
            () => {
                concat!("select status::text, max_attempts" $(, ", ", stringify!($column))*, " from mosaic.backlog ")
            };
        }

        impl Card {
            fn read(answer: &Answer, row: usize) -> Self {
                let mut columns = 3..;
                let mut next = || columns.next().unwrap_or_default();
                Self {
                    status: Status::parse(answer.must(row, 1)),
                    max_attempts: max_attempts(answer.get(row, 2)),
                    $($column: answer.$read(row, next()),)*
                }
            }

            fn stored(row: &Row, at: &Places) -> Self {
                Self {
                    status: at.status_of(row),
                    max_attempts: max_attempts(row.get(at.max_attempts)),
                    $($column: row.$read(at.$column),)*
                }
            }
        }
    };
}

card! {
    id: String = must,
    claim_owner: Option<String> = get,
    claim_token: Option<i64> = get,
    claim_ttl_seconds: Option<i32> = get,
    claim_expires_at: Option<Micros> = get,
    attempts: i32 = must,
    open_dependencies: i32 = must,
    not_before: Option<Micros> = get,
    /// The token under which the card became done or blocked.
    settled_token: Option<i64> = get,
    requires: Vec<String> = must,
    created_at: Micros = must,
    claimable_since: Micros = must,
    last_failure: Option<String> = get,
    block_kind: Option<String> = get,
    block_reason: Option<String> = get,
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

impl Card {
    /// Locks the card's row, waiting for whoever has it.
    pub fn lock(session: &Session, id: &str) -> Result<Self, Refusal> {
        if let Some(card) = row::lock(id, Against::Changes, || true, Self::stored) {
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
        if let Some(card) = row::lock(id, Against::All, is_alone, Self::stored) {
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

    /// What stands in the way of a claim, whoever claims.
    pub fn hindrance(&self, now: Micros) -> Option<Hindrance> {
        let is_exhausted = self.is_exhausted();
        let open_dependencies = self.open_dependencies;
        hindrance(
            self.status,
            is_exhausted,
            open_dependencies,
            self.not_before,
            now,
        )
    }

    /// Whether the lease has ended, swept or not.
    pub fn lease_ended(&self, now: Micros) -> bool {
        self.claim_expires_at.is_some_and(|end| end <= now)
    }
}

/// Why a card can be blocked.
pub const BLOCK_KINDS: [&str; 5] = ["input", "dependency", "capability", EXHAUSTED, "other"];

/// That of a card that used up its attempts.
pub const EXHAUSTED: &str = "attempts";

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
