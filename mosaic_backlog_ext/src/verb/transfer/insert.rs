//! Putting imported lines into the tables, many at a time.

use std::collections::HashSet;
use std::thread::LocalKey;

use pgrx::datum::IntoDatum;
use pgrx::prelude::*;
use serde_json::json;

use super::card_line::Card;
use super::line::{Dependency, Event};
use crate::card::change::card_updates;
use crate::card::status::Status;
use crate::postgres::clock::Micros;
use crate::postgres::roles;
use crate::postgres::sequence::Sequence;
use crate::postgres::statement::{Parameter, Session, Statement, param, statements};
use crate::postgres::transaction;
use crate::refusal::Refusal;
use crate::verb::create::array_literal;

/// What has an id or a key already is passed over; what another unique index has is an error where that is
/// only so of an `(id)`.
macro_rules! insert {
    ($unless:literal) => {
        concat!(
            "insert into mosaic.backlog (id, title, body, phase, labels, requires, priority, status, acceptance,
               idempotency_key, creation_request, not_before, attempts, max_attempts, block_kind, block_reason, result,
               created_at, updated_at, completed_at, settled_token, claimable_since, last_failure, creation_seq)
             select n.id, n.title, n.body, n.phase, n.labels::text[], n.requires::text[], n.priority,
               n.status::mosaic.backlog_status, n.acceptance::jsonb, n.idempotency_key, n.creation_request::jsonb,
               n.not_before, n.attempts, n.max_attempts, n.block_kind, n.block_reason, n.result::jsonb,
               n.created_at, n.updated_at, n.completed_at, n.settled_token, n.claimable_since, n.last_failure, n.creation_seq
             from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
                         $21, $22, $23, $24)
               as n(id, title, body, phase, labels, requires, priority, status, acceptance, idempotency_key,
                    creation_request, not_before, attempts, max_attempts, block_kind, block_reason, result,
                    created_at, updated_at, completed_at, settled_token, claimable_since, last_failure, creation_seq)
            on conflict ",
            $unless,
            " do nothing
             returning id"
        )
    };
}

statements! {
    CARDS_UNLESS_ID(TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID,
          TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID, INT4ARRAYOID,
          TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID,
          TIMESTAMPTZARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, INT8ARRAYOID) = insert!("(id)");
    CARDS_UNLESS_MET(TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID,
          TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID, INT4ARRAYOID,
          TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID,
          TIMESTAMPTZARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, INT8ARRAYOID) = insert!("");
    DEPENDENCIES(TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID) =
        "insert into mosaic.backlog_dependency (card_id, depends_on, created_at) select * from unnest($1, $2, $3)";
    EVENTS(INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID,
           TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID) =
        "insert into mosaic.backlog_event
           (event_id, card_id, at, kind, actor, login_role, claim_token, old_status, new_status, detail, horizon)
         select n.event_id, n.card_id, n.at, n.kind, n.actor, n.login_role, n.claim_token,
           n.old_status::mosaic.backlog_status, n.new_status::mosaic.backlog_status, n.detail::jsonb, $11::xid8
         from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
           as n(event_id, card_id, at, kind, actor, login_role, claim_token, old_status, new_status, detail)";
    HOLDERS(TEXTARRAYOID, TEXTARRAYOID) =
        "select id, idempotency_key from mosaic.backlog where id = any($1) or idempotency_key = any($2)";
}

card_updates! {
    SAID(TEXTARRAYOID) = "linked = true where id = any($1) and not linked";
    GATE(TEXTARRAYOID, INT4ARRAYOID) =
        "open_dependencies = n.open, linked = true
         from unnest($1, $2) as n(id, open) where c.id = n.id";
}

/// One column of the rows to insert.
fn column<R, T>(rows: &[R], of: impl Fn(&R) -> T) -> Parameter
where
    Vec<T>: IntoDatum,
{
    param(rows.iter().map(of).collect::<Vec<T>>())
}

fn at(time: Micros) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(time).ok()
}

/// The state in which a card arrives: leases do not travel.
pub fn arrival(status: Status) -> Status {
    match status {
        Status::Claimed => Status::Ready,
        other => other,
    }
}

/// Inserts cards with closed eyes for their dependencies. Gives the ids of those whose id and
/// key no other card has.
pub fn cards(session: &Session, cards: &[(u64, Card)], now: Micros) -> HashSet<String> {
    let rows: Vec<&Card> = cards.iter().map(|(_, card)| card).collect();
    let unless = match rows.iter().any(|card| card.idempotency_key.is_some()) {
        true => &CARDS_UNLESS_MET,
        false => &CARDS_UNLESS_ID,
    };
    insert(session, unless, &rows, now)
}

