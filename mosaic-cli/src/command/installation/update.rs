//! `mosaic update`: to the newest version, and back.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::backlog::{Backlog, scripts};
use super::place::Place;
use super::previous::{Extension, Previous};
use super::receipt::Receipt;
use super::source::{Offer, Source};
use super::steps::{Run, STEPS};
use super::successor::Successor;
use crate::database::store::{self, Address, Choice};
use crate::failure::{Exit, Failure};
use crate::input::filled;
use crate::output::error::whole;
use crate::output::notes::{say, warn};
use crate::output::reply::Reply;
use crate::output::screen::{Screen, one_line};
use crate::output::selection::Prints;

/// Install the newest version in the place of this one
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic update --check
  mosaic update
  mosaic update --rollback

Gets it from the clone that this version was installed from, with the flags that install.sh had
then. The fleet may work meanwhile. Embedded backlogs are migrated; if the new program does not
answer then, the old one is put back.

Exit code of --check: 0 if there is something new, 3 if not.")]
pub struct Update {
    /// Say what would change, and change nothing
    #[arg(long)]
    check: bool,

    /// The clone to update from, from now on [default: the one it was installed from]
    #[arg(long, value_name = "DIR", value_parser = filled)]
    source: Option<String>,

    /// Put back the version that the last update replaced
    #[arg(long, conflicts_with_all = ["check", "source"])]
    rollback: bool,
}

impl Update {
    pub fn prints(&self) -> Prints {
        match self.check {
            true => Prints::Report,
            false => Prints::Outcome,
        }
    }

    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let place = Place::locate()?;
        if self.rollback {
            return roll_back(&place);
        }
        let receipt = Receipt::of(&place)?;
        let lock = match self.check {
            true => None,
            false => {
                place.check_writable()?;
                Some(place.lock()?)
            }
        };
        let named = self.source.map(PathBuf::from);
        let source = Source::of(&receipt, named.as_deref())?;
        let offer = source.offer(&receipt)?;
        let backlogs = Backlog::all()?;
        let is_cut_off = Previous::of(&place).is_cut_off();
        let is_new = is_cut_off || is_new(&receipt, &source, &offer);
        let mut plan = plan(&receipt, &source, &offer, &backlogs, is_new);
        plan["cut_off"] = json!(is_cut_off);
        let Some(lock) = lock else {
            let exit = match is_new {
                true => Exit::Success,
                false => Exit::NoWork,
            };
            return Ok(Reply::exiting(plan, view, exit));
        };
        if is_new {
            say(view(
                &plan,
                &Screen {
                    width: None,
                    colour: false,
                },
            )
            .trim_end());
            source.bring(&offer, &lock)?;
            let run = Run {
                place: &place,
                lock: &lock,
                receipt: &receipt,
                source: &source,
                offer: &offer,
                backlogs: &backlogs,
            };
            let done = STEPS.iter().try_for_each(|step| step(&run));
            if let Err(failure) = done {
                return Err(undone(&place, &backlogs, failure));
            }
            Previous::of(&place).unmark()?;
            plan["updated"] = json!(true);
            remind_of_the_external(address);
        }
        Ok(Reply::new(plan, view))
    }
}

fn is_new(receipt: &Receipt, source: &Source, offer: &Offer) -> bool {
    receipt.dirty
        || receipt.commit.as_deref() != Some(&offer.commit)
        || receipt.clone.canonicalize().ok().as_deref() != Some(source.folder())
}

fn plan(
    receipt: &Receipt,
    source: &Source,
    offer: &Offer,
    backlogs: &[Backlog],
    is_new: bool,
) -> Value {
    let older: Vec<&Backlog> = backlogs
        .iter()
        .filter(|backlog| is_new && backlog.is_older_than(&offer.version))
        .collect();
    let from = match older.first().and_then(|backlog| backlog.version.as_deref()) {
        Some(version) => version,
        None => &receipt.version,
    };
    json!({
        "new": is_new,
        "updated": false,
        "cut_off": false,
        "source": source.folder().to_string_lossy(),
        "from": receipt.to_json(),
        "to": {"version": offer.version, "commit": offer.commit},
        "commits": offer.commits,
        "migrations": scripts(&offer.scripts, from, &offer.version),
        "backlogs": older.iter().map(|backlog| backlog.to_json(&offer.version)).collect::<Vec<_>>(),
    })
}

