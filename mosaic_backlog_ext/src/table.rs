//! Rows of our tables, read and written without a statement: to set one up costs more than the rest
//! of a claim. The rows go through the same access methods of PostgreSQL as those of a statement.
//!
//! Only where nobody can tell the difference. A table to which somebody has added triggers, rules,
//! policies or constraints, and a transaction that must not write, are left to statements. The
//! primary key may not be changed.

use std::ffi::CStr;
use std::mem::{MaybeUninit, size_of};

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;

use crate::statement::{Parameter, param};

/// What a table has by its install script, and what is written of it.
pub struct Writes {
    pub table: &'static CStr,
    /// The event, as `TRIGGER_TYPE_INSERT` or `TRIGGER_TYPE_UPDATE`.
    pub event: u32,
    /// Triggers that have nothing to do for what is written.
    pub idle_triggers: &'static [&'static CStr],
    /// Checks that hold of all that is written.
    pub checks: &'static [&'static CStr],
}

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
            pg_sys::ExecOpenIndices(target, false);
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

    /// Locks the row that `search` has found against changes. False if somebody else has it locked,
    /// or has changed it since.
    pub fn lock(&self, search: &Search) -> bool {
        unsafe {
            let mut failure = MaybeUninit::<pg_sys::TM_FailureData>::uninit();
            let lock = (*(*self.relation).rd_tableam).tuple_lock;
            let lock = lock.expect("rows can be locked");
            let (relation, row) = (self.relation, &raw mut (*search.row.slot).tts_tid);
            let (into, snapshot) = (search.another.slot, pg_sys::GetActiveSnapshot());
            let command = pg_sys::GetCurrentCommandId(false);
            pg_guard_ffi_boundary(|| {
                lock(
                    relation,
                    row,
                    snapshot,
                    into,
                    command,
                    pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
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
            #[cfg(feature = "pg15")]
            debug_assert!(touched);
            #[cfg(feature = "pg15")]
            pg_sys::ExecInsertIndexTuples(
                target,
                slot.slot,
                state,
                true,
                false,
                none,
                std::ptr::null_mut(),
            );
            #[cfg(not(feature = "pg15"))]
            pg_sys::ExecInsertIndexTuples(
                target,
                slot.slot,
                state,
                true,
                false,
                none,
                std::ptr::null_mut(),
                touched == pg_sys::TU_UpdateIndexes::TU_Summarizing,
            );
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

/// A search for rows of a table by an index, and the row that was found.
pub struct Search {
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    row: Slot,
    another: Slot,
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
            if about.indrelid != (*table.relation).rd_id
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
            let scan = pg_sys::index_beginscan(table.relation, index, snapshot, 1, 0);
            #[cfg(feature = "pg18")]
            let scan = pg_sys::index_beginscan(
                table.relation,
                index,
                snapshot,
                std::ptr::null_mut(),
                1,
                0,
            );
            Some(Self {
                index,
                scan,
                row: Slot::stored_of(table),
                another: Slot::stored_of(table),
                width: table.width(),
            })
        }
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

/// A description of a table by which it can be told whether it is still the same.
pub struct Kept(pg_sys::TupleDesc);

impl Kept {
    /// Holds it, so that no other comes to lie in its place.
    pub fn of(table: &Table) -> Self {
        unsafe { (*table.descriptor()).tdrefcount += 1 };
        Self(table.descriptor())
    }

    pub fn is_of(&self, table: &Table) -> bool {
        self.0 == table.descriptor()
    }

    pub fn release(&self) {
        unsafe {
            (*self.0).tdrefcount -= 1;
            if (*self.0).tdrefcount == 0 {
                pg_sys::FreeTupleDesc(self.0);
            }
        }
    }
}

/// Whether a statement would do no more than the access methods.
unsafe fn is_as_installed(relation: pg_sys::Relation, writes: &Writes) -> bool {
    unsafe {
        let class = &*(*relation).rd_rel;
        class.relkind as u8 == pg_sys::RELKIND_RELATION
            && !class.relispartition
            && !class.relhasrules
            && !class.relrowsecurity
            && has_checks(relation, writes)
            && is_granted(relation, writes)
            && triggers(relation).iter().all(|trigger| {
                trigger.tgtype as u32 & writes.event == 0
                    || writes
                        .idle_triggers
                        .contains(&CStr::from_ptr(trigger.tgname))
                    || is_of_unchanged_key(relation, trigger)
            })
    }
}

unsafe fn has_checks(relation: pg_sys::Relation, writes: &Writes) -> bool {
    unsafe {
        let Some(constraints) = (*(*relation).rd_att).constr.as_ref() else {
            return writes.checks.is_empty();
        };
        (0..constraints.num_check as usize).all(|at| {
            let name = CStr::from_ptr((*constraints.check.add(at)).ccname);
            writes.checks.contains(&name)
        }) && constraints.num_check as usize == writes.checks.len()
    }
}

/// Whether a trigger is that of a foreign key that points at the primary key.
unsafe fn is_of_unchanged_key(relation: pg_sys::Relation, trigger: &pg_sys::Trigger) -> bool {
    unsafe {
        if pg_sys::RI_FKey_trigger_type(trigger.tgfoid) != pg_sys::RI_TRIGGER_PK as i32 {
            return false;
        }
        // Finds out which index is the primary key's.
        pg_sys::list_free(pg_sys::RelationGetIndexList(relation));
        trigger.tgconstrindid == (*relation).rd_pkindex
    }
}

/// Whether the functions' owner still has the rights that a statement needs.
unsafe fn is_granted(relation: pg_sys::Relation, writes: &Writes) -> bool {
    let rights: &[u32] = match writes.event {
        pg_sys::TRIGGER_TYPE_UPDATE => &[pg_sys::ACL_SELECT, pg_sys::ACL_UPDATE],
        _ => &[pg_sys::ACL_INSERT],
    };
    rights.iter().all(|right| unsafe {
        let check = pg_sys::pg_class_aclcheck((*relation).rd_id, pg_sys::GetUserId(), *right as _);
        check == pg_sys::AclResult::ACLCHECK_OK
    })
}

unsafe fn triggers<'a>(relation: pg_sys::Relation) -> &'a [pg_sys::Trigger] {
    unsafe {
        let all = (*relation).trigdesc;
        if all.is_null() {
            return &[];
        }
        std::slice::from_raw_parts((*all).triggers, (*all).numtriggers as usize)
    }
}

/// Holds one row.
struct Slot {
    slot: *mut pg_sys::TupleTableSlot,
}

impl Slot {
    /// For a row that is put together.
    fn virtual_of(relation: pg_sys::Relation) -> Self {
        let slot = unsafe {
            pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsVirtual)
        };
        Self { slot }
    }

    /// For a row that is read from the table.
    fn stored_of(table: &Table) -> Self {
        let slot = unsafe { pg_sys::table_slot_create(table.relation, std::ptr::null_mut()) };
        Self { slot }
    }

    fn fill(&self, values: impl ExactSizeIterator<Item = Parameter>) {
        unsafe {
            debug_assert!((*(*self.slot).tts_tupleDescriptor).natts as usize == values.len());
            for (at, value) in values.enumerate() {
                *(*self.slot).tts_values.add(at) = value.unwrap_or(pg_sys::Datum::null());
                *(*self.slot).tts_isnull.add(at) = value.is_none();
            }
            pg_sys::ExecStoreVirtualTuple(self.slot);
        }
    }

    fn clear(&self) {
        unsafe { pg_sys::ExecClearTuple(self.slot) };
    }

    fn drop(self) {
        unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) };
    }
}
