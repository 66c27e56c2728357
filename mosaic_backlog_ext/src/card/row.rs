//! A card's row, written without a statement.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::rc::Rc;

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;

use super::own_columns;
use crate::statement::{Answer, Parameter, param};
use crate::status::{Status, Statuses};
use crate::table::{Found, Key, Search, Table, Writes};

/// Nothing is left to do for the check and the triggers of cards, as long as no column is changed
/// that `backlog_watch` names, and the others as a verb changes them.
const WRITES: Writes = Writes {
    table: c"backlog",
    event: pg_sys::TRIGGER_TYPE_UPDATE,
    idle_triggers: &[c"backlog_watch", c"backlog_watch_hand"],
    checks: 1,
};

/// The generated columns: `claim_order`, which does not change then, and `opened`.
const GENERATED: usize = 2;

macro_rules! places {
    ($($column:ident),*) => {
        /// The numbers of the columns, and what rows of answers look like.
        pub struct Places {
            table: pg_sys::Oid,
            width: usize,
            statuses: Statuses,
            /// Those that every answer begins with.
            own: Vec<usize>,
            /// Of an answer to a claim.
            pub taken: pg_sys::TupleDesc,
            /// Of an answer to a completion.
            pub completed: pg_sys::TupleDesc,
            no_names: pg_sys::Datum,
            no_objects: pg_sys::Datum,
            $(pub $column: usize,)*
        }

        impl Places {
            fn find(table: &Table) -> Self {
                let own: Vec<usize> = own_columns!()
                    .split(", ")
                    .map(|name| CString::new(name.trim_start_matches("c.")).expect("no NUL"))
                    .map(|name| table.column(&name))
                    .collect();
                let outer =
                    unsafe { pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext) };
                let places = Self {
                    table: table.id(),
                    width: table.width(),
                    statuses: Statuses::of_type(table.column_type(table.column(c"status"))),
                    taken: describe(table, &own, &[
                        (c"depends_on", pg_sys::TEXTARRAYOID),
                        (c"dependencies", pg_sys::JSONBOID),
                        (c"last_failure", pg_sys::TEXTOID),
                        (c"claim_order", pg_sys::INT8OID),
                        (c"since", pg_sys::TIMESTAMPTZOID),
                        (c"linked", pg_sys::BOOLOID),
                    ]),
                    completed: describe(table, &own, &[
                        (c"depends_on", pg_sys::TEXTARRAYOID),
                        (c"unblocked", pg_sys::TEXTARRAYOID),
                    ]),
                    own,
                    no_names: unsafe { pg_sys::construct_empty_array(pg_sys::TEXTOID).into() },
                    no_objects: JsonB(json!([])).into_datum().expect("a value"),
                    $($column: table.column(
                        CStr::from_bytes_with_nul(concat!(stringify!($column), "\0").as_bytes())
                            .expect("a name"),
                    ),)*
                };
                unsafe { pg_sys::MemoryContextSwitchTo(outer) };
                places
            }
        }
    };
}

places! {
    phase, labels, requires, status, not_before, claim_owner, claim_token, claim_ttl_seconds,
    claimed_at, claim_expires_at, attempts, max_attempts, result, updated_at, completed_at,
    claim_order, opened, linked, settled_token, claimable_since, last_failure
}

/// The columns of cards in `own`, and more.
fn describe(table: &Table, own: &[usize], more: &[(&CStr, pg_sys::Oid)]) -> pg_sys::TupleDesc {
    unsafe {
        let description = pg_sys::CreateTemplateTupleDesc((own.len() + more.len()) as i32);
        for (to, from) in (1..).zip(own) {
            pg_sys::TupleDescCopyEntry(description, to, table.descriptor(), *from as i16);
        }
        for (to, (name, kind)) in (own.len() as i16 + 1..).zip(more) {
            pg_sys::TupleDescInitEntry(description, to, name.as_ptr(), *kind, -1, 0);
        }
        description
    }
}

thread_local! {
    static PLACES: RefCell<Option<Rc<Places>>> = const { RefCell::new(None) };
}

