//! Finding a row by an index.

use std::ffi::CStr;
use std::mem::MaybeUninit;

use pgrx::prelude::*;

use super::slot::Slot;
use super::{Table, relation_id};
use crate::postgres::statement::{Parameter, param};

/// A search for rows of a table by an index, and the row that was found.
pub struct Search {
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    pub(super) row: Slot,
    pub(super) another: Slot,
    width: usize,
}

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

impl Search {
    /// By a column, which is the first of an index; `None` if there is no such index. To be closed
    /// before the table.
    pub fn open(table: &Table, index: &CStr, column: usize) -> Option<Self> {
        let rows = table.relation;
        unsafe {
            let index = pg_sys::try_index_open(
                relation_id(index),
                pg_sys::AccessShareLock as pg_sys::LOCKMODE,
            );
            if index.is_null() {
                return None;
            }
            let about = &*(*index).rd_index;
            // One with `indcheckxmin` must not be used by snapshots older than itself.
            if about.indrelid != (*rows).rd_id
                || !about.indisvalid
                || about.indcheckxmin
                || *about.indkey.values.as_ptr() as usize != column
                || (*(*index).rd_rel).relam != pg_sys::BTREE_AM_OID
            {
                pg_sys::index_close(index, pg_sys::NoLock as pg_sys::LOCKMODE);
                return None;
            }
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let snapshot = pg_sys::GetActiveSnapshot();
            #[cfg(not(feature = "pg18"))]
            let scan = pg_sys::index_beginscan(rows, index, snapshot, 1, 0);
            #[cfg(feature = "pg18")]
            let scan = pg_sys::index_beginscan(rows, index, snapshot, std::ptr::null_mut(), 1, 0);
            Some(Self {
                index,
                scan,
                row: Slot::stored_of(rows),
                another: Slot::stored_of(rows),
                width: table.width(),
            })
        }
    }

    /// Whether the index has all rows.
    fn is_whole(&self) -> bool {
        unsafe { pg_sys::RelationGetIndexPredicate(self.index).is_null() }
    }

    /// Finds the rows with `key` that were committed when the search was opened, and reads one.
    pub fn find(&self, key: Key) -> Found<()> {
        let (equal, value) = match key {
            Key::Number(key) => (pg_sys::F_INT8EQ, param(key)),
            Key::Text(key) => (pg_sys::F_TEXTEQ, param(key)),
        };
        unsafe {
            let mut by = MaybeUninit::<pg_sys::ScanKeyData>::uninit();
            pg_sys::ScanKeyInit(
                by.as_mut_ptr(),
                1,
                pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                pg_sys::Oid::from(equal),
                value.expect("a key"),
            );
            (*by.as_mut_ptr()).sk_collation = *(*self.index).rd_indcollation;
            pg_sys::index_rescan(self.scan, by.as_mut_ptr(), 1, std::ptr::null_mut(), 0);
            if !self.next(&self.row) {
                return Found::None;
            }
            pg_sys::slot_getsomeattrs_int(self.row.slot, self.width as i32);
            // Into a slot of its own: a fetch that finds nothing leaves its slot in disorder.
            if self.next(&self.another) {
                Found::Several
            } else {
                Found::One(())
            }
        }
    }

    unsafe fn next(&self, into: &Slot) -> bool {
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        unsafe { pg_sys::index_getnext_slot(self.scan, forward, into.slot) }
    }

    /// The values of all columns of the row that was found. They live until the next search.
    pub fn values(&self) -> Vec<Parameter> {
        let at = |at| unsafe {
            let is_null = *(*self.row.slot).tts_isnull.add(at);
            (!is_null).then(|| *(*self.row.slot).tts_values.add(at))
        };
        (0..self.width).map(at).collect()
    }

    pub fn close(self) {
        self.row.drop();
        self.another.drop();
        unsafe {
            pg_sys::index_endscan(self.scan);
            pg_sys::PopActiveSnapshot();
            pg_sys::index_close(self.index, pg_sys::NoLock as pg_sys::LOCKMODE);
        }
    }
}

/// Whether rows with `key` in a column of text, the first of an index, were committed by now or
/// written by this transaction. `None` if a statement has to look.
pub fn exists(table: &CStr, index: &CStr, column: &CStr, key: &str) -> Option<bool> {
    let table = Table::to_read(table)?;
    let search = table
        .column_of(column, pg_sys::TEXTOID)
        .and_then(|column| Search::open(&table, index, column));
    let found = search.and_then(|search| {
        let found = search.is_whole().then(|| search.find(Key::Text(key)));
        search.close();
        found.map(|found| !matches!(found, Found::None))
    });
    table.close();
    found
}
