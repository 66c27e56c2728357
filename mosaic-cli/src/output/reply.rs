//! The answer of a command, and the one place where answers and errors are printed.

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde_json::Value;

use crate::failure::{Exit, Failure};
use crate::interrupt;
use crate::output::error;
pub use crate::output::notes::{say, warn};
use crate::output::screen::{Screen, harmless};
use crate::output::selection::{Selection, View, json_text};
use crate::output::stdout;

/// Takes back what nobody gets to know of, and says so in a sentence.
pub type Unwritten = Box<dyn FnOnce() -> String>;

pub enum Reply {
    /// The document is the whole answer; the view shows the same to people.
    Document {
        document: Value,
        view: View,
        exit: Exit,
        unwritten: Option<Unwritten>,
    },
    /// Help, which is text also with `--json`.
    Help(String),
    /// Nothing is left to print: the answer went out while the work went on.
    Written(Exit),
}

impl Reply {
    pub fn new(document: Value, view: View) -> Self {
        Reply::exiting(document, view, Exit::Success)
    }

    pub fn exiting(document: Value, view: View, exit: Exit) -> Self {
        Reply::Document {
            document,
            view,
            exit,
            unwritten: None,
        }
    }

    /// What to do if the answer cannot be written, also because its reader is gone.
    pub fn if_unwritten(mut self, undo: impl FnOnce() -> String + 'static) -> Self {
        if let Reply::Document { unwritten, .. } = &mut self {
            *unwritten = Some(Box::new(undo));
        }
        self
    }
}

/// Prints the outcome and says how the program shall exit.
pub fn deliver(outcome: Result<Reply, Failure>, selection: &Selection) -> Exit {
    let failure = match outcome {
        Ok(reply) => match print(reply, selection) {
            Ok(exit) => return exit,
            Err(failure) => {
                complain(&failure, selection);
                return failure.exit();
            }
        },
        Err(failure) => failure,
    };
    // Where stdout cannot be written, stderr is the place that is left.
    if !(selection.is_json()
        && write_stdout(&json_text(&error::document(&failure, selection.words))).is_ok())
    {
        complain(&failure, selection);
    }
    failure.exit()
}

/// Nothing sensible is left to do if the error cannot be printed either.
fn complain(failure: &Failure, selection: &Selection) {
    let text = error::text(failure, selection.words, &Screen::stderr());
    let _ = io::stderr().write_all(text.as_bytes());
}

fn print(reply: Reply, selection: &Selection) -> Result<Exit, Failure> {
    let (text, exit, unwritten) = match reply {
        Reply::Document {
            document,
            view,
            exit,
            unwritten,
        } => (selection.text(document, view), exit, unwritten),
        Reply::Help(text) => (text, Exit::Success, None),
        Reply::Written(exit) => return Ok(exit),
    };
    let Err(error) = write_stdout(&text) else {
        return Ok(exit);
    };
    let what_now = match unwritten {
        Some(undo) => undo(),
        // The reader has seen enough, as in `mosaic backlog list | head -1`.
        None if error.kind() == ErrorKind::BrokenPipe => return Ok(exit),
        None => "What the command has done is kept.".to_owned(),
    };
    Err(Failure::io("cannot write to standard output", &error)
        .detail(format!("{error}. {what_now}")))
}

fn write_stdout(text: &str) -> io::Result<()> {
    interrupt::printing();
    let text = text.trim_end();
    if text.is_empty() {
        return Ok(());
    }
    stdout::check()?;
    let mut stdout = io::stdout().lock();
    // Each view sees to that, too.
    let clean = stdout.is_terminal().then(|| harmless(text));
    let text = clean.as_deref().unwrap_or(text);
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}
