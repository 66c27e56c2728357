//! Rows of our tables, read and written without a statement: to set one up costs more than the rest
//! of a claim. The rows go through the same access methods of PostgreSQL as those of a statement.
//!
//! Only where the effect on the rows is the same. A table to which somebody has added triggers, rules, policies or
//! constraints, and a transaction that must not write, are left to statements; so is all with `mosaic.direct_writes`
//! off. What can be told is that no statement ran: `pg_stat_statements` and `auto_explain` do not see one, and no
//! hook of the executor. The primary key may not be changed.

mod installed;
mod known;
mod search;
mod slot;
mod writer;

use std::borrow::Cow;
use std::ffi::CStr;
use std::rc::Rc;
use std::thread::panicking;

use pgrx::prelude::*;

use crate::postgres::settings;
use crate::postgres::transaction::{self, SubId};
pub use installed::Writes;
pub use known::{Store, known};
pub use search::{Found, Hit, Key, Search, exists, exists_among};
pub use writer::Writer;

/// A table that is open, and closed when it is dropped.
///
/// As everything of this module that is open, it is left to PostgreSQL at an error: the end of the
/// transaction, or of the part of it that is undone, closes what is open, in the order that it knows.
pub struct Table {
    relation: pg_sys::Relation,
}

/// The relation `name` in the schema `mosaic`; `InvalidOid` if there is none.
pub fn relation_id(name: &CStr) -> pg_sys::Oid {
    // SAFETY: both names end with a NUL; what is not there has no number.
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
    fn to_read(name: &CStr) -> Option<Rc<Self>> {
        let rights = &[pg_sys::ACL_SELECT];
        Self::open(name, pg_sys::AccessShareLock, |table| {
            installed::obstacle_to_reading(table, rights).is_none()
        })
    }

    /// To lock its rows; `None` if a statement has to do it.
    pub fn to_lock(name: &CStr) -> Option<Rc<Self>> {
        if transaction::is_read_only() {
            return None;
        }
        let rights = &[pg_sys::ACL_SELECT, pg_sys::ACL_UPDATE];
        Self::open(name, pg_sys::RowShareLock, |table| {
            installed::obstacle_to_reading(table, rights).is_none()
        })
    }

    fn open(name: &CStr, lock: u32, suits: impl FnOnce(&Self) -> bool) -> Option<Rc<Self>> {
        if !settings::DIRECT_WRITES.get() {
            return None;
        }
        let lock = lock as pg_sys::LOCKMODE;
        // SAFETY: a number that is no relation's gives null.
        let relation = unsafe { pg_sys::try_table_open(relation_id(name), lock) };
        if relation.is_null() {
            return None;
        }
        let table = Self { relation };
        if !suits(&table) {
            table.release(lock);
            return None;
        }
        // As each statement sees what those before it have written.
        transaction::next_command();
        Some(Rc::new(table))
    }

    /// The primary key, and the unique indexes of these names; `None` if one of them is gone.
    fn keys(&self, named: &[&CStr]) -> Option<Vec<pg_sys::Oid>> {
        // SAFETY: the table is open, and the list is a copy, which is read as long as it is there. To ask for it
        // finds out which index is the primary key's.
        unsafe {
            let all = pg_sys::RelationGetIndexList(self.relation);
            let primary = (*self.relation).rd_pkindex;
            let named = named.iter().map(|name| relation_id(name));
            let keys: Vec<pg_sys::Oid> = std::iter::once(primary).chain(named).collect();
            let are_there = keys.iter().all(|key| pg_sys::list_member_oid(all, *key));
            pg_sys::list_free(all);
            are_there.then_some(keys)
        }
    }

    /// Why a statement has to write these rows of a table; `None` if none has to.
    pub fn obstacle(writes: &Writes) -> Option<String> {
        let mut obstacle = Some("it cannot be opened".to_owned());
        Self::open(writes.table, pg_sys::AccessShareLock, |table| {
            obstacle = installed::obstacle(table, writes);
            false
        });
        obstacle
    }

    fn name(&self) -> Cow<'_, str> {
        // SAFETY: the table is open, and its name ends with a NUL.
        unsafe { CStr::from_ptr((*(*self.relation).rd_rel).relname.data.as_ptr()) }
            .to_string_lossy()
    }

    /// Closes it, and gives its lock back.
    fn release(self, lock: pg_sys::LOCKMODE) {
        // SAFETY: it is open with this lock, and nobody closes it a second time.
        unsafe { pg_sys::table_close(self.relation, lock) };
        std::mem::forget(self);
    }

    pub fn descriptor(&self) -> pg_sys::TupleDesc {
        // SAFETY: the table is open.
        unsafe { (*self.relation).rd_att }
    }

    fn id(&self) -> pg_sys::Oid {
        // SAFETY: the table is open.
        unsafe { (*self.relation).rd_id }
    }

    /// What PostgreSQL reads and writes its rows by.
    fn methods(&self) -> &pg_sys::TableAmRoutine {
        // SAFETY: the table is open, and one with rows has methods, which stay while it is.
        unsafe { &*(*self.relation).rd_tableam }
    }

    /// How many columns it has, dropped ones included.
    pub fn width(&self) -> usize {
        // SAFETY: an open table has a description.
        unsafe { (*self.descriptor()).natts as usize }
    }

    /// A column by its number, from 1.
    pub fn attribute(&self, column: usize) -> &pg_sys::FormData_pg_attribute {
        assert!((1..=self.width()).contains(&column));
        // SAFETY: the description has this column, and stays as long as the table is open.
        unsafe { attribute(self.descriptor(), column) }
    }

    /// The number of a column, from 1.
    pub fn column(&self, name: &CStr) -> Option<usize> {
        // SAFETY: the name ends with a NUL; what is not there has no number.
        let number = unsafe { pg_sys::get_attnum(self.id(), name.as_ptr()) };
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
        // SAFETY: looks a number up in the catalogue.
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
}

impl Drop for Table {
    fn drop(&mut self) {
        if !panicking() {
            // SAFETY: it is open, and those who use it are dropped before. The lock stays until the
            // transaction ends, as a statement's would.
            unsafe { pg_sys::table_close(self.relation, pg_sys::NoLock as pg_sys::LOCKMODE) };
        }
    }
}

/// A column of a description, counted from 1.
///
/// # Safety
///
/// The description has so many columns, and lives as long as the answer is used.
pub unsafe fn attribute<'a>(
    descriptor: pg_sys::TupleDesc,
    column: usize,
) -> &'a pg_sys::FormData_pg_attribute {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(feature = "pg18")]
        let attribute = pg_sys::TupleDescAttr(descriptor, column as i32 - 1);
        #[cfg(not(feature = "pg18"))]
        let attribute = (*descriptor).attrs.as_ptr().add(column - 1);
        &*attribute
    }
}
