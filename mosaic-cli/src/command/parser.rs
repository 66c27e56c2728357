//! What becomes of arguments that are no call: help, or a usage error with what may have been meant.

use std::ffi::OsString;

use clap::Command;

use super::meant;
use crate::failure::{Code, Failure};
use crate::output::reply::Reply;
use crate::output::screen::Screen;

/// What the argument parser "fails" with is help or a usage error.
pub fn outcome(
    error: clap::Error,
    arguments: &[OsString],
    program: Command,
) -> Result<Reply, Failure> {
    if error.kind() == clap::error::ErrorKind::DisplayHelp {
        return Ok(Reply::Help(help_text(&error)));
    }
    let instead = meant::instead(&error, arguments, program);
    let failure = Failure::from(error);
    Err(match instead {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}

fn help_text(error: &clap::Error) -> String {
    let help = error.render();
    if Screen::stdout().colour {
        help.ansi().to_string()
    } else {
        help.to_string()
    }
}

impl From<clap::Error> for Failure {
    /// clap's text reads "error: what\n\n[details]\n\nFor more information, try '--help'."
    fn from(error: clap::Error) -> Self {
        let text = error.render().to_string();
        // For a bare `mosaic` or `mosaic backlog`, clap's text is the help.
        if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Failure::usage("the command is incomplete").detail(text.trim_end());
        }
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let (message, rest) = text.split_once("\n\n").unwrap_or((text, ""));
        let detail = rest
            .split("\n\n")
            .map(str::trim)
            .filter(|part| !part.is_empty() && !part.starts_with("For more information"))
            // What clap takes for near may mean something else altogether.
            .filter(|part| !part.starts_with("tip: "))
            .collect::<Vec<_>>()
            .join("\n");
        Failure {
            code: Code::Usage,
            message: message
                .split('\n')
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" "),
            detail: Some(detail).filter(|detail| !detail.is_empty()),
            hint: Some("`--help` after the command shows its arguments and an example.".into()),
            lasts: false,
        }
    }
}
