//! Writing the lines, all on the snapshot of the calling statement.

use pgrx::prelude::*;
use serde_json::json;

use super::line::{FORMAT, FORMAT_VERSION};
use crate::postgres::clock;
use crate::postgres::configuration;
use crate::postgres::rows::{Sink, Stream, shapes};
use crate::postgres::statement::{Moment, Session, param, session, statements};
use crate::refusal::Refusal;

/// Rows in memory at a time: cards can have several MiB each.
const PAGE: i64 = 4;

shapes! {
    /// A line of the export.
    LineRow = "TABLE (line text)";
}

/// A line of the given type, whose fields are those of a JSON object that is not empty.
macro_rules! line_of {
    ($type:literal, $fields:expr) => {
        concat!(
            "'{\"type\":\"",
            $type,
            "\",' || pg_catalog.substr((",
            $fields,
            ")::text, 2)"
        )
    };
}

/// A document stands in the line only if there is one; JSON's own null is one.
macro_rules! document {
    ($column:literal) => {
        concat!(
            "case when c.",
            $column,
            " is null then '{}'::jsonb else pg_catalog.jsonb_build_object('",
            $column,
            "', c.",
            $column,
            ") end"
        )
    };
}

statements! {
    COUNTS() =
        "select (select count(*) from mosaic.backlog), (select count(*) from mosaic.backlog_dependency),
           (select count(*) from mosaic.backlog_event where card_id is not null), s.last_value,
           (select x.extversion from pg_catalog.pg_extension x where x.extname = 'mosaic_backlog_ext')
         from mosaic.backlog_claim_token_seq s";
    LINE(TEXTOID) = "select $1";
    CARDS() = concat!("select ", line_of!("card", concat!(
        "pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
           'id', c.id, 'title', c.title, 'body', c.body, 'phase', c.phase, 'labels', c.labels,
           'requires', c.requires, 'priority', c.priority, 'status', c.status,
           'idempotency_key', c.idempotency_key, 'creation_request', c.creation_request,
           'not_before', c.not_before, 'claim_owner', c.claim_owner, 'claim_token', c.claim_token,
           'claim_ttl_seconds', c.claim_ttl_seconds, 'claimed_at', c.claimed_at,
           'claim_expires_at', c.claim_expires_at, 'attempts', c.attempts,
           'max_attempts', c.max_attempts, 'block_kind', c.block_kind,
           'block_reason', c.block_reason, 'open_dependencies', c.open_dependencies,
           'created_at', c.created_at, 'updated_at', c.updated_at, 'completed_at', c.completed_at,
           'settled_token', c.settled_token, 'claimable_since', c.claimable_since,
           'last_failure', c.last_failure)) || ", document!("acceptance"), " || ", document!("result"))),
        " from (select * from mosaic.backlog order by creation_seq offset 0) c");
    DEPENDENCIES() = concat!("select ", line_of!("dependency",
        "pg_catalog.jsonb_build_object('card_id', d.card_id, 'depends_on', d.depends_on,
           'created_at', d.created_at)"),
        " from (select * from mosaic.backlog_dependency order by card_id, depends_on offset 0) d");
    EVENTS() = concat!("select ", line_of!("event",
        "pg_catalog.jsonb_build_object('card_id', e.card_id, 'at', e.at, 'kind', e.kind,
           'actor', e.actor, 'login_role', e.login_role, 'claim_token', e.claim_token,
           'old_status', e.old_status, 'new_status', e.new_status, 'detail', e.detail)"),
        " from (select * from mosaic.backlog_event where card_id is not null order by event_id offset 0) e");
}

/// The whole backlog as JSON lines: a header, the cards in the order of their creation, their
/// dependencies, their history, and an end line. All of it is of one moment.
#[pg_extern(schema = "mosaic", stable, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_export(
    with_dependencies: default!(Option<bool>, "true"),
    with_events: default!(Option<bool>, "true"),
) -> Stream<LineRow> {
    let with_dependencies = with_dependencies.unwrap_or(true);
    let with_events = with_events.unwrap_or(true);
    Stream::new(move |sink| {
        session(|session| {
            write(session, sink, with_dependencies, with_events);
            Ok::<_, Refusal>(())
        })
    })
}

fn write(session: &Session, sink: &mut Sink, with_dependencies: bool, with_events: bool) {
    configuration::times_in_utc();
    let mut counts = [0_i64; 3];
    let mut last_token = 0_i64;
    let mut version = String::new();
    session.pages(&COUNTS, &[], Moment::OfTheCall, 1, |answer| {
        counts = [answer.must(0, 1), answer.must(0, 2), answer.must(0, 3)];
        last_token = answer.must(0, 4);
        version = answer.get(0, 5).unwrap_or_default();
        true
    });
    let [cards, dependencies, events] = counts;
    let dependencies = with_dependencies.then_some(dependencies);
    let events = with_events.then_some(events);
    let header = json!({
        "type": "header", "format": FORMAT, "format_version": FORMAT_VERSION,
        "extension_version": version, "exported_at": clock::rfc3339(clock::now()),
        "cards": cards, "dependencies": dependencies, "events": events,
        "last_claim_token": last_token,
    });
    sink.put(&session.run(&LINE, &[param(header.to_string())]));
    let wanted = [
        (&CARDS, true),
        (&DEPENDENCIES, with_dependencies),
        (&EVENTS, with_events),
    ];
    for (lines, _) in wanted.into_iter().filter(|(_, is_wanted)| *is_wanted) {
        session.pages(lines, &[], Moment::OfTheCall, PAGE, |answer| {
            sink.put(answer);
            true
        });
    }
    let end = json!({
        "type": "end", "cards": cards, "dependencies": dependencies, "events": events,
    });
    sink.put(&session.run(&LINE, &[param(end.to_string())]));
}
