//! `doctor`: what is wrong with the backlog and the server under it.

mod embedded;
mod examination;
mod finding;
mod server;
mod surroundings;

use clap::Args;
use serde_json::{Value, json};

use super::card::{items, text};
use crate::database::store::Address;
use crate::failure::{Exit, Failure};
use crate::input::duration;
use crate::output::hint::Words;
use crate::output::reply::Reply;
use crate::output::screen::{Paint, Screen, one_line};
use crate::output::selection::Selection;

/// Look for what is wrong with the backlog and its server, and say what to do
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog doctor
  mosaic backlog doctor --json | jq '.findings[] | select(.state != \"ok\")'

Changes nothing, and does not start the embedded server. Exit code 0: all is well; 7: something is
not; 4: the backlog could not be looked at.")]
pub struct Doctor {
    /// Report transactions that are open for longer
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10m")]
    max_age: u64,
}

impl Doctor {
    pub fn run(self, address: &Address, selection: &Selection) -> Result<Reply, Failure> {
        let (document, exit) = examine(address, self.max_age, selection.words)?;
        Ok(Reply::exiting(document, view, exit))
    }
}

/// What the doctor says.
pub fn examine(address: &Address, max_age: u64, words: Words) -> Result<(Value, Exit), Failure> {
    let examination = examination::examine(address, max_age, words)?;
    let healthy = examination.is_healthy();
    let exit = match (healthy, examination.reached) {
        (true, _) => Exit::Success,
        (false, true) => Exit::State,
        (false, false) => Exit::Database,
    };
    let document = json!({"healthy": healthy, "findings": examination.findings});
    Ok((document, exit))
}

pub fn view(document: &Value, screen: &Screen) -> String {
    let mut lines = String::new();
    let mut open = 0;
    for finding in items(&document["findings"]) {
        let state = text(finding, "state");
        let paint = match state {
            "ok" => Paint::Good,
            "warning" => Paint::Warn,
            "error" => Paint::Bad,
            _ => Paint::Info,
        };
        lines.push_str(&format!(
            "{} {}: {}\n",
            screen.paint(paint, &format!("{state:<7}")),
            screen.paint(Paint::Bold, &one_line(text(finding, "name"))),
            one_line(text(finding, "detail"))
        ));
        if state != "ok" {
            open += 1;
        }
        if let Some(hint) = finding["hint"].as_str() {
            lines.push_str(&format!("        {}\n", one_line(hint)));
        }
    }
    lines.push_str(&match open {
        0 => screen.paint(Paint::Good, "all is well"),
        1 => "1 thing to look at".to_owned(),
        _ => format!("{open} things to look at"),
    });
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ok_comes_with_what_to_do() {
        let document = json!({"healthy": false, "findings": [
            {"name": "server", "state": "ok", "detail": "PostgreSQL 15.", "hint": null},
            {"name": "cycles", "state": "error", "detail": "A -> A.", "hint": "Unlink."},
        ]});
        let plain = Screen {
            width: None,
            colour: false,
        };
        assert_eq!(
            view(&document, &plain),
            "ok      server: PostgreSQL 15.\n\
             error   cycles: A -> A.\n        Unlink.\n\
             1 thing to look at\n"
        );
    }
}
