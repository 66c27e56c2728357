//! What becomes of a card whose lease ends without completing it: ready again, or quarantined.

use serde_json::json;

use crate::card::Card;
use crate::card::history::{self, Event};
use crate::card::status::Status;
use crate::frontier::wake;
use crate::postgres::clock::Micros;
use crate::postgres::statement::{Session, param, statements};

statements! {
    GIVE_BACK(TEXTOID, INT4OID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID) =
        "update mosaic.backlog set status = 'ready', claim_owner = null, claim_token = null,
           claim_ttl_seconds = null, claimed_at = null, claim_expires_at = null,
           attempts = $2, not_before = coalesce($3, not_before), last_failure = coalesce($4, last_failure),
           updated_at = $5, claimable_since = $5
         where id = $1";
    QUARANTINE(TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT4OID) =
        "update mosaic.backlog set status = 'blocked', claim_owner = null, claim_token = null,
           claim_ttl_seconds = null, claimed_at = null, claim_expires_at = null, settled_token = null,
           block_kind = 'attempts', block_reason = $2, last_failure = coalesce($3, last_failure), attempts = $5, updated_at = $4
         where id = $1";
}

/// Ends the lease and makes the card ready again, from `not_before` on.
pub fn give_back(
    session: &Session,
    card: &Card,
    attempts: i32,
    not_before: Option<Micros>,
    failure: Option<&str>,
    now: Micros,
) {
    session.run(
        &GIVE_BACK,
        &[
            param(card.id.as_str()),
            param(attempts),
            param(not_before),
            param(failure),
            param(now),
        ],
    );
    if not_before.is_none_or(|at| at <= now) {
        wake::waiters();
    }
}

/// Takes a card that used up its attempts out of circulation until somebody unblocks it.
/// `cause` is the event's kind: how the last attempt ended.
pub fn quarantine(
    session: &Session,
    card: &Card,
    cause: &'static str,
    failure: Option<&str>,
    actor: Option<&str>,
    now: Micros,
) {
    let times = if card.attempts == 1 {
        "1 attempt".to_owned()
    } else {
        format!("{} attempts", card.attempts)
    };
    let ending = match (cause, failure) {
        (_, Some(failure)) => format!("; the last failed: {failure}"),
        ("lapsed" | "reclaimed", None) => match &card.last_failure {
            Some(before) => {
                format!("; the last lease ended without an answer, before that: {before}")
            }
            None => "; the last lease ended without an answer".to_owned(),
        },
        (_, None) => card
            .last_failure
            .as_ref()
            .map_or_else(String::new, |last| format!("; the last failed: {last}")),
    };
    session.run(
        &QUARANTINE,
        &[
            param(card.id.as_str()),
            param(format!("{times} used up{ending}")),
            param(failure),
            param(now),
            param(card.attempts),
        ],
    );
    history::record(
        session,
        now,
        &Event {
            card_id: &card.id,
            kind: cause,
            actor,
            claim_token: card.claim_token,
            old_status: Some(card.status),
            new_status: Status::Blocked,
            detail: json!({
                "reason": failure, "attempts": card.attempts, "quarantined": true,
                "previous_owner": card.claim_owner, "block_kind": "attempts",
            }),
        },
    );
}
