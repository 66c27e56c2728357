//! Asking the server for shared memory. It may have none to give: there are as many segments as it
//! can have, or the place where they lie is full, or there is not enough memory. No call fails for
//! that reason.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;

/// A new segment, mapped for as long as the session lives, or why there is none.
pub fn create(size: usize) -> Result<*mut pg_sys::dsm_segment, String> {
    let flags = pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32;
    // SAFETY: numbers alone; what cannot be had is an error or null.
    let segment = ask(|| unsafe { pg_sys::dsm_create(size, flags) })?;
    if segment.is_null() {
        return Err("too many dynamic shared memory segments".to_owned());
    }
    Ok(segment)
}

/// The segment of a handle, mapped for as long as the session lives; `None` if there is none, or
/// it cannot be mapped.
pub fn attach(handle: pg_sys::dsm_handle) -> Option<*mut pg_sys::dsm_segment> {
    // SAFETY: a handle that leads nowhere gives null; no caller has mapped it already, which is an error.
    let segment = ask(|| unsafe { pg_sys::dsm_attach(handle) }).ok()?;
    (!segment.is_null()).then_some(segment)
}

/// What is half done when an error comes belongs to an owner of its own, and ends with it.
fn ask(
    work: impl FnOnce() -> *mut pg_sys::dsm_segment,
) -> Result<*mut pg_sys::dsm_segment, String> {
    // SAFETY: the owner is made and ended here, and is the current one in between alone; the one before
    // and the memory are put back, also after an error. What is kept of `work` was handed to the
    // session by pinning it.
    unsafe {
        let (before, context) = (pg_sys::CurrentResourceOwner, pg_sys::CurrentMemoryContext);
        let owner = pg_sys::ResourceOwnerCreate(before, c"mosaic_backlog".as_ptr());
        pg_sys::CurrentResourceOwner = owner;
        let answer = PgTryBuilder::new(AssertUnwindSafe(|| {
            let segment = work();
            if !segment.is_null() {
                pg_sys::dsm_pin_mapping(segment);
            }
            Ok(segment)
        }))
        .catch_others(|error| Err(message(&error)))
        .execute();
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = before;
        let phase = pg_sys::ResourceReleasePhase::RESOURCE_RELEASE_BEFORE_LOCKS;
        pg_sys::ResourceOwnerRelease(owner, phase, false, false);
        pg_sys::ResourceOwnerDelete(owner);
        answer
    }
}

fn message(error: &CaughtError) -> String {
    match error {
        CaughtError::PostgresError(report)
        | CaughtError::ErrorReport(report)
        | CaughtError::RustPanic {
            ereport: report, ..
        } => report.message().to_owned(),
    }
}
