//! `block` and `unblock`: set a card aside until somebody has looked at it.

use clap::{ArgGroup, Args, ValueEnum};

use super::card;
use super::reason::Reason;
use super::words::{self, Words};
use super::worker::Actor;
use crate::database::call::Call;
use crate::database::store::{self, Address};
use crate::failure::Failure;
use crate::input::filled;
use crate::output::reply::Reply;

/// Set a card aside, with the reason
#[derive(Args)]
#[command(group = ArgGroup::new("why").args(["reason", "reason_file"]).required(true))]
#[command(after_help = "\
Example:
  mosaic backlog block A4 --token 42 --kind input --reason \"which of the two formats?\"

A card that is not claimed needs no token.")]
pub struct Block {
    /// The card
    #[arg(value_parser = filled)]
    id: String,

    #[command(flatten)]
    reason: Reason,

    /// What is missing [default: other]
    #[arg(long, value_name = "KIND")]
    kind: Option<Kind>,

    /// The claim_token that the claim returned
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    token: Option<i64>,

    #[command(flatten)]
    actor: Actor,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// An answer or a decision
    Input,
    /// Something outside the backlog
    Dependency,
    /// A worker that can do it
    Capability,
    /// Another try: it failed too often
    Attempts,
    /// Anything else
    Other,
}

impl Kind {
    fn word(self) -> String {
        match self {
            Kind::Input => "input",
            Kind::Dependency => "dependency",
            Kind::Capability => "capability",
            Kind::Attempts => "attempts",
            Kind::Other => "other",
        }
        .to_owned()
    }
}

impl Block {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let call = Call::new("backlog_block")
            .text("id", self.id)
            .text("reason", self.reason.said()?)
            .text("kind", self.kind.map(Kind::word))
            .bigint("claim_token", self.token)
            .text("actor", self.actor.name());
        Ok(card::reply(store::row(address, call)?))
    }
}

/// Make a blocked card ready again, with fresh attempts
#[derive(Args)]
#[command(after_help = "\
Example:
  mosaic backlog unblock A4 --answer \"the second format\"

The next worker sees the answer as last_answer.")]
pub struct Unblock {
    /// The card
    #[arg(value_parser = filled)]
    id: String,

    /// What was asked for, for the next worker
    #[arg(long, value_name = "TEXT", value_parser = words::text(), allow_hyphen_values = true)]
    answer: Option<String>,

    /// Read the answer from a file, or from standard input (-)
    #[arg(long, value_name = "FILE", value_parser = filled, conflicts_with = "answer")]
    answer_file: Option<String>,

    #[command(flatten)]
    actor: Actor,
}

impl Unblock {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let answer = Words {
            text: self.answer,
            file: self.answer_file,
            flags: ["--answer", "--answer-file"],
        };
        let call = Call::new("backlog_unblock")
            .text("id", self.id)
            .text("answer", answer.said()?)
            .text("actor", self.actor.name());
        Ok(card::reply(store::row(address, call)?))
    }
}
