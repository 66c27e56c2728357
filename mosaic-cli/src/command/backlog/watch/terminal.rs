//! The terminal: taken while the screen is shown, and given back whatever happens.

use std::io::{self, IsTerminal};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use ratatui::DefaultTerminal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::failure::{Failure, sentence};

/// Whether a person looks at the output and can press keys.
pub fn is_there() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}

/// The alternate screen without echo. Dropping it, or a panic, brings the usual one back. The library's
/// own way of dropping it prints what went wrong, and panics on a terminal that is gone.
pub struct Terminal(ManuallyDrop<DefaultTerminal>);

impl Terminal {
    pub fn take() -> Result<Self, Failure> {
        note_signals();
        ratatui::try_init()
            .map(|terminal| Terminal(ManuallyDrop::new(terminal)))
            .map_err(|e| lost(&e))
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
    Failure::io("the terminal cannot be used", error).detail(sentence(error))
}

/// What came from the keyboard.
pub enum Input {
    Keys(Vec<Key>),
    Nothing,
    /// The terminal is gone: its window was closed, or the connection to it broke.
    Gone,
}

/// Waits so long for keys. A terminal that is gone says so in one of three ways: it hangs up, it
/// has an end, or reading it fails. Libraries for keys read on and on then, and never come back.
pub fn input(within: Duration) -> Result<Input, Failure> {
    let stdin = io::stdin();
    let mut keyboard = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut keyboard, Timespec::try_from(within).ok().as_ref()) {
        Ok(0) | Err(Errno::INTR) => return Ok(Input::Nothing),
        Ok(_) if !keyboard[0].revents().contains(PollFlags::IN) => return Ok(Input::Gone),
        Ok(_) => {}
        Err(error) => return Err(lost(&error.into())),
    }
    let mut bytes = [0; 256];
    match rustix::io::read(&stdin, &mut bytes) {
        Ok(0) | Err(Errno::IO) => Ok(Input::Gone),
        Ok(count) => Ok(Input::Keys(keys(&bytes[..count]))),
        Err(Errno::INTR | Errno::AGAIN) => Ok(Input::Nothing),
        Err(error) => Err(lost(&error.into())),
    }
}

/// A key that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Interrupt,
    Escape,
    Letter(char),
}

/// Arrows and the like begin with an escape character, and are no key of ours.
fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            0x03 => keys.push(Key::Interrupt),
            0x1b => match after.split_first() {
                Some((b'[' | b'O', sequence)) => {
                    let end = sequence
                        .iter()
                        .position(|byte| (0x40..=0x7e).contains(byte));
                    rest = &sequence[end.map_or(sequence.len(), |at| at + 1)..];
                }
                None | Some((0x1b, _)) => keys.push(Key::Escape),
                // With Alt.
                Some((_, others)) => rest = others,
            },
            letter if letter.is_ascii_alphabetic() => keys.push(Key::Letter(*letter as char)),
            _ => {}
        }
    }
    keys
}

/// The signal that asked for the end, 0 before.
static ASKED: AtomicI32 = AtomicI32::new(0);
/// So many seconds after it the end comes by itself.
const PATIENCE: libc::c_uint = 2;

/// From here on a signal ends the program only after the terminal was given back.
fn note_signals() {
    let handler = note as extern "C" fn(libc::c_int);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGALRM] {
        // SAFETY: the handler calls nothing but alarm and _exit, which are async-signal-safe.
        unsafe {
            libc::signal(signal, handler as libc::sighandler_t);
        }
    }
}

/// The first one is noted. A terminal that takes no output, as a frozen one, holds us up for ever
/// then: a second signal, or the alarm, ends the program whatever it is doing.
extern "C" fn note(signal: libc::c_int) {
    let asked = ASKED.load(Ordering::Relaxed);
    // SAFETY: both calls are async-signal-safe and take no pointers.
    unsafe {
        if asked != 0 {
            libc::_exit(128 + asked);
        }
        ASKED.store(signal, Ordering::Relaxed);
        libc::alarm(PATIENCE);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_the_sequences_of_others() {
        for (bytes, known) in [
            (&b"q"[..], &[Key::Letter('q')][..]),
            (b"\x1b", &[Key::Escape]),
            (b"\x03", &[Key::Interrupt]),
            (b"\x1b[A\x1bOP\x1b[1;5Cx", &[Key::Letter('x')]),
            (b"\x1bq", &[]),
            (b"\x1b[", &[]),
            ("é7 ".as_bytes(), &[]),
        ] {
            assert_eq!(keys(bytes), known, "{bytes:?}");
        }
    }
}
