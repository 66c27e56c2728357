//! Leases that ended: swept inside every claim, and on demand.

use pgrx::datum::Interval;
use pgrx::prelude::*;
use serde_json::json;

use crate::argument;
use crate::card::Card;
use crate::card::history::{self, Event};
use crate::card::status::Status;
use crate::frontier::scheduled;
use crate::frontier::{self, Audit, Flight, Key, Next, Range, Set};
use crate::guard;
use crate::postgres::clock::{self, Micros};
use crate::postgres::rows::{Rows, shapes};
use crate::postgres::statement::{Session, param, session, statements};
use crate::postgres::subtransaction::Subtransaction;
use crate::refusal::Refusal;
use crate::verb::lease::ending;

/// Ended leases that one claim sweeps at most, so that a claim's cost stays bounded.
const SWEEP_MAX: usize = 100;

shapes! {
    /// A card whose lease was taken away.
    ReclaimedRow = "TABLE (id text, previous_owner text, attempts integer, action text)";
}

statements! {
    /// Leases that ended, the longest ended first. Cards that somebody else has locked are skipped.
    ENDED(TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID) =
        "select id from mosaic.backlog where claim_expires_at between $1 and $2
         order by claim_expires_at limit $3 for no key update skip locked";
    /// The ends of leases, from one time up to another.
    ENDS(TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID) =
        "select distinct claim_expires_at from mosaic.backlog
         where claim_expires_at between $1 and $2 order by claim_expires_at limit $3";
    /// In no order: one that the index gives would be had by walking over all of it.
    ENDED_AT(TIMESTAMPTZARRAYOID, INT4OID) =
        "select id from mosaic.backlog where claim_expires_at = any($1)
         limit $2 for no key update skip locked";
    /// Ends of leases that no transaction has made that is open, or is ending.
    TOLD(TIMESTAMPTZARRAYOID) =
        "select distinct b.claim_expires_at from mosaic.backlog b
         where b.claim_expires_at = any($1)
           and not exists (select from pg_catalog.pg_locks l
                           where l.locktype = 'transactionid' and l.transactionid in (b.xmin, b.xmax))";
    STILL(TIMESTAMPTZARRAYOID) =
        "select claim_expires_at from mosaic.backlog where claim_expires_at = any($1)";
    REPORT(TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TEXTARRAYOID) =
        "select * from unnest($1, $2, $3, $4)";
}

/// Takes the lease of a locked card away: ready again, or quarantined at the maximum.
fn take_away(
    session: &Session,
    card: &Card,
    kind: &'static str,
    actor: Option<&str>,
    now: Micros,
) -> &'static str {
    if card.is_exhausted() {
        ending::quarantine(session, card, kind, None, actor, now);
        return "quarantined";
    }
    ending::give_back(session, card, card.attempts, None, None, now);
    history::record(
        session,
        now,
        &Event {
            card_id: &card.id,
            kind,
            actor,
            claim_token: card.claim_token,
            old_status: Some(Status::Claimed),
            new_status: Status::Ready,
            detail: json!({"previous_owner": card.claim_owner, "attempts": card.attempts}),
        },
    );
    "requeued"
}

/// Takes away leases that ended before `before`, at most `max`.
fn sweep_ended(
    session: &Session,
    before: Micros,
    max: i32,
    actor: Option<&str>,
    now: Micros,
) -> Result<Vec<(Card, &'static str)>, Refusal> {
    let from = if frontier::own_leases_end(before) {
        clock::FIRST
    } else {
        frontier::floor(Set::Leases).max(clock::FIRST)
    };
    let ended = session.run(&ENDED, &[param(from), param(before), param(max)]);
    sweep_locked(session, ended.column(1), actor, now)
}

fn sweep_locked(
    session: &Session,
    ended: Vec<String>,
    actor: Option<&str>,
    now: Micros,
) -> Result<Vec<(Card, &'static str)>, Refusal> {
    ended
        .into_iter()
        .map(|id| {
            let card = Card::lock(session, &id)?;
            let action = take_away(session, &card, "lapsed", actor, now);
            Ok((card, action))
        })
        .collect()
}

