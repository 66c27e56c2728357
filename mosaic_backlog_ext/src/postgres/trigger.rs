//! Who calls a trigger function: anything but the trigger that it is for is refused, as the data
//! that it would read is not there.

use std::ffi::CStr;
use std::marker::PhantomData;

use pgrx::prelude::*;

use crate::postgres::call::Call;
use crate::postgres::table;

/// Which trigger on the table of cards calls a function.
pub struct Trigger {
    pub function: &'static str,
    /// Its level and time, as in `tg_event`.
    pub when: u32,
    pub operations: &'static [u32],
}

impl Trigger {
    /// What PostgreSQL hands over to the function.
    pub fn change<'a>(&self, call: &Call<'a>) -> Change<'a> {
        let data: Option<&'a pg_sys::TriggerData> = call.context(pg_sys::NodeTag::T_TriggerData);
        let Some(data) = data else {
            refuse(self.function);
        };
        let when = data.tg_event & (pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_TIMINGMASK);
        let operation = data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK;
        if when != self.when || !self.operations.contains(&operation) {
            refuse(self.function);
        }
        Change {
            data,
            function: self.function,
        }
    }
}

/// A change of a table, for which its trigger calls.
pub struct Change<'a> {
    data: &'a pg_sys::TriggerData,
    function: &'static str,
}

impl<'a> Change<'a> {
    pub fn table(&self) -> pg_sys::Oid {
        // SAFETY: the table is open while its triggers run.
        unsafe { (*self.data.tg_relation).rd_id }
    }

    /// Refuses another table than that of cards.
    pub fn must_be_on_cards(&self) {
        if self.table() != table::relation_id(c"backlog") {
            refuse(self.function);
        }
    }

    /// The number of a column, 0 if there is none.
    pub fn column(&self, name: &CStr) -> i32 {
        // SAFETY: the name ends with a NUL; what is not there has no number.
        i32::from(unsafe { pg_sys::get_attnum(self.table(), name.as_ptr()) })
    }

    /// The type of a column.
    pub fn kind_of(&self, column: i32) -> pg_sys::Oid {
        // SAFETY: looks a column up in the catalogue; one that is not there has no type.
        unsafe { pg_sys::get_atttype(self.table(), column as i16) }
    }

    /// The row as it was written.
    pub fn row(&self) -> Row<'a> {
        let operation = self.data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK;
        let tuple = if operation == pg_sys::TRIGGER_EVENT_UPDATE {
            self.data.tg_newtuple
        } else {
            self.data.tg_trigtuple
        };
        // A trigger of a statement has none.
        if tuple.is_null() {
            refuse(self.function);
        }
        Row {
            tuple,
            // SAFETY: the table is open while its triggers run.
            descriptor: unsafe { (*self.data.tg_relation).rd_att },
            change: PhantomData,
        }
    }
}

/// A row that a trigger is told of.
pub struct Row<'a> {
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    change: PhantomData<&'a pg_sys::TriggerData>,
}

impl Row<'_> {
    /// A column by its number, from 1; `None` is NULL. Its type has to be that of `T`.
    pub fn get<T: FromDatum>(&self, column: i32) -> Option<T> {
        let mut is_null = false;
        // SAFETY: row and description are of one table, which is open, and stay for this call; a number
        // SAFETY: row and description are of one table, which is open, and stay for this call; a number
        // that no column has is an error. The caller names the type that the column was installed with.
        // A superuser who alters that is not guarded against.
        unsafe {
            let datum = pg_sys::heap_getattr(self.tuple, column, self.descriptor, &mut is_null);
            T::from_datum(datum, is_null)
        }
    }
}

pub(super) fn refuse(function: &str) -> ! {
    ereport!(
        ERROR,
        PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
        format!("mosaic.{function} is called by something other than its own trigger"),
        "The trigger that the extension made is the only one that may call it."
    );
}
