//! The hooks that Mosaic brings. They are known by their command, wherever the program lies.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::handlers::Handler;
use crate::files::jsonc::Layout;

pub struct Ours {
    pub id: &'static str,
    pub event: &'static str,
    /// What `mosaic hook` is told.
    pub word: &'static str,
    matcher: Option<&'static str>,
    timeout: u32,
    /// Claude Code does not wait for it.
    is_async: bool,
}

pub const OURS: [Ours; 4] = [
    Ours {
        id: "mosaic:session-start",
        event: "SessionStart",
        word: "session-start",
        matcher: Some(""),
        timeout: 10,
        is_async: false,
    },
    Ours {
        id: "mosaic:post-tool-use",
        event: "PostToolUse",
        word: "post-tool-use",
        matcher: Some(""),
        timeout: 10,
        is_async: true,
    },
    Ours {
        id: "mosaic:stop",
        event: "Stop",
        word: "stop",
        matcher: None,
        timeout: 10,
        is_async: true,
    },
    Ours {
        id: "mosaic:session-end",
        event: "SessionEnd",
        word: "session-end",
        matcher: None,
        // Without it Claude Code waits for 1.5 s.
        timeout: 10,
        is_async: false,
    },
];

/// Which of ours a command is.
pub fn of_command(command: &str) -> Option<&'static Ours> {
    OURS.iter().find(|ours| {
        command
            .strip_suffix(ours.word)
            .and_then(|rest| rest.strip_suffix(" hook "))
            .is_some_and(|rest| rest.starts_with("[ -x ") && rest.contains("/mosaic'"))
    })
}

impl Ours {
    /// A program that is gone must not break a session, nor may the exit code of a shell that misses it.
    pub fn command(&self, program: &Path) -> String {
        let program = program.to_string_lossy().replace('\'', "'\\''");
        format!(
            "[ -x '{program}' ] || exit 0; exec '{program}' hook {}",
            self.word
        )
    }

    /// In a group of its own at the end.
    pub fn handler(&self, program: &Path, layout: Layout<'_>, indent: &str) -> Handler {
        let command = self.command(program);
        let mut fields = json!({"type": "command", "command": command, "timeout": self.timeout});
        if self.is_async {
            fields["async"] = Value::Bool(true);
        }
        let text = match layout.one_line {
            true => fields.to_string(),
            false => {
                // hooks, event, group, list
                let line = format!("{indent}{}", layout.unit.repeat(4));
                let inner = format!("{}{line}{}", layout.newline, layout.unit);
                let fields = fields.as_object().into_iter().flatten();
                let fields: Vec<String> = fields
                    .map(|(name, value)| format!("{inner}\"{name}\": {value}"))
                    .collect();
                format!("{{{}{}{line}}}", fields.join(","), layout.newline)
            }
        };
        Handler {
            event: self.event.to_owned(),
            matcher: self.matcher.map(str::to_owned),
            group: usize::MAX,
            number: 0,
            text,
            kind: "command".to_owned(),
            command,
        }
    }
}

/// The program that a command of ours runs.
pub fn program_of(command: &str) -> Option<PathBuf> {
    let ours = of_command(command)?;
    let (_, run) = command.split_once("; exec '")?;
    let program = run.strip_suffix(ours.word)?.strip_suffix("' hook ")?;
    Some(program.replace("'\\''", "'").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_known_wherever_the_program_lies() {
        for ours in &OURS {
            for place in ["/usr/local/bin/mosaic", "/home/it's me/bin/mosaic"] {
                let command = ours.command(Path::new(place));
                assert_eq!(of_command(&command).unwrap().id, ours.id);
                assert_eq!(program_of(&command).unwrap(), Path::new(place));
            }
        }
        for command in [
            "mosaic hook stop",
            "[ -x '/x/other' ] || exit 0; exec '/x/other' hook stop",
        ] {
            assert!(of_command(command).is_none());
        }
    }
}
