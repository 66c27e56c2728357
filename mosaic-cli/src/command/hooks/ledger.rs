//! `hooks-config.json`: what was taken out of the settings, verbatim, and how to leave them as they were.
//! Claude Code does not read it. Other programs may keep things of theirs in it.

use jsonc_parser::common::Ranged;
use serde_json::{Value, json};

use super::handlers::Handler;
use crate::files::jsonc::{Container, Layout, insert, object, property, remove, replace};

const KEY: &str = "mosaic";
const VERSION: u64 = 1;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// The text of `hooks` with everything that is off put back.
    pub full: Option<String>,
    /// The same before ours were added.
    pub original: Option<String>,
    /// What the settings were before ours were added, where that was not even a `hooks`.
    pub before: Before,
    pub disabled: Vec<Disabled>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Before {
    /// There was a `hooks`.
    #[default]
    Hooks,
    /// There was none.
    NoHooks,
    /// There was nothing but this.
    Empty(String),
    NoFile,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Disabled {
    pub id: String,
    /// Its place is the one in the full text.
    pub handler: Handler,
}

impl Ledger {
    /// Ours alone; `None`: the file has nothing of ours.
    pub fn read(text: &str) -> Result<Option<Ledger>, String> {
        let root = object(text)?;
        let Some((_, value)) = property(&root, KEY) else {
            return Ok(None);
        };
        let value: Value = value.clone().into();
        if value["version"].as_u64() != Some(VERSION) {
            return Err(format!(
                "its \"{KEY}\" is of another version than {VERSION}, of a newer program perhaps"
            ));
        }
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let before = match (value["before"].as_str(), text("before_text")) {
            (Some("no_file"), _) => Before::NoFile,
            (Some("no_hooks"), Some(text)) => Before::Empty(text),
            (Some("no_hooks"), None) => Before::NoHooks,
            _ => Before::Hooks,
        };
        let disabled = value["disabled"].as_array().into_iter().flatten();
        Ok(Some(Ledger {
            full: text("full"),
            original: text("original"),
            before,
            disabled: disabled.filter_map(Disabled::read).collect(),
        }))
    }

    fn to_json(&self, settings: &str) -> Value {
        let mut value = json!({"version": VERSION, "settings": settings});
        if let Some(full) = &self.full {
            value["full"] = json!(full);
        }
        if let Some(original) = &self.original {
            value["original"] = json!(original);
        }
        match &self.before {
            Before::Hooks => {}
            Before::NoHooks => value["before"] = json!("no_hooks"),
            Before::Empty(text) => {
                value["before"] = json!("no_hooks");
                value["before_text"] = json!(text);
            }
            Before::NoFile => value["before"] = json!("no_file"),
        }
        let disabled: Vec<Value> = self.disabled.iter().map(Disabled::to_json).collect();
        value["disabled"] = json!(disabled);
        value
    }
}

impl Disabled {
    fn read(value: &Value) -> Option<Disabled> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let number = |name: &str| value[name].as_u64().and_then(|n| usize::try_from(n).ok());
        Some(Disabled {
            id: text("id")?,
            handler: Handler {
                event: text("event")?,
                matcher: text("matcher"),
                group: number("group")?,
                number: number("handler")?,
                text: text("text")?,
                kind: text("type").unwrap_or_default(),
                command: text("command").unwrap_or_default(),
            },
        })
    }

    fn to_json(&self) -> Value {
        let handler = &self.handler;
        json!({"id": self.id, "event": handler.event, "matcher": handler.matcher,
            "group": handler.group, "handler": handler.number, "type": handler.kind,
            "command": handler.command, "text": handler.text})
    }
}

/// The file's text with this in it, or without ours; `None`: nothing is left of it.
pub fn written(
    text: Option<&str>,
    ledger: Option<&Ledger>,
    settings: &str,
) -> Result<Option<String>, String> {
    let Some(ledger) = ledger else {
        let Some(text) = text else {
            return Ok(None);
        };
        let root = object(text)?;
        return Ok(match property(&root, KEY) {
            None => Some(text.to_owned()),
            // With nothing else in it, it was ours.
            Some(_) if root.properties.len() == 1 => None,
            Some((at, _)) => Some(remove(text, &Container::from(&root), at)),
        });
    };
    let text = text.unwrap_or("{}\n");
    let root = object(text)?;
    let value = ledger.to_json(settings);
    let layout = Layout::of(text);
    let shown = |line: Option<&str>| match line {
        Some(line) => pretty(&value, line, layout),
        None => value.to_string(),
    };
    Ok(Some(match property(&root, KEY) {
        Some((_, old)) => {
            let indent = crate::files::jsonc::line_indent(text, old.start());
            let line = (!layout.one_line).then_some(indent);
            replace(text, old, &shown(line))
        }
        None => insert(
            text,
            &Container::from(&root),
            usize::MAX,
            layout,
            "",
            |line| format!("\"{KEY}\": {}", shown(line)),
        ),
    }))
}

fn pretty(value: &Value, line: &str, layout: Layout<'_>) -> String {
    format!("{value:#}")
        .lines()
        .enumerate()
        .map(|(number, text)| {
            let steps = (text.len() - text.trim_start().len()) / 2;
            match number {
                0 => text.to_owned(),
                _ => format!(
                    "{}{line}{}{}",
                    layout.newline,
                    layout.unit.repeat(steps),
                    text.trim_start()
                ),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_keep_in_the_file_stays_byte_for_byte() {
        let ledger = Ledger {
            full: Some("{}".into()),
            ..Ledger::default()
        };
        for text in [
            "{\"hooks\": {\"Stop\": true}}",
            "{\n\t// theirs\n\t\"enabled\": [\"x\"],\n}\n",
            "{\r\n    \"a\": 1\r\n}",
        ] {
            let with = written(Some(text), Some(&ledger), "/s").unwrap().unwrap();
            assert_eq!(Ledger::read(&with).unwrap(), Some(ledger.clone()), "{with}");
            let again = written(Some(&with), Some(&ledger), "/s").unwrap().unwrap();
            assert_eq!(again, with);
            assert_eq!(written(Some(&with), None, "/s").unwrap().unwrap(), text);
        }
        let new = written(None, Some(&ledger), "/s").unwrap().unwrap();
        assert_eq!(written(Some(&new), None, "/s").unwrap(), None);
    }
}
