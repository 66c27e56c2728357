//! `watch`: what goes on in the backlog, live: a screen for a person, or the events as JSON lines.

mod feed;
mod history;
mod live;
mod picture;
mod sections;
mod shown;
mod stream;
mod terminal;

use std::time::Duration;

use clap::Args;

use crate::database::store::Address;
use crate::failure::Failure;
use crate::input::{duration, filled};
use crate::output::reply::Reply;
use crate::output::selection::Selection;

/// Watch the backlog live, or follow its events as JSON lines
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog watch --phase beta
  mosaic backlog watch --json | jq -r .kind
  mosaic backlog watch --json --after CURSOR

On a terminal: counts, leases, what is blocked and the newest events; q, Esc or Ctrl-C ends it.
With --json: one event per line, until it is interrupted. Every line carries its cursor; give the
last one as --after to go on where you were. It misses none, also when the server restarts.")]
pub struct Watch {
    /// Only the events of this card (with --json)
    #[arg(value_parser = filled, conflicts_with = "phase")]
    id: Option<String>,

    /// Only cards of this phase (on a terminal)
    #[arg(long, value_parser = filled)]
    phase: Option<String>,

    /// Look this often
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,

    /// The events that followed this cursor (with --json) [default: those from now on]
    #[arg(long, value_name = "CURSOR", value_parser = filled)]
    after: Option<String>,

    /// All events, from the first one on (with --json)
    #[arg(long, conflicts_with = "after")]
    from_start: bool,
}

impl Watch {
    pub fn run(self, address: &Address, selection: &Selection) -> Result<Reply, Failure> {
        if selection.is_json() {
            return self.stream(address);
        }
        if self.id.is_some() || self.after.is_some() || self.from_start {
            return Err(Failure::usage(
                "ID, --after and --from-start are about the stream of events",
            )
            .hint("Add --json: `mosaic backlog watch --json` prints one event per line."));
        }
        if !terminal::is_there() {
            return Err(Failure::usage("watch needs a terminal")
                .hint("`mosaic backlog watch --json` prints one event per line, anywhere."));
        }
        live::run(address, self.phase, self.interval)
    }

    fn stream(self, address: &Address) -> Result<Reply, Failure> {
        if self.phase.is_some() {
            return Err(
                Failure::usage("--phase does not apply to the stream of events").hint(
                    "Name a card to follow only that one, or pick from the lines what you need.",
                ),
            );
        }
        let start = match (self.after, self.from_start) {
            (Some(cursor), _) => stream::Start::After(cursor),
            (None, true) => stream::Start::Beginning,
            (None, false) => stream::Start::Now,
        };
        stream::run(address, self.id, start, self.interval)
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        0 => Err("must be at least 1s".into()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}
