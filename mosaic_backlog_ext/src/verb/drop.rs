//! Dropping the extension would drop its tables without a word, and so would DROP OWNED by whoever
//! installed it; an event trigger refuses both while cards exist.

use pgrx::prelude::*;

use crate::frontier;
use crate::postgres::call::Call;
use crate::postgres::command::Command;
use crate::postgres::settings;
use crate::postgres::statement::{Session, param, session, statements};
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

fn takes(session: &Session, command: &Command) -> Takes {
    if let Some(roles) = command.drops_owned_by() {
        let owned = session.run(&OWNED, &[param(roles)]);
        let is = |column| !owned.is_empty() && owned.must(0, column);
        return Takes {
            extension: is(1),
            parts: is(2),
        };
    }
    Takes {
        extension: command.drops_extension(c"mosaic_backlog_ext"),
        parts: false,
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
fn backlog_refuse_drop(call: Call<'_>) -> Result<(), pgrx::pg_sys::panic::ErrorReport> {
    let command = Command::of(&call, "backlog_refuse_drop", c"ddl_command_start");
    session(|session| {
        let takes = takes(session, &command);
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
