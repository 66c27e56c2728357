//! The files: where they are, whether they may be written, what is kept of them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::ledger::{self, Ledger};
use super::switch::{After, State};
use crate::agents::claude::claude_home;
use crate::database::embedded::Home;
use crate::environment::filled;
use crate::failure::{Code, Failure, sentence};
use crate::files::replacement::resolved;
use crate::files::rewrite::{self, Change, rewrite, rewrite_in_turn};
use crate::files::user_file::{self, malformed, text};

pub const SETTINGS: &str = "settings.json";
pub const LEDGER: &str = "hooks-config.json";

const BACKUPS: usize = 10;

pub struct Files {
    pub settings: PathBuf,
    pub ledger: PathBuf,
}

impl Files {
    /// Where links lead.
    pub fn locate() -> Result<Files, Failure> {
        let folder = claude_home()?;
        Ok(Files {
            settings: resolved(&folder.join(SETTINGS))?,
            ledger: resolved(&folder.join(LEDGER))?,
        })
    }

    pub fn state(&self) -> Result<State, Failure> {
        let text = text(rewrite::read(&self.settings)?.as_deref(), &self.settings)?;
        self.state_of(text, self.read_ledger()?)
    }

    fn state_of(&self, text: Option<String>, ledger: Option<Ledger>) -> Result<State, Failure> {
        State::of(text, ledger).map_err(|reason| malformed(&self.settings, &reason))
    }

    fn read_ledger(&self) -> Result<Option<Ledger>, Failure> {
        match text(rewrite::read(&self.ledger)?.as_deref(), &self.ledger)? {
            Some(text) => Ledger::read(&text).map_err(|reason| malformed(&self.ledger, &reason)),
            None => Ok(None),
        }
    }

    /// The settings before and after what `switch` does, which is not done.
    pub fn preview(
        &self,
        switch: impl Fn(State) -> Result<After, Failure>,
    ) -> Result<(String, String), Failure> {
        self.check()?;
        let before = text(rewrite::read(&self.settings)?.as_deref(), &self.settings)?;
        let after = switch(self.state_of(before.clone(), self.read_ledger()?)?)?;
        Ok((
            before.unwrap_or_default(),
            after.settings.unwrap_or_default(),
        ))
    }

    /// Writes what `switch` makes of the settings. What is taken out of them stands in the ledger first, and what
    /// is put back leaves it last, so that a crash in between loses nothing.
    pub fn change(
        &self,
        takes_out: bool,
        switch: impl Fn(State) -> Result<After, Failure>,
    ) -> Result<bool, Failure> {
        self.check()?;
        if let Some(folder) = self.settings.parent() {
            rewrite::make_private(folder)?;
        }
        let ledger = self.read_ledger()?;
        let mut left = None;
        let changed = rewrite(&self.settings, 0o600, |bytes| {
            let before = text(bytes, &self.settings)?;
            let after = switch(self.state_of(before.clone(), ledger.clone())?)?;
            left = after.ledger;
            if after.settings == before {
                return Ok(Change::Nothing);
            }
            if takes_out {
                self.write_ledger(left.as_ref())?;
            }
            if let Some(bytes) = bytes {
                back_up(bytes)?;
            }
            Ok(match after.settings {
                None => Change::Removed,
                Some(after) => Change::To(user_file::bytes(bytes, &after)),
            })
        })?;
        self.write_ledger(left.as_ref())?;
        Ok(changed)
    }

    fn write_ledger(&self, ledger: Option<&Ledger>) -> Result<(), Failure> {
        let settings = self.settings.to_string_lossy();
        rewrite_in_turn(&self.ledger, 0o600, |bytes| {
            let before = text(bytes, &self.ledger)?;
            let after = ledger::written(before.as_deref(), ledger, &settings)
                .map_err(|reason| malformed(&self.ledger, &reason))?;
            Ok(match after {
                after if after == before => Change::Nothing,
                None => Change::Removed,
                Some(after) => Change::To(user_file::bytes(bytes, &after)),
            })
        })?;
        Ok(())
    }

    /// Refuses what is not the user's to change, before anything is.
    fn check(&self) -> Result<(), Failure> {
        for file in [&self.settings, &self.ledger] {
            check_place(file)?;
            user_file::check_writable(
                file,
                "Put the hooks where that program takes the file from; --dry-run shows them.",
            )?;
        }
        Ok(())
    }
}

/// A link may lead about in the user's home, and nowhere else.
fn check_place(file: &Path) -> Result<(), Failure> {
    let named = ["CLAUDE_HOME", "CLAUDE_CONFIG_DIR"]
        .iter()
        .any(|name| filled(name).is_some());
    let roots: Vec<PathBuf> = named.then(claude_home).transpose()?.into_iter().collect();
    user_file::check_place(
        file,
        &roots,
        "CLAUDE_HOME names the folder, if that is intended.",
    )
}

/// Keeps the settings of before, and of those kept the newest.
fn back_up(bytes: &[u8]) -> Result<(), Failure> {
    let folder = Home::locate()?.gateway().join("backups/claude");
    rewrite::make_private(&folder)?;
    let name = Utc::now().format("settings-%Y%m%dT%H%M%S%.6fZ.json");
    let file = folder.join(name.to_string());
    let cannot = |error: std::io::Error| {
        Failure::new(Code::Resource, format!("cannot write {}", file.display())).detail(format!(
            "{} The settings were not changed.",
            sentence(&error)
        ))
    };
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .and_then(|mut open| open.write_all(bytes))
        .map_err(cannot)?;
    let mut kept: Vec<PathBuf> = fs::read_dir(&folder)
        .map_err(cannot)?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    kept.sort();
    for old in kept.iter().rev().skip(BACKUPS) {
        let _ = fs::remove_file(old);
    }
    Ok(())
}
