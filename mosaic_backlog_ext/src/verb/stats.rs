//! Figures of the whole backlog or of one phase.

use pgrx::prelude::*;

use crate::argument;
use crate::card::claimable::is_claimable;
use crate::card::status::Status;
use crate::postgres::clock;
use crate::postgres::rows::{Rows, shapes};
use crate::postgres::statement::{Session, Statement, param, session, statements};
use crate::refusal::Refusal;

shapes! {
    /// Counts now, and figures of the last hour.
    StatsRow = "TABLE (ready bigint, claimed bigint, blocked bigint, done bigint, cancelled bigint, \
        claimable bigint, gated bigint, deferred bigint, expired_leases bigint, \
        oldest_claimable_seconds bigint, by_owner jsonb, created_last_hour bigint, \
        completed_last_hour bigint, failed_last_hour bigint, lapsed_last_hour bigint, \
        wait_p50_seconds double precision, wait_p95_seconds double precision, \
        cycle_p50_seconds double precision, cycle_p95_seconds double precision)";
}

statements! {
    FINISHED(TEXTOID) =
        "select pg_catalog.count(*) from mosaic.backlog
         where status = $1::mosaic.backlog_status and status in ('done', 'cancelled')";
    FINISHED_IN(TEXTOID, TEXTOID) =
        "select pg_catalog.count(*) from mosaic.backlog
         where status = $1::mosaic.backlog_status and status in ('done', 'cancelled') and phase = $2";
}

thread_local! {
    static STATS: Statement = const {
        Statement::new(
            concat!("
        with open as (
          select
            count(*) filter (where status = 'ready') as ready,
            count(*) filter (where status = 'claimed') as claimed,
            count(*) filter (where status = 'blocked') as blocked,
            count(*) filter (where ", is_claimable!("$2"), ") as claimable,
            count(*) filter (where status = 'ready' and open_dependencies > 0) as gated,
            count(*) filter (where opened and not_before > $2) as deferred,
            count(*) filter (where status = 'claimed' and claim_expires_at <= $2) as expired_leases,
            min(greatest(claimable_since, not_before)) filter (where ", is_claimable!("$2"), ") as oldest_claimable
          from mosaic.backlog
          where status in ('ready', 'claimed', 'blocked') and ($1 is null or phase = $1)
        ), owners as (
          select coalesce(jsonb_object_agg(claim_owner, cards order by claim_owner), '{}') as by_owner
          from (
            select claim_owner, count(*) as cards from mosaic.backlog
            where status = 'claimed' and ($1 is null or phase = $1)
            group by claim_owner) o
        ), recent as (
          select e.kind, e.card_id, e.at, e.detail
          from mosaic.backlog_event e
          where e.at > $2 - interval '1 hour' and e.at <= $2
            and ($1 is null or exists (
              select from mosaic.backlog c where c.id = e.card_id and c.phase = $1))
        ), counted as (
          select
            count(*) filter (where kind = 'created') as created,
            count(*) filter (where kind = 'completed') as completed,
            count(*) filter (where kind = 'failed') as failed,
            count(*) filter (where kind in ('lapsed', 'reclaimed')) as lapsed,
            percentile_cont(array[0.5, 0.95]) within group (order by (detail->>'waited_seconds')::double precision)
              filter (where kind = 'claimed') as wait,
            percentile_cont(array[0.5, 0.95]) within group (order by (detail->>'cycle_seconds')::double precision)
              filter (where kind = 'completed') as cycle
          from recent
        )
        select ready, claimed, blocked, $3, $4, claimable, gated, deferred, expired_leases,
          case when claimable > 0 then greatest(0, floor(extract(epoch from $2 - oldest_claimable)))::bigint end, by_owner,
          created, completed, failed, lapsed, wait[1], wait[2], cycle[1], cycle[2]
        from open, owners, counted"),
            &[pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID, pg_sys::INT8OID],
        )
        .with_bitmaps()
    };
}

/// How many cards are finished, of all or of one phase: a count over an index alone.
fn finished(session: &Session, status: Status, phase: Option<&str>) -> i64 {
    let status = param(status.name());
    match phase {
        None => session.run(&FINISHED, &[status]).must(0, 1),
        Some(phase) => session
            .run(&FINISHED_IN, &[status, param(phase)])
            .must(0, 1),
    }
}

/// Counts of cards by state, who holds how many, and the last hour's throughput, with the
/// 50th and 95th percentile of how long cards waited for a claim and took from creation to done.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_stats(
    phase: default!(Option<String>, "NULL"),
) -> Result<Rows<StatsRow>, pgrx::pg_sys::panic::ErrorReport> {
    let phase = argument::optional_name("phase", phase)?;
    Ok(session(|session| {
        let done = finished(session, Status::Done, phase.as_deref());
        let cancelled = finished(session, Status::Cancelled, phase.as_deref());
        let answer = session.run(
            &STATS,
            &[
                param(phase),
                param(clock::now()),
                param(done),
                param(cancelled),
            ],
        );
        Ok::<_, Refusal>(Rows::new(session, &answer))
    })?)
}
