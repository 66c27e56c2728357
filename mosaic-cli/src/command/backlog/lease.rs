//! `renew`, `release` and `fail`: what the holder of a lease does with it, short of finishing.

use clap::{ArgGroup, Args};
use serde_json::Value;

use super::card::{self, text};
use super::reason::Reason;
use super::words::{self, Words};
use crate::database::call::Call;
use crate::database::store::{self, Address};
use crate::failure::Failure;
use crate::input::{duration, filled};
use crate::output::document;
use crate::output::reply::Reply;
use crate::output::screen::{Screen, local_time};

/// The card and the token that proves the claim.
#[derive(Args)]
struct LeaseArguments {
    /// The card
    #[arg(value_parser = filled)]
    id: String,

    /// The claim_token that the claim returned
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    token: i64,
}

impl LeaseArguments {
    fn call(self, function: &'static str) -> Call {
        Call::new(function)
            .text("id", self.id)
            .bigint("claim_token", self.token)
    }
}

/// Prolong the lease of a card (heartbeat)
#[derive(Args)]
#[command(after_help = "\
Example:
  mosaic backlog renew A4 --token 42 --ttl 30m --note \"half of the keys are read\"

Exit code 6 (claim_lost): the card is no longer yours; stop working on it.")]
pub struct Renew {
    #[command(flatten)]
    lease: LeaseArguments,

    /// How long from now [default: as long as the claim asked for]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    ttl: Option<u64>,

    /// A note that is kept with it
    #[arg(long, value_name = "TEXT", value_parser = words::text(), allow_hyphen_values = true)]
    note: Option<String>,

    /// Read the note from a file, or from standard input (-)
    #[arg(long, value_name = "FILE", value_parser = filled, conflicts_with = "note")]
    note_file: Option<String>,
}

impl Renew {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let id = self.lease.id.clone();
        let note = Words {
            text: self.note,
            file: self.note_file,
            flags: ["--note", "--note-file"],
        };
        let call = self
            .lease
            .call("backlog_renew")
            .seconds("ttl", self.ttl)
            // The lease is not to be lost for want of words.
            .text("note", note.if_any())
            .returning("claim_expires_at");
        let lease = store::row(address, call)?;
        Ok(Reply::new(document::lease(id, &lease), view_renewed))
    }
}

fn view_renewed(document: &Value, screen: &Screen) -> String {
    format!(
        "{} is held until {}\n",
        card::id(document, screen),
        local_time(text(document, "claim_expires_at"))
    )
}

/// Give a card back without blame
#[derive(Args)]
#[command(after_help = "\
Example:
  mosaic backlog release A4 --token 42 --reason \"needs a GPU\"

The attempt is given back. Use `fail` if the work itself went wrong.")]
pub struct Release {
    #[command(flatten)]
    lease: LeaseArguments,

    /// Cannot be claimed again for this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    retry_in: Option<u64>,

    #[command(flatten)]
    reason: Reason,
}

impl Release {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let call = self
            .lease
            .call("backlog_release")
            .seconds("retry_in", self.retry_in)
            .text("reason", self.reason.if_any());
        Ok(card::reply(store::row(address, call)?))
    }
}

/// Report that the work on a card failed
#[derive(Args)]
#[command(group = ArgGroup::new("why").args(["reason", "reason_file"]).required(true))]
#[command(after_help = "\
Examples:
  mosaic backlog fail A4 --token 42 --reason \"the tests of the parser fail\"
  mosaic backlog fail A4 --token 42 --reason-file work.log

The card is handed out again after a pause that grows, until its attempts are used up; then it is blocked.
The next worker sees the reason as last_failure. A long one keeps its end.")]
pub struct Fail {
    #[command(flatten)]
    lease: LeaseArguments,

    #[command(flatten)]
    reason: Reason,

    /// Cannot be claimed again for this long [default: longer with every attempt]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    retry_in: Option<u64>,
}

impl Fail {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let call = self
            .lease
            .call("backlog_fail")
            .text("reason", self.reason.or_none())
            .seconds("retry_in", self.retry_in);
        Ok(card::reply(store::row(address, call)?))
    }
}
