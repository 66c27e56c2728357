//! What becomes of a card whose lease ends without completing it: ready again, or quarantined.

use serde_json::json;

use crate::card::change::{card_updates, set, without_lease};
use crate::card::history::{self, Event};
use crate::card::status::Status;
use crate::card::{Card, EXHAUSTED};
use crate::frontier::wake;
use crate::postgres::clock::Micros;
use crate::postgres::statement::{Session, param};

macro_rules! given_back {
    ($to:ident $with:tt) => {
        without_lease! { $to $with status = (status ready), attempts = (parameter 2), not_before = (unless_null 3),
                         last_failure = (unless_null 4), updated_at = (parameter 5), claimable_since = (parameter 5) }
    };
}

macro_rules! quarantined {
    ($to:ident $with:tt) => {
        without_lease! { $to $with status = (status blocked), settled_token = (null), block_kind = (parameter 2),
                         block_reason = (parameter 3), last_failure = (unless_null 4), attempts = (parameter 5),
                         updated_at = (parameter 6) }
    };
}

card_updates! {
    GIVE_BACK(TEXTOID, INT4OID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID) =
        given_back!(set ()), " where id = $1";
    QUARANTINE(TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID) =
        quarantined!(set ()), " where id = $1";
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
            param(EXHAUSTED),
            param(format!("{times} used up{ending}")),
            param(failure),
            param(card.attempts),
            param(now),
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
                "previous_owner": card.claim_owner, "block_kind": EXHAUSTED,
            }),
        },
    );
}
