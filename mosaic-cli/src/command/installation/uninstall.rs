//! `mosaic uninstall`: everything of ours away again, but for the data.
//!
//! What stands in files of others, this program takes out. Files of ours, the installed copy of `install.sh` removes,
//! which does so without a program as well.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::{Value, json};

use super::place::Place;
use super::previous::of_server;
use super::receipt::{self, Receipt};
use crate::agents;
use crate::command::hooks;
use crate::database::embedded::{Cluster, Home};
use crate::failure::{Code, Exit, Failure};
use crate::input::prompt;
use crate::output::error::whole;
use crate::output::notes::warn;
use crate::output::reply::Reply;
use crate::output::screen::{Screen, one_line};
use crate::output::selection::{Prints, Selection};

/// Remove what install.sh installed, and our hooks; the data stays
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic uninstall --dry-run
  mosaic uninstall --yes

Asks first. Without a terminal, it needs --yes or MOSAIC_ASSUME_YES=1.")]
pub struct Uninstall {
    /// Remove the embedded server's data and the settings as well
    #[arg(long)]
    purge: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    /// Only take out what stands in files of others; for install.sh
    #[arg(long, hide = true)]
    keep_files: bool,
}

/// What is ours in files of others: taking it out, and what it is called.
type Entry = (&'static str, fn() -> Result<bool, Failure>);

/// In this order.
const ENTRIES: &[Entry] = &[
    ("the hooks of Claude Code", hooks::take_out),
    ("the MCP entries of agents", agents::take_all_out),
];

/// The paths that go and those that stay.
struct Plan {
    removed: Vec<PathBuf>,
    kept: Vec<PathBuf>,
}

impl Uninstall {
    pub fn prints(&self) -> Prints {
        match self.dry_run {
            true => Prints::Report,
            false => Prints::Outcome,
        }
    }

    pub fn run(self, selection: &Selection) -> Result<Reply, Failure> {
        if self.keep_files {
            let (taken_out, failed) = take_out();
            return match failed.is_empty() {
                true => Ok(Reply::new(json!({"taken_out": taken_out}), |_, _| {
                    String::new()
                })),
                false => Err(
                    Failure::new(Code::WrongState, "some things could not be taken out")
                        .detail(failed.join(" ")),
                ),
            };
        }
        let place = Place::locate()?;
        let receipt = Receipt::read(&place.private.join(receipt::NAME)).unwrap_or_else(|failure| {
            warn(&whole(&failure));
            None
        });
        let home = Home::locate()?;
        let plan = Plan::of(&place, receipt.as_ref(), &home, self.purge);
        let entries: Value = ENTRIES.iter().map(|(name, _)| *name).collect();
        if self.dry_run {
            let document = document(&place, &plan, true, entries, &[]);
            return Ok(Reply::new(document, view));
        }
        let script = place.private.join("install.sh");
        if !script.is_file() {
            return Err(Failure::new(
                Code::WrongState,
                format!("{} is not there", script.display()),
            )
            .detail("It removes what was installed. Nothing was changed.")
            .hint("Run `install.sh --uninstall` of a clone of Mosaic."));
        }
        place.check_writable()?;
        if !(self.yes || selection.is_json() || selection.is_quiet()) {
            eprint!(
                "{}",
                view(
                    &document(&place, &plan, true, entries, &[]),
                    &Screen::stderr()
                )
            );
        }
        if !prompt::agreed("Go on?", self.yes)? {
            return Err(Failure::usage("nothing was removed").detail("The answer was no."));
        }
        let _lock = place.lock()?;
        if home.data_major()?.is_some() {
            Cluster::locate()?.stop()?;
        }
        let (taken_out, mut failed) = take_out();
        if let Err(failure) = remove_files(&script, &place, receipt.as_ref(), self.purge) {
            failed.push(whole(&failure));
        }
        for problem in &failed {
            warn(problem);
        }
        let document = document(&place, &plan, false, json!(taken_out), &failed);
        let is_left = !document["left"].as_array().is_none_or(Vec::is_empty);
        let exit = match failed.is_empty() && !is_left {
            true => Exit::Success,
            false => Exit::State,
        };
        Ok(Reply::exiting(document, view, exit))
    }
}

/// What was taken out, and what could not be, in sentences.
fn take_out() -> (Vec<&'static str>, Vec<String>) {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for &(name, take_out) in ENTRIES {
        match take_out() {
            Ok(true) => done.push(name),
            Ok(false) => {}
            Err(failure) => failed.push(format!("Left in place: {name}. {}", whole(&failure))),
        }
    }
    (done, failed)
}

