//! `link` and `unlink`: which card waits for which.

use clap::Args;

use super::card;
use super::worker::Actor;
use crate::database::call::Call;
use crate::database::store::{self, Address};
use crate::failure::Failure;
use crate::input::{filled, item};
use crate::output::reply::Reply;

#[derive(Args)]
struct Edges {
    /// The card that waits
    #[arg(value_parser = filled)]
    id: String,

    /// The cards that it waits for
    #[arg(long, value_name = "ID", value_parser = item, value_delimiter = ',', num_args = 1.., required = true)]
    needs: Vec<String>,

    #[command(flatten)]
    actor: Actor,
}

impl Edges {
    fn send(self, function: &'static str, address: &Address) -> Result<Reply, Failure> {
        let call = Call::new(function)
            .text("id", self.id)
            .texts("depends_on", self.needs)
            .text("actor", self.actor.name());
        Ok(card::reply(store::row(address, call)?))
    }
}

/// Make a card wait until others are done
#[derive(Args)]
#[command(after_help = "\
Example:
  mosaic backlog link B1 --needs A1 A4

A link that would close a cycle is refused (exit code 7).")]
pub struct Link {
    #[command(flatten)]
    edges: Edges,
}

impl Link {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        self.edges.send("backlog_link", address)
    }
}

/// Stop a card from waiting for others
#[derive(Args)]
#[command(after_help = "\
Example:
  mosaic backlog unlink B1 --needs A4")]
pub struct Unlink {
    #[command(flatten)]
    edges: Edges,
}

impl Unlink {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        self.edges.send("backlog_unlink", address)
    }
}
