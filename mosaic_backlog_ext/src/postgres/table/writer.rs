//! Writing rows of a table.

use std::mem::{MaybeUninit, size_of};

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;

use super::installed::is_as_installed;
use super::slot::Slot;
use super::{Search, Table, Writes};
use crate::postgres::statement::Parameter;
use crate::postgres::transaction;

/// A table that is open for writing. To be closed, unless an error ends the transaction.
pub struct Writer {
    pub table: Table,
    state: *mut pg_sys::EState,
    /// For what is needed of one row.
    row: *mut pg_sys::ExprContext,
    target: *mut pg_sys::ResultRelInfo,
    /// The row that is being written.
    new: Slot,
}

impl Writer {
    /// `None` if the rows must be written by statements.
    pub fn open(writes: &Writes) -> Option<Self> {
        if transaction::is_read_only() {
            return None;
        }
        let suits = |table: &Table| is_as_installed(table, writes);
        let table = Table::open(writes.table, pg_sys::RowExclusiveLock, suits)?;
        let relation = table.relation;
        unsafe {
            if writes.event == pg_sys::TRIGGER_TYPE_UPDATE {
                pg_sys::CheckCmdReplicaIdentity(relation, pg_sys::CmdType::CMD_UPDATE);
            }
            let state = pg_sys::CreateExecutorState();
            let outer = pg_sys::MemoryContextSwitchTo((*state).es_query_cxt);
            let target =
                pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*target).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(target, relation, 0, std::ptr::null_mut(), 0);
            pg_sys::ExecOpenIndices(target, writes.unless_taken);
            pg_sys::MemoryContextSwitchTo(outer);
            Some(Self {
                table,
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
        }
        self.table.close();
        unsafe { pg_sys::CommandCounterIncrement() };
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
        let slot = &self.new;
        slot.fill(values.iter().copied());
        let inserted = loop {
            pgrx::check_for_interrupts!();
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
                // None of the rows that are there is its own.
                let mut own = pg_sys::ItemPointerData::default();
                let own = &raw mut own;
                pg_sys::ExecCheckIndexConstraints(target, row, state, by, own, none)
            };
            !is_free
        }
    }

    /// Inserts the row, and takes it back if somebody else has inserted the same at this moment.
    /// Whether it stays.
    unsafe fn insert_for_now(&self, token: u32) -> bool {
        unsafe {
            let methods = (*self.table.relation).rd_tableam;
            let begin = (*methods)
                .tuple_insert_speculative
                .expect("an access method");
            let end = (*methods)
                .tuple_complete_speculative
                .expect("an access method");
            let (relation, row, none) = (self.table.relation, self.new.slot, std::ptr::null_mut());
            let command = pg_sys::GetCurrentCommandId(true);
            pg_guard_ffi_boundary(|| begin(relation, row, command, 0, none, token));
            let mut met = false;
            self.enter(&raw mut met, None);
            pg_guard_ffi_boundary(|| end(relation, row, token, !met));
            !met
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
            let update = (*(*self.table.relation).rd_tableam).tuple_update;
            let update = update.expect("rows can be updated");
            let (relation, row) = (self.table.relation, &raw mut (*search.row.slot).tts_tid);
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
            self.index(changed, touched);
        }
        slot.clear();
        written
    }

    /// Adds a new version of a row to the indexes.
    fn index(&self, changed: &[usize], touched: Touched) {
        unsafe {
            for info in self.indexes() {
                let keys = &info.ii_IndexAttrNumbers[..info.ii_NumIndexAttrs as usize];
                // What keeps its place in an index makes it look for versions to remove.
                info.ii_CheckedUnchanged = true;
                info.ii_IndexUnchanged = !keys
                    .iter()
                    .any(|key| *key <= 0 || changed.contains(&(*key as usize)));
            }
            self.enter(std::ptr::null_mut(), Some(touched));
        }
    }

    /// Adds the row that is being written to the indexes, as a new one or as an update that
    /// `touched` some; `met` tells then, instead of an error, that a unique index had it.
    unsafe fn enter(&self, met: *mut bool, touched: Option<Touched>) {
        let (target, row, state) = (self.target, self.new.slot, self.state);
        let (is_update, all) = (touched.is_some(), std::ptr::null_mut());
        let quiet = !met.is_null();
        unsafe {
            #[cfg(feature = "pg15")]
            pg_sys::ExecInsertIndexTuples(target, row, state, is_update, quiet, met, all);
            #[cfg(not(feature = "pg15"))]
            {
                let ranges = touched == Some(pg_sys::TU_UpdateIndexes::TU_Summarizing);
                pg_sys::ExecInsertIndexTuples(
                    target, row, state, is_update, quiet, met, all, ranges,
                )
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
