//! `mosaic`: the command line of the Mosaic backlog.

// Each floor imports from those below it.

mod command;

mod agents;

mod database;

mod input;

mod output;

mod files;

mod environment;
mod interrupt;

mod failure;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use clap::{CommandFactory, ValueEnum};

use command::{Cli, completions, hooks};
use output::hint::Words;
use output::notes;
use output::reply;
use output::screen::Colour;
use output::selection::Selection;

fn main() -> ExitCode {
    let start = Instant::now();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let json = wants_json(&arguments);
    notes::for_program(json);
    if hooks::answer(&arguments) {
        return ExitCode::SUCCESS;
    }
    if let Some(colour) = wanted_colour(&arguments) {
        colour.choose();
    }
    interrupt::exit_on_sigint(json);
    let mut selection = Selection::unknown(json, Words::of(Cli::command));
    let outcome = match completions::answer(Cli::command) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => command::run(&arguments, &mut selection),
        Err(failure) => Err(failure),
    };
    let exit = reply::deliver(outcome, &selection);
    notes::took(|| format!("exit code {}", exit as u8), start.elapsed());
    exit.into()
}

/// Looks at the raw arguments, so that an error in one of them is printed as JSON too.
fn wants_json(arguments: &[OsString]) -> bool {
    flags(arguments).any(|argument| argument == "--json")
}

/// The same for the colour of such an error.
fn wanted_colour(arguments: &[OsString]) -> Option<Colour> {
    let mut flags = flags(arguments).skip_while(|flag| !flag.starts_with("--color"));
    let word = match flags.next()?.split_once('=') {
        Some((_, word)) => word.to_owned(),
        None => flags.next()?.to_owned(),
    };
    Colour::from_str(&word, false).ok()
}

fn flags(arguments: &[OsString]) -> impl Iterator<Item = &str> {
    let flags = arguments.iter().skip(1);
    flags
        .take_while(|argument| *argument != "--")
        .filter_map(|argument| argument.to_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_seen_wherever_it_stands_but_not_behind_a_double_dash() {
        let seen =
            |line: &str| wants_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(seen("mosaic backlog list --bogus --json"));
        assert!(seen("mosaic --json"));
        assert!(!seen("mosaic backlog create -- --json"));
        assert!(!seen("mosaic backlog list"));
    }
}
