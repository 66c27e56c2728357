//! What audits of the frontier have found, for operators.

use pgrx::prelude::*;

use super::heads::{Audits, Heads, Set};
use super::memory;
use crate::postgres::clock::Micros;
use crate::postgres::rows::{Rows, shapes};
use crate::postgres::statement::{Answer, Session, param, session, statements};
use crate::refusal::Refusal;

shapes! {
    /// The audits of this database since its shared memory was made.
    FrontierRow = "TABLE (shared boolean, audits bigint, lost bigint, last_lost_at timestamptz, last_lost text, \
        stuck bigint, last_stuck_at timestamptz)";
}

statements! {
    REPORT(BOOLOID, INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, TIMESTAMPTZOID) =
        "select $1, $2, $3, $4,
           (select b.id from mosaic.backlog b
            where b.status = any(enum_range(null::mosaic.backlog_status)) and b.claim_order = $5 limit 1),
           $6, $7";
}

/// What audits have found that the frontier did not know, since its memory was made: on a server
/// that was restarted or promoted, since then; where no session had it for a while, since it was made anew. All zero where there is no shared memory.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_frontier() -> Result<Rows<FrontierRow>, pgrx::pg_sys::panic::ErrorReport> {
    Ok(session(|session| {
        Ok::<_, Refusal>(Rows::new(session, &report(session)))
    })?)
}

/// What audits have found, as the columns of `backlog_frontier`.
pub fn report(session: &Session) -> Answer<'_> {
    let known = found();
    let at = |count: u64, at: Micros| (count > 0).then_some(at);
    let (count, lost, lost_at, last, stuck, stuck_at) = match &known {
        None => (0, 0, None, None, 0, None),
        Some(found) => {
            let last = match found.last {
                Some((Set::Claims { .. }, order)) => Some(order),
                _ => None,
            };
            let (lost_at, stuck_at) = (
                at(found.lost, found.lost_at),
                at(found.stuck, found.stuck_at),
            );
            (
                found.count,
                found.lost,
                lost_at,
                last,
                found.stuck,
                stuck_at,
            )
        }
    };
    session.run(
        &REPORT,
        &[
            param(known.is_some()),
            param(count as i64),
            param(lost as i64),
            param(lost_at),
            param(last),
            param(stuck as i64),
            param(stuck_at),
        ],
    )
}

/// What audits have found; `None` where no memory is shared.
fn found() -> Option<Audits> {
    memory::peek(Heads::audits)
}
