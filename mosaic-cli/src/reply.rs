//! The answer of a command, and the one place where answers and errors are printed.

use std::io::{self, ErrorKind, Write};

use serde_json::{Value, json};

use crate::failure::{Code, Exit, Failure};
use crate::interrupt;
use crate::screen::{Paint, Screen};

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
    /// The answer went to stdout already, as it was too long to be held.
    Written,
    /// A screen showed it, and is gone.
    Shown(Exit),
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

/// What the argument parser "fails" with is help, the version, or a usage error.
pub fn of_parser(error: clap::Error) -> Result<Reply, Failure> {
    match error.kind() {
        clap::error::ErrorKind::DisplayHelp => Ok(Reply::Help(help_text(&error))),
        clap::error::ErrorKind::DisplayVersion => Ok(Reply::new(
            json!({"version": env!("CARGO_PKG_VERSION")}),
            |document, _| {
                format!(
                    "mosaic {}",
                    document["version"].as_str().unwrap_or_default()
                )
            },
        )),
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
pub fn deliver(outcome: Result<Reply, Failure>, json: bool) -> Exit {
    match outcome.and_then(|reply| print(reply, json)) {
        Ok(exit) => exit,
        Err(failure) => {
            // Nothing sensible is left to do if the error cannot be printed either.
            let _ = if json {
                write_stdout(&failure.to_json().to_string())
            } else {
                let label = Screen::stderr().paint(Paint::Bad, "error");
                io::stderr().write_all(failure.to_text(&label).as_bytes())
            };
            failure.exit()
        }
    }
}

fn print(reply: Reply, json: bool) -> Result<Exit, Failure> {
    let (text, exit) = match reply {
        Reply::Document { document, exit, .. } if json => (document.to_string(), exit),
        Reply::Document {
            document,
            view,
            exit,
        } => (view(&document, &Screen::stdout()), exit),
        Reply::Help(text) => (text, Exit::Success),
        Reply::Written => return Ok(Exit::Success),
        Reply::Shown(exit) => return Ok(exit),
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
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.trim_end().as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// A remark beside the answer: on stderr, so that stdout stays one document.
pub fn warn(message: &str) {
    let label = Screen::stderr().paint(Paint::Warn, "warning");
    let _ = writeln!(io::stderr(), "{label}: {message}");
}

/// A line for people before work that takes seconds.
pub fn say(what: &str) {
    let _ = writeln!(io::stderr(), "mosaic: {what}");
}
