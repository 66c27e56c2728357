//! A part of a call that can be undone, row locks included.

use pgrx::prelude::*;

/// An open subtransaction; dropping it, also by an error, rolls it back.
pub struct Subtransaction {
    context: pg_sys::MemoryContext,
    owner: pg_sys::ResourceOwner,
    open: bool,
}

impl Subtransaction {
    pub fn begin() -> Self {
        // SAFETY: calls of functions run within a transaction. Memory and owner of the caller are those
        // that it has still when this ends, as it waits for that.
        unsafe {
            let begun = Self {
                context: pg_sys::CurrentMemoryContext,
                owner: pg_sys::CurrentResourceOwner,
                open: true,
            };
            pg_sys::BeginInternalSubTransaction(std::ptr::null());
            pg_sys::MemoryContextSwitchTo(begun.context);
            begun
        }
    }

    /// Keeps what was done; its locks now belong to the transaction.
    pub fn commit(mut self) {
        self.open = false;
        // SAFETY: it is the innermost, as those that were begun in its course have ended in it.
        unsafe { pg_sys::ReleaseCurrentSubTransaction() };
        self.restore();
    }

    fn restore(&self) {
        // SAFETY: both are the caller's, and outlive this.
        unsafe {
            pg_sys::MemoryContextSwitchTo(self.context);
            pg_sys::CurrentResourceOwner = self.owner;
        }
    }
}

impl Drop for Subtransaction {
    fn drop(&mut self) {
        if self.open {
            // SAFETY: it is the innermost: those that were begun in its course were dropped before.
            unsafe { pg_sys::RollbackAndReleaseCurrentSubTransaction() };
            self.restore();
        }
    }
}
