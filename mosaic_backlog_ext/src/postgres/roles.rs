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

/// Does something that the caller may have no right to. Nothing that somebody wrote runs meanwhile.
pub fn as_superuser<R>(work: impl FnOnce() -> R) -> R {
    let _before = Before::begin();
    work()
}

/// The role before, which it is again at the end, also at an error.
struct Before {
    user: pg_sys::Oid,
    context: i32,
}

impl Before {
    fn begin() -> Self {
        let mut before = Self {
            user: pg_sys::InvalidOid,
            context: 0,
        };
        // SAFETY: writes to the two places that it is given.
        unsafe { pg_sys::GetUserIdAndSecContext(&mut before.user, &mut before.context) };
        before.switch(
            pg_sys::BOOTSTRAP_SUPERUSERID.into(),
            before.context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32,
        );
        before
    }

    fn switch(&self, user: pg_sys::Oid, context: i32) {
        // SAFETY: both are numbers that PostgreSQL gave, or the superuser that every cluster has.
        unsafe { pg_sys::SetUserIdAndSecContext(user, context) };
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        self.switch(self.user, self.context);
    }
}

/// The process of this session.
pub fn process() -> i32 {
    // SAFETY: set when the process begins, and never again.
    unsafe { pg_sys::MyProcPid }
}
