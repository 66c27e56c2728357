//! `create`: one card, or a batch of them.

use clap::Args;
use serde_json::Value;

use super::card::{self, items, text};
use super::worker::Actor;
use crate::database::call::Call;
use crate::database::store::{self, Address};
use crate::failure::Failure;
use crate::input::{self, Moment, filled, item, moment, name, new_id, prose};
use crate::output::document;
use crate::output::reply::{Reply, say};
use crate::output::screen::{Paint, Screen};
use crate::output::selection::{Prints, Selection};
use crate::output::table::{Cell, Table};

/// Cards from which on a batch takes long enough to say so.
const LONG_BATCH: usize = 5_000;

/// Create a card, or a batch of cards
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog create \"Parse the config\" --id A4 --needs A1 --priority 5
  mosaic backlog create \"Nightly audit\" --idempotency-key audit-2030-01-31 --json
  mosaic backlog create --batch cards.jsonl

A batch is JSON lines, one object per card, and is created as a whole or not at all. Its keys:
title, id, body, phase, priority, depends_on, labels, requires, acceptance, idempotency_key,
not_before, max_attempts. depends_on may name cards of the same batch.

The same --idempotency-key with the same card again returns the card that exists.")]
pub struct Create {
    #[command(flatten)]
    card: Card,

    /// Create the cards of a file of JSON lines, or of standard input (-), all or nothing
    #[arg(long, value_name = "FILE", value_parser = filled, conflicts_with = "Card")]
    batch: Option<String>,

    #[command(flatten)]
    actor: Actor,
}

#[derive(Args)]
struct Card {
    /// What is to be done, in one line
    #[arg(value_parser = input::title, required_unless_present = "batch")]
    title: Option<String>,

    /// The card's id [default: generated]
    #[arg(long, value_parser = new_id)]
    id: Option<String>,

    /// The full description
    #[arg(long, value_name = "TEXT", value_parser = prose, allow_hyphen_values = true)]
    body: Option<String>,

    /// Read the description from a file, or from standard input (-)
    #[arg(long, value_name = "FILE", value_parser = filled, conflicts_with = "body")]
    body_file: Option<String>,

    /// The board's group that the card belongs to
    #[arg(long, value_parser = name)]
    phase: Option<String>,

    /// Higher is sooner [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,

    /// A card that must be done before (repeatable)
    #[arg(long, value_name = "ID", value_parser = item, value_delimiter = ',')]
    needs: Vec<String>,

    /// A free tag (repeatable)
    #[arg(long = "label", value_name = "LABEL", value_parser = item, value_delimiter = ',')]
    labels: Vec<String>,

    /// A capability that a worker must offer (repeatable)
    #[arg(long, value_name = "CAPABILITY", value_parser = item, value_delimiter = ',')]
    requires: Vec<String>,

    /// Acceptance criteria as JSON, @FILE or - for standard input
    #[arg(long, value_name = "JSON", value_parser = filled)]
    acceptance: Option<String>,

    /// Makes a repeated create return the same card
    #[arg(long, value_name = "KEY", value_parser = name)]
    idempotency_key: Option<String>,

    /// Cannot be claimed before this time: RFC 3339, or from now as in +2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    not_before: Option<Moment>,

    /// Claims until the card is set aside [default: the server's mosaic.max_attempts]
    #[arg(long, value_name = "N")]
    max_attempts: Option<i32>,
}

impl Create {
    pub fn prints(&self) -> Prints {
        match self.batch {
            Some(_) => Prints::Cards(vec!["id", "created"]),
            None => Prints::Cards(card::fields(&[])),
        }
    }

    pub fn run(self, address: &Address, selection: &Selection) -> Result<Reply, Failure> {
        match &self.batch {
            Some(path) => {
                let batch = Batch::read(&input::file("--batch", path)?)?;
                if batch.lines.len() >= LONG_BATCH && !selection.is_json() {
                    say(&format!("creating {} cards", batch.lines.len()));
                }
                let call = Call::new("backlog_create_many")
                    .json("cards", batch.cards)
                    .text("actor", self.actor.name());
                let cards = store::rows(address, call)
                    .map_err(|failure| with_line(failure, &batch.lines))?;
                Ok(Reply::new(document::cards(cards), view_batch))
            }
            None => {
                let call = self.card.call()?.text("actor", self.actor.name());
                let card = store::row(address, call)?;
                Ok(Reply::new(document::card_and("created", card), view_card))
            }
        }
    }
}

