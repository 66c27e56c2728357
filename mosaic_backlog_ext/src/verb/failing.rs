//! Workers that fail whatever they get: more likely the worker is broken than its cards.

use pgrx::prelude::*;

use crate::argument;
use crate::postgres::clock;
use crate::postgres::rows::{Rows, shapes};
use crate::postgres::statement::{Answer, Session, Statement, param, session};
use crate::refusal::Refusal;

shapes! {
    /// A worker's failures since it last completed a card.
    FailingRow = "TABLE (worker text, cards bigint, since timestamptz, last_at timestamptz, \
        last_card text, last_reason text)";
}

/// So many different cards in a row are no chance.
pub const SUSPECT: i32 = 3;

thread_local! {
    /// Reads the newest events alone, so that it costs the same however long the history is.
    static FAILING: Statement = const {
        Statement::new(
            "
        with recent as (
          select event_id, card_id, at, kind, detail->>'reason' as reason,
            case when kind = 'completed' then coalesce(detail->>'previous_owner', actor) else actor end as worker
          from (select * from mosaic.backlog_event order by event_id desc limit 10000) newest
          where kind in ('failed', 'completed') and at > $1 - interval '1 hour'
        ), completed as (
          select worker, max(event_id) as last from recent where kind = 'completed' group by worker
        )
        select worker, count(distinct card_id), min(at), max(at),
          (array_agg(card_id order by event_id desc))[1], (array_agg(reason order by event_id desc))[1]
        from recent left join completed using (worker)
        where kind = 'failed' and event_id > coalesce(last, 0)
        group by worker having count(distinct card_id) >= $2
        order by 2 desc, worker limit 100",
            &[pg_sys::TIMESTAMPTZOID, pg_sys::INT4OID],
        )
        .with_bitmaps()
    };
}

/// The workers that failed `min_cards` different cards or more in a row.
pub fn failing(session: &Session, min_cards: i32) -> Answer<'_> {
    session.run(&FAILING, &[param(clock::now()), param(min_cards)])
}

/// Workers that failed at least `min_cards` different cards in a row, without completing one in
/// between, by the last hour's events, of which the newest 10,000 are read; most cards first, at
/// most 100 workers. `last_card` and `last_reason` are of the last failure.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_failing_workers(
    min_cards: default!(Option<i32>, "3"),
) -> Result<Rows<FailingRow>, pgrx::pg_sys::panic::ErrorReport> {
    let min_cards = argument::count("min_cards", min_cards)?;
    Ok(session(|session| {
        Ok::<_, Refusal>(Rows::new(session, &failing(session, min_cards)))
    })?)
}
