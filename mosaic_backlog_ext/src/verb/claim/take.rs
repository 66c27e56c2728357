//! Making cards claimed, and what a claim returns and records.

use std::collections::HashSet;

use pgrx::prelude::*;
use serde_json::json;

use super::direct;
use super::request::{Request, claimed};
use crate::card::change::{card_updates, set};
use crate::card::claimable::{has_attempts, is_claimable, suits};
use crate::card::column::{NAMES, place};
use crate::card::history::{self, Event};
use crate::card::status::Status;
use crate::card::{card_table, own_columns};
use crate::frontier::{self, Key};
use crate::postgres::clock::{self, Micros, SECOND};
use crate::postgres::rows::shapes;
use crate::postgres::sequence::Sequence;
use crate::postgres::settings;
use crate::postgres::statement::{Answer, Session, param, statements};

shapes! {
    /// A claimed card with everything that a worker needs to start.
    ClaimedRow = concat!("TABLE (", card_table!(), ", dependencies jsonb, last_failure text, dependencies_total integer, \
        notes jsonb, notes_total integer, last_release text, last_answer text)");
    /// The same as 0.1.0 declares it.
    ClaimedRow01 = concat!("TABLE (", card_table!(), ", dependencies jsonb, last_failure text)");
}

/// The columns of a claimed card as if it had no dependencies and nothing was said about it, and behind
/// those that the caller sees: its place in the claim order, since when it was claimable, and whether
/// there may be some of that. To prepare for reading it costs as much as the rest, also where there is none.
macro_rules! taken_columns {
    () => {
        concat!(
            own_columns!(),
            ", '{}'::text[], '[]'::jsonb,
           c.last_failure, 0, '[]'::jsonb, 0, null::text, null::text, c.claim_order, greatest(c.claimable_since, c.not_before),
           c.linked"
        )
    };
}

statements! {
    HELD(TEXTARRAYOID, INT8ARRAYOID) = concat!(
        "select ", taken_columns!(), " from unnest($1, $2) as asked(id, token)
           join mosaic.backlog c on c.id = asked.id and c.claim_token = asked.token
         where c.status = 'claimed'");
}

card_updates! {
    /// Takes those of the candidates that are claimable. FOR NO KEY UPDATE re-checks the whole
    /// predicate on the locked row, and what a rival has locked is skipped.
    TAKE_CANDIDATES(INT8ARRAYOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTOID,
                    TEXTARRAYOID, INT4OID) =
        claimed!(set ()), " where c.ctid = any(array(
             select ctid from mosaic.backlog
             where claim_order = any($1) and ", is_claimable!("$4"), " and ", suits!("$6", "$7", "$8"), "
               and ", has_attempts!("$9"), "
             for no key update skip locked))
         returning ", taken_columns!();
    /// Takes locked cards.
    TAKE(TEXTARRAYOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID) =
        claimed!(set ()), " where id = any($1) returning ", taken_columns!();
}

pub const ID_COLUMN: i32 = place("id");
pub const TOKEN_COLUMN: i32 = place("claim_token");
const ATTEMPTS_COLUMN: i32 = place("attempts");
/// How many of them are of the card itself.
pub const OWN_COLUMNS: usize = NAMES.len();
const LAST_OWN: i32 = OWN_COLUMNS as i32;
pub const DEPENDS_ON_COLUMN: i32 = LAST_OWN + 1;
pub const DEPENDENCIES_COLUMN: i32 = LAST_OWN + 2;
pub const TOTAL_COLUMN: i32 = LAST_OWN + 4;
/// The first of those of `Said`.
pub const NOTES_COLUMN: i32 = LAST_OWN + 5;
/// The last that the caller sees.
pub const LAST_COLUMN: i32 = LAST_OWN + 8;
const ORDER_COLUMN: i32 = LAST_OWN + 9;
const SINCE_COLUMN: i32 = LAST_OWN + 10;
pub const LINKED_COLUMN: i32 = LAST_OWN + 11;

