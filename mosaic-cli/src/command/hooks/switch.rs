//! What a switch makes of the settings and of the ledger: texts to texts.
//!
//! The full text of `hooks` has every handler in it. What stands in the settings is that text without the
//! handlers that are off; so switching in any order leads back to the same bytes. Where somebody has changed
//! the settings since, the handlers that are off get the nearest places in what is there now.

use std::path::Path;

use jsonc_parser::common::Ranged;

use super::handlers::{Handler, handlers, with, with_command, without};
use super::ledger::{Before, Disabled, Ledger};
use super::ours::{OURS, Ours, of_command};
use crate::failure::Failure;
use crate::failure::suggest::{question, similar};
use crate::files::jsonc::{
    Container, Layout, insert, is_strict, line_indent, object, property, remove, replace,
};

/// All of ours.
pub const EVERY: &str = "mosaic";
const KEY: &str = "hooks";
const NONE: &str = "{}";

pub struct State {
    /// The settings; `None`: there is no such file.
    text: Option<String>,
    ledger: Ledger,
    /// The text of `hooks` with everything in it.
    full: String,
    unit: String,
    newline: String,
    one_line: bool,
    indent: String,
}

/// A hook as people see it.
pub struct Hook {
    pub id: String,
    pub handler: Handler,
    pub on: bool,
    pub ours: bool,
}

/// What the files shall be; `None`: nothing is left to be in it.
#[derive(Debug, PartialEq)]
pub struct After {
    pub settings: Option<String>,
    pub ledger: Option<Ledger>,
}

impl State {
    /// An error says where the settings are not what they should be.
    pub fn of(text: Option<String>, ledger: Option<Ledger>) -> Result<State, String> {
        let written = text.clone().unwrap_or_else(|| format!("{NONE}\n"));
        let (current, indent) = current(&written)?;
        let layout = Layout::of(&written);
        let mut state = State {
            ledger: ledger.unwrap_or_default(),
            full: current.clone().unwrap_or_else(|| NONE.to_owned()),
            unit: layout.unit.to_owned(),
            newline: layout.newline.to_owned(),
            one_line: layout.one_line,
            indent: indent.unwrap_or_else(|| layout.unit.to_owned()),
            text,
        };
        let current = state.full.clone();
        match state.ledger.full.clone() {
            Some(full) if state.fits(&full) && state.off(&full) == current => state.full = full,
            // It was to be taken out, and then was not.
            Some(full) if full == current => state.ledger.disabled.clear(),
            _ => {
                state.ledger.original = None;
                state.put_back()?;
            }
        }
        Ok(state)
    }

    /// Whether Claude Code reads the settings.
    pub fn is_read(&self) -> bool {
        self.text.as_deref().is_none_or(is_strict)
    }

    /// Whether the settings switch every hook off.
    pub fn all_are_off(&self) -> bool {
        let Some(text) = &self.text else {
            return false;
        };
        object(text).is_ok_and(|root| {
            property(&root, "disableAllHooks")
                .and_then(|(_, value)| value.as_boolean_lit())
                .is_some_and(|value| value.value)
        })
    }

