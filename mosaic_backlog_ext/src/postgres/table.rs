//! Rows of our tables, read and written without a statement: to set one up costs more than the rest
//! of a claim. The rows go through the same access methods of PostgreSQL as those of a statement.
//!
//! Only where nobody can tell the difference. A table to which somebody has added triggers, rules,
//! policies or constraints, and a transaction that must not write, are left to statements. The
//! primary key may not be changed.

mod installed;
mod known;
mod search;
mod slot;
mod writer;

use std::ffi::CStr;
use std::mem::MaybeUninit;

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;

use crate::postgres::transaction::{self, SubId};
pub use installed::Writes;
pub use known::{Store, known};
pub use search::{Found, Key, Search, exists};
pub use writer::Writer;

/// A table that is open. To be closed, unless an error ends the transaction.
pub struct Table {
    relation: pg_sys::Relation,
}

/// The relation `name` in the schema `mosaic`; `InvalidOid` if there is none.
pub fn relation_id(name: &CStr) -> pg_sys::Oid {
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"mosaic".as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    }
}

/// The subtransaction of this transaction that has made the relation, if any.
pub fn created_by(relation: pg_sys::Oid) -> Option<SubId> {
    // SAFETY: what is opened here is closed here, and read in between; null is no relation.
    let by = unsafe {
        let relation = pg_sys::RelationIdGetRelation(relation);
        if relation.is_null() {
            return None;
        }
        let by = (*relation).rd_createSubid;
        pg_sys::RelationClose(relation);
        by
    };
    // 0 is none.
    (by != 0).then_some(by)
}

/// What a lock of a row is against.
#[derive(Clone, Copy)]
pub enum Against {
    /// As `for no key update`.
    Changes,
    /// As `for update`.
    All,
}

impl Table {
    /// To read it; `None` if a statement might read other rows.
    fn to_read(name: &CStr) -> Option<Self> {
        let rights = &[pg_sys::ACL_SELECT];
        let is_plain = |table: &Self| installed::is_plain(table, rights);
        Self::open(name, pg_sys::AccessShareLock, is_plain)
    }

    /// To lock its rows; `None` if a statement has to do it.
    pub fn to_lock(name: &CStr) -> Option<Self> {
        if transaction::is_read_only() {
            return None;
        }
        let rights = &[pg_sys::ACL_SELECT, pg_sys::ACL_UPDATE];
        let is_plain = |table: &Self| installed::is_plain(table, rights);
        Self::open(name, pg_sys::RowShareLock, is_plain)
    }

    fn open(name: &CStr, lock: u32, suits: impl FnOnce(&Self) -> bool) -> Option<Self> {
        let lock = lock as pg_sys::LOCKMODE;
        unsafe {
            let relation = pg_sys::try_table_open(relation_id(name), lock);
            if relation.is_null() {
                return None;
            }
            let table = Self { relation };
            if !suits(&table) {
                pg_sys::table_close(relation, lock);
                return None;
            }
            // As each statement sees what those before it have written.
            pg_sys::CommandCounterIncrement();
            Some(table)
        }
    }

    pub fn close(self) {
        // The lock stays until the transaction ends, as a statement's would.
        unsafe { pg_sys::table_close(self.relation, pg_sys::NoLock as pg_sys::LOCKMODE) };
    }

    pub fn descriptor(&self) -> pg_sys::TupleDesc {
        unsafe { (*self.relation).rd_att }
    }

    /// How many columns it has, dropped ones included.
    pub fn width(&self) -> usize {
        unsafe { (*self.descriptor()).natts as usize }
    }

    /// A column by its number, from 1.
    pub fn attribute(&self, column: usize) -> &pg_sys::FormData_pg_attribute {
        assert!((1..=self.width()).contains(&column));
        unsafe { attribute(self.descriptor(), column) }
    }

    /// The number of a column, from 1.
    pub fn column(&self, name: &CStr) -> Option<usize> {
        let number = unsafe { pg_sys::get_attnum((*self.relation).rd_id, name.as_ptr()) };
        usize::try_from(number).ok().filter(|number| *number > 0)
    }

    /// The same of a column with this very type.
    pub fn column_of(&self, name: &CStr, kind: pg_sys::Oid) -> Option<usize> {
        self.column(name).filter(|column| {
            let attribute = self.attribute(*column);
            attribute.atttypid == kind && attribute.atttypmod == -1
        })
    }

    /// The same of a column with an enum, and the enum.
    pub fn enum_column(&self, name: &CStr) -> Option<(usize, pg_sys::Oid)> {
        let column = self.column(name)?;
        let kind = self.attribute(column).atttypid;
        unsafe { pg_sys::type_is_enum(kind) }.then_some((column, kind))
    }

    /// What rows look like that have these of its columns, by their numbers, and more behind them.
    pub fn describe(&self, own: &[usize], more: &[(&CStr, pg_sys::Oid)]) -> pg_sys::TupleDesc {
        assert!(own.iter().all(|from| (1..=self.width()).contains(from)));
        let width = own.len() + more.len();
        // SAFETY: each column of the new description is written once, either from one that the table
        // has, or with a name that ends with a NUL and is copied, and a type; one that is none is an error.
        unsafe {
            let description = pg_sys::CreateTemplateTupleDesc(width as i32);
            for (to, from) in (1..).zip(own) {
                pg_sys::TupleDescCopyEntry(description, to, self.descriptor(), *from as i16);
            }
            for (to, (name, kind)) in (own.len() as i16 + 1..).zip(more) {
                pg_sys::TupleDescInitEntry(description, to, name.as_ptr(), *kind, -1, 0);
            }
            description
        }
    }

    /// Locks the row that `search` has found. False if somebody else has it locked against that, or
    /// has changed it since.
    pub fn lock(&self, search: &Search, against: Against) -> bool {
        unsafe {
            let mut failure = MaybeUninit::<pg_sys::TM_FailureData>::uninit();
            let lock = (*(*self.relation).rd_tableam).tuple_lock;
            let lock = lock.expect("rows can be locked");
            let (relation, row) = (self.relation, &raw mut (*search.row.slot).tts_tid);
            let (into, snapshot) = (search.another.slot, pg_sys::GetActiveSnapshot());
            let command = pg_sys::GetCurrentCommandId(false);
            let mode = match against {
                Against::Changes => pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
                Against::All => pg_sys::LockTupleMode::LockTupleExclusive,
            };
            pg_guard_ffi_boundary(|| {
                lock(
                    relation,
                    row,
                    snapshot,
                    into,
                    command,
                    mode,
                    pg_sys::LockWaitPolicy::LockWaitSkip,
                    0,
                    failure.as_mut_ptr(),
                )
            }) == pg_sys::TM_Result::TM_Ok
        }
    }
}

/// A column of a description, counted from 1.
pub unsafe fn attribute<'a>(
    descriptor: pg_sys::TupleDesc,
    column: usize,
) -> &'a pg_sys::FormData_pg_attribute {
    unsafe {
        #[cfg(feature = "pg18")]
        let attribute = pg_sys::TupleDescAttr(descriptor, column as i32 - 1);
        #[cfg(not(feature = "pg18"))]
        let attribute = (*descriptor).attrs.as_ptr().add(column - 1);
        &*attribute
    }
}
