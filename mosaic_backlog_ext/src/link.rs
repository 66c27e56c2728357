//! Edges of the dependency graph: adding them without ever closing a cycle, and removing them.

use std::collections::HashSet;

use pgrx::prelude::*;
use serde_json::json;

use crate::argument;
use crate::card::{self, Card, CardRow};
use crate::clock::{self, Micros};
use crate::dependency;
use crate::event::{self, Event};
use crate::guard;
use crate::lock;
use crate::refusal::Refusal;
use crate::rows::Rows;
use crate::statement::{Session, param, session, statements};
use crate::status::Status;

statements! {
    ADD(TEXTOID, TEXTARRAYOID, TIMESTAMPTZOID) =
        "insert into mosaic.backlog_dependency (card_id, depends_on, created_at)
         select $1, d, $3 from unnest($2) d on conflict do nothing returning depends_on";
    REMOVE(TEXTOID, TEXTARRAYOID) =
        "delete from mosaic.backlog_dependency where card_id = $1 and depends_on = any($2) returning depends_on";
    BELOW(TEXTARRAYOID) = "select distinct depends_on from mosaic.backlog_dependency where card_id = any($1)";
    ABOVE(TEXTARRAYOID) = "select distinct card_id from mosaic.backlog_dependency where depends_on = any($1)";
}

/// One side of the search for a path: the cards reached, and those reached last.
struct Side {
    seen: HashSet<String>,
    frontier: Vec<String>,
}

impl Side {
    fn new(start: &[String]) -> Self {
        Self {
            seen: start.iter().cloned().collect(),
            frontier: start.to_vec(),
        }
    }

    fn advance(&mut self, reached: Vec<String>) {
        self.frontier = reached
            .into_iter()
            .filter(|id| self.seen.insert(id.clone()))
            .collect();
    }
}

/// Whether `id` can be reached from `from` along dependencies.
///
/// Searched from both ends, the smaller frontier first, each card once: the end of a long
/// chain has nothing above it and its head nothing below, so either is found at once.
fn path(session: &Session, from: &[String], id: &str) -> bool {
    let mut below = Side::new(from);
    let mut above = Side::new(&[id.to_owned()]);
    while !below.frontier.is_empty() && !above.frontier.is_empty() {
        if below.frontier.len() <= above.frontier.len() {
            let reached = session
                .run(&BELOW, &[param(below.frontier.clone())])
                .column(1);
            below.advance(reached);
            if below.frontier.iter().any(|id| above.seen.contains(id)) {
                return true;
            }
        } else {
            let reached = session
                .run(&ABOVE, &[param(above.frontier.clone())])
                .column(1);
            above.advance(reached);
            if above.frontier.iter().any(|id| below.seen.contains(id)) {
                return true;
            }
        }
    }
    false
}

/// Refuses edges from `id` to `depends_on` that would close a cycle.
fn refuse_cycle(session: &Session, id: &str, depends_on: &[String]) -> Result<(), Refusal> {
    if depends_on.iter().any(|d| d == id) {
        return Err(Refusal::cycle(id, id));
    }
    if path(session, depends_on, id) {
        let guilty = depends_on
            .iter()
            .find(|d| path(session, std::slice::from_ref(*d), id));
        return Err(Refusal::cycle(id, guilty.map_or(id, String::as_str)));
    }
    Ok(())
}

/// Locks a card and, in such a way that claims pass, its dependencies, one by one in the order
/// of their ids. Gives the card and the dependencies that are open.
fn lock_ends(
    session: &Session,
    id: &str,
    depends_on: &[String],
) -> Result<(Card, HashSet<String>), Refusal> {
    let (before, after) = depends_on.split_at(depends_on.partition_point(|d| d.as_str() < id));
    let mut dependencies = dependency::lock_shared(session, before)?;
    let card = Card::lock(session, id)?;
    dependencies.append(&mut dependency::lock_shared(session, after)?);
    let open = dependencies
        .into_iter()
        .filter(|(_, s)| *s != Status::Done)
        .map(|(id, _)| id)
        .collect();
    Ok((card, open))
}

/// Counts what changed at the gate and writes it down.
fn settle(
    session: &Session,
    card: &Card,
    kind: &'static str,
    changed: &[String],
    shift: i32,
    actor: Option<&str>,
    now: Micros,
) {
    if changed.is_empty() {
        return;
    }
    dependency::shift(session, vec![card.id.clone()], shift, now);
    event::record(
        session,
        now,
        &Event {
            card_id: &card.id,
            kind,
            actor,
            claim_token: card.claim_token,
            old_status: Some(card.status),
            new_status: card.status,
            detail: json!({"depends_on": changed}),
        },
    );
}

fn arguments(
    id: Option<String>,
    depends_on: Option<Vec<Option<String>>>,
    actor: Option<String>,
) -> Result<(String, Vec<String>, Option<String>), Refusal> {
    let id = argument::id("id", id)?;
    let depends_on = argument::ids("depends_on", depends_on)?;
    if depends_on.is_empty() {
        return Err(Refusal::argument(
            "depends_on is empty",
            "Name at least one card.",
        ));
    }
    Ok((id, depends_on, argument::optional_name("actor", actor)?))
}

/// Makes a card depend on others. Edges that exist already stay as they are. A claimed card
/// may be linked: the gate governs handing out, not finishing.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_link(
    id: Option<String>,
    depends_on: Option<Vec<Option<String>>>,
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<CardRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let (id, depends_on, actor) = arguments(id, depends_on, actor)?;
    Ok(session(|session| {
        lock::linking();
        let (card, open) = lock_ends(session, &id, &depends_on)?;
        if matches!(card.status, Status::Done | Status::Cancelled) {
            return Err(Refusal::bad_transition(&card, "link", "Reopen it first."));
        }
        refuse_cycle(session, &id, &depends_on)?;
        let now = clock::now();
        let added: Vec<String> = session
            .run(&ADD, &[param(id.as_str()), param(depends_on), param(now)])
            .column(1);
        let shift = added.iter().filter(|d| open.contains(*d)).count() as i32;
        settle(
            session,
            &card,
            "linked",
            &added,
            shift,
            actor.as_deref(),
            now,
        );
        card::get(session, &id)
    })?)
}

/// Removes dependencies of a card. Edges that do not exist are passed over; unknown cards are not.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_unlink(
    id: Option<String>,
    depends_on: Option<Vec<Option<String>>>,
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<CardRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let (id, depends_on, actor) = arguments(id, depends_on, actor)?;
    Ok(session(|session| {
        let (card, open) = lock_ends(session, &id, &depends_on)?;
        if matches!(card.status, Status::Done | Status::Cancelled) {
            return Err(Refusal::bad_transition(&card, "unlink", "Reopen it first."));
        }
        let now = clock::now();
        let removed: Vec<String> = session
            .run(&REMOVE, &[param(id.as_str()), param(depends_on)])
            .column(1);
        let shift = removed.iter().filter(|d| open.contains(*d)).count() as i32;
        settle(
            session,
            &card,
            "unlinked",
            &removed,
            -shift,
            actor.as_deref(),
            now,
        );
        card::get(session, &id)
    })?)
}