/// Claims those of the candidates that are claimable and that nobody else has locked.
pub fn take_candidates<'a>(
    session: &'a Session,
    keys: &[Key],
    request: &Request,
    now: Micros,
) -> Vec<Answer<'a>> {
    match direct::take(session, keys, request, now) {
        None => vec![take_by_statement(session, keys, request, now)],
        Some((taken, left)) if left.is_empty() => vec![taken],
        Some((taken, left)) => vec![taken, take_by_statement(session, &left, request, now)],
    }
}

fn take_by_statement<'a>(
    session: &'a Session,
    keys: &[Key],
    request: &Request,
    now: Micros,
) -> Answer<'a> {
    let [worker, ttl, at, until] = request.lease(now);
    let parameters = [
        param(keys.to_vec()),
        worker,
        ttl,
        at,
        until,
        param(request.offers.clone()),
        param(request.phase.as_deref()),
        param(request.labels.clone()),
        param(settings::MAX_ATTEMPTS.get()),
    ];
    Sequence::Tokens.drawing(|| session.run(&TAKE_CANDIDATES, &parameters))
}

/// Claims locked, claimable cards.
pub fn take<'a>(
    session: &'a Session,
    ids: Vec<String>,
    request: &Request,
    now: Micros,
) -> Answer<'a> {
    let [worker, ttl, at, until] = request.lease(now);
    let parameters = [param(ids), worker, ttl, at, until];
    Sequence::Tokens.drawing(|| session.run(&TAKE, &parameters))
}

/// Writes the history of claimed cards.
pub fn record(session: &Session, request: &Request, claimed: &[Answer], now: Micros) {
    let expires_at = now + i64::from(request.ttl) * SECOND;
    if claimed.iter().any(|answer| !answer.is_empty()) {
        frontier::add_lease(expires_at);
    }
    let cards: Vec<(&Answer, usize, String)> = in_claim_order(claimed)
        .into_iter()
        .map(|(answer, row)| (answer, row, answer.must(row, ID_COLUMN)))
        .collect();
    let events: Vec<Event> = cards
        .iter()
        .map(|(answer, row, id)| {
            let since: Micros = answer.must(*row, SINCE_COLUMN);
            Event {
                card_id: id,
                kind: "claimed",
                actor: Some(&request.worker),
                claim_token: answer.get(*row, TOKEN_COLUMN),
                old_status: Some(Status::Ready),
                new_status: Status::Claimed,
                detail: json!({
                    "claim_ttl_seconds": request.ttl, "claim_expires_at": clock::rfc3339(expires_at),
                    "attempts": answer.must::<i32>(*row, ATTEMPTS_COLUMN),
                    "waited_seconds": (now - since).max(0) as f64 / SECOND as f64,
                }),
            }
        })
        .collect();
    history::record_many(session, now, &events);
}

/// Those of the cards that are still held under these tokens, read anew.
pub fn held(session: &Session, ids: Vec<String>, tokens: Vec<i64>) -> Answer<'_> {
    session.run(&HELD, &[param(ids), param(tokens)])
}

/// The rows of all answers; a statement gives its own in the order in which the cards are stored.
pub fn in_claim_order<'s, 'a>(answers: &'a [Answer<'s>]) -> Vec<(&'a Answer<'s>, usize)> {
    let rows = |answer: &Answer| 0..answer.len();
    let mut all: Vec<(&Answer<'s>, usize)> = answers
        .iter()
        .flat_map(|answer| rows(answer).map(move |row| (answer, row)))
        .collect();
    all.sort_by_key(|(answer, row)| answer.must::<Key>(*row, ORDER_COLUMN));
    all
}

fn column<T: FromDatum>(answers: &[Answer], column: i32) -> Vec<T> {
    answers.iter().flat_map(|a| a.column(column)).collect()
}

/// The places in the claim order of cards that were claimed together.
pub fn orders(claimed: &[Answer]) -> HashSet<Key> {
    column(claimed, ORDER_COLUMN).into_iter().collect()
}
