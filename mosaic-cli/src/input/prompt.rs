//! Asking people. Every question goes through `ask`, which refuses where nobody can be asked.

use std::fmt::Display;
use std::io::{self, IsTerminal};

use inquire::ui::RenderConfig;
use inquire::{Confirm, InquireError, MultiSelect, Select, Text};

use crate::environment::filled;
use crate::failure::{Code, Failure, sentence};
use crate::output::screen::Screen;

const VARIABLE: &str = "MOSAIC_ASSUME_YES";

/// Whether nobody is asked anything: MOSAIC_ASSUME_YES=1, or no terminal to ask and answer on.
pub fn is_headless() -> Result<bool, Failure> {
    Ok(assumes_yes()? || !io::stdin().is_terminal() || !io::stderr().is_terminal())
}

fn assumes_yes() -> Result<bool, Failure> {
    match filled(VARIABLE) {
        None => Ok(false),
        Some(value) if value == "0" => Ok(false),
        Some(value) if value == "1" => Ok(true),
        Some(_) => Err(Failure::usage(format!("{VARIABLE} is neither 0 nor 1"))
            .hint("1: no question is asked.")),
    }
}

/// The one way to a question.
fn ask<T>(question: impl FnOnce() -> Result<T, InquireError>) -> Result<T, Failure> {
    if is_headless()? {
        return Err(Failure::internal(
            "a question came up, but there is no terminal to ask it on",
        ));
    }
    inquire::set_global_render_config(match Screen::stderr().colour {
        true => RenderConfig::default_colored(),
        false => RenderConfig::empty(),
    });
    question().map_err(|error| match error {
        InquireError::OperationCanceled | InquireError::OperationInterrupted => {
            Failure::new(Code::Interrupted, "interrupted").detail("Nothing was changed.")
        }
        error => Failure::new(Code::Resource, "cannot ask on the terminal")
            .detail(sentence(&error))
            .lasts(true)
            .hint(format!("{VARIABLE}=1 asks nothing; flags answer instead.")),
    })
}

/// One of these, by its number.
pub fn choose<T: Display>(message: &str, options: Vec<T>) -> Result<usize, Failure> {
    ask(|| {
        Select::new(message, options)
            .without_filtering()
            .with_help_message("arrow keys choose, Enter takes")
            .raw_prompt()
    })
    .map(|option| option.index)
}

/// Any of these, by their numbers.
pub fn choose_some<T: Display>(
    message: &str,
    options: Vec<T>,
    chosen: &[usize],
) -> Result<Vec<usize>, Failure> {
    ask(|| {
        MultiSelect::new(message, options)
            .without_filtering()
            .with_default(chosen)
            .with_help_message("arrow keys move, Space switches, Enter takes")
            .raw_prompt()
    })
    .map(|options| options.into_iter().map(|option| option.index).collect())
}

pub fn confirm(message: &str) -> Result<bool, Failure> {
    ask(|| Confirm::new(message).with_default(true).prompt())
}

/// Whether the caller agrees to what cannot be taken back. `given`: it has said so already.
pub fn agreed(message: &str, given: bool) -> Result<bool, Failure> {
    if given || assumes_yes()? {
        return Ok(true);
    }
    if is_headless()? {
        return Err(
            Failure::usage("this asks first, but there is no terminal to answer on")
                .detail("Standard input is not a terminal. Nothing was changed.")
                .hint(format!("--yes agrees, and so does {VARIABLE}=1.")),
        );
    }
    ask(|| Confirm::new(message).with_default(false).prompt())
}

pub fn line(message: &str, help: &str) -> Result<String, Failure> {
    ask(|| Text::new(message).with_help_message(help).prompt())
}
