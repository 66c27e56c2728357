//! The history: every verb writes its event in the transaction of the change.

use std::ffi::CStr;
use std::rc::Rc;

use pgrx::prelude::*;

use crate::card::status::{Status, Statuses};
use crate::postgres::clock::Micros;
use crate::postgres::roles;
use crate::postgres::sequence::Sequence;
use crate::postgres::statement::{Session, jsonb, param, statements};
use crate::postgres::table::{Store, Table, Writer, Writes, known};
use crate::postgres::transaction;

statements! {
    /// Where rows cannot be written without a statement.
    RECORD_MANY(INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID, INT8ARRAYOID,
                TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID) =
        "insert into mosaic.backlog_event
           (event_id, card_id, at, kind, actor, login_role, claim_token, old_status, new_status, detail, horizon)
         select e.event_id, e.card_id, $3, e.kind, e.actor, $6, e.claim_token, e.old_status::mosaic.backlog_status,
           e.new_status::mosaic.backlog_status, e.detail::jsonb, $11::xid8
         from unnest($1, $2, $4, $5, $7, $8, $9, $10)
           as e(event_id, card_id, kind, actor, claim_token, old_status, new_status, detail)";
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
fn horizon() -> u64 {
    transaction::id();
    transaction::next_id()
}

/// Appends `event` to the history.
pub fn record(session: &Session, at: Micros, event: &Event) {
    record_many(session, at, std::slice::from_ref(event));
}

/// Appends events of one call by one actor, in their order.
pub fn record_many(session: &Session, at: Micros, events: &[Event]) {
    if events.is_empty() {
        return;
    }
    let ids: Vec<i64> = events.iter().map(|_| Sequence::Events.next()).collect();
    let login_role = roles::login();
    let horizon = horizon();
    if let Some(history) = History::open() {
        for (id, event) in ids.into_iter().zip(events) {
            history.append(at, &login_role, id, event, horizon);
        }
        return;
    }
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
            param(horizon.to_string()),
        ],
    );
}

const APPENDS: Writes = Writes {
    table: c"backlog_event",
    event: pg_sys::TRIGGER_TYPE_INSERT,
    unless_taken: false,
    unless_keyed: &[],
    idle_triggers: &[],
    checks: &[],
};

/// The columns of an event and their types, but for the enum, in the order of `History::append`.
const COLUMNS: [(&CStr, Option<pg_sys::Oid>); 11] = [
    (c"event_id", Some(pg_sys::INT8OID)),
    (c"card_id", Some(pg_sys::TEXTOID)),
    (c"at", Some(pg_sys::TIMESTAMPTZOID)),
    (c"kind", Some(pg_sys::TEXTOID)),
    (c"actor", Some(pg_sys::TEXTOID)),
    (c"login_role", Some(pg_sys::TEXTOID)),
    (c"claim_token", Some(pg_sys::INT8OID)),
    (c"old_status", None),
    (c"new_status", None),
    (c"detail", Some(pg_sys::JSONBOID)),
    (c"horizon", Some(pg_sys::XID8OID)),
];

/// Why statements have to append events; `None` if none has to.
pub fn obstacle() -> Option<String> {
    Table::obstacle(&APPENDS).or_else(|| {
        let is_other = Table::to_lock(APPENDS.table)
            .is_some_and(|table| known(&PLACES, &table, Places::find).is_none());
        is_other.then(|| "backlog_event has other columns than it was installed with".to_owned())
    })
}

struct Places {
    /// Which of the columns is at each place.
    order: [usize; COLUMNS.len()],
    statuses: Statuses,
}

thread_local! {
    static PLACES: Store<Places> = const { Store::new(None) };
}

impl Places {
    /// `None` if a column is missing, or has another type than it was installed with.
    fn find(table: &Table) -> Option<Self> {
        // More columns would be somebody else's, and may have defaults.
        if table.width() != COLUMNS.len() {
            return None;
        }
        let (_, new_status) = table.enum_column(c"new_status")?;
        let mut order = [0; COLUMNS.len()];
        for (at, (name, kind)) in COLUMNS.into_iter().enumerate() {
            order[table.column_of(name, kind.unwrap_or(new_status))? - 1] = at;
        }
        Some(Self {
            order,
            statuses: Statuses::of_type(new_status),
        })
    }
}

/// The table of events, where rows can be appended without a statement.
struct History {
    writer: Writer,
    places: Rc<Places>,
}

impl History {
    fn open() -> Option<Self> {
        let writer = Writer::open(&APPENDS)?;
        let places = known(&PLACES, writer.table(), Places::find)?;
        Some(Self { writer, places })
    }

    fn append(&self, at: Micros, login_role: &str, id: i64, event: &Event, horizon: u64) {
        let oid = |status: Status| param(self.places.statuses.oid(status));
        let values = || {
            [
                param(id),
                param(event.card_id),
                param(at),
                param(event.kind),
                param(event.actor.unwrap_or(login_role)),
                param(login_role),
                param(event.claim_token),
                event.old_status.and_then(oid),
                oid(event.new_status),
                jsonb(&event.detail.to_string()),
                Some(pg_sys::Datum::from(horizon)),
            ]
        };
        self.writer.insert(|| {
            let values = values();
            self.places.order.map(|at| values[at])
        });
    }
}
