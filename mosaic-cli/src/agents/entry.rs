//! Our MCP server in the files of agents: what is there, putting it in, and taking it out without a trace.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::known::{AGENTS, Agent, Format, Level};
use super::ledger::{self, Before, Record};
use super::server::{Found, NAME};
use super::{json, toml};
use crate::environment::this_program;
use crate::failure::Failure;
use crate::files::diff::bare_diff;
use crate::files::jsonc::is_strict;
use crate::files::replacement::resolved;
use crate::files::rewrite::{self, Change, rewrite};
use crate::files::user_file::{bytes, check_place, check_writable, malformed, text};

/// In a longer one there is too much beside what changes.
const LONGEST_LINE: usize = 200;

/// What would be done to one file.
pub struct Edit {
    pub agent: &'static Agent,
    pub file: PathBuf,
    pub found: Found,
    pub note: Option<String>,
    entry: Value,
    level: Level,
    before: Option<String>,
    after: Option<String>,
}

/// What taking ours out of one file has come to.
pub struct Removal {
    pub agent: &'static Agent,
    pub file: PathBuf,
    /// Whether it was there.
    pub outcome: Result<bool, Failure>,
}

impl Edit {
    /// Looks, and changes nothing. `forwards` are the variables that our server has to get.
    pub fn plan(agent: &'static Agent, level: &Level, forwards: &[&str]) -> Result<Edit, Failure> {
        let (file, program) = match level {
            // Programs with windows do not have the PATH of a shell.
            Level::User => (
                agent.user_file()?,
                this_program::path()?.to_string_lossy().into_owned(),
            ),
            // Others have it elsewhere.
            Level::Repository(root) => (agent.project_file(root), NAME.to_owned()),
        };
        let file = resolved(&file)?;
        let entry = agent.entry(level, &program, forwards);
        let before = text(rewrite::read(&file)?.as_deref(), &file)?;
        let mut edit = Edit {
            agent,
            found: agent
                .look(before.as_deref(), &entry)
                .map_err(|reason| malformed(&file, &reason))?,
            file,
            note: None,
            entry,
            level: level.clone(),
            before,
            after: None,
        };
        if matches!(edit.found, Found::Nothing | Found::Older) {
            edit.check()?;
            // One that cannot be read would keep this from being written.
            ledger::records()?;
            let after = agent.put(edit.before.as_deref(), &edit.entry);
            edit.after = Some(after.map_err(|reason| edit.unclear(&reason))?);
        }
        // Of a file with comments, Claude Code takes nothing.
        if agent.name == "claude" && edit.before.as_deref().is_some_and(|text| !is_strict(text)) {
            edit.note = Some(format!(
                "{} takes nothing from this file: it has comments, or a comma at the end of a list",
                agent.title
            ));
        }
        Ok(edit)
    }

    /// What would change, and nothing beside it: that may hold the keys of other servers.
    pub fn diff(&self) -> String {
        let before = self.before.as_deref().unwrap_or_default();
        let after = self.after.as_deref().unwrap_or(before);
        let name = self.file.to_string_lossy();
        let is_long = before.lines().any(|line| line.len() > LONGEST_LINE);
        match self.found {
            Found::Nothing => insertion(&name, before, after),
            _ if is_long => format!("--- {name}\n+++ {name}\n+{NAME}: {}\n", self.entry),
            _ => bare_diff(&name, before, after),
        }
    }

    /// Puts ours in. What the file was is kept first, so that a crash in between leaves nothing that cannot be taken
    /// out again.
    pub fn write(&self) -> Result<(), Failure> {
        let mut record = Record {
            agent: self.agent.name.to_owned(),
            file: self.file.clone(),
            before: self.agent.before(self.before.as_deref()),
            folders: missing_folders(&self.file),
        };
        let is_new = self.found == Found::Nothing;
        if is_new {
            ledger::keep(&self.file, Some(&record))?;
        }
        if let Some(folder) = self.file.parent() {
            match self.level {
                Level::User => rewrite::make_private(folder)?,
                Level::Repository(_) => fs::create_dir_all(folder).map_err(|error| {
                    Failure::io(format!("cannot make {}", folder.display()), &error)
                })?,
            }
        }
        let mode = match self.level {
            Level::User => 0o600,
            Level::Repository(_) => 0o644,
        };
        let mut before = record.before.clone();
        rewrite(&self.file, mode, |found| {
            let now = text(found, &self.file)?;
            let seen = self
                .agent
                .look(now.as_deref(), &self.entry)
                .map_err(|reason| malformed(&self.file, &reason))?;
            if !matches!(seen, Found::Nothing | Found::Older) {
                return Ok(Change::Nothing);
            }
            before = self.agent.before(now.as_deref());
            let after = self.agent.put(now.as_deref(), &self.entry);
            let after = after.map_err(|reason| self.unclear(&reason))?;
            Ok(Change::To(bytes(found, &after)))
        })?;
        if is_new && before != record.before {
            record.before = before;
            ledger::keep(&self.file, Some(&record))?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
        let mut roots: Vec<PathBuf> = self.agent.folder().into_iter().collect();
        if let Level::Repository(root) = &self.level {
            roots.push(root.clone());
        }
        check_place(
            &self.file,
            &roots,
            "Change the file there by hand, if that is intended.",
        )?;
        check_writable(
            &self.file,
            "Put the entry where that program takes the file from.",
        )
    }

    fn unclear(&self, reason: &str) -> Failure {
        Failure::usage(format!(
            "{} cannot be added to: {reason}",
            self.file.display()
        ))
        .detail("Nothing was changed.")
        .hint(format!(
            "Put an entry into \"{}\" there by hand: {NAME}: {}",
            self.agent.servers, self.entry
        ))
    }
}

impl Agent {
    fn look(&self, text: Option<&str>, entry: &Value) -> Result<Found, String> {
        match self.format {
            Format::Json => json::look(text, self.servers, entry),
            Format::Toml => toml::look(text, self.servers, entry),
        }
    }