impl Places {
    /// `None` if somebody has added a generated column.
    fn of(table: &Table) -> Option<Rc<Self>> {
        let known = PLACES.with_borrow(|known| known.clone());
        if let Some(known) = known.filter(|k| k.table == table.id() && k.width == table.width()) {
            return Some(known);
        }
        let is_generated =
            |column: &usize| unsafe { pg_sys::get_attgenerated(table.id(), *column as i16) != 0 };
        if (1..=table.width()).filter(is_generated).count() != GENERATED {
            return None;
        }
        let places = Rc::new(Self::find(table));
        PLACES.set(Some(places.clone()));
        Some(places)
    }

    pub fn status(&self, status: Status) -> Parameter {
        param(self.statuses.oid(status))
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
    table: Table,
    search: Search,
    pub places: Rc<Places>,
}

impl Cards {
    /// Searches by the first column of an index; `None` if statements have to do it.
    pub fn open(index: &CStr) -> Option<Self> {
        let table = Table::open(&WRITES)?;
        match Places::of(&table).zip(Search::open(&table, index)) {
            Some((places, search)) => Some(Self {
                table,
                search,
                places,
            }),
            None => {
                table.close();
                None
            }
        }
    }

    pub fn close(self) {
        self.search.close();
        self.table.close();
    }

    pub fn find(&self, key: Key) -> Found<Row> {
        self.search.find(key).map(|()| Row {
            values: self.search.values(),
        })
    }

    /// Writes changes of the row that was found last. False, with nothing done, if the row is
    /// not `own`, locked by this transaction, but somebody else has locked it or changed it since.
    pub fn update<const N: usize>(
        &self,
        row: &mut Row,
        changes: [(usize, Parameter); N],
        is_own: bool,
    ) -> bool {
        for (column, value) in changes {
            row.values[column - 1] = value;
        }
        let changed = changes.map(|(column, _)| column);
        self.table
            .update(&self.search, &row.values, &changed, is_own)
    }

    /// Whether the row that was found last was written by this transaction.
    pub fn is_own(&self) -> bool {
        self.search.is_own()
    }

    /// A row of an answer: the columns that all have, and more.
    pub fn answer(
        &self,
        row: &Row,
        description: pg_sys::TupleDesc,
        more: &[Parameter],
    ) -> pg_sys::HeapTuple {
        let own = self.places.own.iter().map(|column| row.values[column - 1]);
        let (mut values, mut nulls): (Vec<pg_sys::Datum>, Vec<bool>) = own
            .chain(more.iter().copied())
            .map(|value| (value.unwrap_or(pg_sys::Datum::null()), value.is_none()))
            .unzip();
        unsafe {
            assert_eq!(values.len(), (*description).natts as usize);
            pg_sys::heap_form_tuple(description, values.as_mut_ptr(), nulls.as_mut_ptr())
        }
    }
}

/// The values of a card.
pub struct Row {
    values: Vec<Parameter>,
}

impl Row {
    pub fn get<T: FromDatum>(&self, column: usize) -> Option<T> {
        let value = self.value(column);
        unsafe { T::from_datum(value.unwrap_or(pg_sys::Datum::null()), value.is_none()) }
    }

    pub fn value(&self, column: usize) -> Parameter {
        self.values[column - 1]
    }
}

/// Writes changes of a card that this transaction has locked and that has no dependencies; gives
/// its row with `more` at the end. `None`, with nothing done, where a statement has to do it.
pub fn update<const N: usize>(
    id: &str,
    changes: impl FnOnce(&Places) -> [(usize, Parameter); N],
    description: impl FnOnce(&Places) -> pg_sys::TupleDesc,
    more: &[Parameter],
) -> Option<Answer> {
    let cards = Cards::open(c"backlog_pkey")?;
    let places = cards.places.clone();
    let mut answer = None;
    if let Found::One(mut row) = cards.find(Key::Text(id))
        && row.get(places.linked) == Some(false)
        && cards.update(&mut row, changes(&places), true)
    {
        let more = [&[places.no_names()], more].concat();
        let description = description(&places);
        let tuple = cards.answer(&row, description, &more);
        answer = Some(Answer::of(&[tuple], description));
    }
    cards.close();
    answer
}