fn insert(
    session: &Session,
    unless: &'static LocalKey<Statement>,
    rows: &[&Card],
    now: Micros,
) -> HashSet<String> {
    // A card whose lease stays behind changes on the way; all others come as they are.
    let or_now = |card: &Card, time| at(if card.lease.is_some() { now } else { time });
    let answer = session.run(
        unless,
        &[
            column(rows, |c| c.id.clone()),
            column(rows, |c| c.title.clone()),
            column(rows, |c| c.body.clone()),
            column(rows, |c| c.phase.clone()),
            column(rows, |c| array_literal(&c.labels)),
            column(rows, |c| array_literal(&c.requires)),
            column(rows, |c| c.priority),
            column(rows, |c| arrival(c.status).name()),
            column(rows, |c| c.acceptance.clone()),
            column(rows, |c| c.idempotency_key.clone()),
            column(rows, |c| c.creation_request.clone()),
            column(rows, |c| c.not_before.and_then(at)),
            column(rows, |c| c.attempts),
            column(rows, |c| c.max_attempts),
            column(rows, |c| c.block_kind.clone()),
            column(rows, |c| c.block_reason.clone()),
            column(rows, |c| c.result.clone()),
            column(rows, |c| at(c.created_at)),
            column(rows, |c| or_now(c, c.updated_at)),
            column(rows, |c| c.completed_at.and_then(at)),
            column(rows, |c| c.settled_token),
            column(rows, |c| or_now(c, c.claimable_since)),
            column(rows, |c| c.last_failure.clone()),
            column(rows, |_| Sequence::Creations.next()),
        ],
    );
    answer.column(1).into_iter().collect()
}

pub fn dependencies(session: &Session, rows: &[Dependency]) {
    if rows.is_empty() {
        return;
    }
    session.run(
        &DEPENDENCIES,
        &[
            column(rows, |d| d.card_id.clone()),
            column(rows, |d| d.depends_on.clone()),
            column(rows, |d| at(d.created_at)),
        ],
    );
}

/// Why cards were not inserted: what others have that should be theirs.
pub fn conflict(
    session: &Session,
    cards: &[(u64, Card)],
    inserted: &HashSet<String>,
    now: Micros,
) -> Refusal {
    let missing = || {
        cards
            .iter()
            .filter(|(_, card)| !inserted.contains(&card.id))
    };
    let ids: Vec<String> = missing().map(|(_, card)| card.id.clone()).collect();
    let keys: Vec<String> = missing()
        .filter_map(|(_, card)| card.idempotency_key.clone())
        .collect();
    let answer = session.run(&HOLDERS, &[param(ids), param(keys)]);
    let holders: Vec<(String, Option<String>)> = (0..answer.len())
        .map(|row| (answer.must(row, 1), answer.get(row, 2)))
        .collect();
    for (line, card) in missing() {
        if holders.iter().any(|(id, _)| *id == card.id) {
            return Refusal::id_conflict(&card.id).of_line(*line);
        }
        let Some(key) = &card.idempotency_key else {
            continue;
        };
        if let Some((id, _)) = holders.iter().find(|(_, k)| k.as_ref() == Some(key)) {
            return Refusal::key_taken(key, id).of_line(*line);
        }
    }
    // A unique index of somebody's own has its error told by PostgreSQL.
    let rows: Vec<&Card> = missing().map(|(_, card)| card).collect();
    insert(session, &CARDS_UNLESS_ID, &rows, now);
    // The other card was there a moment ago; cards do not go away by themselves.
    Refusal::argument(
        "a card of the import met another that is gone",
        "Try again.",
    )
}

/// Appends events to the history under fresh numbers, in their order. As in `history::record`,
/// the transaction has its id before the numbers are drawn, and the horizon is read after.
pub fn events(session: &Session, rows: &[Event]) {
    if rows.is_empty() {
        return;
    }
    transaction::id();
    let ids: Vec<i64> = rows.iter().map(|_| Sequence::Events.next()).collect();
    let horizon = transaction::next_id();
    session.run(
        &EVENTS,
        &[
            param(ids),
            column(rows, |e| e.card_id.clone()),
            column(rows, |e| at(e.at)),
            column(rows, |e| e.kind.clone()),
            column(rows, |e| e.actor.clone()),
            column(rows, |e| e.login_role.clone()),
            column(rows, |e| e.claim_token),
            column(rows, |e| e.old_status.map(Status::name)),
            column(rows, |e| e.new_status.name()),
            column(rows, |e| e.detail.clone()),
            param(horizon.to_string()),
        ],
    );
    let said: Vec<String> = rows
        .iter()
        .filter(|event| says_something(event))
        .map(|event| event.card_id.clone())
        .collect();
    if !said.is_empty() {
        session.run(&SAID, &[param(said)]);
    }
}

/// Whether claims of the card tell of the event.
fn says_something(event: &Event) -> bool {
    let key = match event.kind.as_str() {
        "noted" => return true,
        "released" => "reason",
        "unblocked" => "answer",
        _ => return false,
    };
    let detail: serde_json::Value = serde_json::from_str(&event.detail).unwrap_or_default();
    detail.get(key).is_some_and(serde_json::Value::is_string)
}

/// The event of a card's arrival.
pub fn arrived(card: &Card, actor: Option<&str>, now: Micros) -> Event {
    let login_role = roles::login();
    let detail = match &card.lease {
        Some(lease) => json!({"previous_owner": lease.owner, "attempts": card.attempts}),
        None => json!({"attempts": card.attempts}),
    };
    Event {
        card_id: card.id.clone(),
        at: now,
        kind: "imported".to_owned(),
        actor: actor.unwrap_or(&login_role).to_owned(),
        login_role,
        claim_token: card.lease.as_ref().map(|lease| lease.token),
        old_status: card.lease.as_ref().map(|_| Status::Claimed),
        new_status: arrival(card.status),
        detail: detail.to_string(),
    }
}

/// Sets the counters of cards with dependencies.
pub fn gate(session: &Session, gated: Vec<(String, i32)>) {
    if gated.is_empty() {
        return;
    }
    let (ids, open): (Vec<String>, Vec<i32>) = gated.into_iter().unzip();
    session.run(&GATE, &[param(ids), param(open)]);
}