impl Card {
    fn call(self) -> Result<Call, Failure> {
        if self.idempotency_key.is_some() && matches!(self.not_before, Some(Moment::In(_))) {
            return Err(Failure::usage(
                "--not-before from now cannot be repeated under an --idempotency-key",
            )
            .hint("Give the time itself, as in --not-before 2030-01-31T09:00:00Z."));
        }
        let body = match &self.body_file {
            Some(path) => Some(input::file("--body-file", path)?),
            None => self.body,
        };
        let acceptance = self
            .acceptance
            .map(|argument| input::json("--acceptance", &argument))
            .transpose()?;
        Ok(Call::new("backlog_create")
            .text("title", self.title)
            .text("id", self.id)
            .text("body", body)
            .text("phase", self.phase)
            .int("priority", self.priority)
            .texts("depends_on", self.needs)
            .texts("labels", self.labels)
            .texts("requires", self.requires)
            .json("acceptance", acceptance)
            .text("idempotency_key", self.idempotency_key)
            .moment("not_before", self.not_before)
            .int("max_attempts", self.max_attempts))
    }
}

struct Batch {
    /// One JSON array; the objects in it are as they were written.
    cards: String,
    /// The line that each of them stands on.
    lines: Vec<usize>,
}

impl Batch {
    fn read(text: &str) -> Result<Self, Failure> {
        let mut cards = Vec::new();
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let wrong = |reason: &str| {
                Failure::usage(format!("line {number} of the batch is not a card"))
                    .detail(reason)
                    .hint("Each line is one JSON object, as in {\"title\":\"Parse the config\"}.")
            };
            match serde_json::from_str::<Value>(line) {
                Ok(Value::Object(_)) => {
                    cards.push(line);
                    lines.push(number);
                }
                Ok(_) => return Err(wrong("It is JSON, but not an object.")),
                Err(error) => {
                    let reason = format!("At column {}: {}.", error.column(), reason(&error));
                    return Err(wrong(&reason));
                }
            }
        }
        Ok(Batch {
            cards: format!("[{}]", cards.join(",")),
            lines,
        })
    }
}

/// The database counts cards ("card 3 of the batch: …"), the author of the file counts lines.
fn with_line(mut failure: Failure, lines: &[usize]) -> Failure {
    let line = failure
        .message
        .strip_prefix("card ")
        .and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok())
        .and_then(|card| lines.get(card.checked_sub(1)?));
    if let Some(line) = line {
        let detail = failure.detail.unwrap_or_default();
        failure.detail = Some(
            format!("It is on line {line}. {detail}")
                .trim_end()
                .to_owned(),
        );
    }
    failure
}

/// serde_json appends its own position, which counts lines within the one line.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

fn view_card(document: &Value, screen: &Screen) -> String {
    let line = card::line(&document["card"], screen);
    if document["created"] == Value::Bool(true) {
        format!("created {line}")
    } else {
        format!("already exists: {line}")
    }
}

fn view_batch(document: &Value, screen: &Screen) -> String {
    let cards = items(&document["cards"]);
    let mut table = Table::new(["ID", ""], "ID");
    let mut created = 0;
    for card in cards {
        let new = card["created"] == Value::Bool(true);
        created += usize::from(new);
        table.push([
            Cell::painted(text(card, "id"), Paint::Bold),
            Cell::plain(if new { "created" } else { "already exists" }),
        ]);
    }
    format!(
        "{}{created} of {} created\n",
        table.render(screen),
        cards.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_one_array_unchanged() {
        let batch = Batch::read("{\"title\":\"a\",\"n\":1.10}\r\n\n  {\"title\":\"b\"}\n").unwrap();
        assert_eq!(
            batch.cards,
            "[{\"title\":\"a\",\"n\":1.10},  {\"title\":\"b\"}]"
        );
        assert_eq!(batch.lines, [1, 3]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let failure = |text| Batch::read(text).err().unwrap();
        let syntax = failure("{\"title\":\"a\"}\n\n{\"title\":}\n");
        assert_eq!(syntax.message, "line 3 of the batch is not a card");
        assert!(syntax.detail.unwrap().starts_with("At column 10: "));
        assert_eq!(failure("[]").message, "line 1 of the batch is not a card");
    }

    #[test]
    fn a_card_that_the_database_refuses_is_found_by_its_line() {
        let refused = |message: &str| {
            let failure = Failure::usage(message).detail("Nothing was changed.");
            with_line(failure, &[1, 3]).detail.unwrap()
        };
        assert_eq!(
            refused("card 2 of the batch: title is blank"),
            "It is on line 3. Nothing was changed."
        );
        assert_eq!(refused("card 9 of the batch: x"), "Nothing was changed.");
        assert_eq!(refused("card \"A1\" exists"), "Nothing was changed.");
    }
}
