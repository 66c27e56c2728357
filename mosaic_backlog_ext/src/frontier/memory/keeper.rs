//! Keeping the memory while no session has it mapped: between two calls of a program that connects
//! for each, nothing is to be forgotten.
//!
//! A background worker of the server has it mapped as well. It is connected to no database, so that
//! it stands in nobody's way, and ends when the database or the extension is gone, or when the memory
//! has not been used for `mosaic.frontier_kept`. Where the server has no worker to give, the memory
//! lives as long as the last session that has it.

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, SignalWakeFlags};
use pgrx::prelude::*;

use super::{LAYOUT, MAGIC, Memory, Segment, name_locks};
use crate::postgres::clock;
use crate::postgres::settings;

const SCAN_EVERY: Duration = Duration::from_secs(1);
/// How long the server is not asked again for a worker that it did not have.
const ASK_AGAIN: i64 = 60_000_000;

thread_local! {
    static REFUSED_AT: Cell<i64> = const { Cell::new(i64::MIN) };
}

impl Memory {
    /// Has the memory kept, unless it is already.
    pub fn keep(self) {
        let seconds = settings::FRONTIER_KEPT.get();
        let now = clock::server();
        let was_refused = now.abs_diff(REFUSED_AT.get()) < ASK_AGAIN as u64;
        if seconds == 0 || was_refused || self.kept().swap(1, Ordering::SeqCst) != 0 {
            return;
        }
        // The worker maps it in a moment, and the session may be gone by then.
        self.header().pin();
        // SAFETY: the path of the session's database is set when it connects, and stays.
        let folder = unsafe { CStr::from_ptr(pg_sys::DatabasePath) };
        let what = (i64::from(seconds) << 32) | i64::from(self.header().handle);
        let worker = BackgroundWorkerBuilder::new("mosaic_backlog frontier")
            .set_type("mosaic_backlog frontier")
            .set_library("mosaic_backlog_ext")
            .set_function("mosaic_backlog_keep")
            .set_argument(what.into_datum())
            .set_extra(&folder.to_string_lossy())
            .enable_shmem_access(None)
            .set_restart_time(None)
            .load_dynamic();
        if worker.is_err() {
            self.header().unpin();
            self.kept().store(0, Ordering::SeqCst);
            REFUSED_AT.set(now);
        }
    }

    /// Nobody finds it any more: the table that it is of is gone, or the handle is another.
    pub fn abandon(self) {
        self.abandoned().store(1, Ordering::SeqCst);
    }
}

/// The worker. `what`: the handle of a segment in the lower half, and for how many seconds it is
/// kept unused in the upper.
#[pg_guard]
// SAFETY: nobody else has a function of this name.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn mosaic_backlog_keep(what: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGTERM);
    let what = what.value() as i64;
    let folder = std::path::Path::new(BackgroundWorker::get_extra()).join("PG_VERSION");
    let Some(memory) = mapped(what as u32) else {
        return;
    };
    memory.header().unpin();
    name_locks();
    let mut unused = 0;
    let mut uses = 0;
    while BackgroundWorker::wait_latch(Some(SCAN_EVERY)) {
        let is_gone = memory.abandoned().load(Ordering::SeqCst) != 0
            || memory.is_retired()
            || !folder.exists();
        let used = memory.lock().uses();
        unused = if used == uses { unused + 1 } else { 0 };
        uses = used;
        if is_gone || unused >= what >> 32 {
            break;
        }
    }
    // Whoever uses it from now on has it kept again.
    memory.kept().store(0, Ordering::SeqCst);
}

/// The segment of a handle, if it is there and of this layout.
fn mapped(handle: pg_sys::dsm_handle) -> Option<Memory> {
    // SAFETY: the segment is checked to be ours before it is used as such. It stays mapped until the
    // process ends, as no owner of resources is there to unmap it.
    unsafe {
        let segment = pg_sys::dsm_attach(handle);
        if segment.is_null() || pg_sys::dsm_segment_map_length(segment) < size_of::<Segment>() {
            return None;
        }
        let segment = pg_sys::dsm_segment_address(segment).cast::<Segment>();
        let is_ours = (*segment).header.magic == MAGIC && (*segment).header.layout == LAYOUT;
        is_ours.then_some(Memory(segment))
    }
}
