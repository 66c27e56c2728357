//! Ctrl-C: exit code 130, and with `--json` still one document.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::{Exit, Failure};

const DOCUMENT: &[u8] = b"{\"error\":{\"code\":\"interrupted\",\"message\":\"interrupted\",\
\"detail\":null,\"hint\":\"The call may or may not have taken effect.\",\"retryable\":false}}\n";

/// Whether the handler still owes a document.
static DOCUMENT_DUE: AtomicBool = AtomicBool::new(false);
/// Whether one line of many is being written.
static LINE_UNDER_WAY: AtomicBool = AtomicBool::new(false);
/// Whether an interrupt waits for the end of that line.
static WAITING: AtomicBool = AtomicBool::new(false);
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

/// From here on, SIGINT, SIGTERM and SIGHUP end nothing by themselves: each is told.
pub fn tell(mut tell: impl FnMut(i32) + Send + 'static) -> Result<(), Failure> {
    let mut wanted = vec![SIGINT, SIGTERM];
    // `nohup` asks us to outlive the terminal.
    if !is_ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    let mut signals = Signals::new(wanted)
        .map_err(|error| Failure::internal(format!("cannot wait for signals: {error}")))?;
    hand_over();
    thread::spawn(move || signals.forever().for_each(&mut tell));
    Ok(())
}

fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only writes the present one; zeroes are a valid one.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// The answer is on its way: an interrupt from here on must not add a second document.
pub fn printing() {
    DOCUMENT_DUE.store(false, Ordering::Relaxed);
}

/// Does what is to be done whole, a line of many for one: an interrupt meanwhile waits for its end. A second one does not,
/// as the end may never come.
pub fn whole<T>(write: impl FnOnce() -> T) -> T {
    LINE_UNDER_WAY.store(true, Ordering::Relaxed);
    let written = write();
    LINE_UNDER_WAY.store(false, Ordering::Relaxed);
    if WAITING.load(Ordering::Relaxed) {
        end(DOCUMENT_DUE.load(Ordering::Relaxed));
    }
    written
}

extern "C" fn on_sigint(_signal: libc::c_int) {
    if HANDED_OVER.load(Ordering::Relaxed) {
        return;
    }
    let within_a_line = LINE_UNDER_WAY.load(Ordering::Relaxed);
    if within_a_line && !WAITING.swap(true, Ordering::Relaxed) {
        return;
    }
    end(DOCUMENT_DUE.load(Ordering::Relaxed) && !within_a_line);
}

fn end(document_due: bool) -> ! {
    // SAFETY: the buffer is static; _exit runs no destructors, which a handler must not.
    unsafe {
        if document_due {
            libc::write(
                libc::STDOUT_FILENO,
                DOCUMENT.as_ptr().cast(),
                DOCUMENT.len(),
            );
        }
        libc::_exit(Exit::Interrupted as libc::c_int);
    }
}
