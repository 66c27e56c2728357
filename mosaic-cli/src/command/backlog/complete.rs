//! `complete`: the work is done, and what waited for it may go on.

use clap::Args;
use serde_json::Value;

use super::card::{self, items, words};
use super::worker::Actor;
use crate::database::call::Call;
use crate::database::store::{self, Address};
use crate::failure::Failure;
use crate::input::{self, filled};
use crate::output::document;
use crate::output::reply::Reply;
use crate::output::screen::{Screen, one_line};

/// Finish a card and open the cards that waited for it
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog complete A4 --token 42 --result '{\"commit\":\"1f2e3d\"}'
  mosaic backlog complete A4 --token 42 --result @report.json --json

Those who claim the cards that waited see the result. A card that is not claimed needs no token.
Exit code 6 (claim_lost): the card is no longer yours, and nothing was changed.")]
pub struct Complete {
    /// The card
    #[arg(value_parser = filled)]
    id: String,

    /// The claim_token that the claim returned
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    token: Option<i64>,

    /// The outcome as JSON, @FILE or - for standard input
    #[arg(long, value_name = "JSON", value_parser = filled, allow_negative_numbers = true)]
    result: Option<String>,

    /// Even without the claim, or with open dependencies (operators)
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    actor: Actor,
}

impl Complete {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let result = self
            .result
            .map(|argument| input::result("--result", &argument))
            .transpose()?;
        let call = Call::new("backlog_complete")
            .text("id", self.id)
            .bigint("claim_token", self.token)
            .json("result", result)
            .switch("force", self.force)
            .text("actor", self.actor.name());
        let card = store::row(address, call)?;
        Ok(Reply::new(document::card_and("unblocked", card), view))
    }
}

fn view(document: &Value, screen: &Screen) -> String {
    let line = card::line(&document["card"], screen);
    if items(&document["unblocked"]).is_empty() {
        return line;
    }
    format!(
        "{line}  now open: {}\n",
        one_line(&words(document, "unblocked"))
    )
}
