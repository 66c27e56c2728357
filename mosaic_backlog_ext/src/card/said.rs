//! What was said about a card: its notes, why it was last given back, and the answer that unblocked it.
//!
//! All of it lies in the history. `linked` of a card tells that there may be some, as it does of
//! dependencies: a claim of any other card does not look.

use serde_json::{Value, json};

use crate::argument::NOTE_MAX;
use crate::card::Card;
use crate::card::change::card_updates;
use crate::card::history::{self, Event};
use crate::postgres::clock::{self, Micros};
use crate::postgres::document::extent;
use crate::postgres::statement::{Answer, Column, Parameter, Session, jsonb, param, statements};
use crate::postgres::table;
use crate::postgres::value;

statements! {
    NOTES(TEXTOID, INT4OID) =
        "select event_id, at, actor, detail from mosaic.backlog_event
         where card_id = $1 and kind = 'noted' order by event_id desc limit $2";
    /// Of all that say something of themselves, the last one.
    LAST(TEXTOID) =
        "select (select pg_catalog.count(*)::integer from mosaic.backlog_event where card_id = $1 and kind = 'noted'),
           (select detail from mosaic.backlog_event
            where card_id = $1 and kind = 'released' order by event_id desc limit 1),
           (select detail from mosaic.backlog_event
            where card_id = $1 and kind = 'unblocked' order by event_id desc limit 1)";
}

card_updates! {
    MARK(TEXTOID) = "linked = true where id = $1 and not linked";
}

/// Entries of `notes`, and bytes of their text together.
const NOTES_MAX: i32 = 10;
const NOTES_BYTES: usize = 32 * 1024;
/// What `, "note_omitted": 1048576` and more take at most in place of a text.
const OMITTED_BYTES: usize = 40;
/// Bytes of a detail, as it is stored and as text. What the verbs write stays below; more is not read.
const DETAIL_BYTES: usize = 8 * NOTE_MAX;

/// What was said about a card.
pub struct Said {
    /// The last notes, oldest first, as a JSON array. Those whose text does not fit are named without it.
    pub notes: String,
    /// How many notes there are.
    pub total: i32,
    /// The reason of the last release, if it had one.
    pub release: Option<String>,
    /// The answer of the last unblock, if it had one.
    pub answer: Option<String>,
}

impl Said {
    /// Its columns in an answer, in the order in which they are declared here.
    pub fn values(self) -> [Parameter; 4] {
        [
            jsonb(&self.notes),
            param(self.total),
            param(self.release),
            param(self.answer),
        ]
    }
}

/// What was said about a card; `None` if nothing was.
pub fn read(session: &Session, id: &str) -> Option<Said> {
    if table::exists_among(c"backlog_event", c"backlog_event_said", c"card_id", id) == Some(false) {
        return None;
    }
    let last = session.run(&LAST, &[param(id)]);
    let columns = last.columns(0);
    let said = Said {
        notes: notes(session, id),
        total: last.must(0, 1),
        release: word(&columns[1], "reason"),
        answer: word(&columns[2], "answer"),
    };
    last.free();
    Some(said)
}

/// The text under `key` of an event's detail.
fn word(detail: &Column, key: &str) -> Option<String> {
    let stored = detail.value?;
    if detail.size() > DETAIL_BYTES || extent(stored).bytes > DETAIL_BYTES as u64 {
        return None;
    }
    let detail: Value = serde_json::from_str(&value::text_of_jsonb(stored)).ok()?;
    Some(detail.get(key)?.as_str()?.to_owned())
}

/// All are named before any text is told; a text that does not fit leaves room for older ones.
fn notes(session: &Session, id: &str) -> String {
    let last = session.run(&NOTES, &[param(id), param(NOTES_MAX)]);
    let mut used = 2;
    let heads: Vec<String> = (0..last.len())
        .map(|row| head(&last, row))
        .take_while(|head| {
            used += head.len() + OMITTED_BYTES;
            used <= NOTES_BYTES
        })
        .collect();
    let named: usize = heads.iter().map(|head| head.len() + OMITTED_BYTES).sum();
    let mut room = NOTES_BYTES - 2 - named;
    let mut entries: Vec<String> = heads
        .iter()
        .enumerate()
        .map(|(row, head)| {
            let detail = &last.columns(row)[3];
            let text = word(detail, "note").map(|note| Value::from(note).to_string());
            match text {
                Some(text) if text.len() <= room => {
                    room -= text.len();
                    format!("{head}, \"note\": {text}}}")
                }
                text => {
                    let bytes = text.map_or_else(|| detail.size(), |text| text.len());
                    format!("{head}, \"note_omitted\": {bytes}}}")
                }
            }
        })
        .collect();
    last.free();
    entries.reverse();
    format!("[{}]", entries.join(", "))
}

/// The entry of a note without its end.
fn head(notes: &Answer, row: usize) -> String {
    let (id, at): (i64, Micros) = (notes.must(row, 1), notes.must(row, 2));
    let (at, actor) = (clock::rfc3339(at), Value::from(notes.must::<&str>(row, 3)));
    format!("{{\"event_id\": {id}, \"at\": \"{at}\", \"actor\": {actor}")
}

/// Writes a note about a locked card. Who names nobody and has its token is its holder.
pub fn note(
    session: &Session,
    card: &Card,
    note: &str,
    token: Option<i64>,
    actor: Option<&str>,
    now: Micros,
) {
    mark(session, &card.id);
    history::record(
        session,
        now,
        &Event {
            card_id: &card.id,
            kind: "noted",
            actor: actor.or_else(|| token.and(card.claim_owner.as_deref())),
            claim_token: token,
            old_status: Some(card.status),
            new_status: card.status,
            detail: json!({"note": note}),
        },
    );
}

/// Makes claims of the card look for what was said.
pub fn mark(session: &Session, id: &str) {
    session.run(&MARK, &[param(id)]);
}
