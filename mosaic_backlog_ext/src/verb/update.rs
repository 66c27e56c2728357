//! Changing what a card says, in any state.

use pgrx::prelude::*;

use crate::argument::{self, Jsonb};
use crate::card::change::card_updates;
use crate::card::history::{self, Event};
use crate::card::status::Status;
use crate::card::{self, Card, CardRow};
use crate::frontier::wake;
use crate::guard;
use crate::postgres::clock;
use crate::postgres::rows::Rows;
use crate::postgres::statement::{Session, param, session, statements};
use crate::refusal::Refusal;
use crate::verb::lease::ending;

/// The columns that `clear` can set to null.
const CLEARABLE: [&str; 5] = ["body", "phase", "acceptance", "not_before", "max_attempts"];

statements! {
    CONTENT(TEXTOID) =
        "select pg_catalog.jsonb_build_object('title', title, 'body', body, 'phase', phase, 'priority', priority,
           'labels', labels, 'requires', requires, 'acceptance', acceptance, 'not_before', not_before,
           'max_attempts', max_attempts)::text
         from mosaic.backlog where id = $1";
}

card_updates! {
    UPDATE(TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TEXTARRAYOID, TEXTARRAYOID, JSONBOID, TIMESTAMPTZOID, INT4OID,
           TEXTARRAYOID, TIMESTAMPTZOID) =
        "title = coalesce($2, title),
           body = case when 'body' = any($11) then null else coalesce($3, body) end,
           phase = case when 'phase' = any($11) then null else coalesce($4, phase) end,
           priority = coalesce($5, priority),
           labels = coalesce($6, labels),
           requires = coalesce($7, requires),
           acceptance = case when 'acceptance' = any($11) then null else coalesce($8, acceptance) end,
           not_before = case when 'not_before' = any($11) then null else coalesce($9, not_before) end,
           max_attempts = case when 'max_attempts' = any($11) then null else coalesce($10, max_attempts) end,
           -- A deferral that is taken back was no waiting.
           claimable_since = case when not_before > $12 then $12 else claimable_since end
         where id = $1";
    TOUCH(TEXTOID, TIMESTAMPTZOID) =
        "updated_at = $2 where id = $1";
}

fn content(session: &Session, id: &str) -> serde_json::Map<String, serde_json::Value> {
    let text: String = session.run(&CONTENT, &[param(id)]).must(0, 1);
    serde_json::from_str(&text).expect("an object")
}

/// Changes the fields that are given; null leaves a field as it is, and `clear` names fields
/// to set to null. The history keeps the old and the new value of what changed.
#[allow(clippy::too_many_arguments)]
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_update(
    id: Option<String>,
    title: default!(Option<String>, "NULL"),
    body: default!(Option<String>, "NULL"),
    phase: default!(Option<String>, "NULL"),
    priority: default!(Option<i32>, "NULL"),
    labels: default!(Option<Vec<Option<String>>>, "NULL"),
    requires: default!(Option<Vec<Option<String>>>, "NULL"),
    acceptance: default!(Option<Jsonb>, "NULL"),
    not_before: default!(Option<TimestampWithTimeZone>, "NULL"),
    max_attempts: default!(Option<i32>, "NULL"),
    clear: default!(Option<Vec<Option<String>>>, "NULL"),
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<CardRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = argument::id("id", id)?;
    let title = title.map(|t| argument::title(Some(t))).transpose()?;
    argument::document("body", body.as_deref().map_or(0, str::len))?;
    let phase = argument::optional_name("phase", phase)?;
    let priority = priority.map(argument::priority).transpose()?;
    let labels = labels
        .map(|l| argument::new_labels("labels", Some(l)))
        .transpose()?;
    let requires = requires
        .map(|r| argument::new_labels("requires", Some(r)))
        .transpose()?;
    let acceptance = Jsonb::parameter("acceptance", acceptance.as_ref())?;
    let not_before = argument::time("not_before", not_before)?;
    let max_attempts = argument::max_attempts(max_attempts)?;
    let clear = argument::labels("clear", clear)?;
    let actor = argument::optional_name("actor", actor)?;
    let given = [
        ("body", body.is_some()),
        ("phase", phase.is_some()),
        ("acceptance", acceptance.is_some()),
        ("not_before", not_before.is_some()),
        ("max_attempts", max_attempts.is_some()),
    ];
    for field in &clear {
        if !CLEARABLE.contains(&field.as_str()) {
            return Err(Refusal::argument(
                format!("\"{field}\" cannot be cleared"),
                format!("Name any of {}.", CLEARABLE.join(", ")),
            )
            .into());
        }
        if given.contains(&(field.as_str(), true)) {
            return Err(Refusal::argument(
                format!("{field} is both given and cleared"),
                "Do one or the other.",
            )
            .into());
        }
    }
    Ok(session(|session| {
        let card = Card::lock(session, &id)?;
        let now = clock::now();
        let before = content(session, &id);
        session.run(
            &UPDATE,
            &[
                param(id.as_str()),
                param(title),
                param(body),
                param(phase),
                param(priority),
                param(labels),
                param(requires),
                acceptance,
                param(not_before),
                param(max_attempts),
                param(clear),
                param(now),
            ],
        );
        let changes: serde_json::Map<String, serde_json::Value> = content(session, &id)
            .into_iter()
            .filter(|(field, new)| before.get(field) != Some(new))
            .map(|(field, new)| {
                let old = before.get(&field).cloned().unwrap_or_default();
                (field, serde_json::json!({"old": old, "new": new}))
            })
            .collect();
        if !changes.is_empty() {
            session.run(&TOUCH, &[param(id.as_str()), param(now)]);
            history::record(
                session,
                now,
                &Event {
                    card_id: &id,
                    kind: "updated",
                    actor: actor.as_deref(),
                    claim_token: card.claim_token,
                    old_status: Some(card.status),
                    new_status: card.status,
                    detail: changes.into(),
                },
            );
        }
        wake::waiters();
        // A maximum below what the card has used up already leaves no attempt to hand out.
        let card = Card::lock(session, &id)?;
        if card.status == Status::Ready && card.is_exhausted() {
            ending::quarantine(session, &card, "quarantined", None, actor.as_deref(), now);
        }
        card::get(session, &id)
    })?)
}
