//! The hooks of Claude Code: `mosaic config hooks` switches them, `mosaic hook` is what ours run.

mod examine;
mod files;
mod handlers;
mod ledger;
mod ours;
mod plugins;
mod run;
mod switch;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::agents::claude::claude_home;
use crate::failure::Failure;
use crate::files::diff::diff;
use crate::input::filled;
use crate::output::notes::warn;
use crate::output::reply::Reply;
use crate::output::screen::{Screen, one_line};
use crate::output::selection::Prints;
use crate::output::table::{Cell, Table};

pub use examine::examine;
pub use files::{LEDGER, SETTINGS};
pub use run::answer;

use crate::environment::this_program;
use files::Files;
use ours::{OURS, of_command};
use plugins::plugins;
use switch::EVERY;

#[derive(Subcommand)]
pub enum Verb {
    /// List the hooks of Claude Code: ours, your own and those of plugins
    #[command(after_help = "\
Example:
  mosaic config hooks list --json")]
    List,
    /// Switch hooks on; ours are put into the settings if they are not there
    #[command(after_help = "\
Examples:
  mosaic config hooks enable mosaic --dry-run
  mosaic config hooks enable PostToolUse.2

What was switched off comes back as it was, to the byte.")]
    Enable(Switch),
    /// Switch hooks off
    #[command(after_help = "\
Examples:
  mosaic config hooks disable PostToolUse.2
  mosaic config hooks disable mosaic

The text of the hook is kept in hooks-config.json, beside the settings. `disable mosaic` takes all of ours out and leaves the
settings as if they had never been there.")]
    Disable(Switch),
}

#[derive(Args)]
pub struct Switch {
    /// An id of `list`, an event (all its hooks), or `mosaic` (all of ours)
    #[arg(value_name = "NAME", required = true, value_parser = filled)]
    names: Vec<String>,

    /// Print what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb {
    pub fn prints(&self) -> Prints {
        match self {
            Verb::List => Prints::Report,
            Verb::Enable(switch) | Verb::Disable(switch) if switch.dry_run => Prints::Report,
            Verb::Enable(_) | Verb::Disable(_) => Prints::Outcome,
        }
    }

    pub fn run(self) -> Result<Reply, Failure> {
        match self {
            Verb::List => Ok(Reply::new(list(&Files::locate()?)?, view)),
            Verb::Enable(switch) => switch.run(true),
            Verb::Disable(switch) => switch.run(false),
        }
    }
}

impl Switch {
    fn run(self, on: bool) -> Result<Reply, Failure> {
        let files = Files::locate()?;
        if self.dry_run {
            let program = this_program::path()?;
            refuse_twice(&self.names, on)?;
            let (before, after) = files.preview(|state| state.switch(&self.names, on, &program))?;
            let diff = diff(&files.settings.to_string_lossy(), &before, &after);
            let document = json!({"settings": files.settings.to_string_lossy(),
                "changed": before != after, "dry_run": true, "diff": diff});
            return Ok(Reply::new(document, |document, _| {
                match document["diff"].as_str() {
                    None | Some("") => "nothing would change\n".to_owned(),
                    Some(diff) => diff.to_owned(),
                }
            }));
        }
        let changed = switch(&self.names, on)?;
        let mut document = list(&files)?;
        document["changed"] = json!(changed);
        Ok(Reply::new(document, view))
    }
}

/// Switches hooks; says whether that changed the settings.
pub fn switch(names: &[String], on: bool) -> Result<bool, Failure> {
    let program = this_program::path()?;
    refuse_twice(names, on)?;
    Files::locate()?.change(!on, |state| state.switch(names, on, &program))
}

/// How ours stand in the settings, and what switching all of them on would change.
pub struct Outlook {
    pub settings: PathBuf,
    /// How many of ours are on.
    pub on: usize,
    pub ours: usize,
    pub diff: String,
    /// Why they would not run all the same.
    pub note: Option<String>,
}

pub fn outlook() -> Result<Outlook, Failure> {
    let every = [EVERY.to_owned()];
    let files = Files::locate()?;
    let state = files.state()?;
    let on = state
        .hooks()
        .iter()
        .filter(|hook| hook.ours && hook.on)
        .count();
    let note = match (state.all_are_off(), state.is_read()) {
        (true, _) => Some("disableAllHooks is on in the settings: no hook runs.".to_owned()),
        (_, false) => Some(unread(&files)),
        _ => None,
    };
    let program = this_program::path()?;
    let preview = || {
        refuse_twice(&every, true)?;
        files.preview(|state| state.switch(&every, true, &program))
    };
    let diff = match preview() {
        Ok((before, after)) => diff(&files.settings.to_string_lossy(), &before, &after),
        // There is nothing to change.
        Err(_) if on == OURS.len() => String::new(),
        Err(failure) => return Err(failure),
    };
    Ok(Outlook {
        settings: files.settings,
        on,
        ours: OURS.len(),
        diff,
        note,
    })
}

