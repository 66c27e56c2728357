//! `note`: say something about a card, whoever holds it.

use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::card::text;
use super::events;
use super::words::Words;
use crate::database::call::Call;
use crate::database::store::{self, Address};
use crate::environment::actor::identity;
use crate::failure::Failure;
use crate::input::{filled, name, prose};
use crate::output::document::split_off;
use crate::output::reply::Reply;
use crate::output::screen::{Paint, Screen, one_line};

/// Keep a note about a card, whoever holds it
#[derive(Args)]
#[command(group = ArgGroup::new("what").args(["text", "note_file"]).required(true))]
#[command(after_help = "\
Examples:
  mosaic backlog note A4 \"the old parser is in git, tag v1\"
  mosaic backlog note A4 --token 42 --note-file findings.md

It goes into the card's history, in any state. The next claim of the card and `show` have the last ones.
With --token the card must be yours. A long file keeps its end.")]
pub struct Note {
    /// The card
    #[arg(value_parser = filled)]
    id: String,

    /// What whoever looks at the card next should know
    #[arg(value_parser = prose, allow_hyphen_values = true)]
    text: Option<String>,

    /// Read the note from a file, or from standard input (-)
    #[arg(long, value_name = "FILE", value_parser = filled, conflicts_with = "text")]
    note_file: Option<String>,

    /// The claim_token that the claim gave
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    token: Option<i64>,

    /// Name for the card's history [default: the holder with --token, else MOSAIC_AGENT or user@host]
    #[arg(long, value_name = "NAME", value_parser = name)]
    actor: Option<String>,
}

impl Note {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let words = Words {
            text: self.text,
            file: self.note_file,
            flags: ["TEXT", "--note-file"],
        };
        let actor = match self.token {
            None => Some(self.actor.unwrap_or_else(identity)),
            Some(_) => self.actor,
        };
        let call = Call::new("backlog_note")
            .text("id", self.id)
            .text("note", words.said()?)
            .bigint("claim_token", self.token)
            .text("actor", actor);
        let mut event = store::row(address, call)?;
        split_off(&mut event, "cursor");
        Ok(Reply::new(json!({"event": event}), view))
    }
}

fn view(document: &Value, screen: &Screen) -> String {
    let event = &document["event"];
    let id = screen.paint(Paint::Bold, &one_line(text(event, "card_id")));
    format!(
        "{id} noted by {}: {}\n",
        one_line(events::actor(event)),
        one_line(text(&event["detail"], "note"))
    )
}
