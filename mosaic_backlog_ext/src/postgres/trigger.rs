//! Who calls a trigger function: anything but the trigger that it is for is refused, as the data
//! that it would read is not there.

use std::ffi::CStr;

use pgrx::prelude::*;

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
    pub unsafe fn data(&self, fcinfo: pg_sys::FunctionCallInfo) -> *mut pg_sys::TriggerData {
        unsafe {
            let context = (*fcinfo).context;
            if context.is_null() || !pgrx::is_a(context, pg_sys::NodeTag::T_TriggerData) {
                refuse(self.function);
            }
            let data = context.cast::<pg_sys::TriggerData>();
            let event = (*data).tg_event;
            let when = event & (pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_TIMINGMASK);
            let operation = event & pg_sys::TRIGGER_EVENT_OPMASK;
            if when != self.when || !self.operations.contains(&operation) {
                refuse(self.function);
            }
            data
        }
    }

    /// Refuses another table than that of cards.
    pub unsafe fn must_be_on_cards(&self, relation: pg_sys::Relation) {
        if unsafe { (*relation).rd_id } != table::relation_id(c"backlog") {
            refuse(self.function);
        }
    }
}

/// The command for which an event trigger calls a function, which it must do at `event`.
pub unsafe fn command(
    fcinfo: pg_sys::FunctionCallInfo,
    function: &str,
    event: &CStr,
) -> *mut pg_sys::Node {
    unsafe {
        let context = (*fcinfo).context;
        if context.is_null() || !pgrx::is_a(context, pg_sys::NodeTag::T_EventTriggerData) {
            refuse(function);
        }
        let data = context.cast::<pg_sys::EventTriggerData>();
        if CStr::from_ptr((*data).event) != event {
            refuse(function);
        }
        (*data).parsetree
    }
}

fn refuse(function: &str) -> ! {
    ereport!(
        ERROR,
        PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
        format!("mosaic.{function} is called by something else than its own trigger"),
        "The trigger that the extension made is the only one that may call it."
    );
}
