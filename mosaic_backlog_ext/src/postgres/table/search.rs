//! Finding a row by an index.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::thread::panicking;

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;

use super::slot::Slot;
use super::{Against, Table, relation_id};
use crate::postgres::statement::{Parameter, param};

/// A search for rows of a table by an index, which ends when it is dropped. What was begun before it ends
/// after it, as its snapshot lies on top of theirs.
pub struct Search {
    scan: pg_sys::IndexScanDesc,
    index: Index,
    row: Slot,
    another: Slot,
    table: Rc<Table>,
}

/// An index that is open, and closed when it is dropped.
struct Index(pg_sys::Relation);

/// What a search is for.
#[derive(Clone, Copy)]
pub enum Key<'a> {
    Number(i64),
    Text(&'a str),
}

pub enum Found<T> {
    None,
    One(T),
    Several,
}

impl<T> Found<T> {
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Self::None => Found::None,
            Self::One(row) => Found::One(of(row)),
            Self::Several => Found::Several,
        }
    }
}

impl Index {
    /// One of the table, with this column first; `None` if there is none that can be used.
    fn open(table: &Table, name: &CStr, column: usize) -> Option<Self> {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        // SAFETY: a number that is no index's gives null, but for another relation's, which is an error.
        let index = unsafe { pg_sys::try_index_open(relation_id(name), lock) };
        if index.is_null() {
            return None;
        }
        let index = Self(index);
        // SAFETY: an open index has both descriptions.
        let (about, class) = unsafe { (&*(*index.0).rd_index, &*(*index.0).rd_rel) };
        // SAFETY: an index has one column at least.
        let first = unsafe { *about.indkey.values.as_ptr() };
        // One with `indcheckxmin` must not be used by snapshots older than itself.
        let suits = about.indrelid == table.id()
            && about.indisvalid
            && !about.indcheckxmin
            && first as usize == column
            && class.relam == pg_sys::BTREE_AM_OID;
        suits.then_some(index)
    }

    /// Whether it has all rows.
    fn is_whole(&self) -> bool {
        // SAFETY: the index is open.
        unsafe { pg_sys::RelationGetIndexPredicate(self.0).is_null() }
    }

    /// How texts are compared in its first column.
    fn collation(&self) -> pg_sys::Oid {
        // SAFETY: an open index has a collation for each of its columns, and at least one.
        unsafe { *(*self.0).rd_indcollation }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if !panicking() {
            // SAFETY: it is open, and the search in it has ended.
            unsafe { pg_sys::index_close(self.0, pg_sys::NoLock as pg_sys::LOCKMODE) };
        }
    }
}

impl Search {
    /// By a column, which is the first of an index; `None` if there is no such index.
    pub fn open(table: &Rc<Table>, index: &CStr, column: usize) -> Option<Self> {
        let index = Index::open(table, index, column)?;
        let (row, another) = (Slot::stored_of(table), Slot::stored_of(table));
        // SAFETY: both are open, and are kept so for longer than the scan. The snapshot stays the active one
        // until the scan is ended, or something on top of it is.
        let scan = unsafe {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let snapshot = pg_sys::GetActiveSnapshot();
            #[cfg(not(feature = "pg18"))]
            let scan = pg_sys::index_beginscan(table.relation, index.0, snapshot, 1, 0);
            #[cfg(feature = "pg18")]
            let scan = {
                let none = std::ptr::null_mut();
                pg_sys::index_beginscan(table.relation, index.0, snapshot, none, 1, 0)
            };
            scan
        };
        Some(Self {
            scan,
            index,
            row,
            another,
            table: table.clone(),
        })
    }

