//! What the extension says to do next, in the words of who calls the program.

use clap::Command;

use crate::failure::Failure;

/// How the name of a function begins; those of triggers stand without the schema.
const FUNCTION: &str = "mosaic.backlog_";

/// The commands of the program, which make its words.
#[derive(Clone, Copy)]
pub struct Words(fn() -> Command);

impl Words {
    /// They are asked for once they are needed.
    pub fn of(program: fn() -> Command) -> Self {
        Words(program)
    }

    /// A failure's hint.
    pub fn hint(self, failure: &Failure) -> Option<String> {
        failure.hint.as_deref().map(|hint| self.told(hint))
    }

    /// A hint, whoever gave it.
    pub fn told(self, hint: &str) -> String {
        match hint.contains(FUNCTION) {
            true => as_commands(hint, &(self.0)()),
            false => hint.to_owned(),
        }
    }
}

/// Names of functions become commands: `mosaic.backlog_why('A1')` is `mosaic backlog why A1`. What is
/// no verb of the program stays as it is.
fn as_commands(hint: &str, program: &Command) -> String {
    let mut told = String::new();
    let mut rest = hint;
    while let Some((before, name)) = rest.split_once(FUNCTION) {
        let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '_');
        let (verb, after) = name.split_at(end.unwrap_or(name.len()));
        told.push_str(before);
        let verb = match verb {
            "get" => "show".to_owned(),
            verb => verb.replace('_', "-"),
        };
        let group = ["backlog", "db"].into_iter().find(|group| {
            let group = program.find_subcommand(group);
            group.is_some_and(|group| group.find_subcommand(&verb).is_some())
        });
        let Some(group) = group else {
            told.push_str(FUNCTION);
            rest = name;
            continue;
        };
        let (argument, after) = argument(after);
        let space = if argument.is_empty() { "" } else { " " };
        told.push_str(&format!("`mosaic {group} {verb}{space}{argument}`"));
        rest = after;
    }
    told + rest
}

/// What stands between parentheses and quotes at the beginning, and what is behind it.
fn argument(text: &str) -> (&str, &str) {
    if let Some(after) = text.strip_prefix("()") {
        return ("", after);
    }
    text.strip_prefix("('")
        .and_then(|inner| inner.split_once("')"))
        .unwrap_or(("", text))
}
