//! What is said beside the answer, on stderr, so that stdout stays one document.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::output::redact::redact;
use crate::output::screen::{Paint, Screen, many_lines};

/// How much the caller wants to be told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Nothing, as a shell that completes a word would print it into the line.
    Silent,
    /// Warnings, as what they say may cost the caller something.
    Quiet,
    /// What takes long, too.
    Normal,
    /// What is done, and how long it took.
    Verbose,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Normal as u8);
/// Whether the answer is a document for a program.
static FOR_PROGRAM: AtomicBool = AtomicBool::new(false);

pub fn set(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

pub fn for_program(json: bool) {
    FOR_PROGRAM.store(json, Ordering::Relaxed);
}

fn reaches(level: Level) -> bool {
    LEVEL.load(Ordering::Relaxed) >= level as u8
}

/// A remark beside the answer.
pub fn warn(message: &str) {
    if reaches(Level::Quiet) {
        let label = Screen::stderr().paint(Paint::Warn, "warning");
        let _ = writeln!(io::stderr(), "{label}: {}", many_lines(message));
    }
}

/// A line for people before work that takes seconds.
pub fn say(what: &str) {
    if reaches(Level::Normal) {
        let _ = writeln!(io::stderr(), "mosaic: {}", many_lines(what));
    }
}

/// The same of a server that is set up or waited for: scripts that read JSON get no line, unless a person watches.
pub fn say_to_people(what: &str) {
    if io::stderr().is_terminal() || !FOR_PROGRAM.load(Ordering::Relaxed) {
        say(what);
    }
}

/// Whether somebody watches how far the work is.
pub fn is_watched() -> bool {
    reaches(Level::Normal) && io::stderr().is_terminal()
}

/// Does the work; with `--verbose`, says what it was and how long it took.
pub fn timed<T>(what: impl FnOnce() -> String, work: impl FnOnce() -> T) -> T {
    if !reaches(Level::Verbose) {
        return work();
    }
    let start = Instant::now();
    let outcome = work();
    took(what, start.elapsed());
    outcome
}

/// With `--verbose`, a line about something that is over.
pub fn took(what: impl FnOnce() -> String, time: Duration) {
    if reaches(Level::Verbose) {
        let what = Screen::stderr().paint(Paint::Dim, &many_lines(&redact(&what())));
        let milliseconds = time.as_secs_f64() * 1e3;
        let _ = writeln!(io::stderr(), "mosaic: {what} ({milliseconds:.1} ms)");
    }
}