    /// Finds the rows with `key` that were committed when the search was opened, and reads one.
    pub fn find(&mut self, key: Key) -> Found<Hit<'_>> {
        let (equal, value) = match key {
            Key::Number(key) => (pg_sys::F_INT8EQ, param(key)),
            Key::Text(key) => (pg_sys::F_TEXTEQ, param(key)),
        };
        let mut by = pg_sys::ScanKeyData::default();
        // SAFETY: what is searched by is of the type of the function, and is copied; there is one, of the
        // first column.
        unsafe {
            pg_sys::ScanKeyInit(
                &raw mut by,
                1,
                pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                pg_sys::Oid::from(equal),
                value.expect("a key"),
            );
            by.sk_collation = self.index.collation();
            pg_sys::index_rescan(self.scan, &raw mut by, 1, std::ptr::null_mut(), 0);
        }
        if !self.next(&self.row) {
            return Found::None;
        }
        // Into a slot of its own: a fetch that finds nothing leaves its slot in disorder.
        if self.next(&self.another) {
            Found::Several
        } else {
            Found::One(Hit { search: self })
        }
    }

    fn has(&mut self, key: &str) -> bool {
        !matches!(self.find(Key::Text(key)), Found::None)
    }

    fn next(&self, into: &Slot) -> bool {
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        // SAFETY: the scan is open, and the slot is for rows of its table.
        unsafe { pg_sys::index_getnext_slot(self.scan, forward, into.as_ptr()) }
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        if panicking() {
            return;
        }
        self.row.clear();
        self.another.clear();
        // SAFETY: the scan is open, and its snapshot is the active one, as all that was put on top of it
        // has ended.
        unsafe {
            pg_sys::index_endscan(self.scan);
            pg_sys::PopActiveSnapshot();
        }
    }
}

/// The row that a search has found. The search finds no other meanwhile.
pub struct Hit<'a> {
    search: &'a mut Search,
}

impl Hit<'_> {
    /// The values of all its columns. They live as long as this.
    pub fn values(&self) -> Vec<Parameter> {
        self.search.row.values()
    }

    pub(super) fn table(&self) -> &Table {
        &self.search.table
    }

    pub(super) fn place(&self) -> pg_sys::ItemPointerData {
        self.search.row.place()
    }

    /// Locks the row. False if somebody else has it locked against that, or has changed it since.
    pub fn lock(&mut self, against: Against) -> bool {
        let mode = match against {
            Against::Changes => pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
            Against::All => pg_sys::LockTupleMode::LockTupleExclusive,
        };
        let lock = self.table().methods().tuple_lock;
        let lock = lock.expect("rows can be locked");
        let mut failure = MaybeUninit::<pg_sys::TM_FailureData>::uninit();
        let (relation, mut row) = (self.table().relation, self.place());
        let into = self.search.another.as_ptr();
        // SAFETY: the table is open, the place is that of one of its rows, the slot is for such rows and
        // holds none that is read, and what failed is written where there is room for it. The method is
        // PostgreSQL's own, of the table, and an error in it is caught at this boundary.
        let locked = unsafe {
            let snapshot = pg_sys::GetActiveSnapshot();
            let command = pg_sys::GetCurrentCommandId(false);
            pg_guard_ffi_boundary(|| {
                lock(
                    relation,
                    &raw mut row,
                    snapshot,
                    into,
                    command,
                    mode,
                    pg_sys::LockWaitPolicy::LockWaitSkip,
                    0,
                    failure.as_mut_ptr(),
                )
            })
        };
        locked == pg_sys::TM_Result::TM_Ok
    }
}

/// Whether rows with `key` in a column of text, the first of an index, were committed by now or
/// written by this transaction. `None` if a statement has to look.
pub fn exists(table: &CStr, index: &CStr, column: &CStr, key: &str) -> Option<bool> {
    let mut search = by_text(table, index, column)?;
    let is_whole = search.index.is_whole();
    is_whole.then(|| search.has(key))
}

/// The same of the rows that the index has, which need not be all.
pub fn exists_among(table: &CStr, index: &CStr, column: &CStr, key: &str) -> Option<bool> {
    by_text(table, index, column).map(|mut search| search.has(key))
}

fn by_text(table: &CStr, index: &CStr, column: &CStr) -> Option<Search> {
    let table = Table::to_read(table)?;
    let column = table.column_of(column, pg_sys::TEXTOID)?;
    Search::open(&table, index, column)
}
