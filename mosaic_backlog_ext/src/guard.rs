//! What must hold before a verb writes, and when what it wrote is committed.

use std::cell::Cell;

use pgrx::prelude::*;

use crate::postgres::settings::{self, Durability};
use crate::refusal::Refusal;

thread_local! {
    /// A verb has written in this transaction.
    static WRITTEN: Cell<bool> = const { Cell::new(false) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Refuses callers that cannot write here, or that are above READ COMMITTED, and makes the
/// transaction's commit durable. Every writing verb calls this first.
pub fn writing() -> Result<(), Refusal> {
    unsafe {
        if pg_sys::XactReadOnly {
            return Err(Refusal::read_only(pg_sys::RecoveryInProgress()));
        }
        if pg_sys::XactIsoLevel > pg_sys::XACT_READ_COMMITTED as i32 {
            return Err(Refusal::isolation());
        }
        if !WATCHING.replace(true) {
            pg_sys::RegisterXactCallback(Some(transaction_event), std::ptr::null_mut());
        }
    }
    WRITTEN.set(true);
    raise_durability();
    Ok(())
}

/// Raises `synchronous_commit` with the scope of `SET LOCAL`: it lasts to the commit, which a
/// function's own SET clause would not. The operator alone may leave it.
fn raise_durability() {
    unsafe {
        if settings::DURABILITY.get() == Durability::On
            && pg_sys::synchronous_commit
                < pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_REMOTE_FLUSH as i32
        {
            pg_sys::set_config_option(
                c"synchronous_commit".as_ptr(),
                c"on".as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_LOCAL,
                true,
                0,
                false,
            );
        }
    }
}

/// Raises it once more where the caller has lowered it behind the call: the last moment before the
/// commit is written, and after the last statement of anybody.
#[pg_guard]
unsafe extern "C-unwind" fn transaction_event(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT | pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE
            if WRITTEN.take() =>
        {
            raise_durability();
        }
        pg_sys::XactEvent::XACT_EVENT_ABORT => WRITTEN.set(false),
        _ => {}
    }
}

/// Refuses a caller that is no operator. Judged is the role that calls, also after SET ROLE,
/// and never the functions' owner.
pub fn operator(what: &str) -> Result<(), Refusal> {
    let is_operator = unsafe {
        let role = pg_sys::get_role_oid(c"mosaic_operator".as_ptr(), true);
        role != pg_sys::InvalidOid && pg_sys::has_privs_of_role(pg_sys::GetOuterUserId(), role)
    };
    if is_operator {
        Ok(())
    } else {
        Err(Refusal::operator_only(what))
    }
}

/// The role that logged in.
pub fn login_role() -> String {
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::GetSessionUserId(), false);
        std::ffi::CStr::from_ptr(name)
            .to_string_lossy()
            .into_owned()
    }
}
