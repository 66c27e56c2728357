//! Who claims, and which cards are fit: the flags that `claim` and `run` share.

use clap::Args;

use crate::database::call::Call;
use crate::environment::actor::identity;
use crate::input::{duration, filled, item, name};

/// Who claims, and which cards are fit.
#[derive(Args)]
pub struct Wanted {
    /// Who claims [default: MOSAIC_AGENT, else user@host]
    #[arg(long, value_name = "NAME", value_parser = name)]
    worker: Option<String>,

    /// How long the lease lasts unless it is renewed: 90s, 15m, 2h, 1d
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "15m")]
    pub ttl: u64,

    /// Only cards of this phase
    #[arg(long, value_parser = filled)]
    phase: Option<String>,

    /// Only cards that carry this label (repeatable: all of them)
    #[arg(long = "label", value_name = "LABEL", value_parser = item, value_delimiter = ',')]
    labels: Vec<String>,

    /// A capability of this worker (repeatable); cards that require others are skipped
    #[arg(long, value_name = "CAPABILITY", value_parser = item, value_delimiter = ',')]
    offers: Vec<String>,
}

impl Wanted {
    pub fn worker(&self) -> String {
        self.worker.clone().unwrap_or_else(identity)
    }

    pub fn call(&self, max: i32) -> Call {
        Call::new("backlog_claim")
            .text("worker", self.worker())
            .seconds("ttl", Some(self.ttl))
            .int("max_cards", max)
            .text("phase", self.phase.clone())
            .texts("labels", self.labels.clone())
            .texts("offers", self.offers.clone())
    }
}
