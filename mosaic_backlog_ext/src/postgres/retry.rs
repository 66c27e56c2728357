//! Trying again for a while, where a lock must not be queued for.

use std::time::Duration;

use pgrx::prelude::*;

/// Calls `attempt` until it gives something, with pauses in between, for `limit` at most. An
/// interrupt ends the wait.
pub fn until<T>(
    limit: Duration,
    pause: Duration,
    mut attempt: impl FnMut() -> Option<T>,
) -> Option<T> {
    let mut waited = Duration::ZERO;
    loop {
        let done = attempt();
        if done.is_some() || waited >= limit {
            return done;
        }
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        // SAFETY: the latch is the session's own, and it ends with the postmaster.
        unsafe {
            pg_sys::WaitLatch(
                pg_sys::MyLatch,
                events as i32,
                pause.as_millis() as i64,
                pg_sys::PG_WAIT_EXTENSION,
            );
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
        check_for_interrupts!();
        waited += pause;
    }
}
