//! Dropping the extension would drop its tables without a word, and so would DROP OWNED by whoever
//! installed it; an event trigger refuses both while cards exist.

use std::ffi::CStr;

use pgrx::list::List;
use pgrx::prelude::*;

use crate::frontier;
use crate::postgres::settings;
use crate::postgres::statement::{Session, param, session, statements};
use crate::postgres::trigger;
use crate::refusal::Refusal;

statements! {
    CARDS_EXIST() = "select exists (select from mosaic.backlog)";
    /// Whether any of these roles owns the extension; whether any owns something of it, or is what
    /// its rights are granted to.
    OWNED(OIDARRAYOID) =
        "select e.extowner = any($1), exists (
           select from pg_depend d
           join pg_shdepend s on s.classid = d.classid and s.objid = d.objid and s.deptype = 'o'
             and s.dbid = (select oid from pg_database where datname = current_database())
           where d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid and d.deptype = 'e'
             and s.refclassid = 'pg_authid'::regclass and s.refobjid = any($1)
         ) or exists (
           select from pg_roles where oid = any($1)
             and rolname in ('mosaic_owner', 'mosaic_reader', 'mosaic_worker', 'mosaic_operator'))
         from pg_extension e where e.extname = 'mosaic_backlog_ext'";
}

extension_sql_file!(
    "../../sql/60_drop.sql",
    name = "drop",
    requires = [backlog_refuse_drop]
);

/// What the command about to run would take.
struct Takes {
    extension: bool,
    /// Things or rights of the extension, without it.
    parts: bool,
}

/// Whether DROP EXTENSION names this extension.
unsafe fn names_us(command: *mut pg_sys::DropStmt) -> bool {
    unsafe {
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

/// The roles of DROP OWNED.
unsafe fn owners(command: *mut pg_sys::DropOwnedStmt) -> Vec<pg_sys::Oid> {
    unsafe {
        let roles = pg_sys::roleSpecsToIds((*command).roles);
        pgrx::memcx::current_context(|context| {
            List::<pg_sys::Oid>::downcast_ptr_in_memcx(roles, context)
                .map_or_else(Vec::new, |roles| roles.iter().copied().collect())
        })
    }
}

unsafe fn takes(session: &Session, command: *mut pg_sys::Node) -> Takes {
    unsafe {
        if pgrx::is_a(command, pg_sys::NodeTag::T_DropOwnedStmt) {
            let owned = session.run(&OWNED, &[param(owners(command.cast()))]);
            let is = |column| !owned.is_empty() && owned.must(0, column);
            return Takes {
                extension: is(1),
                parts: is(2),
            };
        }
        Takes {
            extension: pgrx::is_a(command, pg_sys::NodeTag::T_DropStmt) && names_us(command.cast()),
            parts: false,
        }
    }
}

/// Refuses to drop the extension, or parts of it, while cards exist, unless `mosaic.allow_drop`
/// is on.
#[pg_extern(sql = "
create function mosaic.backlog_refuse_drop() returns event_trigger
volatile security definer parallel unsafe
set search_path to pg_catalog, pg_temp
language c as 'MODULE_PATHNAME', 'backlog_refuse_drop_wrapper';
")]
fn backlog_refuse_drop(
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), pgrx::pg_sys::panic::ErrorReport> {
    let command = unsafe { trigger::command(fcinfo, "backlog_refuse_drop", c"ddl_command_start") };
    session(|session| {
        let takes = unsafe { takes(session, command) };
        let any = takes.extension || takes.parts;
        if any && !settings::ALLOW_DROP.get() && session.run(&CARDS_EXIST, &[]).must(0, 1) {
            return Err(Refusal::cards_exist());
        }
        if takes.extension {
            frontier::drop_memory();
        }
        Ok(())
    })?;
    Ok(())
}
