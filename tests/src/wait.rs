//! The one place that waits: for a condition, with a deadline.

use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(2);

/// Polls until `look` finds something.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(STEP);
    }
}
