//! What the extension says to do next, in the words of who calls the program.

use clap::CommandFactory;

/// How the name of a function begins; those of triggers stand without the schema.
const FUNCTION: &str = "mosaic.backlog_";

/// Names of functions become commands: `mosaic.backlog_why('A1')` is `mosaic backlog why A1`. What is
/// no verb of the program stays as it is.
pub fn as_commands(hint: &str) -> String {
    if !hint.contains(FUNCTION) {
        return hint.to_owned();
    }
    let program = crate::Cli::command();
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
            let group = program.find_subcommand(group).expect("a command");
            group.find_subcommand(&verb).is_some()
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

#[cfg(test)]
mod tests {
    use super::as_commands;

    #[test]
    fn functions_become_commands_and_other_names_stay() {
        for (hint, told) in [
            (
                "See which with mosaic.backlog_why('A1').",
                "See which with `mosaic backlog why A1`.",
            ),
            (
                "Take the link away (mosaic.backlog_unlink), or mosaic.backlog_reclaim() now.",
                "Take the link away (`mosaic backlog unlink`), or `mosaic backlog reclaim` now.",
            ),
            (
                "alter table mosaic.backlog_event enable trigger backlog_watch",
                "alter table mosaic.backlog_event enable trigger backlog_watch",
            ),
            (
                "As an operator, call mosaic.backlog_resume_after_restore().",
                "As an operator, call `mosaic db resume-after-restore`.",
            ),
            (
                "Look at the card with mosaic.backlog_get().",
                "Look at the card with `mosaic backlog show`.",
            ),
            ("Try again.", "Try again."),
        ] {
            assert_eq!(as_commands(hint), told);
        }
    }
}
