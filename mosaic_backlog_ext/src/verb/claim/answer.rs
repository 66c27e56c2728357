//! What a claim answers: each card with what its worker needs to start. It is bounded whatever the
//! card and its dependencies hold, and a card of which no answer can be made stops nobody else.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;

use super::COLUMNS_01;
use super::take::{
    DEPENDENCIES_COLUMN, DEPENDS_ON_COLUMN, ID_COLUMN, LINKED_COLUMN, NOTES_COLUMN, OWN_COLUMNS,
    TOKEN_COLUMN, TOTAL_COLUMN, in_claim_order,
};
use crate::card::said;
use crate::postgres::document::{self, extent};
use crate::postgres::room::Room;
use crate::postgres::rows::Sink;
use crate::postgres::statement::{Answer, Column, Session, jsonb, param, statements};
use crate::postgres::subtransaction::Subtransaction;
use crate::postgres::value;

statements! {
    LINKS(TEXTOID) =
        "select array(select depends_on from mosaic.backlog_dependency where card_id = $1
                      order by depends_on limit 100000),
           (select pg_catalog.count(*)::integer from mosaic.backlog_dependency where card_id = $1)";
    NEAREST(TEXTOID, INT4OID) =
        "select c.id, c.title, c.result
         from (select depends_on from mosaic.backlog_dependency where card_id = $1 order by depends_on limit $2) d
         cross join lateral (select id, title, result from mosaic.backlog where id = d.depends_on limit 1) c
         order by d.depends_on";
}

/// Entries of `dependencies`, and bytes of their text together.
const DEPENDENCIES_MAX: i32 = 100;
const DEPENDENCIES_BYTES: usize = 256 * 1024;
/// What `, "result_omitted": 1048576` and more take at most in place of a result.
const OMITTED_BYTES: usize = 40;
/// Bytes of the text of a card's own columns. What the verbs store stays far below.
const CARD_BYTES: u64 = 64 * 1024 * 1024;
/// A result of so many bytes is not measured again for each card that waited for it.
const LARGE: u64 = 16 * 1024;

/// The answer of a claim, as it grows.
pub struct Answers<'a> {
    session: &'a Session,
    sink: &'a mut Sink,
    columns: usize,
    /// Bytes of large results, by card.
    large: HashMap<String, u64>,
    ids: Vec<String>,
    tokens: Vec<i64>,
}

/// A card that cannot be handed out, and why.
pub struct Unanswered {
    pub id: String,
    pub why: String,
}

impl<'a> Answers<'a> {
    /// Rows get the first `columns` columns.
    pub fn new(session: &'a Session, sink: &'a mut Sink, columns: usize) -> Self {
        Self {
            session,
            sink,
            columns,
            large: HashMap::new(),
            ids: Vec::new(),
            tokens: Vec::new(),
        }
    }

