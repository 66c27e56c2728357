//! Making cards claimed, and what a claim returns and records.

use std::collections::HashSet;

use pgrx::prelude::*;
use serde_json::json;

use super::{Request, direct};
use crate::card::{card_columns, card_table, own_columns};
use crate::clock::{self, Micros, SECOND};
use crate::event::{self, Event};
use crate::frontier::{self, Key};
use crate::rows::{Rows, shapes};
use crate::settings;
use crate::statement::{Answer, Parameter, Session, param, statements};
use crate::status::Status;

shapes! {
    /// A claimed card with everything that a worker needs to start.
    ClaimedRow = concat!("TABLE (", card_table!(), ", dependencies jsonb, last_failure text)");
}

/// The columns of a claimed card, and behind those that the caller sees: its place in the claim
/// order and since when it was claimable.
macro_rules! claimed_columns {
    () => {
        concat!(
            card_columns!(),
            ",
           coalesce((select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                 'id', x.id, 'title', x.title, 'result', x.result) order by x.id)
              from mosaic.backlog_dependency d join mosaic.backlog x on x.id = d.depends_on
              where d.card_id = c.id), '[]'),
           c.last_failure, c.claim_order, greatest(c.claimable_since, c.not_before)"
        )
    };
}

/// The same of a card just taken, as if it had no dependencies, and whether it may have some: to
/// prepare for reading them costs as much as the rest, also where there are none.
macro_rules! taken_columns {
    () => {
        concat!(
            own_columns!(),
            ", '{}'::text[], '[]'::jsonb,
           c.last_failure, c.claim_order, greatest(c.claimable_since, c.not_before),
           c.linked"
        )
    };
}

/// Assigns a claim to a row; the parameters are the same in every statement that takes cards.
macro_rules! claimed {
    () => {
        "update mosaic.backlog c set status = 'claimed', claim_owner = $2,
           claim_token = pg_catalog.nextval('mosaic.backlog_claim_token_seq'), claim_ttl_seconds = $3,
           claimed_at = $4, claim_expires_at = $5, attempts = attempts + 1, settled_token = null,
           updated_at = $4"
    };
}

statements! {
    /// Takes those of the candidates that are claimable. FOR NO KEY UPDATE re-checks the whole
    /// predicate on the locked row, and what a rival has locked is skipped.
    TAKE_CANDIDATES(INT8ARRAYOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTOID,
                    TEXTARRAYOID, INT4OID) = concat!(
        claimed!(), " where c.ctid = any(array(
             select ctid from mosaic.backlog
             where claim_order = any($1) and opened and (not_before is null or not_before <= $4) and requires <@ $6
               and ($7 is null or phase = $7) and labels @> $8 and attempts < coalesce(max_attempts, $9)
             for no key update skip locked))
         returning ", taken_columns!());
    /// Takes locked cards.
    TAKE(TEXTARRAYOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID) = concat!(
        claimed!(), " where id = any($1) returning ", taken_columns!());
    HELD(TEXTARRAYOID, INT8ARRAYOID) = concat!(
        "select ", claimed_columns!(), " from unnest($1, $2) as asked(id, token)
           join mosaic.backlog c on c.id = asked.id and c.claim_token = asked.token
         where c.status = 'claimed' order by c.claim_order");
}

const ID_COLUMN: i32 = 1;
const TOKEN_COLUMN: i32 = 13;
const ATTEMPTS_COLUMN: i32 = 17;
/// Behind the columns that the caller sees.
const ORDER_COLUMN: i32 = 29;
const SINCE_COLUMN: i32 = 30;
const LINKED_COLUMN: i32 = 31;
const CLAIMED_COLUMNS: usize = 28;

impl Request {
    /// What every statement that takes cards has as its second to fifth parameter.
    fn lease(&self, now: Micros) -> [Parameter; 4] {
        [
            param(self.worker.as_str()),
            param(self.ttl),
            param(now),
            param(now + i64::from(self.ttl) * SECOND),
        ]
    }
}

