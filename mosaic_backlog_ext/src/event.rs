//! The history: every verb writes its event in the transaction of the change.

use pgrx::prelude::*;

use crate::card::Status;
use crate::clock::Micros;
use crate::guard;
use crate::statement::{Session, param, statements};

statements! {
    NEXT_ID() = "select pg_catalog.nextval('mosaic.backlog_event_id_seq')";
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

/// Appends `event` to the history.
///
/// The horizon is read after the number was drawn: whoever drew a smaller number has an
/// older transaction id, so a reader that finds none of those running has missed nothing.
pub fn record(session: &Session, at: Micros, event: &Event) {
    let id: i64 = session.run(&NEXT_ID, &[]).must(0, 1);
    let horizon = unsafe {
        pg_sys::GetCurrentTransactionId();
        pg_sys::ReadNextFullTransactionId().value
    };
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
            param(horizon.to_string()),
        ],
    );
}
