//! A card's row, written without a statement.

use std::ffi::{CStr, CString};
use std::ops::Deref;
use std::rc::Rc;

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;

use crate::card::column::NAMES;
use crate::card::status::{Status, Statuses};
use crate::postgres::statement::{self, Answer, Parameter, Session, param};
use crate::postgres::table::{
    Against, Found, Hit, Key, Search, Store, Table, Writer, Writes, known,
};
use crate::postgres::value;

/// Nothing is left to do for the check and the triggers of cards, as long as no column is changed
/// that `backlog_watch` names, and the others as a verb changes them.
const WRITES: Writes = Writes {
    table: c"backlog",
    event: pg_sys::TRIGGER_TYPE_UPDATE,
    unless_taken: false,
    unless_keyed: &[],
    idle_triggers: &[c"backlog_watch", c"backlog_watch_hand"],
    checks: &[c"backlog_columns_fit_status"],
};

/// The check holds of a card that is ready, and `backlog_watch` is done by hand.
const INSERTS: Writes = Writes {
    event: pg_sys::TRIGGER_TYPE_INSERT,
    unless_taken: true,
    unless_keyed: &[c"backlog_idempotency_key"],
    ..WRITES
};

/// The generated columns: `claim_order` and `opened`.
const GENERATED: usize = 2;

/// Where the numbers of creations end, by the column `claim_order`.
pub const CREATION_SEQ_END: i64 = 1 << 42;
/// Above the highest priority, by the same column.
const PRIORITY_END: i64 = 1 << 20;

/// A card's place in the claim order, as the column `claim_order` has it: the smallest is the next.
pub fn claim_order(priority: i32, creation_seq: i64) -> i64 {
    (PRIORITY_END - i64::from(priority)) * CREATION_SEQ_END + creation_seq
}

macro_rules! places {
    ($($column:ident: $kind:ident),*) => {
        /// The numbers of the columns, and what rows of answers look like.
        pub struct Places {
            /// By column: whether a value is needed, and whether the column was dropped.
            not_null: Vec<bool>,
            dropped: Vec<bool>,
            statuses: Statuses,
            /// Those that every answer begins with.
            own: Vec<usize>,
            /// Of an answer to a creation.
            pub created: pg_sys::TupleDesc,
            /// Of an answer to a claim.
            pub taken: pg_sys::TupleDesc,
            /// Of an answer to a completion.
            pub completed: pg_sys::TupleDesc,
            no_names: pg_sys::Datum,
            no_objects: pg_sys::Datum,
            /// The columns with a default, which a generated one has not.
            defaults: Vec<usize>,
            /// Whether there are columns of other people, which may have a default or a
            /// constraint by their type, too.
            has_others: bool,
            pub id: usize,
            pub status: usize,
            $(pub $column: usize,)*
        }

        impl Places {
            /// `None` if a column is missing, or has another type than it was installed with.
            fn find(table: &Table) -> Option<Self> {
                let own: Option<Vec<usize>> = NAMES
                    .map(|name| CString::new(name).expect("no NUL"))
                    .iter()
                    .map(|name| table.column(name))
                    .collect();
                let own = own?;
                let (status, statuses) = table.enum_column(c"status")?;
                let id = table.column_of(c"id", pg_sys::TEXTOID)?;
                $(
                    let name = concat!(stringify!($column), "\0").as_bytes();
                    let name = CStr::from_bytes_with_nul(name).expect("a name");
                    let $column = table.column_of(name, pg_sys::$kind)?;
                )*
                let is = |of: fn(&pg_sys::FormData_pg_attribute) -> bool| -> Vec<bool> {
                    (1..=table.width()).map(|column| of(table.attribute(column))).collect()
                };
                if is(|a| a.attgenerated != 0).into_iter().filter(|is| *is).count() != GENERATED {
                    return None;
                }
                let mut ours = vec![id, status, $($column),*];
                ours.extend(&own);
                let has_others = (1..=table.width())
                    .any(|column| !table.attribute(column).attisdropped && !ours.contains(&column));
                Some(Self {
                    has_others,
                    not_null: is(|a| a.attnotnull && !a.attisdropped),
                    dropped: is(|a| a.attisdropped),
                    statuses: Statuses::of_type(statuses),
                    created: table.describe(&own, &[
                        (c"depends_on", pg_sys::TEXTARRAYOID),
                        (c"created", pg_sys::BOOLOID),
                    ]),
                    taken: table.describe(&own, &[
                        (c"depends_on", pg_sys::TEXTARRAYOID),
                        (c"dependencies", pg_sys::JSONBOID),
                        (c"last_failure", pg_sys::TEXTOID),
                        (c"dependencies_total", pg_sys::INT4OID),
                        (c"notes", pg_sys::JSONBOID),
                        (c"notes_total", pg_sys::INT4OID),
                        (c"last_release", pg_sys::TEXTOID),
                        (c"last_answer", pg_sys::TEXTOID),
                        (c"claim_order", pg_sys::INT8OID),
                        (c"since", pg_sys::TIMESTAMPTZOID),
                        (c"linked", pg_sys::BOOLOID),
                    ]),
                    completed: table.describe(&own, &[
                        (c"depends_on", pg_sys::TEXTARRAYOID),
                        (c"unblocked", pg_sys::TEXTARRAYOID),
                    ]),
                    own,
                    no_names: param(Vec::<&str>::new()).expect("a value"),
                    no_objects: JsonB(json!([])).into_datum().expect("a value"),
                    defaults: (1..=table.width())
                        .filter(|column| {
                            let column = table.attribute(*column);
                            let is_generated = column.attgenerated != 0;
                            (column.atthasdef && !is_generated) || column.attidentity != 0
                        })
                        .collect(),
                    id,
                    status,
                    $($column,)*
                })
            }
        }
    };
}

