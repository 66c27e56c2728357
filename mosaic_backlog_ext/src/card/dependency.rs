//! The gate: `open_dependencies` of a card counts its dependencies that are not done.
//!
//! It stays right because whoever adds an edge locks the dependency FOR KEY SHARE and reads its
//! status by another statement after that, whoever makes a card done or not done locks it FOR
//! UPDATE, which waits for the former, and reads its edges after that. Claims lock FOR NO KEY UPDATE: an edge under
//! way does not hide its dependency from them.
//!
//! All verbs lock rows in the byte order of ids, so that no two of them wait for each other.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use pgrx::prelude::*;

use crate::card::Card;
use crate::card::change::card_updates;
use crate::card::dependent;
use crate::card::status::Status;
use crate::postgres::clock::Micros;
use crate::postgres::lock;
use crate::postgres::retry;
use crate::postgres::statement::{Session, param, statements};
use crate::postgres::subtransaction::Subtransaction;
use crate::refusal::Refusal;

statements! {
    TRY_LOCK_ALL(TEXTARRAYOID) = "select from mosaic.backlog where id = any($1) for no key update skip locked";
    LOCK(TEXTARRAYOID) = "select from mosaic.backlog where id = any($1) order by id collate \"C\" for update";
    LOCK_SHARED(TEXTARRAYOID) =
        "select from mosaic.backlog where id = any($1) order by id collate \"C\" for key share";
    STATUSES(TEXTARRAYOID) = "select id, status::text from mosaic.backlog where id = any($1) order by id collate \"C\"";
}

card_updates! {
    SHIFT(TEXTARRAYOID, INT4OID, TIMESTAMPTZOID) =
        "open_dependencies = open_dependencies + $2, linked = true, updated_at = $3,
           claimable_since = case when $2 < 0 and open_dependencies + $2 = 0 then $3 else claimable_since end
         where id = any($1)
         returning id, status::text, open_dependencies";
}

/// How long the dependents of `lock_late` are tried: calls that do not wait for the card have
/// ended by then.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);
/// How often `lock_closed` begins anew before it closes gates.
const OPEN_ROUNDS: u32 = 2;

/// Locks a card that becomes done or not done, together with all that depend on it. Returns
/// the card and its dependents.
pub fn lock_with_dependents(session: &Session, id: &str) -> Result<(Card, Vec<String>), Refusal> {
    // The common case: nothing depends on the card and nobody else has it.
    if let Some(card) = Card::lock_alone(session, id) {
        let dependents = dependent::ids(session, id);
        if !dependents.is_empty() {
            lock_late(session, id, &dependents)?;
        }
        return Ok((card, dependents));
    }
    lock_closed(session, &[id], || {
        let mut all = dependent::ids(session, id);
        all.push(id.to_owned());
        all
    });
    Ok((Card::lock(session, id)?, dependent::ids(session, id)))
}

/// Locks dependents whose edge came in the instant between look and lock. The card cannot be
/// given back any more, so they are taken without queueing for them: whoever has one of them
/// and waits for the card is met with `busy`, and a deadlock is not.
fn lock_late(session: &Session, id: &str, dependents: &[String]) -> Result<(), Refusal> {
    retry::until(PATIENCE, PAUSE, || {
        let locked = session.run(&TRY_LOCK_ALL, &[param(dependents.to_vec())]);
        (locked.len() == dependents.len()).then_some(())
    })
    .ok_or_else(|| Refusal::dependents_changing(id))
}

/// Locks the set of cards that `find` gives, all in one statement and in one order. Where
/// waiting for the locks let the set grow, all are given back and locked anew: taking the
/// newcomers while holding the others would break the order. While cards are linked to the set
/// all the time that would not end, so after some rounds the gates are closed to whoever links to
/// `roots`, or to any card if that is empty.
pub fn lock_closed(
    session: &Session,
    roots: &[&str],
    find: impl Fn() -> Vec<String>,
) -> Vec<String> {
    let mut wanted = find();
    let mut gates: Option<Gates> = None;
    for round in 1.. {
        let attempt = Subtransaction::begin();
        session.run(&LOCK, &[param(wanted.clone())]);
        let now = find();
        let locked: HashSet<&str> = wanted.iter().map(String::as_str).collect();
        if now.iter().all(|id| locked.contains(id.as_str())) {
            attempt.commit();
            // Whoever comes now waits for the locks.
            if let Some(gates) = gates {
                gates.leave();
            }
            return now;
        }
        drop(attempt);
        if round == OPEN_ROUNDS {
            gates = Some(Gates::close(roots));
        }
        wanted = find();
    }
    unreachable!("the rounds do not end by themselves")
}

/// What whoever links to a card passes before it locks that card, and what `lock_closed` can
/// close: a lock has a queue in which it is served in turn, where row locks that can be shared
/// let others wait for ever. Each gate is for many cards, as locks of this kind are few.
///
/// No row is locked by the call before it waits at a gate, and the gates are passed in one order;
/// so nobody waits at one for somebody who waits for him.
#[must_use]
pub struct Gates {
    numbers: BTreeSet<u32>,
    mode: u32,
}

const GATES: u32 = 64;

impl Gates {
    /// Waits until the gates of these cards are open, and keeps them so.
    pub fn pass<'a>(ids: impl IntoIterator<Item = &'a String>) -> Self {
        let numbers = ids.into_iter().map(|id| gate(id)).collect();
        Self::lock(numbers, pg_sys::ShareLock)
    }

    /// Waits until nobody is in the gates of these cards, and lets nobody in; of none: in all.
    fn close(ids: &[&str]) -> Self {
        let numbers = match ids {
            [] => (0..GATES).collect(),
            _ => ids.iter().map(|id| gate(id)).collect(),
        };
        Self::lock(numbers, pg_sys::ExclusiveLock)
    }

    fn lock(numbers: BTreeSet<u32>, mode: u32) -> Self {
        for number in &numbers {
            lock::gate(*number, mode);
        }
        Self { numbers, mode }
    }

    /// Before the transaction ends; at an error, its end does that.
    pub fn leave(self) {
        for number in &self.numbers {
            lock::leave_gate(*number, self.mode);
        }
    }
}

/// The gate of a card: FNV-1a of its id, the same in all sessions and versions.
fn gate(id: &str) -> u32 {
    let hash = id.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash % GATES
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

/// Adds `by` to the counters of locked cards that have dependencies.
pub fn shift(session: &Session, ids: Vec<String>, by: i32, now: Micros) -> Vec<Shifted> {
    if ids.is_empty() {
        return Vec::new();
    }
    let answer = session.run(&SHIFT, &[param(ids), param(by), param(now)]);
    (0..answer.len())
        .map(|row| Shifted {
            id: answer.must(row, 1),
            status: Status::parse(answer.must(row, 2)),
            open_dependencies: answer.must(row, 3),
        })
        .collect()
}

/// Locks cards against becoming done or not done, so that their status can be counted. Others
/// may share the lock, and claims pass it. Whoever does so without end passes the `Gates` first.
///
/// The status is read once the locks are there: where a claim is under way, FOR KEY SHARE gives the
/// row as it was before it, and that also if the card became done meanwhile.
pub fn lock_shared(session: &Session, ids: &[String]) -> Result<Vec<(String, Status)>, Refusal> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    session.run(&LOCK_SHARED, &[param(ids.to_vec())]);
    let answer = session.run(&STATUSES, &[param(ids.to_vec())]);
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
