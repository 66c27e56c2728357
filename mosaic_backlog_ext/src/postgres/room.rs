//! Memory for what is made of one thing after the other, which need not all have room at once.

use pgrx::memcxt::PgMemoryContexts;
use pgrx::prelude::*;

pub struct Room(PgMemoryContexts);

impl Room {
    pub fn new(name: &'static str) -> Self {
        Self(PgMemoryContexts::new(name))
    }

    /// Does `work`, and gives back what PostgreSQL allocated for it. An error leaves that to whoever
    /// catches it.
    pub fn within<R>(&mut self, work: impl FnOnce() -> R) -> R {
        // SAFETY: the context is this room's own, and lives as long as it.
        let outer = unsafe { pg_sys::MemoryContextSwitchTo(self.0.value()) };
        let done = work();
        // SAFETY: the context was the current one when the call came here, and its owner, who waits
        // for this call, has it still. Nothing that PostgreSQL allocated leaves `work`: its callers
        // give owned values alone.
        unsafe {
            pg_sys::MemoryContextSwitchTo(outer);
            self.0.reset();
        }
        done
    }
}