places! {
    title: TEXTOID, body: TEXTOID, phase: TEXTOID, priority: INT4OID, labels: TEXTARRAYOID,
    requires: TEXTARRAYOID, not_before: TIMESTAMPTZOID, acceptance: JSONBOID,
    idempotency_key: TEXTOID, claim_owner: TEXTOID, claim_token: INT8OID,
    claim_ttl_seconds: INT4OID, claimed_at: TIMESTAMPTZOID, claim_expires_at: TIMESTAMPTZOID,
    attempts: INT4OID, max_attempts: INT4OID, result: JSONBOID, updated_at: TIMESTAMPTZOID,
    completed_at: TIMESTAMPTZOID, claim_order: INT8OID, opened: BOOLOID, linked: BOOLOID,
    settled_token: INT8OID, claimable_since: TIMESTAMPTZOID, last_failure: TEXTOID,
    open_dependencies: INT4OID, created_at: TIMESTAMPTZOID, block_kind: TEXTOID,
    block_reason: TEXTOID, creation_seq: INT8OID, creation_request: JSONBOID
}

thread_local! {
    static PLACES: Store<Places> = const { Store::new(None) };
}

impl Places {
    pub fn status(&self, status: Status) -> Parameter {
        param(self.statuses.oid(status))
    }

    pub fn status_of(&self, row: &Row) -> Status {
        self.statuses.status(row.must(self.status))
    }

    /// `depends_on` of a card that has no dependency.
    pub fn no_names(&self) -> Parameter {
        Some(self.no_names)
    }

    /// `dependencies` of such a card.
    pub fn no_objects(&self) -> Parameter {
        Some(self.no_objects)
    }
}

/// The table of cards, open for writing, and a search in it.
pub struct Cards {
    // Begun last, and ended first.
    search: Search,
    writer: Writer,
    places: Rc<Places>,
}

impl Cards {
    /// Searches by a column, the first of an index; `None` if statements have to do it.
    pub fn open(index: &CStr, column: impl FnOnce(&Places) -> usize) -> Option<Self> {
        let writer = Writer::open(&WRITES)?;
        let places = known(&PLACES, writer.table(), Places::find)?;
        let search = Search::open(writer.table(), index, column(&places))?;
        Some(Self {
            search,
            writer,
            places,
        })
    }

    pub fn places(&self) -> Rc<Places> {
        self.places.clone()
    }

    pub fn find(&mut self, key: Key) -> Found<Stored<'_>> {
        let (writer, places) = (&self.writer, &*self.places);
        self.search.find(key).map(|hit| Stored {
            row: Row::found(&hit, places),
            hit,
            writer,
            places,
        })
    }
}

/// A card that was found, as long as no other is searched for.
pub struct Stored<'a> {
    row: Row,
    hit: Hit<'a>,
    writer: &'a Writer,
    places: &'a Places,
}

impl Stored<'_> {
    /// Locks it. False if somebody else has locked or changed it.
    pub fn lock(&mut self) -> bool {
        self.hit.lock(Against::Changes)
    }

    /// Writes changes of it, which this transaction has locked. False, with nothing done, where a
    /// statement has to do it.
    pub fn update<const N: usize>(&mut self, changes: [(usize, Parameter); N]) -> bool {
        for (column, value) in changes {
            self.row.values[column - 1] = value;
        }
        let mut changed: Vec<usize> = changes.iter().map(|(column, _)| *column).collect();
        changed.push(self.places.opened);
        self.row.generate_opened(self.places);
        self.row.fits(self.places) && self.writer.update(&self.hit, &self.row.values, &changed)
    }
}

impl Deref for Stored<'_> {
    type Target = Row;

    fn deref(&self) -> &Row {
        &self.row
    }
}

/// The values of a card.
pub struct Row {
    values: Vec<Parameter>,
}

impl Row {
    fn found(hit: &Hit, places: &Places) -> Self {
        let mut values = hit.values();
        for (value, dropped) in values.iter_mut().zip(&places.dropped) {
            *value = value.filter(|_| !dropped);
        }
        Self { values }
    }

    pub fn get<T: FromDatum>(&self, column: usize) -> Option<T> {
        value::read(self.value(column))
    }

