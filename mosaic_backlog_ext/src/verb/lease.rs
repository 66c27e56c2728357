//! What the holder of a lease does with it: renew, release, fail, and guard its own writes.

pub mod ending;

use pgrx::datum::Interval;
use pgrx::prelude::*;
use serde_json::json;

use crate::argument;
use crate::card::change::card_updates;
use crate::card::history::{self, Event};
use crate::card::status::Status;
use crate::card::{self, Card, CardRow, said};
use crate::frontier;
use crate::guard;
use crate::postgres::clock::{self, Micros, SECOND};
use crate::postgres::rows::Rows;
use crate::postgres::settings;
use crate::postgres::statement::{Session, param, session};
use crate::refusal::Refusal;

card_updates! {
    RENEW(TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID) =
        "claim_ttl_seconds = $2, claim_expires_at = $3, updated_at = $4 where id = $1";
}

/// Locks a card that must be held under `token`.
fn lock_held(session: &Session, id: &str, token: i64) -> Result<Card, Refusal> {
    let card = Card::lock(session, id)?;
    if card.is_held(token) {
        Ok(card)
    } else {
        Err(Refusal::claim_lost(&card, token))
    }
}

/// Extends the lease from now on by `ttl`, by default by the claim's own ttl again.
/// Works until the lease is swept or reclaimed, also after it ended. Writes a note with it.
#[pg_extern(
    schema = "mosaic",
    name = "backlog_renew",
    volatile,
    parallel_unsafe,
    security_definer
)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_renew_02(
    id: Option<String>,
    claim_token: Option<i64>,
    ttl: default!(Option<Interval>, "NULL"),
    note: default!(Option<String>, "NULL"),
) -> Result<TimestampWithTimeZone, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = argument::id("id", id)?;
    let token = argument::token(claim_token)?;
    let ttl = ttl.map(|ttl| argument::ttl(Some(ttl))).transpose()?;
    let note = note.map(|n| argument::note("note", Some(n))).transpose()?;
    let expires_at = session(|session| {
        let card = lock_held(session, &id, token)?;
        let now = clock::now();
        let ttl = ttl.or(card.claim_ttl_seconds).unwrap_or_default();
        let expires_at = now + i64::from(ttl) * SECOND;
        session.run(
            &RENEW,
            &[
                param(id.as_str()),
                param(ttl),
                param(expires_at),
                param(now),
            ],
        );
        frontier::add_lease(expires_at);
        history::record(
            session,
            now,
            &Event {
                card_id: &id,
                kind: "renewed",
                actor: card.claim_owner.as_deref(),
                claim_token: Some(token),
                old_status: Some(Status::Claimed),
                new_status: Status::Claimed,
                detail: json!({"claim_ttl_seconds": ttl, "claim_expires_at": clock::rfc3339(expires_at)}),
            },
        );
        if let Some(note) = &note {
            said::note(session, &card, note, Some(token), None, now);
        }
        Ok::<_, Refusal>(expires_at)
    })?;
    Ok(TimestampWithTimeZone::try_from(expires_at).expect("a lease ends within 30 days"))
}

/// What the SQL of 0.1.0 calls.
#[pg_extern(sql = false)]
fn backlog_renew(
    id: Option<String>,
    claim_token: Option<i64>,
    ttl: Option<Interval>,
) -> Result<TimestampWithTimeZone, pgrx::pg_sys::panic::ErrorReport> {
    backlog_renew_02(id, claim_token, ttl, None)
}

/// Gives a card back without blame: the attempt is not counted.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_release(
    id: Option<String>,
    claim_token: Option<i64>,
    retry_in: default!(Option<Interval>, "NULL"),
    reason: default!(Option<String>, "NULL"),
) -> Result<Rows<CardRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = argument::id("id", id)?;
    let token = argument::token(claim_token)?;
    let delay = retry_in
        .map(|d| argument::delay("retry_in", &d))
        .transpose()?;
    let reason = reason.map(|r| argument::reason(Some(r))).transpose()?;
    Ok(session(|session| {
        let mut card = lock_held(session, &id, token)?;
        let now = clock::now();
        let not_before = delay.map(|delay| now + delay);
        card.attempts = (card.attempts - 1).max(0);
        if card.is_exhausted() {
            // Its maximum was lowered meanwhile.
            ending::quarantine(
                session,
                &card,
                "released",
                None,
                card.claim_owner.as_deref(),
                now,
            );
            return card::get(session, &id);
        }
        ending::give_back(session, &card, card.attempts, not_before, None, now);
        if reason.is_some() {
            said::mark(session, &id);
        }
        history::record(
            session,
            now,
            &Event {
                card_id: &id,
                kind: "released",
                actor: card.claim_owner.as_deref(),
                claim_token: Some(token),
                old_status: Some(Status::Claimed),
                new_status: Status::Ready,
                detail: json!({
                    "reason": reason, "attempts": card.attempts, "not_before": not_before.map(clock::rfc3339),
                }),
            },
        );
        card::get(session, &id)
    })?)
}

