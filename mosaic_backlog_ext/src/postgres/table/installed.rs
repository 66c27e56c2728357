//! Whether a table is as it was installed, so that its rows can be written without a statement.

use std::ffi::CStr;

use pgrx::prelude::*;

use super::Table;

/// What a table has by its install script, and what is written of it.
pub struct Writes {
    pub table: &'static CStr,
    /// The event, as `TRIGGER_TYPE_INSERT` or `TRIGGER_TYPE_UPDATE`.
    pub event: u32,
    /// Rows that the primary key has already are left alone.
    pub unless_taken: bool,
    /// So are those that one of these unique indexes has.
    pub unless_keyed: &'static [&'static CStr],
    /// Triggers that have nothing to do for what is written.
    pub idle_triggers: &'static [&'static CStr],
    /// Checks that hold of all that is written.
    pub checks: &'static [&'static CStr],
}

/// Why a statement might see other rows than are read here, or must not see them: something that the table has, or a
/// right that the functions' owner has not. `None` if it sees the same.
pub fn obstacle_to_reading(table: &Table, rights: &[u32]) -> Option<String> {
    // SAFETY: an open table has a description in the catalogue's form.
    let class = unsafe { &*(*table.relation).rd_rel };
    let is_table = class.relkind as u8 == pg_sys::RELKIND_RELATION;
    let name = table.name();
    if !is_table || class.relispartition || class.relhassubclass {
        Some(format!("{name} is no longer a plain table"))
    } else if class.relhasrules {
        Some(format!("{name} has a rule"))
    } else if class.relrowsecurity {
        Some(format!("{name} has row security"))
    } else if !rights.iter().all(|right| is_granted(table, *right)) {
        Some(format!("mosaic_owner lacks a right on {name}"))
    } else {
        None
    }
}

/// Why a statement might do more than the access methods; `None` if it would not.
pub fn obstacle(table: &Table, writes: &Writes) -> Option<String> {
    let rights: &[u32] = match writes.event {
        pg_sys::TRIGGER_TYPE_UPDATE => &[pg_sys::ACL_SELECT, pg_sys::ACL_UPDATE],
        _ if writes.unless_taken => &[pg_sys::ACL_SELECT, pg_sys::ACL_INSERT],
        _ => &[pg_sys::ACL_INSERT],
    };
    // Finds out which index is the primary key's, before anything of the table is held.
    // SAFETY: the table is open, and the list is a copy.
    unsafe { pg_sys::list_free(pg_sys::RelationGetIndexList(table.relation)) };
    obstacle_to_reading(table, rights)
        .or_else(|| {
            (!has_checks(table, writes)).then(|| {
                format!(
                    "{} has other checks than it was installed with",
                    table.name()
                )
            })
        })
        .or_else(|| {
            let trigger = triggers(table).iter().find(|trigger| {
                trigger.tgtype as u32 & writes.event != 0
                    && !writes.idle_triggers.contains(&name_of(trigger))
                    && !is_of_unchanged_key(table, trigger)
            })?;
            let trigger = name_of(trigger).to_string_lossy();
            Some(format!("{} has the trigger \"{trigger}\"", table.name()))
        })
}

fn has_checks(table: &Table, writes: &Writes) -> bool {
    // SAFETY: an open table has a description, and this its constraints or null.
    let Some(constraints) = (unsafe { (*table.descriptor()).constr.as_ref() }) else {
        return writes.checks.is_empty();
    };
    let count = constraints.num_check as usize;
    let is_known = |at| {
        // SAFETY: there are so many checks, each with a name that ends with a NUL.
        let name = unsafe { CStr::from_ptr((*constraints.check.add(at)).ccname) };
        writes.checks.contains(&name)
    };
    (0..count).all(is_known) && count == writes.checks.len()
}

/// Whether a trigger is that of a foreign key that points at the primary key.
fn is_of_unchanged_key(table: &Table, trigger: &pg_sys::Trigger) -> bool {
    // SAFETY: tells a function by its number; the table is open, and has looked for its primary key.
    unsafe {
        pg_sys::RI_FKey_trigger_type(trigger.tgfoid) == pg_sys::RI_TRIGGER_PK as i32
            && trigger.tgconstrindid == (*table.relation).rd_pkindex
    }
}

fn is_granted(table: &Table, right: u32) -> bool {
    // SAFETY: looks numbers up in the catalogue.
    let check = unsafe { pg_sys::pg_class_aclcheck(table.id(), pg_sys::GetUserId(), right as _) };
    check == pg_sys::AclResult::ACLCHECK_OK
}

fn triggers(table: &Table) -> &[pg_sys::Trigger] {
    // SAFETY: an open table has a list of triggers, of this length, or null. It stays as it is until
    // PostgreSQL hears of changes, and nothing that it does so for is called meanwhile.
    unsafe {
        let all = (*table.relation).trigdesc;
        if all.is_null() {
            return &[];
        }
        std::slice::from_raw_parts((*all).triggers, (*all).numtriggers as usize)
    }
}

fn name_of(trigger: &pg_sys::Trigger) -> &CStr {
    // SAFETY: a trigger has a name that ends with a NUL, and keeps it as long as it is there.
    unsafe { CStr::from_ptr(trigger.tgname) }
}