fn remove_files(
    script: &Path,
    place: &Place,
    receipt: Option<&Receipt>,
    purge: bool,
) -> Result<(), Failure> {
    let cannot = |error: &io::Error| Failure::io(format!("cannot run {}", script.display()), error);
    let stdout = rustix::io::dup(io::stderr()).map_err(|error| cannot(&error.into()))?;
    let status = Command::new("sh")
        .arg(script)
        .arg("--uninstall")
        .args(purge.then_some("--purge"))
        .arg("--prefix")
        .arg(&place.prefix)
        .args(receipt.into_iter().flat_map(|receipt| &receipt.flags))
        .stdin(Stdio::null())
        .stdout(stdout)
        .status()
        .map_err(|error| cannot(&error))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::new(Code::Resource, "not everything could be removed").lasts(true)),
    }
}

impl Plan {
    fn of(place: &Place, receipt: Option<&Receipt>, home: &Home, purge: bool) -> Plan {
        let share = place.prefix.join("share");
        let mut removed = vec![place.program(), place.private.clone()];
        removed.extend(place.shared().into_iter().map(|file| share.join(file)));
        if let Some(pg_config) = receipt.and_then(Receipt::pg_config) {
            removed.extend(of_server(pg_config));
        }
        removed.extend([home.root.join("sessions"), home.downloads()]);
        let data = vec![home.data.clone(), home.gateway()];
        let mut plan = match purge {
            true => Plan {
                removed: [removed, data].concat(),
                kept: Vec::new(),
            },
            false => Plan {
                removed,
                kept: data,
            },
        };
        plan.removed.retain(|path| path.symlink_metadata().is_ok());
        plan.kept.retain(|path| path.exists());
        if let Some(ledger) = hooks::kept_off() {
            plan.kept.push(ledger);
        }
        plan
    }
}

fn document(
    place: &Place,
    plan: &Plan,
    dry_run: bool,
    taken_out: Value,
    failed: &[String],
) -> Value {
    let paths = |paths: &[PathBuf]| -> Vec<String> {
        let paths = paths.iter();
        paths
            .map(|path| path.to_string_lossy().into_owned())
            .collect()
    };
    let (left, removed): (Vec<PathBuf>, Vec<PathBuf>) = plan
        .removed
        .iter()
        .cloned()
        .partition(|path| !dry_run && path.symlink_metadata().is_ok());
    json!({
        "prefix": place.prefix.to_string_lossy(),
        "dry_run": dry_run,
        "removed": paths(&removed),
        "taken_out": taken_out,
        "kept": paths(&plan.kept),
        "left": paths(&left),
        "problems": failed,
    })
}

fn view(document: &Value, _: &Screen) -> String {
    let list = |key: &str| -> Vec<String> {
        let items = document[key].as_array().into_iter().flatten();
        items
            .filter_map(|item| Some(one_line(item.as_str()?)))
            .collect()
    };
    let share = format!("{}/share/", document["prefix"].as_str().unwrap_or_default());
    let (shared, removed): (Vec<String>, Vec<String>) = list("removed")
        .into_iter()
        .partition(|path| path.starts_with(&share));
    let mut lines = Vec::new();
    let verb = |would, did| {
        if document["dry_run"] == true {
            would
        } else {
            did
        }
    };
    for path in removed {
        lines.push(format!("{} {path}", verb("removes", "removed")));
    }
    if !shared.is_empty() {
        lines.push(format!(
            "{} {} files below {share}",
            verb("removes", "removed"),
            shared.len()
        ));
    }
    for entry in list("taken_out") {
        lines.push(format!("{} {entry}", verb("takes out", "took out")));
    }
    for path in list("kept") {
        lines.push(format!("{} {path}", verb("keeps", "kept")));
    }
    for path in list("left") {
        lines.push(format!("could not remove {path}"));
    }
    lines.join("\n") + "\n"
}