/// Seconds until a failed card is claimable again: `mosaic.retry_base` doubled with each
/// attempt, at most `mosaic.retry_max`, and of that a random part between half and all, so
/// that cards which failed together do not come back together.
pub fn backoff(attempts: i32) -> Micros {
    let base = f64::from(settings::RETRY_BASE.get());
    let longest = f64::from(settings::RETRY_MAX.get());
    let seconds = (base * 2_f64.powi((attempts - 1).clamp(0, 30))).min(longest);
    let jitter = 0.5 + fastrand::f64() / 2.0;
    (seconds * jitter * SECOND as f64) as Micros
}

/// Gives a card back because the attempt failed. The attempt counts; at the card's maximum
/// the card is quarantined instead: blocked with kind `attempts`.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_fail(
    id: Option<String>,
    claim_token: Option<i64>,
    reason: Option<String>,
    retry_in: default!(Option<Interval>, "NULL"),
) -> Result<Rows<CardRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = argument::id("id", id)?;
    let token = argument::token(claim_token)?;
    let reason = argument::reason(reason)?;
    let delay = retry_in
        .map(|d| argument::delay("retry_in", &d))
        .transpose()?;
    Ok(session(|session| {
        let card = lock_held(session, &id, token)?;
        let now = clock::now();
        let delay = delay.unwrap_or_else(|| backoff(card.attempts));
        fail(session, &card, &reason, delay, now);
        card::get(session, &id)
    })?)
}

/// Ends the lease of a locked card as failed: ready again after `delay`, or quarantined.
pub fn fail(session: &Session, card: &Card, reason: &str, delay: Micros, now: Micros) {
    let actor = card.claim_owner.as_deref();
    if card.is_exhausted() {
        return ending::quarantine(session, card, "failed", Some(reason), actor, now);
    }
    let not_before = now + delay;
    ending::give_back(
        session,
        card,
        card.attempts,
        Some(not_before),
        Some(reason),
        now,
    );
    history::record(
        session,
        now,
        &Event {
            card_id: &card.id,
            kind: "failed",
            actor,
            claim_token: card.claim_token,
            old_status: Some(Status::Claimed),
            new_status: Status::Ready,
            detail: json!({
                "reason": reason, "attempts": card.attempts, "not_before": clock::rfc3339(not_before),
            }),
        },
    );
}

/// The token under which a card is held, for an operator who has to act in its holder's place.
/// The history says who asked.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_token(
    id: Option<String>,
    actor: default!(Option<String>, "NULL"),
) -> Result<i64, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = argument::id("id", id)?;
    let actor = argument::optional_name("actor", actor)?;
    guard::operator("reading a token")?;
    Ok(session(|session| {
        let card = Card::lock(session, &id)?;
        let Some(token) = card.claim_token else {
            return Err(Refusal::not_held(&card));
        };
        history::record(
            session,
            clock::now(),
            &Event {
                card_id: &id,
                kind: "token_read",
                actor: actor.as_deref(),
                claim_token: card.claim_token,
                old_status: Some(card.status),
                new_status: card.status,
                detail: json!({"owner": card.claim_owner}),
            },
        );
        Ok(token)
    })?)
}

/// Errors with `claim_lost` unless the card is held under the token, and else locks it to
/// the end of the caller's transaction, so that what the transaction writes commits under
/// the lease or not at all.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_assert_held(
    id: Option<String>,
    claim_token: Option<i64>,
) -> Result<(), pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = argument::id("id", id)?;
    let token = argument::token(claim_token)?;
    session(|session| lock_held(session, &id, token).map(|_| ()))?;
    Ok(())
}
