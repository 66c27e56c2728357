//! Who calls.

use std::ffi::CStr;

use pgrx::prelude::*;

/// The role that logged in.
pub fn login() -> String {
    // SAFETY: a role that is gone is an error, as null is not asked for; else the name is a copy in
    // memory of the call, and ends with a NUL.
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::GetSessionUserId(), false);
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// Whether the caller has the rights of `role`. Judged is the role that calls, also after SET ROLE,
/// and never the functions' owner.
pub fn caller_is(role: &CStr) -> bool {
    // SAFETY: the name ends with a NUL, and null is asked for where there is no such role.
    let role = unsafe { pg_sys::get_role_oid(role.as_ptr(), true) };
    // SAFETY: looks both roles up in the catalogue, as calls of functions may.
    role != pg_sys::InvalidOid
        && unsafe { pg_sys::has_privs_of_role(pg_sys::GetOuterUserId(), role) }
}

/// The process of this session.
pub fn process() -> i32 {
    // SAFETY: set when the process begins, and never again.
    unsafe { pg_sys::MyProcPid }
}
