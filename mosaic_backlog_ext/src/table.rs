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

use std::ffi::CStr;
use std::mem::{MaybeUninit, size_of};

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;

use crate::statement::Parameter;

use installed::is_as_installed;
use slot::Slot;

pub use installed::Writes;
pub use known::{Store, known};
pub use search::{Found, Key, Search, exists};

/// A table that is open for writing.
pub struct Table {
    relation: pg_sys::Relation,
    state: *mut pg_sys::EState,
    /// For what is needed of one row.
    row: *mut pg_sys::ExprContext,
    target: *mut pg_sys::ResultRelInfo,
    /// The row that is being written.
    new: Slot,
}

/// The relation `name` in the schema `mosaic`; `InvalidOid` if there is none.
fn relation_id(name: &CStr) -> pg_sys::Oid {
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"mosaic".as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    }
}

/// The number of a column, from 1.
unsafe fn column(relation: pg_sys::Relation, name: &CStr) -> Option<usize> {
    let number = unsafe { pg_sys::get_attnum((*relation).rd_id, name.as_ptr()) };
    usize::try_from(number).ok().filter(|number| *number > 0)
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
    /// Opens a table; `None` if its rows must be written by statements. To be closed, unless an
    /// error ends the transaction.
    pub fn open(writes: &Writes) -> Option<Self> {
        const LOCK: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
        unsafe {
            if pg_sys::XactReadOnly {
                return None;
            }
            let relation = pg_sys::try_table_open(relation_id(writes.table), LOCK);
            if relation.is_null() {
                return None;
            }
            if !is_as_installed(relation, writes) {
                pg_sys::table_close(relation, LOCK);
                return None;
            }
            if writes.event == pg_sys::TRIGGER_TYPE_UPDATE {
                pg_sys::CheckCmdReplicaIdentity(relation, pg_sys::CmdType::CMD_UPDATE);
            }
            // As each statement sees what those before it have written.
            pg_sys::CommandCounterIncrement();
            let state = pg_sys::CreateExecutorState();
            let outer = pg_sys::MemoryContextSwitchTo((*state).es_query_cxt);
            let target =
                pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*target).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(target, relation, 0, std::ptr::null_mut(), 0);
            pg_sys::ExecOpenIndices(target, writes.unless_taken);
            pg_sys::MemoryContextSwitchTo(outer);
            Some(Self {
                relation,
                state,
                row: pg_sys::MakePerTupleExprContext(state),
                target,
                new: Slot::virtual_of(relation),
            })
        }
    }

    pub fn close(self) {
        self.new.drop();
        unsafe {
            pg_sys::ExecCloseIndices(self.target);
            pg_sys::FreeExecutorState(self.state);
            // The lock stays until the transaction ends, as a statement's would.
            pg_sys::table_close(self.relation, pg_sys::NoLock as pg_sys::LOCKMODE);
            pg_sys::CommandCounterIncrement();
        }
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
        unsafe {
            #[cfg(feature = "pg18")]
            let attribute = pg_sys::TupleDescAttr(self.descriptor(), column as i32 - 1);
            #[cfg(not(feature = "pg18"))]
            let attribute = (*self.descriptor()).attrs.as_ptr().add(column - 1);
            &*attribute
        }
    }

    /// The number of a column, from 1.
    pub fn column(&self, name: &CStr) -> Option<usize> {
        unsafe { column(self.relation, name) }
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

    /// Appends a row; `values` gives those of all its columns, in memory that lives as long as they
    /// are needed.
    pub fn insert<const N: usize>(&self, values: impl FnOnce() -> [Parameter; N]) {
        pgrx::check_for_interrupts!();
        let slot = &self.new;
        unsafe {
            let memory = (*self.row).ecxt_per_tuple_memory;
            let outer = pg_sys::MemoryContextSwitchTo(memory);
            slot.fill(values().into_iter());
            pg_sys::MemoryContextSwitchTo(outer);
            pg_sys::ExecSimpleRelationInsert(self.target, self.state, slot.slot);
            slot.clear();
            pg_sys::MemoryContextReset(memory);
        }
    }

    /// Inserts a row with these values of all columns, unless a unique index has it already, which
    /// the table was opened for. Whether it was inserted.
    pub fn insert_unless_taken(&self, values: &[Parameter]) -> bool {
        pgrx::check_for_interrupts!();
        let slot = &self.new;
        slot.fill(values.iter().copied());
        let inserted = loop {
            if self.is_taken() {
                break false;
            }
            // Whoever inserts the same meanwhile waits for this, and no longer.
            unsafe {
                let transaction = pg_sys::GetCurrentTransactionId();
                let token = pg_sys::SpeculativeInsertionLockAcquire(transaction);
                let ended = self.insert_for_now(token);
                pg_sys::SpeculativeInsertionLockRelease(transaction);
                if ended {
                    break true;
                }
            }
        };
        slot.clear();
        inserted
    }

    /// Whether a unique index has the row that is being written, or somebody else inserts it.
    fn is_taken(&self) -> bool {
        let none = std::ptr::null_mut();
        let (target, row, state) = (self.target, self.new.slot, self.state);
        let mut by = pg_sys::ItemPointerData::default();
        let by = &raw mut by;
        unsafe {
            #[cfg(not(feature = "pg18"))]
            let is_free = pg_sys::ExecCheckIndexConstraints(target, row, state, by, none);
            #[cfg(feature = "pg18")]
            let is_free = {
                let own = &raw mut (*row).tts_tid;
                pg_sys::ExecCheckIndexConstraints(target, row, state, by, own, none)
            };
            !is_free
        }
    }

    /// Inserts the row, and takes it back if somebody else has inserted the same at this moment.
    /// Whether it stays.
    unsafe fn insert_for_now(&self, token: u32) -> bool {
        unsafe {
            let methods = (*self.relation).rd_tableam;
            let begin = (*methods)
                .tuple_insert_speculative
                .expect("an access method");
            let end = (*methods)
                .tuple_complete_speculative
                .expect("an access method");
            let (target, row, state) = (self.target, self.new.slot, self.state);
            let (relation, none) = (self.relation, std::ptr::null_mut());
            let command = pg_sys::GetCurrentCommandId(true);
            pg_guard_ffi_boundary(|| begin(relation, row, command, 0, none, token));
            let mut met = false;
            let by = &raw mut met;
            #[cfg(feature = "pg15")]
            pg_sys::ExecInsertIndexTuples(
                target,
                row,
                state,
                false,
                true,
                by,
                std::ptr::null_mut(),
            );
            #[cfg(not(feature = "pg15"))]
            pg_sys::ExecInsertIndexTuples(
                target,
                row,
                state,
                false,
                true,
                by,
                std::ptr::null_mut(),
                false,
            );
            pg_guard_ffi_boundary(|| end(relation, row, token, !met));
            !met
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

    /// Replaces the row that `search` has found, and that this transaction has locked, by one with
    /// these values of all columns, of which only the `changed` ones differ. False, with nothing
    /// done, if it is not the newest version.
    pub fn update(&self, search: &Search, values: &[Parameter], changed: &[usize]) -> bool {
        pgrx::check_for_interrupts!();
        let slot = &self.new;
        slot.fill(values.iter().copied());
        let mut touched = Touched::default();
        let written = unsafe {
            let mut failure = MaybeUninit::<pg_sys::TM_FailureData>::uninit();
            let mut lock = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
            let update = (*(*self.relation).rd_tableam).tuple_update;
            let update = update.expect("rows can be updated");
            let (relation, row) = (self.relation, &raw mut (*search.row.slot).tts_tid);
            let (slot, snapshot) = (slot.slot, pg_sys::GetActiveSnapshot());
            let command = pg_sys::GetCurrentCommandId(true);
            let none = std::ptr::null_mut();
            pg_guard_ffi_boundary(|| {
                update(
                    relation,
                    row,
                    slot,
                    command,
                    snapshot,
                    none,
                    true,
                    failure.as_mut_ptr(),
                    &raw mut lock,
                    &raw mut touched,
                )
            }) == pg_sys::TM_Result::TM_Ok
        };
        if written && touched != Touched::default() {
            self.index(slot, changed, touched);
        }
        slot.clear();
        written
    }

    /// Adds a new version of a row to the indexes.
    fn index(&self, slot: &Slot, changed: &[usize], touched: Touched) {
        unsafe {
            for info in self.indexes() {
                let keys = &info.ii_IndexAttrNumbers[..info.ii_NumIndexAttrs as usize];
                // What keeps its place in an index makes it look for versions to remove.
                info.ii_CheckedUnchanged = true;
                info.ii_IndexUnchanged = !keys
                    .iter()
                    .any(|key| *key <= 0 || changed.contains(&(*key as usize)));
            }
            let (target, state, none) = (self.target, self.state, std::ptr::null_mut());
            let (row, all) = (slot.slot, std::ptr::null_mut());
            #[cfg(feature = "pg15")]
            let _ = {
                debug_assert!(touched);
                pg_sys::ExecInsertIndexTuples(target, row, state, true, false, none, all)
            };
            #[cfg(not(feature = "pg15"))]
            let _ = {
                let ranges = touched == pg_sys::TU_UpdateIndexes::TU_Summarizing;
                pg_sys::ExecInsertIndexTuples(target, row, state, true, false, none, all, ranges)
            };
        }
    }

    fn indexes(&self) -> impl Iterator<Item = &mut pg_sys::IndexInfo> {
        unsafe {
            let all = (*self.target).ri_IndexRelationInfo;
            (0..(*self.target).ri_NumIndices as usize).map(move |at| &mut **all.add(at))
        }
    }
}

/// What an update tells of the indexes: the default is that none needs a new entry.
#[cfg(feature = "pg15")]
type Touched = bool;
#[cfg(not(feature = "pg15"))]
type Touched = pg_sys::TU_UpdateIndexes::Type;