    fn before(&self, text: Option<&str>) -> Before {
        match self.format {
            // It was read before.
            Format::Json => json::before(text, self.servers).unwrap_or(Before::Servers),
            Format::Toml => toml::before(text),
        }
    }

    fn put(&self, text: Option<&str>, entry: &Value) -> Result<String, String> {
        match self.format {
            Format::Json => json::put(text, self.servers, entry),
            Format::Toml => toml::put(text, self.servers, entry),
        }
    }

    fn take_out(&self, text: &str, before: &Before) -> Result<Option<String>, String> {
        match self.format {
            Format::Json => json::take_out(text, self.servers, before),
            Format::Toml => toml::take_out(text, self.servers, before),
        }
    }
}

/// Takes our entry out of every file that has it: those that were written from here, and the user's file of every
/// known agent. Each file is one of its own: what fails at one is told in its place.
pub fn remove_all() -> Result<Vec<Removal>, Failure> {
    let mut places: Vec<(&'static Agent, PathBuf)> = Vec::new();
    for record in ledger::records()? {
        places.extend(Agent::named(&record.agent).map(|agent| (agent, record.file)));
    }
    for agent in &AGENTS {
        if let Ok(file) = agent.user_file().and_then(|file| resolved(&file)) {
            places.push((agent, file));
        }
    }
    remove(places)
}

/// Takes our entries out of all files; says whether there were any. One that cannot be taken out keeps none of
/// the others.
pub fn take_all_out() -> Result<bool, Failure> {
    let removals = remove_all()?;
    let mut was_there = false;
    for removal in removals {
        was_there |= removal.outcome?;
    }
    Ok(was_there)
}

/// Takes our entry out of the files of these agents at this level.
pub fn remove_from(agents: &[&'static Agent], level: &Level) -> Result<Vec<Removal>, Failure> {
    let mut places = Vec::new();
    for agent in agents {
        let file = match level {
            Level::User => agent.user_file()?,
            Level::Repository(root) => agent.project_file(root),
        };
        places.push((*agent, resolved(&file)?));
    }
    remove(places)
}

fn remove(places: Vec<(&'static Agent, PathBuf)>) -> Result<Vec<Removal>, Failure> {
    let records = ledger::records()?;
    let mut removals: Vec<Removal> = Vec::new();
    for (agent, file) in places {
        if removals.iter().any(|done| done.file == file) {
            continue;
        }
        let record = records.iter().find(|record| record.file == file);
        let outcome = take_out(agent, &file, record);
        removals.push(Removal {
            agent,
            file,
            outcome,
        });
    }
    // Those that were made for them, each only if nothing else is in it.
    let mut folders: Vec<&PathBuf> = records
        .iter()
        .filter(|record| !record.file.exists())
        .flat_map(|record| &record.folders)
        .collect();
    folders.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
    for folder in folders {
        let _ = fs::remove_dir(folder);
    }
    Ok(removals)
}

fn take_out(agent: &Agent, file: &Path, record: Option<&Record>) -> Result<bool, Failure> {
    let before = record.map_or(&Before::Servers, |record| &record.before);
    let mut removed = false;
    if file.exists() {
        rewrite(file, 0o600, |found| {
            let Some(now) = text(found, file)? else {
                return Ok(Change::Nothing);
            };
            let after = agent
                .take_out(&now, before)
                .map_err(|reason| malformed(file, &reason))?;
            removed = after.is_some();
            Ok(match after {
                None => Change::Nothing,
                Some(after) if after.is_empty() && *before == Before::NoFile => Change::Removed,
                Some(after) => Change::To(bytes(found, &after)),
            })
        })?;
    }
    if record.is_some() {
        ledger::keep(file, None)?;
    }
    Ok(removed)
}

/// What was put in, as a difference.
fn insertion(name: &str, before: &str, after: &str) -> String {
    let same = |(old, new): &(char, char)| old == new;
    let length = |(letter, _): (char, char)| letter.len_utf8();
    let ahead: usize = before
        .chars()
        .zip(after.chars())
        .take_while(same)
        .map(length)
        .sum();
    let ends = before[ahead..]
        .chars()
        .rev()
        .zip(after[ahead..].chars().rev());
    let behind: usize = ends.take_while(same).map(length).sum();
    let line = before[..ahead].matches('\n').count() + 1;
    // What sets it off is no part of it.
    let new = after[ahead..after.len() - behind]
        .trim_start_matches([',', ' ', '\r', '\n'])
        .trim_end();
    let new: String = new.lines().map(|line| format!("+{line}\n")).collect();
    format!("--- {name}\n+++ {name}\n@@ line {line} @@\n{new}")
}

/// The folders above a file that are not there, the innermost first.
fn missing_folders(file: &Path) -> Vec<PathBuf> {
    let above = file.ancestors().skip(1);
    above
        .take_while(|folder| !folder.exists())
        .map(Path::to_owned)
        .collect()
}
