//! Where a new version comes from.

mod clone;
mod offer;

use std::path::Path;

use super::place::Lock;
use super::receipt::Receipt;
use crate::failure::Failure;

use clone::Clone;

pub use offer::Offer;

pub enum Source {
    /// Git brings it, and `install.sh` builds it.
    Clone(Clone),
}

impl Source {
    /// The one that was named, else that of the receipt. Refuses what an update could not come from.
    pub fn of(receipt: &Receipt, named: Option<&Path>) -> Result<Source, Failure> {
        Clone::open(named.unwrap_or(&receipt.clone), named.is_some()).map(Source::Clone)
    }

    pub fn folder(&self) -> &Path {
        match self {
            Source::Clone(clone) => clone.folder(),
        }
    }

    /// The newest version. Changes nothing that is built or installed.
    pub fn offer(&self, receipt: &Receipt) -> Result<Offer, Failure> {
        match self {
            Source::Clone(clone) => clone.offer(receipt),
        }
    }

    /// Gets it.
    pub fn bring(&self, offer: &Offer, lock: &Lock) -> Result<(), Failure> {
        match self {
            Source::Clone(clone) => clone.bring(offer, lock),
        }
    }

    /// Puts it in the place of the installed one.
    pub fn install(&self, prefix: &Path, receipt: &Receipt, lock: &Lock) -> Result<(), Failure> {
        match self {
            Source::Clone(clone) => clone.install(prefix, receipt, lock),
        }
    }
}
