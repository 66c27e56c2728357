//! Taking a card out of circulation until somebody helps, and back.

use pgrx::prelude::*;
use serde_json::json;

use crate::argument;
use crate::card::change::{card_updates, set, without_lease};
use crate::card::history::{self, Event};
use crate::card::status::Status;
use crate::card::{self, BLOCK_KINDS, Card, CardRow, said};
use crate::frontier::wake;
use crate::guard;
use crate::postgres::clock::{self, Micros};
use crate::postgres::rows::Rows;
use crate::postgres::statement::{param, session};
use crate::refusal::Refusal;

macro_rules! blocked {
    ($to:ident $with:tt) => {
        without_lease! { $to $with status = (status blocked), block_kind = (parameter 2), block_reason = (parameter 3),
                         updated_at = (parameter 4), settled_token = (parameter 5) }
    };
}

card_updates! {
    BLOCK(TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID) =
        blocked!(set ()), " where id = $1";
    UNBLOCK(TEXTOID, TIMESTAMPTZOID) =
        "status = 'ready', block_kind = null, block_reason = null,
           attempts = 0, updated_at = $2, claimable_since = $2, settled_token = null
         where id = $1";
}

/// Blocks a card; whoever holds it says so with the token. A blocked card gets the new reason.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_block(
    id: Option<String>,
    reason: Option<String>,
    kind: default!(Option<String>, "'other'"),
    claim_token: default!(Option<i64>, "NULL"),
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<CardRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = argument::id("id", id)?;
    let reason = argument::reason(reason)?;
    let kind = kind.unwrap_or_else(|| "other".to_owned());
    if !BLOCK_KINDS.contains(&kind.as_str()) {
        return Err(Refusal::argument(
            format!("unknown kind \"{kind}\""),
            format!("Use one of {}.", BLOCK_KINDS.join(", ")),
        )
        .into());
    }
    let actor = argument::optional_name("actor", actor)?;
    Ok(session(|session| {
        let card = Card::lock(session, &id)?;
        match (card.status, claim_token) {
            (Status::Done | Status::Cancelled, _) => {
                return Err(Refusal::bad_transition(&card, "block", "Reopen it first."));
            }
            (Status::Claimed, None) => return Err(Refusal::already_claimed(&card)),
            (Status::Claimed, Some(token)) if !card.is_held(token) => {
                return Err(Refusal::claim_lost(&card, token));
            }
            (Status::Blocked, Some(token)) if card.settled_token != Some(token) => {
                return Err(Refusal::claim_lost(&card, token));
            }
            (Status::Ready, Some(token)) => return Err(Refusal::claim_lost(&card, token)),
            _ => {}
        }
        let repeated = card.status == Status::Blocked
            && card.block_kind.as_deref() == Some(&kind)
            && card.block_reason.as_deref() == Some(&reason);
        if repeated {
            return card::get(session, &id);
        }
        let now = clock::now();
        session.run(
            &BLOCK,
            &[
                param(id.as_str()),
                param(kind.as_str()),
                param(reason.as_str()),
                param(now),
                param(claim_token),
            ],
        );
        history::record(
            session,
            now,
            &Event {
                card_id: &id,
                kind: "blocked",
                actor: actor.as_deref(),
                claim_token: card.claim_token,
                old_status: Some(card.status),
                new_status: Status::Blocked,
                detail: json!({"block_kind": kind, "reason": reason, "previous_owner": card.claim_owner}),
            },
        );
        card::get(session, &id)
    })?)
}

/// Makes a blocked card ready again with a fresh budget of attempts; its next worker is told the
/// answer. A ready card stays as it is, but for an answer that it does not have yet.
#[pg_extern(
    schema = "mosaic",
    name = "backlog_unblock",
    volatile,
    parallel_unsafe,
    security_definer
)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_unblock_02(
    id: Option<String>,
    answer: default!(Option<String>, "NULL"),
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<CardRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = argument::id("id", id)?;
    let answer = answer
        .map(|answer| argument::note("answer", Some(answer)))
        .transpose()?;
    let actor = argument::optional_name("actor", actor)?;
    Ok(session(|session| {
        let card = Card::lock(session, &id)?;
        let record = |attempts: i32, now: Micros| {
            if answer.is_some() {
                said::mark(session, &id);
            }
            history::record(
                session,
                now,
                &Event {
                    card_id: &id,
                    kind: "unblocked",
                    actor: actor.as_deref(),
                    claim_token: None,
                    old_status: Some(card.status),
                    new_status: Status::Ready,
                    detail: json!({"attempts": attempts, "answer": answer}),
                },
            );
        };
        match card.status {
            Status::Ready if !card.is_exhausted() => {
                let is_known = || {
                    let said = said::read(session, &id);
                    said.and_then(|said| said.answer) == answer
                };
                if answer.is_some() && !is_known() {
                    record(card.attempts, clock::now());
                }
            }
            Status::Ready | Status::Blocked => {
                let now = clock::now();
                session.run(&UNBLOCK, &[param(id.as_str()), param(now)]);
                wake::waiters();
                record(0, now);
            }
            Status::Claimed => {
                return Err(Refusal::bad_transition(
                    &card,
                    "unblock",
                    "It is being worked on; write a note.",
                ));
            }
            Status::Done | Status::Cancelled => {
                return Err(Refusal::bad_transition(
                    &card,
                    "unblock",
                    "Reopen it instead.",
                ));
            }
        }
        card::get(session, &id)
    })?)
}

/// What the SQL of 0.1.0 calls.
#[pg_extern(sql = false)]
fn backlog_unblock(
    id: Option<String>,
    actor: Option<String>,
) -> Result<Rows<CardRow>, pgrx::pg_sys::panic::ErrorReport> {
    backlog_unblock_02(id, None, actor)
}
