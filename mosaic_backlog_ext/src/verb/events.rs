//! Reading the history.

use pgrx::prelude::*;

use crate::argument;
use crate::postgres::rows::{PIECE, Page, Stream, shapes};
use crate::postgres::statement::{Moment, Session, param, session, statements};
use crate::postgres::transaction;
use crate::refusal::Refusal;

shapes! {
    /// A change of a card, and the cursor that continues after it. `claim_token` is null: a token
    /// is told to its holder alone.
    EventRow = "TABLE (event_id bigint, card_id text, at timestamptz, kind text, actor text, \
        login_role text, claim_token bigint, old_status mosaic.backlog_status, \
        new_status mosaic.backlog_status, detail jsonb, cursor text)";
}

/// The columns of an event of the table `e`.
macro_rules! event_columns {
    () => {
        "e.event_id, e.card_id, e.at, e.kind, e.actor, e.login_role, null::bigint, e.old_status, \
         e.new_status, e.detail, e.event_id::text"
    };
}

pub(crate) use event_columns;

statements! {
    /// The next events, with the horizon of those that a running transaction's age keeps back.
    PAGE(INT8OID, INT4OID) =
        "select event_id,
           case when horizon > pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) then horizon::text end
         from (
           select event_id, horizon from mosaic.backlog_event where event_id > $1 order by event_id limit $2) page
         order by event_id";
    ALL(INT8OID, INT8OID) = concat!(
        "select ", event_columns!(), " from mosaic.backlog_event e
         where e.event_id > $1 and e.event_id <= $2 order by e.event_id");
    /// The events of one card are numbered under its row lock: they commit in their order.
    OF_CARD(INT8OID, INT4OID, TEXTOID) = concat!(
        "select ", event_columns!(), " from mosaic.backlog_event e
         where e.card_id = $3 and e.event_id > $1 order by e.event_id limit $2");
}

/// The last event of the next `max` that a reader may pass.
///
/// An event may be passed once no transaction runs that is older than its horizon: one that
/// could still bring a smaller number. A horizon beyond the next transaction id comes from
/// another cluster, by dump and restore, where nothing of it is running any more. That id is
/// read after the events, because the horizon of each is read before it commits.
fn last_settled(session: &Session, after: i64, max: i32) -> i64 {
    let page = session.run(&PAGE, &[param(after), param(max)]);
    let next_transaction = transaction::next_id();
    (0..page.len())
        .take_while(|row| {
            page.get::<&str>(*row, 2)
                .is_none_or(|horizon| horizon.parse::<u64>().is_ok_and(|h| h > next_transaction))
        })
        .last()
        .map_or(after, |row| page.must(row, 1))
}

/// The history of one card or of all, oldest first. A reader that goes on after the `cursor`
/// of the last event misses none: an event is shown once no running transaction can still
/// bring one with a smaller number. A page of large events ends early.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_events(
    id: default!(Option<String>, "NULL"),
    after: default!(Option<String>, "NULL"),
    max_events: default!(Option<i32>, "100"),
) -> Result<Stream<EventRow>, pgrx::pg_sys::panic::ErrorReport> {
    let id = id.map(|id| argument::id("id", Some(id))).transpose()?;
    let max = argument::count("max_events", max_events)?;
    let after: i64 = match after {
        None => 0,
        Some(cursor) => cursor.parse().map_err(|_| {
            Refusal::argument(
                "after is not a cursor of the history",
                "Give the cursor of the last event seen, unchanged.",
            )
        })?,
    };
    Ok(Stream::new(move |sink| {
        session(|session| {
            let (statement, parameters) = match id {
                None => {
                    let last = last_settled(session, after, max);
                    (&ALL, vec![param(after), param(last)])
                }
                Some(id) => (&OF_CARD, vec![param(after), param(max), param(id)]),
            };
            let mut page = Page::default();
            session.pages(statement, &parameters, Moment::Now, PIECE, |events| {
                page.put(sink, events)
            });
            Ok::<_, Refusal>(())
        })
    }))
}
