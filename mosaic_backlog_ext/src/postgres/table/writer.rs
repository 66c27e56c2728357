//! Writing rows of a table.

use std::mem::MaybeUninit;
use std::rc::Rc;
use std::thread::panicking;

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;

use super::installed::obstacle;
use super::slot::Slot;
use super::{Hit, Table, Writes};
use crate::postgres::statement::Parameter;
use crate::postgres::transaction;

/// A table that is open for writing, and closed when it is dropped.
pub struct Writer {
    state: *mut pg_sys::EState,
    /// For what is needed of one row.
    row: *mut pg_sys::ExprContext,
    target: *mut pg_sys::ResultRelInfo,
    /// The indexes that may have a row already; what another unique one refuses is an error.
    keys: *mut pg_sys::List,
    /// The row that is being written.
    new: Slot,
    table: Rc<Table>,
}

impl Writer {
    /// `None` if the rows must be written by statements.
    pub fn open(writes: &Writes) -> Option<Self> {
        if transaction::is_read_only() {
            return None;
        }
        let suits = |table: &Table| obstacle(table, writes).is_none();
        let table = Table::open(writes.table, pg_sys::RowExclusiveLock, suits)?;
        let relation = table.relation;
        let keys = match writes.unless_taken {
            true => table.keys(writes.unless_keyed)?,
            false => Vec::new(),
        };
        let new = Slot::virtual_of(&table);
        // SAFETY: the table is open, and kept so for longer than its indexes. What is made here lives in the
        // memory of `state`, the target included, which is a node of the size and tag of its type, set up
        // by PostgreSQL's own function.
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
            let keys = keys.into_iter().fold(std::ptr::null_mut(), |keys, key| {
                pg_sys::lappend_oid(keys, key)
            });
            pg_sys::MemoryContextSwitchTo(outer);
            Some(Self {
                state,
                row: pg_sys::MakePerTupleExprContext(state),
                target,
                keys,
                new,
                table,
            })
        }
    }

    pub fn table(&self) -> &Rc<Table> {
        &self.table
    }

    /// Appends a row; `values` gives those of all its columns, in memory that lives as long as they
    /// are needed.
    pub fn insert<const N: usize>(&self, values: impl FnOnce() -> [Parameter; N]) {
        pgrx::check_for_interrupts!();
        // SAFETY: the context for what is needed of one row is this writer's, and is reset when nothing in
        // it is used any more; the one before is the current one again. Table, indexes and slot are open,
        // and the slot holds a row of the table.
        unsafe {
            let memory = (*self.row).ecxt_per_tuple_memory;
            let outer = pg_sys::MemoryContextSwitchTo(memory);
            self.new.fill(values().into_iter());
            pg_sys::MemoryContextSwitchTo(outer);
            pg_sys::ExecSimpleRelationInsert(self.target, self.state, self.new.as_ptr());
            self.new.clear();
            pg_sys::MemoryContextReset(memory);
        }
    }

    /// Inserts a row with these values of all columns, unless one of the keys has it already, which
    /// the table was opened for. Whether it was inserted.
    pub fn insert_unless_taken(&self, values: &[Parameter]) -> bool {
        self.new.fill(values.iter().copied());
        let inserted = loop {
            pgrx::check_for_interrupts!();
            if self.is_taken() {
                break false;
            }
            if self.insert_for_now() {
                break true;
            }
        };
        self.new.clear();
        inserted
    }

    /// Whether a key has the row that is being written, or somebody else inserts it.
    fn is_taken(&self) -> bool {
        let keys = self.keys;
        let (target, row, state) = (self.target, self.new.as_ptr(), self.state);
        let mut by = pg_sys::ItemPointerData::default();
        let by = &raw mut by;
        // SAFETY: the indexes are open, and were opened for this question; the slot holds a row of the
        // table, and whom it meets is written to a place of its own.
        unsafe {
            #[cfg(not(feature = "pg18"))]
            let is_free = pg_sys::ExecCheckIndexConstraints(target, row, state, by, keys);
            #[cfg(feature = "pg18")]
            let is_free = {
                // None of the rows that are there is its own.
                let mut own = pg_sys::ItemPointerData::default();
                let own = &raw mut own;
                pg_sys::ExecCheckIndexConstraints(target, row, state, by, own, keys)
            };
            !is_free
        }
    }

    /// Inserts the row, and takes it back if somebody else has inserted the same at this moment.
    /// Whether it stays.
    fn insert_for_now(&self) -> bool {
        let methods = self.table.methods();
        let begin = methods.tuple_insert_speculative.expect("an access method");
        let end = methods
            .tuple_complete_speculative
            .expect("an access method");
        let (relation, row, none) = (self.table.relation, self.new.as_ptr(), std::ptr::null_mut());
        let transaction = transaction::id();
        // SAFETY: whoever inserts the same meanwhile waits for this lock, which is let go of here, or at an
        // error by the end of the transaction. The row is begun and completed under one token. The methods
        // are PostgreSQL's own, of the table, which is open, and an error in them is caught at this
        // boundary.
        unsafe {
            let token = pg_sys::SpeculativeInsertionLockAcquire(transaction);
            let command = pg_sys::GetCurrentCommandId(true);
            pg_guard_ffi_boundary(|| begin(relation, row, command, 0, none, token));
            let mut met = false;
            self.enter(Some(&mut met), None);
            pg_guard_ffi_boundary(|| end(relation, row, token, !met));
            pg_sys::SpeculativeInsertionLockRelease(transaction);
            !met
        }
    }

    /// Replaces the row that was found, and that this transaction has locked, by one with these values
    /// of all columns, of which only the `changed` ones differ. False, with nothing done, if it is not
    /// the newest version.
    pub fn update(&self, found: &Hit, values: &[Parameter], changed: &[usize]) -> bool {
        assert_eq!(found.table().id(), self.table.id());
        pgrx::check_for_interrupts!();
        self.new.fill(values.iter().copied());
        let mut touched = Touched::default();
        let mut failure = MaybeUninit::<pg_sys::TM_FailureData>::uninit();
        let mut lock = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
        let update = self.table.methods().tuple_update;
        let update = update.expect("rows can be updated");
        let (relation, mut row) = (self.table.relation, found.place());
        let (new, none) = (self.new.as_ptr(), std::ptr::null_mut());
        // SAFETY: the table is open, the place is that of one of its rows, the slot holds a row of it, and
        // what is told is written to places of its own. The method is PostgreSQL's own, of the table, and
        // an error in it is caught at this boundary.
        let written = unsafe {
            let snapshot = pg_sys::GetActiveSnapshot();
            let command = pg_sys::GetCurrentCommandId(true);
            pg_guard_ffi_boundary(|| {
                update(
                    relation,
                    &raw mut row,
                    new,
                    command,
                    snapshot,
                    none,
                    true,
                    failure.as_mut_ptr(),
                    &raw mut lock,
                    &raw mut touched,
                )
            })
        };
        let written = written == pg_sys::TM_Result::TM_Ok;
        if written && touched != Touched::default() {
            self.index(changed, touched);
        }
        self.new.clear();
        written
    }

    /// Adds a new version of a row to the indexes.
    fn index(&self, changed: &[usize], touched: Touched) {
        // SAFETY: the target has a description of each of its open indexes, so many, which nobody else
        // has; one reference to each is there at a time.
        let indexes = unsafe {
            let all = (*self.target).ri_IndexRelationInfo;
            (0..(*self.target).ri_NumIndices as usize).map(move |at| &mut **all.add(at))
        };
        for info in indexes {
            let keys = &info.ii_IndexAttrNumbers[..info.ii_NumIndexAttrs as usize];
            // What keeps its place in an index makes it look for versions to remove.
            info.ii_CheckedUnchanged = true;
            info.ii_IndexUnchanged = !keys
                .iter()
                .any(|key| *key <= 0 || changed.contains(&(*key as usize)));
        }
        self.enter(None, Some(touched));
    }

    /// Adds the row that is being written to the indexes, as a new one or as an update that
    /// `touched` some; `met` tells then, instead of an error, that the primary key had it.
    fn enter(&self, met: Option<&mut bool>, touched: Option<Touched>) {
        let (target, row, state) = (self.target, self.new.as_ptr(), self.state);
        let (is_update, quiet) = (touched.is_some(), met.is_some());
        let keys = match quiet {
            true => self.keys,
            false => std::ptr::null_mut(),
        };
        let met = met.map_or(std::ptr::null_mut(), std::ptr::from_mut);
        // SAFETY: the indexes are open, the slot holds a row of the table with its place, and whether it
        // met another is written where the caller has asked for it.
        unsafe {
            #[cfg(feature = "pg15")]
            pg_sys::ExecInsertIndexTuples(target, row, state, is_update, quiet, met, keys);
            #[cfg(not(feature = "pg15"))]
            {
                let ranges = touched == Some(pg_sys::TU_UpdateIndexes::TU_Summarizing);
                pg_sys::ExecInsertIndexTuples(
                    target, row, state, is_update, quiet, met, keys, ranges,
                )
            };
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if panicking() {
            return;
        }
        // SAFETY: both are open, and nobody uses what they hold any more: the slot has memory of its own.
        unsafe {
            pg_sys::ExecCloseIndices(self.target);
            pg_sys::FreeExecutorState(self.state);
        }
        transaction::next_command();
    }
}

/// What an update tells of the indexes: the default is that none needs a new entry.
#[cfg(feature = "pg15")]
type Touched = bool;
#[cfg(not(feature = "pg15"))]
type Touched = pg_sys::TU_UpdateIndexes::Type;