fn unread(files: &Files) -> String {
    format!(
        "Claude Code takes nothing from {}: it has comments, or a comma at the end of a list",
        files.settings.display()
    )
}

/// Switches all of ours on.
pub fn enable_all() -> Result<(), Failure> {
    switch(&[EVERY.to_owned()], true).map(|_| ())
}

/// Takes all of ours out, as if they had never been there; says whether there were any.
pub fn take_out() -> Result<bool, Failure> {
    let files = Files::locate()?;
    if !files.state()?.hooks().iter().any(|hook| hook.ours) {
        return Ok(false);
    }
    switch(&[EVERY.to_owned()], false)?;
    Ok(true)
}

/// The file that keeps hooks of the user's own that are off, if there are some.
pub fn kept_off() -> Option<PathBuf> {
    let files = Files::locate().ok()?;
    let hooks = files.state().ok()?.hooks();
    let is_kept = hooks.iter().any(|hook| !hook.ours && !hook.on);
    is_kept.then_some(files.ledger)
}

/// A plugin that brings ours would run them a second time.
fn refuse_twice(names: &[String], on: bool) -> Result<(), Failure> {
    let ours = names
        .iter()
        .any(|name| name == EVERY || OURS.iter().any(|ours| ours.id == name));
    if !on || !ours {
        return Ok(());
    }
    let plugin = plugins(&claude_home()?).into_iter().find(|plugin| {
        plugin.on
            && plugin
                .hooks
                .iter()
                .any(|hook| of_command(&hook.command).is_some())
    });
    match plugin {
        Some(plugin) => Err(Failure::usage(format!(
            "the plugin {} already has these hooks",
            plugin.name
        ))
        .detail("They would run twice. Nothing was changed.")),
        None => Ok(()),
    }
}

fn list(files: &Files) -> Result<Value, Failure> {
    let state = files.state()?;
    if !state.is_read() {
        warn(&unread(files));
    }
    let hooks = state.hooks();
    let mut listed: Vec<Value> = hooks
        .iter()
        .map(|hook| {
            let handler = &hook.handler;
            json!({"id": hook.id, "event": handler.event, "matcher": handler.matcher,
                "type": handler.kind, "command": handler.command, "on": hook.on,
                "source": if hook.ours { "mosaic" } else { "user" }, "switchable": true})
        })
        .collect();
    let missing = OURS
        .iter()
        .filter(|ours| !hooks.iter().any(|hook| hook.id == ours.id));
    for ours in missing {
        listed.push(json!({"id": ours.id, "event": ours.event, "matcher": null,
            "type": "command", "command": ours.command(&this_program::path()?), "on": false,
            "source": "mosaic", "switchable": true}));
    }
    for plugin in plugins(&claude_home()?) {
        for (number, handler) in plugin.hooks.iter().enumerate() {
            listed.push(json!({"id": format!("{}:{}", plugin.name, number + 1),
                "event": handler.event, "matcher": handler.matcher, "type": handler.kind,
                "command": handler.command, "on": plugin.on,
                "source": format!("plugin {}", plugin.name), "switchable": false}));
        }
    }
    Ok(json!({"settings": files.settings.to_string_lossy(),
        "disable_all_hooks": state.all_are_off(), "hooks": listed}))
}

fn view(document: &Value, screen: &Screen) -> String {
    let mut text = String::new();
    if document["disable_all_hooks"] == true {
        text.push_str("disableAllHooks is on in the settings: no hook runs.\n");
    }
    let heads = ["HOOK", "ON", "EVENT", "MATCHER", "FROM", "COMMAND"];
    let mut table = Table::new(heads.map(str::to_owned), "COMMAND");
    for hook in document["hooks"].as_array().into_iter().flatten() {
        let field = |name: &str| one_line(hook[name].as_str().unwrap_or_default());
        let on = if hook["on"] == true { "on" } else { "off" };
        table.push(
            [
                field("id"),
                on.to_owned(),
                field("event"),
                field("matcher"),
                field("source"),
                field("command"),
            ]
            .map(Cell::plain),
        );
    }
    text + &table.render(screen)
}
