//! Edges of the dependency graph: adding them without ever closing a cycle, and removing them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::thread::LocalKey;

use pgrx::prelude::*;
use serde_json::json;

use crate::argument;
use crate::card::dependency::{self, Gates, Shifted};
use crate::card::history::{self, Event};
use crate::card::status::Status;
use crate::card::{self, Card, CardRow};
use crate::frontier::wake;
use crate::guard;
use crate::postgres::clock::{self, Micros};
use crate::postgres::lock;
use crate::postgres::rows::Rows;
use crate::postgres::statement::{Session, Statement, param, session, statements};
use crate::refusal::Refusal;

statements! {
    ADD(TEXTOID, TEXTARRAYOID, TIMESTAMPTZOID) =
        "insert into mosaic.backlog_dependency (card_id, depends_on, created_at)
         select $1, d, $3 from unnest($2) d on conflict do nothing returning depends_on";
    REMOVE(TEXTOID, TEXTARRAYOID) =
        "delete from mosaic.backlog_dependency where card_id = $1 and depends_on = any($2) returning depends_on";
    BELOW(TEXTARRAYOID) =
        // Card by card, as any other plan compares each link with all of them.
        "select d.depends_on, reached.id from unnest($1) as reached(id)
         cross join lateral (select depends_on from mosaic.backlog_dependency where card_id = reached.id offset 0) d";
    ABOVE(TEXTARRAYOID) =
        "select d.card_id, reached.id from unnest($1) as reached(id)
         cross join lateral (select card_id from mosaic.backlog_dependency where depends_on = reached.id offset 0) d";
    COUNT(TEXTOID) = "select count(*) from mosaic.backlog_dependency where card_id = $1";
}

/// One side of the search for a path: the cards reached, each with the one of the start that it
/// was reached from, and those reached last.
struct Side {
    seen: HashMap<String, usize>,
    frontier: Vec<String>,
}

impl Side {
    fn new(start: &[String]) -> Self {
        Self {
            seen: start.iter().cloned().zip(0..).collect(),
            frontier: start.to_vec(),
        }
    }

    /// One link further: the cards that `step` reaches, and from which.
    fn advance(&mut self, session: &Session, step: &'static LocalKey<Statement>) {
        let from = std::mem::take(&mut self.frontier);
        let answer = session.run(step, &[param(from)]);
        for row in 0..answer.len() {
            let id: String = answer.must(row, 1);
            let start = self.seen[answer.must::<&str>(row, 2)];
            if let Entry::Vacant(new) = self.seen.entry(id.clone()) {
                new.insert(start);
                self.frontier.push(id);
            }
        }
        answer.free();
    }
}

/// Which of `from`, if any, `id` can be reached from along dependencies.
///
/// Searched from both ends, the smaller frontier first, each card once: the end of a long
/// chain has nothing above it and its head nothing below, so either is found at once.
fn path<'a>(session: &Session, from: &'a [String], id: &str) -> Option<&'a str> {
    let mut below = Side::new(from);
    let mut above = Side::new(&[id.to_owned()]);
    while !below.frontier.is_empty() && !above.frontier.is_empty() {
        let reached = if below.frontier.len() <= above.frontier.len() {
            below.advance(session, &BELOW);
            &below.frontier
        } else {
            above.advance(session, &ABOVE);
            &above.frontier
        };
        let met = reached
            .iter()
            .filter(|id| above.seen.contains_key(*id))
            .filter_map(|id| below.seen.get(id));
        if let Some(start) = met.min() {
            return Some(&from[*start]);
        }
    }
    None
}

/// Refuses edges from `id` to `depends_on` that would close a cycle.
fn refuse_cycle(session: &Session, id: &str, depends_on: &[String]) -> Result<(), Refusal> {
    if depends_on.iter().any(|d| d == id) {
        return Err(Refusal::cycle(id, id));
    }
    match path(session, depends_on, id) {
        None => Ok(()),
        Some(guilty) => Err(Refusal::cycle(id, guilty)),
    }
}

/// Locks a card and, in such a way that claims pass, its dependencies, one by one in the order
/// of their ids. Gives the card and the dependencies that are open.
fn lock_ends(
    session: &Session,
    id: &str,
    depends_on: &[String],
) -> Result<(Card, HashSet<String>), Refusal> {
    let gates = Gates::pass(depends_on);
    let (before, after) = depends_on.split_at(depends_on.partition_point(|d| d.as_str() < id));
    let mut dependencies = dependency::lock_shared(session, before)?;
    let card = Card::lock(session, id)?;
    dependencies.append(&mut dependency::lock_shared(session, after)?);
    gates.leave();
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
    let shifted = dependency::shift(session, vec![card.id.clone()], shift, now);
    if shift < 0 && shifted.iter().any(Shifted::is_open) {
        wake::waiters();
    }
    history::record(
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
        let count: i64 = session.run(&COUNT, &[param(id.as_str())]).must(0, 1);
        if !added.is_empty() && count > argument::BATCH_MAX as i64 {
            return Err(Refusal::too_many_dependencies(
                &id,
                count,
                argument::BATCH_MAX,
            ));
        }
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
