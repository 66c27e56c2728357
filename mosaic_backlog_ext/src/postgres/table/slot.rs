//! Rows in memory, as PostgreSQL's access methods take and give them.

use pgrx::prelude::*;

use crate::postgres::statement::Parameter;

/// Holds one row.
pub struct Slot {
    pub slot: *mut pg_sys::TupleTableSlot,
}

impl Slot {
    /// For a row that is put together.
    pub fn virtual_of(relation: pg_sys::Relation) -> Self {
        let slot = unsafe {
            pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsVirtual)
        };
        Self { slot }
    }

    /// For a row that is read from the table.
    pub fn stored_of(relation: pg_sys::Relation) -> Self {
        let slot = unsafe { pg_sys::table_slot_create(relation, std::ptr::null_mut()) };
        Self { slot }
    }

    pub fn fill(&self, values: impl ExactSizeIterator<Item = Parameter>) {
        unsafe {
            debug_assert!((*(*self.slot).tts_tupleDescriptor).natts as usize == values.len());
            for (at, value) in values.enumerate() {
                *(*self.slot).tts_values.add(at) = value.unwrap_or(pg_sys::Datum::null());
                *(*self.slot).tts_isnull.add(at) = value.is_none();
            }
            pg_sys::ExecStoreVirtualTuple(self.slot);
        }
    }

    pub fn clear(&self) {
        unsafe { pg_sys::ExecClearTuple(self.slot) };
    }

    pub fn drop(self) {
        unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) };
    }
}
