//! Ending a card without a result, and bringing a finished card back.

use std::collections::HashSet;

use pgrx::prelude::*;
use serde_json::json;

use crate::argument;
use crate::card::change::{card_updates, set, without_lease};
use crate::card::dependency;
use crate::card::history::{self, Event};
use crate::card::status::Status;
use crate::card::{self, Card, CardRow};
use crate::frontier::gate;
use crate::frontier::wake;
use crate::guard;
use crate::postgres::clock::{self, Micros};
use crate::postgres::rows::Rows;
use crate::postgres::statement::{Session, param, session, statements};
use crate::refusal::Refusal;

macro_rules! cancelled {
    ($to:ident $with:tt) => {
        without_lease! { $to $with status = (status cancelled), block_kind = (null), block_reason = (null),
                         settled_token = (null), updated_at = (parameter 2) }
    };
}

statements! {
    OPEN_DEPENDENTS(TEXTARRAYOID) =
        // Card by card, as any other plan compares each link with all of them.
        "select d.card_id from unnest($1) as reached(id)
         cross join lateral (select card_id from mosaic.backlog_dependency where depends_on = reached.id offset 0) d
         cross join lateral (select from mosaic.backlog c where c.id = d.card_id
                               and c.status in ('ready', 'claimed', 'blocked') limit 1) open";
}

card_updates! {
    CANCEL(TEXTOID, TIMESTAMPTZOID) =
        cancelled!(set ()), " where id = $1";
    REOPEN(TEXTOID, TIMESTAMPTZOID) =
        "status = 'ready', attempts = 0, completed_at = null,
           settled_token = null, updated_at = $2, claimable_since = $2
         where id = $1";
}

/// The cards that wait for `id`, directly or through others, each once.
fn waiting_for(session: &Session, id: &str) -> Vec<String> {
    let mut seen = HashSet::from([id.to_owned()]);
    let mut frontier = vec![id.to_owned()];
    while !frontier.is_empty() {
        let reached: Vec<String> = session.run(&OPEN_DEPENDENTS, &[param(frontier)]).column(1);
        frontier = reached
            .into_iter()
            .filter(|id| seen.insert(id.clone()))
            .collect();
    }
    seen.remove(id);
    let mut waiting: Vec<String> = seen.into_iter().collect();
    waiting.sort();
    waiting
}

/// Locks a card and, on request, all that wait for it. The card comes first.
fn lock_cascade(session: &Session, id: &str, cascade: bool) -> Result<Vec<Card>, Refusal> {
    if !cascade {
        return Ok(vec![Card::lock(session, id)?]);
    }
    let locked = dependency::lock_closed(session, &[], || {
        let mut all = waiting_for(session, id);
        all.push(id.to_owned());
        all
    });
    let mut cards = Card::lock_many(session, &locked)?;
    let at = cards
        .iter()
        .position(|card| card.id == id)
        .expect("the locked card");
    cards.swap(0, at);
    Ok(cards)
}

fn cancel_locked(
    session: &Session,
    card: &Card,
    reason: &str,
    root: &str,
    actor: Option<&str>,
    now: Micros,
) {
    session.run(&CANCEL, &[param(card.id.as_str()), param(now)]);
    history::record(
        session,
        now,
        &Event {
            card_id: &card.id,
            kind: "cancelled",
            actor,
            claim_token: card.claim_token,
            old_status: Some(card.status),
            new_status: Status::Cancelled,
            detail: json!({
                "reason": reason, "previous_owner": card.claim_owner,
                "cascade_of": (card.id != root).then_some(root),
            }),
        },
    );
}

/// Cancels a card, with `cascade` also all that wait for it, directly or through others. Its
/// dependents stay gated. A claimed card is cancelled with `force` alone.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_cancel(
    id: Option<String>,
    reason: Option<String>,
    cascade: default!(Option<bool>, "false"),
    force: default!(Option<bool>, "false"),
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<CardRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = argument::id("id", id)?;
    let reason = argument::reason(reason)?;
    let force = force.unwrap_or(false);
    let actor = argument::optional_name("actor", actor)?;
    if force {
        guard::operator("force")?;
    }
    Ok(session(|session| {
        let cards = lock_cascade(session, &id, cascade.unwrap_or(false))?;
        let now = clock::now();
        let mut touched = vec![id.clone()];
        for card in &cards {
            match card.status {
                Status::Done if card.id == id => {
                    return Err(Refusal::bad_transition(card, "cancel", "Reopen it first."));
                }
                Status::Done | Status::Cancelled => continue,
                Status::Claimed if !force => return Err(Refusal::already_claimed(card)),
                Status::Ready | Status::Claimed | Status::Blocked => {}
            }
            cancel_locked(session, card, &reason, &id, actor.as_deref(), now);
            if card.id != id {
                touched.push(card.id.clone());
            }
        }
        Ok(card::get_many(session, &touched))
    })?)
}

/// Makes a done or cancelled card ready again with a fresh budget of attempts. What depends
/// on a card that was done is gated again; a dependent that is claimed keeps its lease.
/// Returns the card and those dependents.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_reopen(
    id: Option<String>,
    reason: Option<String>,
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<CardRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = argument::id("id", id)?;
    let reason = argument::reason(reason)?;
    let actor = argument::optional_name("actor", actor)?;
    Ok(session(|session| {
        let (card, dependents) = dependency::lock_with_dependents(session, &id)?;
        match card.status {
            Status::Ready => return Ok(card::get_many(session, std::slice::from_ref(&id))),
            Status::Claimed => {
                return Err(Refusal::bad_transition(
                    &card,
                    "reopen",
                    "It is being worked on.",
                ));
            }
            Status::Blocked => {
                return Err(Refusal::bad_transition(
                    &card,
                    "reopen",
                    "Unblock it instead.",
                ));
            }
            Status::Done | Status::Cancelled => {}
        }
        let now = clock::now();
        session.run(&REOPEN, &[param(id.as_str()), param(now)]);
        wake::waiters();
        let mut touched = vec![id.clone()];
        if card.status == Status::Done {
            let mut gated: Vec<String> = gate::shift(session, dependents, 1, now)
                .into_iter()
                .filter(|d| !matches!(d.status, Status::Done | Status::Cancelled))
                .map(|d| d.id)
                .collect();
            gated.sort();
            touched.append(&mut gated);
        }
        history::record(
            session,
            now,
            &Event {
                card_id: &id,
                kind: "reopened",
                actor: actor.as_deref(),
                claim_token: None,
                old_status: Some(card.status),
                new_status: Status::Ready,
                detail: json!({"reason": reason, "attempts": 0, "gated": touched.len() - 1}),
            },
        );
        Ok(card::get_many(session, &touched))
    })?)
}
