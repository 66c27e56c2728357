//! The steps of an update from where files are replaced, one after the other. If one fails, the previous version is
//! put back.

use super::backlog::Backlog;
use super::place::{Lock, Place};
use super::previous::Previous;
use super::receipt::Receipt;
use super::source::{Offer, Source};
use super::successor::Successor;
use crate::failure::Failure;
use crate::output::notes::say;

pub struct Run<'a> {
    pub place: &'a Place,
    pub lock: &'a Lock,
    pub receipt: &'a Receipt,
    pub source: &'a Source,
    pub offer: &'a Offer,
    pub backlogs: &'a [Backlog],
}

pub type Step = fn(&Run) -> Result<(), Failure>;

pub const STEPS: &[Step] = &[keep, install, introduce, migrate, read];

fn keep(run: &Run) -> Result<(), Failure> {
    Previous::of(run.place).keep(run.receipt)
}

fn install(run: &Run) -> Result<(), Failure> {
    run.source.install(&run.place.prefix, run.receipt, run.lock)
}

/// The new program says that it is what was announced.
fn introduce(run: &Run) -> Result<(), Failure> {
    let successor = successor(run);
    let version = successor.version()?;
    if version == run.offer.version {
        return Ok(());
    }
    Err(Failure::internal(format!(
        "{} is version {version}, and not {}",
        successor.0.display(),
        run.offer.version
    )))
}

fn migrate(run: &Run) -> Result<(), Failure> {
    for backlog in run.backlogs {
        say(&format!(
            "bringing the backlog in {} to version {}",
            backlog.home.root.display(),
            run.offer.version
        ));
        successor(run).migrate()?;
    }
    Ok(())
}

/// A server that did not run does not run afterwards.
fn read(run: &Run) -> Result<(), Failure> {
    for backlog in run.backlogs {
        successor(run).read()?;
        if !backlog.is_running {
            successor(run).stop()?;
        }
    }
    Ok(())
}

fn successor(run: &Run) -> Successor {
    Successor(run.place.program())
}
