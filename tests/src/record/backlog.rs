//! What the database holds: cards, links and events, read from the tables themselves.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::session::Session;

/// Microseconds since 1970, by the server's clock.
pub type Time = i64;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Card {
    pub id: String,
    pub phase: Option<String>,
    #[serde(default)]
    pub labels: Vec<String>,
    pub status: String,
    pub claim_token: Option<i64>,
    pub open_dependencies: i64,
    /// The card's place in the order of claims, smallest first.
    pub claim_order: i64,
    pub result: Option<Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    pub event_id: i64,
    pub card_id: String,
    pub at: Time,
    pub kind: String,
    pub actor: String,
    pub claim_token: Option<i64>,
    pub detail: Value,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Backlog {
    pub cards: Vec<Card>,
    /// A card, and one that it waits for.
    pub links: Vec<(String, String)>,
    /// In the order of their numbers.
    pub events: Vec<Event>,
    /// Cards and ended leases that the table has and the frontier did not know of.
    pub lost: i64,
}

const CARDS: &str =
    "select id, phase, labels, status, claim_token, open_dependencies, claim_order, result
     from mosaic.backlog order by id";
const LINKS: &str =
    "select array[card_id, depends_on] as link from mosaic.backlog_dependency order by 1";
const EVENTS: &str = "select event_id, card_id, (extract(epoch from at) * 1000000)::bigint as at,
       kind, actor, claim_token, detail
     from mosaic.backlog_event order by event_id";

impl Backlog {
    /// Reads it all, in the session of somebody who may read the tables.
    #[track_caller]
    pub fn read(session: &mut Session) -> Self {
        Self {
            cards: rows(session, CARDS),
            links: session
                .column(LINKS)
                .into_iter()
                .map(|link| serde_json::from_value(link).expect("a link"))
                .collect(),
            events: rows(session, EVENTS),
            lost: session.number("select lost from mosaic.backlog_frontier() where shared"),
        }
    }
}

fn rows<T: for<'a> Deserialize<'a>>(session: &mut Session, query: &str) -> Vec<T> {
    session
        .rows(query)
        .into_iter()
        .map(|row| serde_json::from_value(row).expect(query))
        .collect()
}

/// A time as it stands in answers and in the details of events.
pub fn time(value: &Value) -> Option<Time> {
    let text = value.as_str()?;
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.timestamp_micros())
}