fn named(side: &Value) -> String {
    let version = one_line(side["version"].as_str().unwrap_or_default());
    match side["commit"].as_str() {
        Some(commit) => format!(
            "{version} ({})",
            one_line(commit.get(..7).unwrap_or(commit))
        ),
        None => version,
    }
}

fn view(plan: &Value, _: &Screen) -> String {
    let (from, to) = (named(&plan["from"]), named(&plan["to"]));
    if plan["new"] != true {
        return format!("{to} is the newest\n");
    }
    let done = plan["updated"] == true;
    let mut text = match done {
        true => format!("updated from {from} to {to}"),
        false => format!("from {from} to {to}"),
    };
    if plan["cut_off"] == true && !done {
        text.push_str(", as an update was cut off");
    }
    match plan["commits"].as_u64() {
        Some(1) => text.push_str(", 1 commit"),
        Some(count) => text.push_str(&format!(", {count} commits")),
        None => {}
    }
    let source = one_line(plan["source"].as_str().unwrap_or_default());
    text.push_str(&format!(", out of {source}\n"));
    let list = |key: &str| plan[key].as_array().cloned().unwrap_or_default();
    for script in list("migrations") {
        text.push_str(&format!(
            "extension: {}\n",
            one_line(script.as_str().unwrap_or_default())
        ));
    }
    for backlog in list("backlogs") {
        let field = |key: &str| one_line(backlog[key].as_str().unwrap_or("?"));
        text.push_str(&format!(
            "backlog {}: {} from version {} to {}\n",
            field("home"),
            if done { "migrated" } else { "is migrated" },
            field("from"),
            field("to")
        ));
    }
    text
}

/// Nobody migrates a shared server in passing.
fn remind_of_the_external(address: &Address) {
    if let Ok(Choice::External(_)) = store::choose(address) {
        warn(
            "the server in DATABASE_URL was left alone: `mosaic db migrate` brings it to this version once it has the extension's new files",
        );
    }
}

/// Puts the previous version back after a step that failed.
fn undone(place: &Place, backlogs: &[Backlog], failure: Failure) -> Failure {
    let why = whole(&failure);
    let told = match put_back(place, backlogs) {
        Ok(None) => "The previous version works again.".to_owned(),
        Ok(Some(newer)) => format!(
            "The previous program works again, with version {newer} of the extension, to which cards may have been migrated."
        ),
        Err(failure) => format!(
            "The previous version could not be put back: {} `mosaic update --rollback` tries again.",
            whole(&failure)
        ),
    };
    Failure::new(failure.code, "the update failed")
        .lasts(failure.lasts)
        .detail(format!("{why} {told}"))
        .hint("`mosaic update` starts again.")
}

/// Tells the version of the extension's files where they stayed.
fn put_back(place: &Place, backlogs: &[Backlog]) -> Result<Option<String>, Failure> {
    let previous = Previous::of(place);
    if previous.receipt()?.is_none() {
        // Nothing was replaced yet.
        return Ok(None);
    }
    let extension = previous.put_back()?;
    if extension
        == (Extension::Back {
            library_changed: true,
        })
    {
        // What a newer library keeps in shared memory, an older one may not understand.
        for _ in backlogs.iter().filter(|backlog| backlog.is_running) {
            let program = Successor(place.program());
            program.stop()?;
            program.start()?;
        }
    }
    previous.unmark()?;
    Ok(match extension {
        Extension::Newer(version) => Some(version),
        Extension::Back { .. } => None,
    })
}

fn roll_back(place: &Place) -> Result<Reply, Failure> {
    place.check_writable()?;
    let _lock = place.lock()?;
    let previous = Previous::of(place);
    let now = Receipt::read(&place.private.join(super::receipt::NAME))?;
    let before = previous.receipt()?;
    let backlogs = Backlog::all()?;
    if before.is_none() {
        previous.put_back()?;
    }
    let kept = put_back(place, &backlogs)?;
    previous.forget()?;
    let side = |receipt: Option<Receipt>| receipt.map(|receipt| receipt.to_json());
    let document =
        json!({"rolled_back": true, "from": side(now), "to": side(before), "extension_kept": kept});
    Ok(Reply::new(document, |document, _| {
        let mut text = format!("back at {}\n", named(&document["to"]));
        if let Some(version) = document["extension_kept"].as_str() {
            text.push_str(&format!(
                "version {} of the extension stays, to which cards may have been migrated\n",
                one_line(version)
            ));
        }
        text
    }))
}
