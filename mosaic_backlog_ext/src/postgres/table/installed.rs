//! Whether a table is as it was installed, so that its rows can be written without a statement.

use std::ffi::CStr;

use pgrx::prelude::*;

use super::Table;

/// What a table has by its install script, and what is written of it.
pub struct Writes {
    pub table: &'static CStr,
    /// The event, as `TRIGGER_TYPE_INSERT` or `TRIGGER_TYPE_UPDATE`.
    pub event: u32,
    /// Rows that a unique index has already are left alone.
    pub unless_taken: bool,
    /// Triggers that have nothing to do for what is written.
    pub idle_triggers: &'static [&'static CStr],
    /// Checks that hold of all that is written.
    pub checks: &'static [&'static CStr],
}

/// Whether statements have the same rows before them, and the functions' owner the rights that
/// they need.
pub fn is_plain(table: &Table, rights: &[u32]) -> bool {
    unsafe {
        let class = &*(*table.relation).rd_rel;
        class.relkind as u8 == pg_sys::RELKIND_RELATION
            && !class.relispartition
            && !class.relhassubclass
            && !class.relhasrules
            && !class.relrowsecurity
            && is_granted(table.relation, rights)
    }
}

/// Whether a statement would do no more than the access methods.
pub fn is_as_installed(table: &Table, writes: &Writes) -> bool {
    let rights: &[u32] = match writes.event {
        pg_sys::TRIGGER_TYPE_UPDATE => &[pg_sys::ACL_SELECT, pg_sys::ACL_UPDATE],
        _ if writes.unless_taken => &[pg_sys::ACL_SELECT, pg_sys::ACL_INSERT],
        _ => &[pg_sys::ACL_INSERT],
    };
    let relation = table.relation;
    unsafe {
        // Finds out which index is the primary key's, before anything of the table is held.
        pg_sys::list_free(pg_sys::RelationGetIndexList(relation));
        is_plain(table, rights)
            && has_checks(relation, writes)
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
        trigger.tgconstrindid == (*relation).rd_pkindex
    }
}

unsafe fn is_granted(relation: pg_sys::Relation, rights: &[u32]) -> bool {
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
