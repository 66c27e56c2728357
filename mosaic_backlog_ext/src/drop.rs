//! Dropping the extension would drop its tables without a word; an event trigger refuses it
//! while cards exist.

use std::ffi::CStr;

use pgrx::list::List;
use pgrx::prelude::*;

use crate::frontier;
use crate::refusal::Refusal;
use crate::settings;
use crate::statement::{session, statements};

statements! {
    CARDS_EXIST() = "select exists (select from mosaic.backlog)";
}

extension_sql_file!(
    "../../sql/60_drop.sql",
    name = "drop",
    requires = [backlog_refuse_drop]
);

/// Whether the command about to run is DROP EXTENSION of this extension.
unsafe fn drops_us(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    unsafe {
        let context = (*fcinfo).context;
        if context.is_null() || !pgrx::is_a(context, pg_sys::NodeTag::T_EventTriggerData) {
            return false;
        }
        let command = (*context.cast::<pg_sys::EventTriggerData>()).parsetree;
        if !pgrx::is_a(command, pg_sys::NodeTag::T_DropStmt) {
            return false;
        }
        let command = command.cast::<pg_sys::DropStmt>();
        (*command).removeType == pg_sys::ObjectType::OBJECT_EXTENSION
            && pgrx::memcx::current_context(|context| {
                List::<*mut std::ffi::c_void>::downcast_ptr_in_memcx((*command).objects, context)
                    .is_some_and(|names| {
                        names.iter().any(|name| {
                            let name = (*name.cast::<pg_sys::String>()).sval;
                            CStr::from_ptr(name) == c"mosaic_backlog_ext"
                        })
                    })
            })
    }
}

/// Refuses to drop the extension while cards exist, unless `mosaic.allow_drop` is on.
#[pg_extern(sql = "
create function mosaic.backlog_refuse_drop() returns event_trigger
volatile security definer parallel unsafe
set search_path to pg_catalog, pg_temp
language c as 'MODULE_PATHNAME', 'backlog_refuse_drop_wrapper';
")]
fn backlog_refuse_drop(
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), pgrx::pg_sys::panic::ErrorReport> {
    if !unsafe { drops_us(fcinfo) } {
        return Ok(());
    }
    session(|session| {
        if !settings::ALLOW_DROP.get() && session.run(&CARDS_EXIST, &[]).must(0, 1) {
            Err(Refusal::cards_exist())
        } else {
            Ok(())
        }
    })?;
    frontier::drop_memory();
    Ok(())
}