/// Claims those of the candidates that are claimable and that nobody else has locked.
pub fn take_candidates(
    session: &Session,
    keys: &[Key],
    request: &Request,
    now: Micros,
) -> Vec<Answer> {
    match direct::take(keys, request, now) {
        None => vec![take_by_statement(session, keys, request, now)],
        Some((taken, left)) if left.is_empty() => vec![taken],
        Some((taken, left)) => vec![taken, take_by_statement(session, &left, request, now)],
    }
}

fn take_by_statement(session: &Session, keys: &[Key], request: &Request, now: Micros) -> Answer {
    let [worker, ttl, at, until] = request.lease(now);
    session.run(
        &TAKE_CANDIDATES,
        &[
            param(keys.to_vec()),
            worker,
            ttl,
            at,
            until,
            param(request.offers.clone()),
            param(request.phase.as_deref()),
            param(request.labels.clone()),
            param(settings::MAX_ATTEMPTS.get()),
        ],
    )
}

/// Claims locked, claimable cards.
pub fn take(session: &Session, ids: Vec<String>, request: &Request, now: Micros) -> Answer {
    let [worker, ttl, at, until] = request.lease(now);
    session.run(&TAKE, &[param(ids), worker, ttl, at, until])
}

/// What a claim of `ids` would do if it had not to find them.
#[cfg(feature = "bench")]
pub fn claim_known(
    session: &Session,
    ids: Vec<String>,
    worker: String,
    ttl: i32,
) -> Rows<ClaimedRow> {
    let request = Request {
        worker,
        ttl,
        max_cards: 1,
        phase: None,
        labels: Vec::new(),
        offers: Vec::new(),
        id: None,
    };
    let now = clock::now();
    let claimed = vec![take(session, ids, &request, now)];
    record(session, &request, &claimed, now);
    reply(session, &claimed)
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
    event::record_many(session, now, &events);
}

/// The claimed cards in claim order.
pub fn reply(session: &Session, claimed: &[Answer]) -> Rows<ClaimedRow> {
    let rows = in_claim_order(claimed);
    let is_linked = |(answer, row): &(&Answer, usize)| answer.must(*row, LINKED_COLUMN);
    if rows.iter().any(is_linked) {
        let (ids, tokens) = ids_and_tokens(claimed);
        return held(session, ids, tokens);
    }
    Rows::first_columns(session, &rows, CLAIMED_COLUMNS)
}

/// Those of the cards that are still held under these tokens, read anew.
pub fn held(session: &Session, ids: Vec<String>, tokens: Vec<i64>) -> Rows<ClaimedRow> {
    let held = [session.run(&HELD, &[param(ids), param(tokens)])];
    Rows::first_columns(session, &in_claim_order(&held), CLAIMED_COLUMNS)
}

/// The rows of all answers; a statement gives its own in the order in which the cards are stored.
fn in_claim_order(answers: &[Answer]) -> Vec<(&Answer, usize)> {
    let rows = |answer: &'_ Answer| 0..answer.len();
    let mut all: Vec<(&Answer, usize)> = answers
        .iter()
        .flat_map(|answer| rows(answer).map(move |row| (answer, row)))
        .collect();
    all.sort_by_key(|(answer, row)| answer.must::<Key>(*row, ORDER_COLUMN));
    all
}

fn column<T: FromDatum>(answers: &[Answer], column: i32) -> Vec<T> {
    answers.iter().flat_map(|a| a.column(column)).collect()
}

/// The ids and tokens of claimed cards.
pub fn ids_and_tokens(claimed: &[Answer]) -> (Vec<String>, Vec<i64>) {
    (column(claimed, ID_COLUMN), column(claimed, TOKEN_COLUMN))
}

/// The places in the claim order of cards that were claimed together.
pub fn orders(claimed: &[Answer]) -> HashSet<Key> {
    column(claimed, ORDER_COLUMN).into_iter().collect()
}