    fn layout(&self) -> Layout<'_> {
        Layout {
            newline: &self.newline,
            unit: &self.unit,
            one_line: self.one_line,
        }
    }

    /// Whether a text has each handler that is off where the ledger says.
    fn fits(&self, full: &str) -> bool {
        let all = handlers(full);
        self.ledger.disabled.iter().all(|off| {
            all.iter()
                .any(|handler| handler.is_at(&off.handler) && handler.text == off.handler.text)
        })
    }

    /// A full text without what is off.
    fn off(&self, full: &str) -> String {
        let off = self.ledger.disabled.iter();
        without(full, off.map(|off| off.handler.clone()).collect())
    }

    /// Puts what is off into the text of now.
    fn put_back(&mut self) -> Result<(), String> {
        self.ledger
            .disabled
            .sort_by_key(|off| (off.handler.group, off.handler.number));
        for off in &self.ledger.disabled {
            let placed = with(&self.full, &off.handler, false, self.layout(), &self.indent);
            self.full = placed.ok_or_else(|| {
                format!("\"{}\" is not a list of hooks any more", off.handler.event)
            })?;
        }
        self.find_places();
        Ok(())
    }

    /// Looks up where in the full text each handler is that is off.
    fn find_places(&mut self) {
        let all = handlers(&self.full);
        let mut taken = vec![false; all.len()];
        for off in &mut self.ledger.disabled {
            let wanted = &off.handler;
            let place = (0..all.len())
                .filter(|at| !taken[*at])
                .filter(|at| all[*at].event == wanted.event && all[*at].text == wanted.text)
                .min_by_key(|at| {
                    let found = &all[*at];
                    (
                        found.group.abs_diff(wanted.group),
                        found.number.abs_diff(wanted.number),
                    )
                });
            if let Some(at) = place {
                taken[at] = true;
                off.handler = all[at].clone();
            }
        }
    }

    pub fn hooks(&self) -> Vec<Hook> {
        let mut found: Vec<Hook> = Vec::new();
        for handler in handlers(&self.full) {
            let ours = of_command(&handler.command).filter(|ours| ours.event == handler.event);
            let id = match ours {
                Some(ours) => ours.id.to_owned(),
                None => {
                    let others = found
                        .iter()
                        .filter(|hook| !hook.ours && hook.handler.event == handler.event);
                    format!("{}.{}", handler.event, others.count() + 1)
                }
            };
            let off = self.ledger.disabled.iter();
            found.push(Hook {
                id,
                on: !off.into_iter().any(|off| off.handler.is_at(&handler)),
                ours: ours.is_some(),
                handler,
            });
        }
        found
    }

    pub fn switch(mut self, names: &[String], on: bool, program: &Path) -> Result<After, Failure> {
        let hooks = self.hooks();
        let mut chosen: Vec<Handler> = Vec::new();
        let mut new: Vec<&Ours> = Vec::new();
        let mut every = false;
        for name in names {
            every |= name == EVERY;
            let meant: Vec<&Hook> = hooks
                .iter()
                .filter(|hook| {
                    hook.id == *name || hook.handler.event == *name || (name == EVERY && hook.ours)
                })
                .collect();
            let missing: Vec<&Ours> = OURS
                .iter()
                .filter(|ours| ours.id == name || name == EVERY)
                .filter(|ours| !hooks.iter().any(|hook| hook.id == ours.id))
                .collect();
            if meant.is_empty() && missing.is_empty() {
                return Err(unknown(name, &hooks));
            }
            chosen.extend(meant.iter().map(|hook| hook.handler.clone()));
            new.extend(missing);
        }
        match on {
            true => self.enable(&chosen, &new, program)?,
            false if every => {
                self.disable(&hooks, &chosen);
                self.forget_ours(&hooks);
            }
            false => self.disable(&hooks, &chosen),
        }
        Ok(self.written())
    }

    fn enable(&mut self, chosen: &[Handler], new: &[&Ours], program: &Path) -> Result<(), Failure> {
        self.ledger
            .disabled
            .retain(|off| !chosen.iter().any(|handler| handler.is_at(&off.handler)));
        if !new.is_empty() && !self.has_ours() {
            self.ledger.original = Some(self.full.clone());
            self.ledger.before = self.before();
        }
        for ours in new {
            let handler = ours.handler(program, self.layout(), &self.indent);
            let full = with(&self.full, &handler, true, self.layout(), &self.indent);
            self.full = full.ok_or_else(|| {
                Failure::usage(format!("\"{}\" of the hooks is not a list", ours.event))
                    .detail("Claude Code takes a list there. Nothing was changed.")
            })?;
        }
        // A program that was moved is called where it is now.
        for handler in chosen {
            if let Some(ours) = of_command(&handler.command)
                && handler.command != ours.command(program)
                && let Some(full) = with_command(&self.full, handler, &ours.command(program))
            {
                self.full = full;
            }
        }
        Ok(())
    }

    fn disable(&mut self, hooks: &[Hook], chosen: &[Handler]) {
        for hook in hooks.iter().filter(|hook| hook.on) {
            if chosen.iter().any(|handler| handler.is_at(&hook.handler)) {
                self.ledger.disabled.push(Disabled {
                    id: hook.id.clone(),
                    handler: hook.handler.clone(),
                });
            }
        }
    }

    /// Leaves the full text as if ours had never been there.
    fn forget_ours(&mut self, hooks: &[Hook]) {
        let ours = hooks.iter().filter(|hook| hook.ours);
        let ours: Vec<Handler> = ours.map(|hook| hook.handler.clone()).collect();
        self.ledger
            .disabled
            .retain(|off| !ours.iter().any(|handler| handler.is_at(&off.handler)));
        self.full = match self.ledger.original.take() {
            Some(original) => original,
            None => without(&self.full, ours),
        };
        self.find_places();
    }

    fn has_ours(&self) -> bool {
        self.hooks().iter().any(|hook| hook.ours)
    }

    fn before(&self) -> Before {
        let Some(text) = &self.text else {
            return Before::NoFile;
        };
        match object(text) {
            Ok(root) if root.properties.is_empty() => Before::Empty(text.clone()),
            Ok(root) if property(&root, KEY).is_none() => Before::NoHooks,
            _ => Before::Hooks,
        }
    }

    fn written(mut self) -> After {
        let hooks = self.off(&self.full);
        let has_ours = self.has_ours();
        let settings = self.settings(&hooks, has_ours);
        if !has_ours {
            self.ledger.original = None;
            self.ledger.before = Before::Hooks;
        }
        let is_needed = has_ours || !self.ledger.disabled.is_empty();
        self.ledger.full = Some(self.full);
        After {
            settings,
            ledger: is_needed.then_some(self.ledger),
        }
    }

    fn settings(&self, hooks: &str, has_ours: bool) -> Option<String> {
        let text = match &self.text {
            Some(text) => text.clone(),
            None if hooks == NONE => return None,
            None => format!("{NONE}\n"),
        };
        // It was read before.
        let Ok(root) = object(&text) else {
            return self.text.clone();
        };
        let is_bare = object(hooks).is_ok_and(|hooks| hooks.properties.is_empty());
        Some(match property(&root, KEY) {
            Some((at, _)) if is_bare && !has_ours && self.ledger.before != Before::Hooks => {
                match (&self.ledger.before, root.properties.len()) {
                    (Before::NoFile, 1) => return None,
                    (Before::Empty(before), 1) => before.clone(),
                    _ => remove(&text, &Container::from(&root), at),
                }
            }
            Some((_, value)) => replace(&text, value, hooks),
            None if is_bare => text,
            None => insert(
                &text,
                &Container::from(&root),
                usize::MAX,
                self.layout(),
                "",
                |line| match line {
                    Some(_) => format!("\"{KEY}\": {hooks}"),
                    None => format!("\"{KEY}\":{hooks}"),
                },
            ),
        })
    }
}

/// The text of `hooks` and the indentation of its line.
fn current(text: &str) -> Result<(Option<String>, Option<String>), String> {
    let root = object(text)?;
    let first = root.properties.first();
    let beside = first.map(|first| line_indent(text, first.start()).to_owned());
    let Some((at, value)) = property(&root, KEY) else {
        return Ok((None, beside));
    };
    if value.as_object().is_none() {
        let before = &text[..value.start()];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        return Err(format!(
            "line {line}, column {column}: \"{KEY}\" is not an object"
        ));
    }
    let indent = line_indent(text, root.properties[at].start());
    Ok((Some(value.text(text).to_owned()), Some(indent.to_owned())))
}

fn unknown(name: &str, hooks: &[Hook]) -> Failure {
    let names = hooks
        .iter()
        .flat_map(|hook| [hook.id.as_str(), hook.handler.event.as_str()])
        .chain(OURS.iter().map(|ours| ours.id))
        .chain([EVERY]);
    let failure = Failure::usage(format!("there is no hook {name:?}"))
        .detail("Nothing was changed. The hooks of plugins are switched with their plugin.");
    failure.hint(
        question(&similar(name, names))
            .unwrap_or_else(|| "`mosaic config hooks list` shows them.".to_owned()),
    )
}
