//! The terminal: taken while the screen is shown, and given back whatever happens.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicI32, Ordering};

use ratatui::DefaultTerminal;

use crate::failure::{Code, Failure, sentence};

/// Whether a person looks at the output and can press keys.
pub fn is_there() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}

/// The alternate screen without echo. Dropping it, or a panic, brings the usual one back.
pub struct Terminal(DefaultTerminal);

impl Terminal {
    pub fn take() -> Result<Self, Failure> {
        note_signals();
        ratatui::try_init().map(Terminal).map_err(|e| lost(&e))
    }

    pub fn draw(&mut self, picture: impl FnOnce(&mut ratatui::Frame)) -> Result<(), Failure> {
        self.0.draw(picture).map(|_| ()).map_err(|e| lost(&e))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // If the terminal is gone, nobody is left to miss it.
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}

pub fn lost(error: &io::Error) -> Failure {
    Failure::new(Code::Resource, "the terminal cannot be used").detail(sentence(error))
}

/// The signal that asked for the end, 0 before.
static ASKED: AtomicI32 = AtomicI32::new(0);

/// From here on a signal ends the program only after the terminal was given back.
fn note_signals() {
    let handler = note as extern "C" fn(libc::c_int);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler stores a number, which is async-signal-safe.
        unsafe {
            libc::signal(signal, handler as libc::sighandler_t);
        }
    }
}

extern "C" fn note(signal: libc::c_int) {
    ASKED.store(signal, Ordering::Relaxed);
}

/// The signal that asked for the end, if any did.
pub fn asked_to_end() -> Option<libc::c_int> {
    match ASKED.load(Ordering::Relaxed) {
        0 => None,
        signal => Some(signal),
    }
}

/// Ends as the signal ends a program that does not care.
pub fn end_by(signal: libc::c_int) {
    // SAFETY: both calls take a valid signal number and no pointers.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}
