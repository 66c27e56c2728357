//! Why nobody is working on a card.

use std::collections::HashSet;

use pgrx::prelude::*;

use crate::argument;
use crate::card::EXHAUSTED;
use crate::card::claimable::{Hindrance, hindrance, max_attempts};
use crate::card::status::Status;
use crate::postgres::clock::{self, Micros};
use crate::postgres::rows::{Rows, shapes};
use crate::postgres::statement::{Answer, Session, param, session, statements};
use crate::refusal::Refusal;

shapes! {
    /// One reason; `id` is the card that it lies with, `depth` how many edges away that is.
    WhyRow = "TABLE (kind text, id text, title text, status mosaic.backlog_status, owner text, \
        until timestamptz, block_kind text, reason text, depth integer)";
}

macro_rules! why_columns {
    () => {
        "c.id, c.title, c.status::text, c.claim_owner, c.claim_expires_at, c.not_before, c.block_kind, \
         pg_catalog.left(c.block_reason, 1000), c.open_dependencies, c.attempts, c.max_attempts"
    };
}

statements! {
    CARD(TEXTOID) = concat!("select ", why_columns!(), " from mosaic.backlog c where c.id = $1");
    OPEN_BELOW(TEXTARRAYOID) = concat!(
        "select distinct on (c.id) ", why_columns!(), "
         from mosaic.backlog_dependency d join mosaic.backlog c on c.id = d.depends_on
         where d.card_id = any($1) and c.status <> 'done' order by c.id");
    REPORT(TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID,
           TEXTARRAYOID, INT4ARRAYOID) =
        "select r.kind, r.id, r.title, r.status::mosaic.backlog_status, r.owner, r.until, r.block_kind, r.reason, r.depth
         from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
           as r(kind, id, title, status, owner, until, block_kind, reason, depth)
         order by r.depth, r.id";
}

struct Seen {
    id: String,
    title: String,
    status: Status,
    owner: Option<String>,
    lease_end: Option<Micros>,
    not_before: Option<Micros>,
    block_kind: Option<String>,
    block_reason: Option<String>,
    open_dependencies: i32,
    is_exhausted: bool,
}

impl Seen {
    fn read(answer: &Answer, row: usize) -> Self {
        Self {
            id: answer.must(row, 1),
            title: answer.must(row, 2),
            status: Status::parse(answer.must(row, 3)),
            owner: answer.get(row, 4),
            lease_end: answer.get(row, 5),
            not_before: answer.get(row, 6),
            block_kind: answer.get(row, 7),
            block_reason: answer.get(row, 8),
            open_dependencies: answer.must(row, 9),
            is_exhausted: answer.must::<i32>(row, 10) >= max_attempts(answer.get(row, 11)),
        }
    }

    fn deferred_until(&self, now: Micros) -> Option<Micros> {
        self.not_before
            .filter(|until| self.status == Status::Ready && *until > now)
    }
}

struct Reason {
    kind: &'static str,
    card: Seen,
    until: Option<Micros>,
    depth: i32,
}

/// What the card itself has against being claimed.
fn own_reason(card: &Seen, now: Micros) -> Option<(&'static str, Option<Micros>)> {
    // That it is gated is told by the cards that it waits for.
    match hindrance(card.status, card.is_exhausted, 0, card.not_before, now)? {
        Hindrance::Exhausted => Some(("quarantined", None)),
        Hindrance::Gated => None,
        Hindrance::Deferred(until) => Some(("deferred", Some(until))),
        Hindrance::Status(Status::Claimed) => Some(("held", card.lease_end)),
        Hindrance::Status(_) if card.block_kind.as_deref() == Some(EXHAUSTED) => {
            Some(("quarantined", None))
        }
        Hindrance::Status(other) => Some((other.name(), None)),
    }
}

/// Reasons that are told, the nearest first.
const REASONS_MAX: usize = 10_000;

/// The open cards at the bottom of what `id` waits for: those that wait for nothing
/// themselves, or that are claimed, blocked or cancelled. Each card is looked at once.
fn roots(session: &Session, id: &str, now: Micros) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut seen = HashSet::from([id.to_owned()]);
    let mut frontier = vec![id.to_owned()];
    let mut depth = 0;
    while !frontier.is_empty() {
        depth += 1;
        let answer = session.run(&OPEN_BELOW, &[param(std::mem::take(&mut frontier))]);
        for row in 0..answer.len() {
            if reasons.len() == REASONS_MAX {
                return reasons;
            }
            let card = Seen::read(&answer, row);
            if !seen.insert(card.id.clone()) {
                continue;
            }
            if card.status == Status::Ready && card.open_dependencies > 0 {
                frontier.push(card.id);
                continue;
            }
            let kind = if card.status == Status::Cancelled {
                "cancelled_dependency"
            } else {
                "open_dependency"
            };
            let until = card.lease_end.or_else(|| card.deferred_until(now));
            reasons.push(Reason {
                kind,
                card,
                until,
                depth,
            });
        }
        answer.free();
    }
    reasons
}

/// Why a card is not claimable, nearest reason first: no row means that it is. A gated card
/// is explained by the open cards at the bottom of what it waits for, with their state.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_why(id: Option<String>) -> Result<Rows<WhyRow>, pgrx::pg_sys::panic::ErrorReport> {
    let id = argument::id("id", id)?;
    Ok(session(|session| {
        let answer = session.run(&CARD, &[param(id.as_str())]);
        if answer.is_empty() {
            return Err(Refusal::not_found(&id));
        }
        let card = Seen::read(&answer, 0);
        let now = clock::now();
        let gated =
            card.open_dependencies > 0 && matches!(card.status, Status::Ready | Status::Blocked);
        let mut reasons = Vec::new();
        if let Some((kind, until)) = own_reason(&card, now) {
            reasons.push(Reason {
                kind,
                card,
                until,
                depth: 0,
            });
        }
        if gated {
            reasons.append(&mut roots(session, &id, now));
        }
        let column =
            |of: fn(&Reason) -> Option<String>| param(reasons.iter().map(of).collect::<Vec<_>>());
        let until: Vec<Option<TimestampWithTimeZone>> = reasons
            .iter()
            .map(|r| {
                r.until
                    .and_then(|at| TimestampWithTimeZone::try_from(at).ok())
            })
            .collect();
        let answer = session.run(
            &REPORT,
            &[
                column(|r| Some(r.kind.to_owned())),
                column(|r| Some(r.card.id.clone())),
                column(|r| Some(r.card.title.clone())),
                column(|r| Some(r.card.status.name().to_owned())),
                column(|r| r.card.owner.clone()),
                param(until),
                column(|r| r.card.block_kind.clone()),
                column(|r| r.card.block_reason.clone()),
                param(reasons.iter().map(|r| r.depth).collect::<Vec<_>>()),
            ],
        );
        Ok(Rows::new(session, &answer))
    })?)
}
