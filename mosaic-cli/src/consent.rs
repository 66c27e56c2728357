//! The one place where somebody is asked a question. Where nobody can answer, it refuses.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::environment::filled;
use crate::failure::Failure;

/// Whether the caller agrees. `given`: it has said so already.
pub fn ask(question: &str, given: bool) -> Result<bool, Failure> {
    if given || filled("MOSAIC_ASSUME_YES").is_some_and(|value| value == "1") {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(
            Failure::usage("this asks first, and nobody is there to answer")
                .detail("Standard input is no terminal. Nothing was changed.")
                .hint("--yes agrees, and so does MOSAIC_ASSUME_YES=1."),
        );
    }
    let mut stderr = io::stderr();
    let _ = write!(stderr, "{question} [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
