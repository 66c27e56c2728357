//! `show`: everything about one card.

use clap::Args;

use super::card;
use super::worker::Actor;
use crate::database::call::Call;
use crate::database::store::{Address, Store};
use crate::failure::Failure;
use crate::input::filled;
use crate::output::document;
use crate::output::reply::Reply;

/// Show everything about a card
#[derive(Args)]
#[command(after_help = "\
Example:
  mosaic backlog show A4
  mosaic backlog show A4 --json | jq .card.result

The token of a claim is its holder's. An operator who has to act in the holder's place reads it with --token;
the card's history says who did.")]
pub struct Show {
    /// The card
    #[arg(value_parser = filled)]
    id: String,

    /// Also the token under which the card is held (operators)
    #[arg(long)]
    token: bool,

    #[command(flatten)]
    actor: Actor,
}

impl Show {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let mut store = Store::open(address)?;
        let token = if self.token {
            let call = Call::new("backlog_token")
                .text("id", self.id.clone())
                .text("actor", self.actor.name())
                .returning("claim_token");
            store.row(&call)?.shift_remove("claim_token")
        } else {
            None
        };
        let mut card = store.row(&Call::new("backlog_get").text("id", self.id))?;
        if let Some(token) = token {
            card.insert("claim_token".to_owned(), token);
        }
        Ok(Reply::new(document::card(card), |document, screen| {
            card::page(&document["card"], screen)
        }))
    }
}
