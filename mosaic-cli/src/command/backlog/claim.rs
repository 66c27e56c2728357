//! `claim`: take work, under a lease.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use uuid::Uuid;

use super::card::{self, items};
use super::holding::Lease;
use super::waiting::Waiter;
use super::wanted::Wanted;
use crate::agents::claude_session;
use crate::database::store::{self, Address, Choice, Store};
use crate::failure::{Exit, Failure};
use crate::input::{duration, filled};
use crate::output::document;
use crate::output::reply::Reply;
use crate::output::screen::Screen;

/// Claim the next card, or the card that is named
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog claim --worker w1 --ttl 30m --json
  mosaic backlog claim --label parser --offers gpu --max 3
  mosaic backlog claim --wait 10m --json
  mosaic backlog claim A4

Keep the claim_token of the answer: renew, complete, release and fail need it.
If there is nothing to claim the exit code is 3, and with --json the answer is {\"cards\":[]}.
With --wait that is so at the end of the wait; a card that becomes claimable ends it.
A database that does not answer is exit code 4 and never 3.")]
pub struct Claim {
    /// Claim this card, or say why it cannot be claimed
    #[arg(value_parser = filled)]
    id: Option<String>,

    #[command(flatten)]
    wanted: Wanted,

    /// Claim at most N cards
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "id")]
    max: i32,

    /// Wait up to this long until something can be claimed
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "id")]
    wait: Option<u64>,

    /// Makes a repeated claim return the same cards
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
}

impl Claim {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let choice = store::choose(address)?;
        let cards = match self.wait {
            Some(seconds) => {
                let mut waiter = Waiter::for_reader(choice.clone());
                let wait = Duration::from_secs(seconds);
                waiter
                    .claim(&self.wanted, self.max, self.request_id, wait)?
                    .cards
            }
            None => {
                let call = self
                    .wanted
                    .call(self.max)
                    .text("id", self.id)
                    .uuid("request_id", self.request_id);
                Store::at(choice.clone())?.rows(&call)?
            }
        };
        let exit = if cards.is_empty() {
            Exit::NoWork
        } else {
            Exit::Success
        };
        claude_session::remember(&cards);
        let held: Vec<Lease> = cards.iter().map(Lease::of).collect::<Result<_, _>>()?;
        let reply = Reply::exiting(document::cards(cards), view, exit);
        if held.is_empty() {
            return Ok(reply);
        }
        Ok(reply.if_unwritten(move || give_back(choice, &held)))
    }
}

/// Nobody got to know of these cards, so that nobody would work on them.
fn give_back(choice: Choice, held: &[Lease]) -> String {
    let release = |lease: &Lease, store: &mut Store| {
        let release = lease.call("backlog_release").text(
            "reason",
            "the answer of the claim could not be written".to_owned(),
        );
        store.rows(&release)
    };
    let given_back = Store::at(choice).and_then(|mut store| {
        held.iter()
            .try_for_each(|lease| release(lease, &mut store).map(|_| ()))
    });
    match given_back {
        Ok(()) => "What was claimed was given back.".to_owned(),
        Err(failure) => format!(
            "What was claimed could not be given back, and comes back when its lease ends: {}.",
            failure.message
        ),
    }
}

fn view(document: &Value, screen: &Screen) -> String {
    let cards = items(&document["cards"]);
    if cards.is_empty() {
        return "nothing to claim\n".into();
    }
    let mut lines = String::new();
    for card in cards {
        lines.push_str(&card::line(card, screen));
        lines.push_str(&card::said(card));
    }
    lines
}
