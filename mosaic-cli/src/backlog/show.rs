//! `show`: everything about one card.

use clap::Args;

use super::card;
use crate::Global;
use crate::answer;
use crate::call::Call;
use crate::failure::Failure;
use crate::input::filled;
use crate::reply::Reply;
use crate::store;

/// Show everything about a card
#[derive(Args)]
#[command(after_help = "\
Example:
  mosaic backlog show A4
  mosaic backlog show A4 --json | jq .card.result")]
pub struct Show {
    /// The card
    #[arg(value_parser = filled)]
    id: String,
}

impl Show {
    pub fn run(self, global: &Global) -> Result<Reply, Failure> {
        let card = store::row(global, Call::new("backlog_get").text("id", self.id))?;
        Ok(Reply::new(answer::card(card), |document, screen| {
            card::page(&document["card"], screen)
        }))
    }
}