/// The sweep inside a claim: of the leases that ended, as far as the frontier knows of them.
pub fn sweep(session: &Session, actor: &str, now: Micros) -> Result<(), Refusal> {
    if frontier::own_leases_end(now) {
        return sweep_ended(session, now, SWEEP_MAX as i32, Some(actor), now).map(|_| ());
    }
    if let Some(audit) = frontier::audit(Set::Leases) {
        prove(session, audit, now);
    }
    let mut left = SWEEP_MAX;
    while left > 0 && frontier::concerns(Set::Leases, now) {
        let mut flight = Flight::begin(Set::Leases);
        match flight.next(now, left) {
            Next::Candidates(ends, _) => {
                let at = param(clock::times(&ends));
                let ended = session.run(&ENDED_AT, &[at, param(left as i32)]);
                let swept = sweep_locked(session, ended.column(1), Some(actor), now)?.len();
                let mut still: Vec<Key> =
                    session.run(&STILL, &[param(clock::times(&ends))]).column(1);
                still.sort_unstable();
                still.dedup();
                left -= swept;
                let gone: Vec<Key> = ends
                    .into_iter()
                    .filter(|end| !still.contains(end))
                    .collect();
                flight.settle(&gone);
                // Else what is left goes back with the flight, for the next claim.
                let known = left == 0 || flight.put_aside(&still);
                drop(flight);
                if !known {
                    // More are locked by others than there is room for.
                    sweep_ended(session, now, left as i32, Some(actor), now)?;
                    break;
                }
            }
            Next::Scan(scan) => {
                let ends = scheduled::times(session, &ENDS, scan.window(now));
                scan.end_times(&ends, now);
            }
            Next::Unknown | Next::Nothing => break,
        }
    }
    Ok(())
}

/// Compares what is known of the ends of leases with the table.
fn prove(session: &Session, audit: Audit, now: Micros) {
    let first = Range {
        from: clock::FIRST,
        to: now.saturating_add(1),
    };
    let found: Vec<(Key, Option<Key>)> = scheduled::times(session, &ENDS, first)
        .into_iter()
        .map(|end| (end, None))
        .collect();
    let suspects = audit.suspect(&found);
    let mut free = Vec::new();
    if !suspects.is_empty() {
        let told = session.run(&TOLD, &[param(clock::times(&suspects))]);
        for row in 0..told.len() {
            let end: Key = told.must(row, 1);
            let subtransaction = Subtransaction::begin();
            let at = param(clock::times(&[end]));
            if !session.run(&ENDED_AT, &[at, param(1)]).is_empty() {
                free.push((end, None));
            }
            drop(subtransaction);
        }
    }
    audit.end(&free);
}

/// Sweeps one locked card whose lease has ended.
pub fn sweep_card(session: &Session, card: &Card, actor: &str, now: Micros) {
    take_away(session, card, "lapsed", Some(actor), now);
}

/// Takes away leases that ended more than `grace` ago: of all cards, at most `max_cards`, or
/// of one. A live lease is taken with `force` alone, which needs an id and the operator role.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_reclaim(
    id: default!(Option<String>, "NULL"),
    force: default!(Option<bool>, "false"),
    grace: default!(Option<Interval>, "'0'"),
    max_cards: default!(Option<i32>, "1000"),
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<ReclaimedRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = id.map(|id| argument::id("id", Some(id))).transpose()?;
    let force = force.unwrap_or(false);
    let grace = grace.map_or(Ok(0), |grace| argument::delay("grace", &grace))?;
    let max = argument::count("max_cards", max_cards)?;
    let actor = argument::optional_name("actor", actor)?;
    let actor = actor.as_deref();
    if force {
        if id.is_none() {
            return Err(Refusal::argument(
                "force needs an id",
                "Name the card whose live lease is to be taken away.",
            )
            .into());
        }
        guard::operator("force")?;
    }
    Ok(session(|session| {
        let reclaimed = match &id {
            Some(id) => {
                let card = Card::lock(session, id)?;
                let now = clock::now();
                if card.status != Status::Claimed {
                    Vec::new()
                } else if card.lease_ended(now - grace) {
                    let action = take_away(session, &card, "lapsed", actor, now);
                    vec![(card, action)]
                } else if force {
                    let action = take_away(session, &card, "reclaimed", actor, now);
                    vec![(card, action)]
                } else {
                    return Err(Refusal::already_claimed(&card));
                }
            }
            None => {
                let now = clock::now();
                frontier::begin();
                sweep_ended(session, now - grace, max, actor, now)?
            }
        };
        let (cards, actions): (Vec<Card>, Vec<&str>) = reclaimed.into_iter().unzip();
        let answer = session.run(
            &REPORT,
            &[
                param(cards.iter().map(|c| c.id.clone()).collect::<Vec<_>>()),
                param(
                    cards
                        .iter()
                        .map(|c| c.claim_owner.clone())
                        .collect::<Vec<_>>(),
                ),
                param(cards.iter().map(|c| c.attempts).collect::<Vec<_>>()),
                param(actions),
            ],
        );
        Ok::<_, Refusal>(Rows::new(session, &answer))
    })?)
}
