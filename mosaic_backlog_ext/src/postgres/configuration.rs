//! Settings of PostgreSQL itself, as the session has them.

use std::ffi::CStr;

use pgrx::pg_sys::GucAction;
use pgrx::prelude::*;

fn synchronous_commit() -> i32 {
    // SAFETY: a variable of the backend, which this thread alone reads and writes.
    unsafe { pg_sys::synchronous_commit }
}

/// Whether a crash can lose what was acknowledged.
pub fn commits_are_not_waited_for() -> bool {
    synchronous_commit() == pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as i32
}

/// Raises `synchronous_commit` to `on` if it is below, with the scope of `SET LOCAL`: it lasts to the
/// commit, which a function's own SET clause would not.
pub fn raise_synchronous_commit() {
    if synchronous_commit() < pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_REMOTE_FLUSH as i32 {
        set(c"synchronous_commit", c"on", GucAction::GUC_ACTION_LOCAL);
    }
}

/// JSON shows times in the session's zone. The function's pinned search_path gives it a level
/// of settings of its own, at whose end this one is taken back.
pub fn times_in_utc() {
    set(c"TimeZone", c"UTC", GucAction::GUC_ACTION_SAVE);
}

fn set(name: &CStr, value: &CStr, action: GucAction::Type) {
    // SAFETY: both texts end with a NUL and are copied; a value that is not allowed is an error.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            action,
            true,
            0,
            false,
        );
    }
}

/// How many transactions can be prepared, or about to be.
pub fn prepared_max() -> usize {
    // SAFETY: the setting is there in every server, so that this is no null; the text ends with a NUL and
    // is read before anything could replace it.
    let prepared = unsafe {
        let value = pg_sys::GetConfigOption(c"max_prepared_transactions".as_ptr(), false, false);
        CStr::from_ptr(value).to_string_lossy().parse().unwrap_or(0)
    };
    // SAFETY: set when the server starts, and never again.
    let sessions = unsafe { pg_sys::MaxBackends };
    prepared + sessions as usize
}
