//! The gate: `open_dependencies` of a card counts its dependencies that are not done.
//!
//! It stays right because whoever adds an edge locks the dependency before reading its
//! status, and whoever completes a card reads its edges after locking it.

use std::collections::HashSet;

use crate::card::{Card, Status};
use crate::clock::Micros;
use crate::refusal::Refusal;
use crate::statement::{Session, param, statements};
use crate::wake;

statements! {
    DEPENDENTS(TEXTOID) = "select card_id from mosaic.backlog_dependency where depends_on = $1 order by card_id";
    SHIFT(TEXTARRAYOID, INT4OID, TIMESTAMPTZOID) =
        "update mosaic.backlog set open_dependencies = open_dependencies + $2, updated_at = $3,
           claimable_since = case when open_dependencies + $2 = 0 then $3 else claimable_since end
         where id = any($1)
         returning id, status::text, open_dependencies";
    LOCK(TEXTARRAYOID) = "select from mosaic.backlog where id = any($1) order by id for no key update";
    LOCK_SHARED(TEXTARRAYOID) =
        "select id, status::text from mosaic.backlog where id = any($1) order by id for share";
    LINKING() = "select pg_catalog.pg_advisory_xact_lock(20260, 2)";
}

/// Locks a card together with all that depend on it. Returns the card and its dependents.
pub fn lock_with_dependents(session: &Session, id: &str) -> Result<(Card, Vec<String>), Refusal> {
    let seen = dependents(session, id);
    if !seen.is_empty() {
        let mut all = seen.clone();
        all.push(id.to_owned());
        session.run(&LOCK, &[param(all)]);
    }
    let card = Card::lock(session, id)?;
    // An edge may have come while we waited for the lock; no more can come now.
    let dependents = dependents(session, id);
    let seen: HashSet<String> = seen.into_iter().collect();
    let late: Vec<String> = dependents
        .iter()
        .filter(|id| !seen.contains(*id))
        .cloned()
        .collect();
    if !late.is_empty() {
        session.run(&LOCK, &[param(late)]);
    }
    Ok((card, dependents))
}

fn dependents(session: &Session, id: &str) -> Vec<String> {
    session.run(&DEPENDENTS, &[param(id)]).column(1)
}

/// A dependent whose counter changed.
pub struct Shifted {
    pub id: String,
    pub status: Status,
    pub open_dependencies: i32,
}

impl Shifted {
    /// Whether nothing gates the card any more.
    pub fn is_open(&self) -> bool {
        self.open_dependencies == 0 && self.status == Status::Ready
    }
}

/// Adds `by` to the counters of locked cards.
pub fn shift(session: &Session, ids: Vec<String>, by: i32, now: Micros) -> Vec<Shifted> {
    if ids.is_empty() {
        return Vec::new();
    }
    let answer = session.run(&SHIFT, &[param(ids), param(by), param(now)]);
    let shifted: Vec<Shifted> = (0..answer.len())
        .map(|row| Shifted {
            id: answer.must(row, 1),
            status: Status::parse(answer.must(row, 2)),
            open_dependencies: answer.must(row, 3),
        })
        .collect();
    if by < 0 && shifted.iter().any(Shifted::is_open) {
        wake::waiters(session);
    }
    shifted
}

/// Locks cards against completion, so that their status can be counted. Others may share the lock.
pub fn lock_shared(session: &Session, ids: &[String]) -> Result<Vec<(String, Status)>, Refusal> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let answer = session.run(&LOCK_SHARED, &[param(ids.to_vec())]);
    let found: Vec<(String, Status)> = (0..answer.len())
        .map(|row| (answer.must(row, 1), Status::parse(answer.must(row, 2))))
        .collect();
    if found.len() < ids.len() {
        let known: HashSet<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
        let missing = ids
            .iter()
            .find(|id| !known.contains(id.as_str()))
            .expect("one is missing");
        return Err(Refusal::not_found(missing));
    }
    Ok(found)
}

/// One linking at a time: row locks on the two ends of an edge would miss a cycle that
/// closes through other cards. Taken before any row lock.
pub fn lock_linking(session: &Session) {
    session.run(&LINKING, &[]);
}