    /// The ids and tokens of the cards that were put there.
    pub fn ids_and_tokens(self) -> (Vec<String>, Vec<i64>) {
        (self.ids, self.tokens)
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Puts claimed cards there, in claim order, one in memory at a time. Gives those of which no
    /// answer can be made.
    pub fn put(&mut self, claimed: &[Answer]) -> Vec<Unanswered> {
        let mut unanswered = Vec::new();
        // For what is made of one card; most need none.
        let mut room: Option<Room> = None;
        for (answer, row) in in_claim_order(claimed) {
            let id: String = answer.must(row, ID_COLUMN);
            let columns = answer.columns(row);
            let is_linked: bool = answer.must(row, LINKED_COLUMN);
            let put = if is_linked || columns[..OWN_COLUMNS].iter().any(needs_a_look) {
                let room = room.get_or_insert_with(|| Room::new("a card of a claim"));
                room.within(|| {
                    let tuple = attempt(|| self.make(answer, row, &id, columns, is_linked))?;
                    self.put_row(answer, tuple);
                    Ok(())
                })
            } else {
                self.put_row(answer, answer.tuple(row));
                Ok(())
            };
            match put {
                Ok(()) => {
                    self.ids.push(id);
                    self.tokens.push(answer.must(row, TOKEN_COLUMN));
                }
                Err(why) => unanswered.push(Unanswered { id, why }),
            }
        }
        unanswered
    }

    fn put_row(&mut self, answer: &Answer, row: pg_sys::HeapTuple) {
        self.sink.put_first(self.columns, row, answer.descriptor());
    }

    fn make(
        &mut self,
        answer: &Answer,
        row: usize,
        id: &str,
        mut columns: Vec<Column>,
        is_linked: bool,
    ) -> Result<pg_sys::HeapTuple, String> {
        check(&columns[..OWN_COLUMNS])?;
        if !is_linked {
            return Ok(answer.tuple(row));
        }
        // A claim of 0.1.0 has no column for it.
        if self.columns > COLUMNS_01
            && let Some(said) = said::read(self.session, id)
        {
            let first = NOTES_COLUMN as usize - 1;
            for (column, value) in columns[first..].iter_mut().zip(said.values()) {
                column.value = value;
            }
        }
        let links = self.session.run(&LINKS, &[param(id)]);
        let mut set = |column: i32, value| columns[column as usize - 1].value = value;
        set(DEPENDENCIES_COLUMN, jsonb(&self.dependencies(id)));
        set(DEPENDS_ON_COLUMN, links.get::<pg_sys::Datum>(0, 1));
        set(TOTAL_COLUMN, links.get::<pg_sys::Datum>(0, 2));
        let tuple = answer.row_of(&columns);
        links.free();
        Ok(tuple)
    }

    /// What the nearest dependencies handed over, as JSON. All are named before any result is
    /// told, as far as there is room; a result that does not fit leaves room for those after it.
    fn dependencies(&mut self, id: &str) -> String {
        let nearest = self
            .session
            .run(&NEAREST, &[param(id), param(DEPENDENCIES_MAX)]);
        let mut used = 2;
        let heads: Vec<String> = (0..nearest.len())
            .map(|row| {
                let (id, title): (&str, &str) = (nearest.must(row, 1), nearest.must(row, 2));
                format!("{{\"id\": {}, \"title\": {}", quoted(id), quoted(title))
            })
            .take_while(|head| {
                used += head.len() + OMITTED_BYTES;
                used <= DEPENDENCIES_BYTES
            })
            .collect();
        let mut used: usize = 2 + heads
            .iter()
            .map(|head| head.len() + OMITTED_BYTES)
            .sum::<usize>();
        let mut entries = Vec::new();
        for (row, head) in heads.iter().enumerate() {
            let id: String = nearest.must(row, 1);
            let room = DEPENDENCIES_BYTES - used + OMITTED_BYTES;
            let entry = match nearest.get::<pg_sys::Datum>(row, 3) {
                None => format!("{head}, \"result\": null}}"),
                Some(result) => match self.result(id, result, room) {
                    Ok(text) => format!("{head}, \"result\": {text}}}"),
                    Err(bytes) => format!("{head}, \"result_omitted\": {bytes}}}"),
                },
            };
            // `, ` between the entries.
            used = used + entry.len() + 2 - head.len() - OMITTED_BYTES;
            entries.push(entry);
        }
        nearest.free();
        format!("[{}]", entries.join(", "))
    }

    /// A result as text if it fits into `room`, else its bytes.
    fn result(&mut self, id: String, result: pg_sys::Datum, room: usize) -> Result<String, u64> {
        const FRAME: u64 = r#", "result": }, "#.len() as u64;
        let fits = |bytes: u64| bytes + FRAME <= room as u64;
        if let Some(bytes) = self.large.get(&id).copied()
            && !fits(bytes)
        {
            return Err(bytes);
        }
        let bytes = extent(result).bytes;
        if fits(bytes) {
            return Ok(value::text_of_jsonb(result));
        }
        if bytes > LARGE {
            self.large.insert(id, bytes);
        }
        Err(bytes)
    }
}

/// A string as PostgreSQL writes it in JSON.
fn quoted(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    debug_assert_eq!(quoted.len() as u64, document::string(text.as_bytes()));
    quoted
}

/// Whether something could keep a column from being sent.
fn needs_a_look(column: &Column) -> bool {
    column.value.is_some() && column.varies && column.kind == pg_sys::JSONBOID
        || column.is_elsewhere()
}

/// Makes sure that the columns of a card can be read, and are not too long to be sent.
fn check(columns: &[Column]) -> Result<(), String> {
    let mut bytes = 0;
    for column in columns.iter().filter(|column| column.varies) {
        let Some(value) = column.value else { continue };
        bytes += column.size() as u64;
        if bytes <= CARD_BYTES && column.kind == pg_sys::JSONBOID {
            bytes += extent(value).bytes;
        } else if bytes <= CARD_BYTES {
            column.look_elsewhere();
        }
        if bytes > CARD_BYTES {
            return Err(format!("it holds more than {CARD_BYTES} bytes of text"));
        }
    }
    Ok(())
}

/// Runs `work` so that an error which is the card's own undoes it alone.
fn attempt<R>(work: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    PgTryBuilder::new(AssertUnwindSafe(move || {
        let part = Subtransaction::begin();
        let made = work();
        part.commit();
        made
    }))
    .catch_others(|error| match &error {
        CaughtError::PostgresError(report) if is_of_the_card(report.sql_error_code()) => {
            Err(report.message().to_owned())
        }
        _ => error.rethrow(),
    })
    .execute()
}

/// Whether an error comes from what is stored, and not from the server's state or the caller.
fn is_of_the_card(code: PgSqlErrorCode) -> bool {
    matches!(
        code,
        PgSqlErrorCode::ERRCODE_DATA_CORRUPTED
            | PgSqlErrorCode::ERRCODE_INTERNAL_ERROR
            | PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED
            | PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE
    )
}
