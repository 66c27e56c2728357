//! Rows in memory, as PostgreSQL's access methods take and give them.

use std::thread::panicking;

use pgrx::prelude::*;

use super::Table;
use crate::postgres::statement::Parameter;

/// Holds one row.
pub struct Slot {
    slot: *mut pg_sys::TupleTableSlot,
}

impl Slot {
    /// For a row that is put together.
    pub fn virtual_of(table: &Table) -> Self {
        // SAFETY: the table is open; the slot holds its description for itself.
        let slot = unsafe {
            pg_sys::MakeSingleTupleTableSlot(table.descriptor(), &raw const pg_sys::TTSOpsVirtual)
        };
        Self { slot }
    }

    /// For a row that is read from the table.
    pub fn stored_of(table: &Table) -> Self {
        // SAFETY: the table is open, and no list of slots is to be kept.
        let slot = unsafe { pg_sys::table_slot_create(table.relation, std::ptr::null_mut()) };
        Self { slot }
    }

    /// For PostgreSQL, which may fill it.
    pub fn as_ptr(&self) -> *mut pg_sys::TupleTableSlot {
        self.slot
    }

    fn width(&self) -> usize {
        // SAFETY: a slot has a description.
        unsafe { (*(*self.slot).tts_tupleDescriptor).natts as usize }
    }

    /// Puts a row together, of values that live until it is cleared.
    pub fn fill(&self, values: impl ExactSizeIterator<Item = Parameter>) {
        assert_eq!(self.width(), values.len());
        // SAFETY: a slot has room for a value of each column, and as many are written, unless there are
        // fewer than their number says: then what was there before is valid still.
        unsafe {
            for (at, value) in values.take(self.width()).enumerate() {
                *(*self.slot).tts_values.add(at) = value.unwrap_or(pg_sys::Datum::null());
                *(*self.slot).tts_isnull.add(at) = value.is_none();
            }
            pg_sys::ExecStoreVirtualTuple(self.slot);
        }
    }

    /// The values of the columns of the row that was read. They live as long as it is there.
    pub fn values(&self) -> Vec<Parameter> {
        let width = self.width();
        // SAFETY: the row has a value for each column, or none for those that were added later, which
        // this fills in.
        unsafe {
            if ((*self.slot).tts_nvalid as usize) < width {
                pg_sys::slot_getsomeattrs_int(self.slot, width as i32);
            }
            let at = |at| {
                let is_null = *(*self.slot).tts_isnull.add(at);
                (!is_null).then(|| *(*self.slot).tts_values.add(at))
            };
            (0..width).map(at).collect()
        }
    }

    /// Where the row that was read is.
    pub fn place(&self) -> pg_sys::ItemPointerData {
        // SAFETY: a slot has a place, though one that nothing was read into may have none in it.
        unsafe { (*self.slot).tts_tid }
    }

    pub fn clear(&self) {
        // SAFETY: the slot is there.
        unsafe { pg_sys::ExecClearTuple(self.slot) };
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !panicking() {
            // SAFETY: nobody else has it: it is made here, and PostgreSQL was lent it.
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) };
        }
    }
}
