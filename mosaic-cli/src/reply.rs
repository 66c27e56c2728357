//! The answer of a command, and the one place where answers and errors are printed.

use std::io::{self, ErrorKind, Write};

use serde_json::Value;

use crate::failure::{Code, Exit, Failure};
use crate::interrupt;
pub use crate::notes::{say, warn};
use crate::screen::Screen;
use crate::shape::{Shape, json_text};

/// Turns the document into the text that people read.
pub type View = fn(&Value, &Screen) -> String;

pub enum Reply {
    /// The document is the whole answer; the view shows the same to people.
    Document {
        document: Value,
        view: View,
        exit: Exit,
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
        }
    }
}

/// What the argument parser "fails" with is help or a usage error.
pub fn of_parser(error: clap::Error) -> Result<Reply, Failure> {
    match error.kind() {
        clap::error::ErrorKind::DisplayHelp => Ok(Reply::Help(help_text(&error))),
        _ => Err(error.into()),
    }
}

fn help_text(error: &clap::Error) -> String {
    let help = error.render();
    if Screen::stdout().colour {
        help.ansi().to_string()
    } else {
        help.to_string()
    }
}

/// Prints the outcome and says how the program shall exit.
pub fn deliver(outcome: Result<Reply, Failure>, shape: &Shape) -> Exit {
    match outcome.and_then(|reply| print(reply, shape)) {
        Ok(exit) => exit,
        Err(failure) => {
            // Nothing sensible is left to do if the error cannot be printed either.
            let _ = if shape.is_json() {
                write_stdout(&json_text(&failure.to_json()))
            } else {
                let text = failure.to_text(&Screen::stderr());
                io::stderr().write_all(text.as_bytes())
            };
            failure.exit()
        }
    }
}

fn print(reply: Reply, shape: &Shape) -> Result<Exit, Failure> {
    let (text, exit) = match reply {
        Reply::Document {
            document,
            view,
            exit,
        } => (shape.text(document, view), exit),
        Reply::Help(text) => (text, Exit::Success),
        Reply::Written(exit) => return Ok(exit),
    };
    match write_stdout(&text) {
        Ok(()) => Ok(exit),
        // The reader has seen enough, as in `mosaic backlog list | head -1`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(exit),
        Err(error) => Err(
            Failure::new(Code::Resource, "cannot write to standard output")
                .detail(format!("{error}.")),
        ),
    }
}

fn write_stdout(text: &str) -> io::Result<()> {
    interrupt::printing();
    let text = text.trim_end();
    if text.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}
