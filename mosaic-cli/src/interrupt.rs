//! Ctrl-C: exit code 130, and with `--json` still one document.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::{Exit, Failure};

const DOCUMENT: &[u8] = b"{\"error\":{\"code\":\"interrupted\",\"message\":\"interrupted\",\
\"detail\":null,\"hint\":\"The call may or may not have taken effect.\",\"retryable\":false}}\n";

/// Whether the handler still owes a document.
static DOCUMENT_DUE: AtomicBool = AtomicBool::new(false);

/// Whether somebody else decides what a signal means.
static HANDED_OVER: AtomicBool = AtomicBool::new(false);

pub fn exit_on_sigint(json: bool) {
    DOCUMENT_DUE.store(json, Ordering::Relaxed);
    let handler = on_sigint as extern "C" fn(libc::c_int);
    // SAFETY: the handler calls nothing but write and _exit, which are async-signal-safe.
    unsafe {
        libc::signal(libc::SIGINT, handler as libc::sighandler_t);
    }
}

/// From here on somebody else decides what a signal means.
pub fn hand_over() {
    HANDED_OVER.store(true, Ordering::Relaxed);
}

/// From here on, SIGINT and SIGTERM end nothing by themselves: each is told.
pub fn tell(mut tell: impl FnMut(i32) + Send + 'static) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::internal(format!("cannot wait for signals: {error}")))?;
    hand_over();
    thread::spawn(move || signals.forever().for_each(&mut tell));
    Ok(())
}

/// The answer is on its way: an interrupt from here on must not add a second document.
pub fn printing() {
    DOCUMENT_DUE.store(false, Ordering::Relaxed);
}

extern "C" fn on_sigint(_signal: libc::c_int) {
    if HANDED_OVER.load(Ordering::Relaxed) {
        return;
    }
    // SAFETY: the buffer is static; _exit runs no destructors, which a handler must not.
    unsafe {
        if DOCUMENT_DUE.load(Ordering::Relaxed) {
            libc::write(
                libc::STDOUT_FILENO,
                DOCUMENT.as_ptr().cast(),
                DOCUMENT.len(),
            );
        }
        libc::_exit(Exit::Interrupted as libc::c_int);
    }
}
