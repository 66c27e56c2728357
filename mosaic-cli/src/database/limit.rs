//! How long a server may take until it has accepted the connection and given its first answer.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::input;

const VARIABLE: &str = "MOSAIC_CONNECT_TIMEOUT";
const DEFAULT: Duration = Duration::from_secs(10);

/// A short question is answered by then; else nobody is there any more who would.
pub const ANSWER: Duration = Duration::from_secs(10);

thread_local! {
    /// When whoever connects in this thread wants to have it done.
    static END: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// In seconds; 0: nothing was chosen.
static CHOSEN: AtomicU64 = AtomicU64::new(0);

/// `--connect-timeout`, else `MOSAIC_CONNECT_TIMEOUT`. Holds for the whole program.
pub fn choose(flag: Option<u64>) -> Result<(), Failure> {
    let seconds = match (flag, std::env::var(VARIABLE)) {
        (Some(seconds), _) => seconds,
        (None, Ok(text)) if !text.is_empty() => {
            input::connect_timeout(&text).map_err(|reason| {
                Failure::usage(format!("{VARIABLE} is not a time: {reason}"))
                    .hint("It is how long the server may take to answer at first: 10s.")
            })?
        }
        _ => return Ok(()),
    };
    CHOSEN.store(seconds, Ordering::Relaxed);
    Ok(())
}

pub fn chosen() -> Option<Duration> {
    match CHOSEN.load(Ordering::Relaxed) {
        0 => None,
        seconds => Some(Duration::from_secs(seconds)),
    }
}

pub fn connect() -> Duration {
    shortened(chosen().unwrap_or(DEFAULT))
}

/// Does something that connects: servers have until then at most.
pub fn by<T>(end: Instant, work: impl FnOnce() -> T) -> T {
    let outer = END.replace(Some(end));
    let done = work();
    END.set(outer);
    done
}

/// Not beyond what `by` says.
pub fn shortened(limit: Duration) -> Duration {
    match END.get() {
        Some(end) => limit.min(end.saturating_duration_since(Instant::now())),
        None => limit,
    }
}

/// Runs something that cannot be interrupted beside a clock; `None`: it took longer than `limit`.
pub fn within<T: Send + 'static>(
    limit: Option<Duration>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let Some(limit) = limit else {
        return Some(work());
    };
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(limit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_given_up() {
        let limit = Some(Duration::from_millis(10));
        let answer = within(limit, || thread::sleep(Duration::from_secs(60)));
        assert_eq!(answer, None);
        assert_eq!(within(None, || 1), Some(1));
    }
}
