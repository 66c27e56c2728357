//! The history: every verb writes its event in the transaction of the change.

use pgrx::prelude::*;

use crate::card::Status;
use crate::clock::Micros;
use crate::guard;
use crate::sequence;
use crate::statement::{Session, param, statements};

statements! {
    NEXT_IDS(INT4OID) =
        "select pg_catalog.nextval('mosaic.backlog_event_id_seq') from pg_catalog.generate_series(1, $1)";
    RECORD_MANY(INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID, INT8ARRAYOID,
                TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID) =
        "insert into mosaic.backlog_event
           (event_id, card_id, at, kind, actor, login_role, claim_token, old_status, new_status, detail, horizon)
         select e.event_id, e.card_id, $3, e.kind, e.actor, $6, e.claim_token, e.old_status::mosaic.backlog_status,
           e.new_status::mosaic.backlog_status, e.detail::jsonb, $11::xid8
         from unnest($1, $2, $4, $5, $7, $8, $9, $10)
           as e(event_id, card_id, kind, actor, claim_token, old_status, new_status, detail)";
    RECORD(INT8OID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID) =
        "insert into mosaic.backlog_event
           (event_id, card_id, at, kind, actor, login_role, claim_token, old_status, new_status, detail, horizon)
         values ($1, $2, $3, $4, $5, $6, $7, $8::mosaic.backlog_status, $9::mosaic.backlog_status,
           $10::jsonb, $11::xid8)";
}

/// A change of one card.
pub struct Event<'a> {
    pub card_id: &'a str,
    pub kind: &'static str,
    /// Who did it, as the caller says; `None`: the login role.
    pub actor: Option<&'a str>,
    pub claim_token: Option<i64>,
    pub old_status: Option<Status>,
    pub new_status: Status,
    /// A JSON object.
    pub detail: serde_json::Value,
}

/// The next transaction id.
///
/// Read after an event's number was drawn: whoever drew a smaller number has an older
/// transaction id, so a reader that finds none of those running has missed nothing.
fn horizon() -> String {
    unsafe {
        pg_sys::GetCurrentTransactionId();
        pg_sys::ReadNextFullTransactionId().value.to_string()
    }
}

/// Appends `event` to the history.
pub fn record(session: &Session, at: Micros, event: &Event) {
    let id = sequence::next(c"backlog_event_id_seq");
    let login_role = guard::login_role();
    session.run(
        &RECORD,
        &[
            param(id),
            param(event.card_id),
            param(at),
            param(event.kind),
            param(event.actor.unwrap_or(&login_role)),
            param(login_role.as_str()),
            param(event.claim_token),
            param(event.old_status.map(Status::name)),
            param(event.new_status.name()),
            param(event.detail.to_string()),
            param(horizon()),
        ],
    );
}

/// Appends many events of one call by one actor, in their order.
pub fn record_many(session: &Session, at: Micros, events: &[Event]) {
    match events {
        [] => return,
        [event] => return record(session, at, event),
        _ => {}
    }
    let ids: Vec<i64> = session
        .run(&NEXT_IDS, &[param(events.len() as i32)])
        .column(1);
    let login_role = guard::login_role();
    session.run(
        &RECORD_MANY,
        &[
            param(ids),
            param(events.iter().map(|e| e.card_id).collect::<Vec<_>>()),
            param(at),
            param(events.iter().map(|e| e.kind).collect::<Vec<_>>()),
            param(
                events
                    .iter()
                    .map(|e| e.actor.unwrap_or(&login_role))
                    .collect::<Vec<_>>(),
            ),
            param(login_role.as_str()),
            param(events.iter().map(|e| e.claim_token).collect::<Vec<_>>()),
            param(
                events
                    .iter()
                    .map(|e| e.old_status.map(Status::name))
                    .collect::<Vec<_>>(),
            ),
            param(
                events
                    .iter()
                    .map(|e| e.new_status.name())
                    .collect::<Vec<_>>(),
            ),
            param(
                events
                    .iter()
                    .map(|e| e.detail.to_string())
                    .collect::<Vec<_>>(),
            ),
            param(horizon()),
        ],
    );
}