    /// As `get`, of a column that is not null.
    pub fn must<T: FromDatum>(&self, column: usize) -> T {
        self.get(column).expect("a column that is not null")
    }

    pub fn value(&self, column: usize) -> Parameter {
        self.values[column - 1]
    }

    /// The column `opened`, as the table generates it.
    fn generate_opened(&mut self, places: &Places) {
        let opened = places.status_of(self) == Status::Ready
            && self.must::<i32>(places.open_dependencies) == 0;
        self.values[places.opened - 1] = param(opened);
    }

    /// Whether it has a value in each column that needs one.
    fn fits(&self, places: &Places) -> bool {
        let mut needed = self.values.iter().zip(&places.not_null);
        !needed.any(|(value, not_null)| *not_null && value.is_none())
    }

    /// It in an answer: the columns that all have, and more.
    pub fn answer(
        &self,
        places: &Places,
        description: pg_sys::TupleDesc,
        more: &[Parameter],
    ) -> pg_sys::HeapTuple {
        let own = places.own.iter().map(|column| self.values[column - 1]);
        statement::row(description, own.chain(more.iter().copied()))
    }
}

/// Why statements have to write cards; `None` if none has to. A creation has one reason more than a claim: columns
/// that somebody added.
pub fn obstacle() -> Option<String> {
    Table::obstacle(&WRITES)
        .or_else(|| Table::obstacle(&INSERTS))
        .or_else(|| {
            let table = Table::to_lock(WRITES.table)?;
            match known(&PLACES, &table, Places::find) {
                None => Some("backlog has other columns than it was installed with".to_owned()),
                Some(places) if places.has_others => Some("backlog has an added column".to_owned()),
                Some(_) => None,
            }
        })
}

/// Inserts a card that depends on nothing, with these values and else NULL; gives its row with
/// `depends_on` and `more` at the end. `None`, with nothing done, where a statement has to do it,
/// or the card is there.
pub fn insert<'a, const N: usize>(
    session: &'a Session,
    values: impl FnOnce(&Places, &Row) -> [(usize, Parameter); N],
    description: impl FnOnce(&Places) -> pg_sys::TupleDesc,
    more: &[Parameter],
) -> Option<Answer<'a>> {
    let writer = Writer::open(&INSERTS)?;
    let places = known(&PLACES, writer.table(), Places::find)?;
    let mut row = Row {
        values: vec![None; places.not_null.len()],
    };
    let mut defaults = places.defaults.clone();
    for (column, value) in values(&places, &row) {
        row.values[column - 1] = value;
        defaults.retain(|default| *default != column);
    }
    let creation_seq: i64 = row.must(places.creation_seq);
    if !(1..CREATION_SEQ_END).contains(&creation_seq) {
        return None;
    }
    let order = claim_order(row.must(places.priority), creation_seq);
    row.values[places.claim_order - 1] = param(order);
    row.generate_opened(&places);
    let fits = !places.has_others && defaults.is_empty() && row.fits(&places);
    (fits && writer.insert_unless_taken(&row.values)).then(|| {
        let description = description(&places);
        let more = [&[places.no_names()], more].concat();
        let tuple = row.answer(&places, description, &more);
        Answer::of(session, &[tuple], description)
    })
}

/// Locks a card's row, unless somebody else has it, or `suits` says no once the table is open, and
/// reads it; `None` where a statement has to do it.
pub fn lock<T>(
    id: &str,
    against: Against,
    suits: impl FnOnce() -> bool,
    read: impl FnOnce(&Row, &Places) -> T,
) -> Option<T> {
    let table = Table::to_lock(WRITES.table)?;
    let places = known(&PLACES, &table, Places::find)?;
    if !suits() {
        return None;
    }
    let mut search = Search::open(&table, c"backlog_pkey", places.id)?;
    let Found::One(mut hit) = search.find(Key::Text(id)) else {
        return None;
    };
    hit.lock(against)
        .then(|| read(&Row::found(&hit, &places), &places))
}

/// Writes changes of a card that this transaction has locked and that has no dependencies; gives
/// its row with `more` at the end. `None`, with nothing done, where a statement has to do it.
pub fn update<'a, const N: usize>(
    session: &'a Session,
    id: &str,
    changes: impl FnOnce(&Places, &Row) -> [(usize, Parameter); N],
    description: impl FnOnce(&Places) -> pg_sys::TupleDesc,
    more: &[Parameter],
) -> Option<Answer<'a>> {
    let mut cards = Cards::open(c"backlog_pkey", |at| at.id)?;
    let places = cards.places();
    let Found::One(mut card) = cards.find(Key::Text(id)) else {
        return None;
    };
    if card.get(places.linked) != Some(false) {
        return None;
    }
    let changes = changes(&places, &card);
    if !card.update(changes) {
        return None;
    }
    let more = [&[places.no_names()], more].concat();
    let description = description(&places);
    let tuple = card.answer(&places, description, &more);
    Some(Answer::of(session, &[tuple], description))
}
