//! Completion, and the opening of what waited for it, in one transaction.

use pgrx::prelude::*;
use serde_json::json;

use crate::argument::{self, Jsonb};
use crate::card::change::{card_updates, set, values, without_lease};
use crate::card::dependency::{self, Shifted};
use crate::card::history::{self, Event};
use crate::card::row::{self, Places, Row};
use crate::card::status::Status;
use crate::card::{Card, card_columns, card_table};
use crate::frontier::gate;
use crate::guard;
use crate::postgres::clock::{self, Micros, SECOND};
use crate::postgres::rows::{Rows, shapes};
use crate::postgres::statement::{Answer, Parameter, Session, param, session, statements};
use crate::refusal::Refusal;

shapes! {
    /// A completed card, and the ids of the cards that it made claimable.
    CompletedRow = concat!("TABLE (", card_table!(), ", unblocked text[])");
}

macro_rules! completed {
    ($to:ident $with:tt) => {
        without_lease! { $to $with status = (status done), result = (parameter 2), completed_at = (parameter 3),
                         updated_at = (parameter 3), settled_token = (parameter 4) }
    };
}

statements! {
    /// Nothing, if another result than the one that is stored is given.
    REPEAT(TEXTOID, JSONBOID) = concat!("select ", card_columns!(), ", '{}'::text[] from mosaic.backlog c
         where id = $1 and ($2 is null or result is not distinct from $2)");
}

card_updates! {
    COMPLETE(TEXTOID, JSONBOID, TIMESTAMPTZOID, INT8OID, TEXTARRAYOID) =
        completed!(set ()), " where id = $1 returning ", card_columns!(), ", $5";
    COMPLETE_BLOCKED(TEXTOID, JSONBOID, TIMESTAMPTZOID, INT8OID, TEXTARRAYOID) =
        completed!(set ()), ", block_kind = null, block_reason = null
         where id = $1 returning ", card_columns!(), ", $5";
}

/// Opened cards that the history names one by one; it counts them all.
const UNBLOCKED_MAX: usize = 1_000;

/// Whether completing would change the card; refuses what the state table refuses.
fn may_complete(card: &Card, token: Option<i64>, force: bool) -> Result<bool, Refusal> {
    match (card.status, token) {
        (Status::Claimed, Some(token)) if !card.is_held(token) => {
            Err(Refusal::claim_lost(card, token))
        }
        (Status::Claimed, None) if !force => Err(Refusal::already_claimed(card)),
        (Status::Claimed, _) => Ok(true),
        (Status::Ready, Some(token)) => Err(Refusal::claim_lost(card, token)),
        (Status::Ready, None) if card.open_dependencies > 0 && !force => {
            Err(Refusal::open_dependencies(card))
        }
        (Status::Ready, None) => Ok(true),
        (Status::Blocked, Some(token)) if force => Err(Refusal::claim_lost(card, token)),
        (Status::Blocked, None) if force => Ok(true),
        (Status::Blocked, _) => Err(Refusal::bad_transition(
            card,
            "complete",
            "Unblock it first.",
        )),
        (Status::Done, Some(token)) if card.settled_token != Some(token) => {
            Err(Refusal::claim_lost(card, token))
        }
        (Status::Done, _) => Ok(false),
        (Status::Cancelled, _) => Err(Refusal::bad_transition(
            card,
            "complete",
            "Reopen it first.",
        )),
    }
}

/// Makes a locked card done.
fn complete<'a>(
    session: &'a Session,
    card: &Card,
    claim_token: Option<i64>,
    result: Parameter,
    now: Micros,
    unblocked: Vec<String>,
) -> Answer<'a> {
    let unblocked = param(unblocked);
    let parameters = [
        param(card.id.as_str()),
        result,
        param(now),
        param(claim_token),
        unblocked,
    ];
    let done = |at: &Places, card: &Row| completed!(values(at, card, parameters));
    let is_blocked = card.status == Status::Blocked;
    let direct = (!is_blocked)
        .then(|| row::update(session, &card.id, done, |at| at.completed, &[unblocked]))
        .flatten();
    direct.unwrap_or_else(|| {
        let complete = if is_blocked {
            &COMPLETE_BLOCKED
        } else {
            &COMPLETE
        };
        session.run(complete, &parameters)
    })
}

/// Marks a card done, stores its result and opens the cards that waited for it alone.
/// A repeat with the same token, or with none, succeeds and changes nothing; one that hands over
/// another result is refused, as that would be lost.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_complete(
    id: Option<String>,
    claim_token: default!(Option<i64>, "NULL"),
    result: default!(Option<Jsonb>, "NULL"),
    force: default!(Option<bool>, "false"),
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<CompletedRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = argument::id("id", id)?;
    let result = Jsonb::parameter("result", result.as_ref())?;
    let actor = argument::optional_name("actor", actor)?;
    let force = force.unwrap_or(false);
    if force {
        guard::operator("force")?;
    }
    Ok(session(|session| {
        let (card, dependents) = dependency::lock_with_dependents(session, &id)?;
        if !may_complete(&card, claim_token, force)? {
            let repeated = session.run(&REPEAT, &[param(id.as_str()), result]);
            if repeated.is_empty() {
                return Err(Refusal::other_result(&id));
            }
            return Ok(Rows::new(session, &repeated));
        }
        let now = clock::now();
        let mut unblocked: Vec<String> = gate::shift(session, dependents, -1, now)
            .into_iter()
            .filter(Shifted::is_open)
            .map(|d| d.id)
            .collect();
        unblocked.sort();
        let opened = json!(&unblocked[..unblocked.len().min(UNBLOCKED_MAX)]);
        let opened_count = unblocked.len();
        unblocked.truncate(argument::BATCH_MAX);
        let answer = complete(session, &card, claim_token, result, now, unblocked);
        history::record(
            session,
            now,
            &Event {
                card_id: &id,
                kind: "completed",
                actor: actor.as_deref(),
                claim_token: card.claim_token,
                old_status: Some(card.status),
                new_status: Status::Done,
                detail: json!({
                    "forced": force, "unblocked": opened, "unblocked_count": opened_count,
                    "previous_owner": card.claim_owner,
                    "cycle_seconds": (now - card.created_at) as f64 / SECOND as f64,
                }),
            },
        );
        Ok(Rows::new(session, &answer))
    })?)
}
