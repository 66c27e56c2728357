//! `update`: change what a card says.

use clap::{Args, ValueEnum};

use super::card;
use super::worker::Actor;
use crate::database::call::Call;
use crate::database::store::{self, Address};
use crate::failure::Failure;
use crate::input::{self, Moment, filled, item, moment, name, prose};
use crate::output::reply::Reply;

/// Change what a card says, even while it is claimed (operators)
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog update A4 --priority 9 --phase beta
  mosaic backlog update A4 --label parser --label urgent
  mosaic backlog update A4 --clear not-before --clear labels

What is not given stays as it is. --label and --requires replace the whole list.")]
pub struct Update {
    /// The card
    #[arg(value_parser = filled)]
    id: String,

    #[command(flatten)]
    changes: Changes,

    #[command(flatten)]
    actor: Actor,
}

#[derive(Args)]
struct Changes {
    /// What is to be done, in one line
    #[arg(long, value_parser = input::title)]
    title: Option<String>,

    /// The full description
    #[arg(long, value_name = "TEXT", value_parser = prose, allow_hyphen_values = true)]
    body: Option<String>,

    /// Read the description from a file, or from standard input (-)
    #[arg(long, value_name = "FILE", value_parser = filled, conflicts_with = "body")]
    body_file: Option<String>,

    /// The board's group that the card belongs to
    #[arg(long, value_parser = name)]
    phase: Option<String>,

    /// Higher is sooner
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,

    /// A free tag (repeatable)
    #[arg(long = "label", value_name = "LABEL", value_parser = item, value_delimiter = ',')]
    labels: Vec<String>,

    /// A capability that a worker must offer (repeatable)
    #[arg(long, value_name = "CAPABILITY", value_parser = item, value_delimiter = ',')]
    requires: Vec<String>,

    /// Acceptance criteria as JSON, @FILE or - for standard input
    #[arg(long, value_name = "JSON", value_parser = filled)]
    acceptance: Option<String>,

    /// Cannot be claimed before this time: RFC 3339, or from now as in +2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    not_before: Option<Moment>,

    /// Claims until the card is set aside
    #[arg(long, value_name = "N")]
    max_attempts: Option<i32>,

    /// Empty this field (repeatable)
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    clear: Vec<Field>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Field {
    Body,
    Phase,
    #[value(alias = "label")]
    Labels,
    Requires,
    Acceptance,
    #[value(alias = "not_before")]
    NotBefore,
    #[value(alias = "max_attempts")]
    MaxAttempts,
}

impl Field {
    fn column(self) -> &'static str {
        match self {
            Field::Body => "body",
            Field::Phase => "phase",
            Field::Labels => "labels",
            Field::Requires => "requires",
            Field::Acceptance => "acceptance",
            Field::NotBefore => "not_before",
            Field::MaxAttempts => "max_attempts",
        }
    }
}

impl Update {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let call = self
            .changes
            .call()?
            .text("id", self.id)
            .text("actor", self.actor.name());
        Ok(card::reply(store::row(address, call)?))
    }
}

impl Changes {
    fn call(self) -> Result<Call, Failure> {
        self.check_clear()?;
        let body = match &self.body_file {
            Some(path) => Some(input::file("--body-file", path)?),
            None => self.body,
        };
        let acceptance = self
            .acceptance
            .map(|argument| input::json("--acceptance", &argument))
            .transpose()?;
        let mut call = Call::new("backlog_update")
            .text("title", self.title)
            .text("body", body)
            .text("phase", self.phase)
            .int("priority", self.priority)
            .texts("labels", self.labels)
            .texts("requires", self.requires)
            .json("acceptance", acceptance)
            .moment("not_before", self.not_before)
            .int("max_attempts", self.max_attempts);
        // A list is emptied, the other fields become null.
        let (lists, columns): (Vec<Field>, Vec<Field>) = [
            Field::Body,
            Field::Phase,
            Field::Labels,
            Field::Requires,
            Field::Acceptance,
            Field::NotBefore,
            Field::MaxAttempts,
        ]
        .into_iter()
        .filter(|field| self.clear.contains(field))
        .partition(|field| matches!(field, Field::Labels | Field::Requires));
        for list in lists {
            call = call.no_texts(list.column());
        }
        let columns = columns.into_iter().map(|field| field.column().to_owned());
        let call = call.texts("clear", columns.collect());
        if call.is_empty() {
            return Err(Failure::usage("no change was given")
                .hint("`mosaic backlog update --help` shows the fields."));
        }
        Ok(call)
    }

    /// A field cannot be given and emptied at once.
    fn check_clear(&self) -> Result<(), Failure> {
        let given = |field: Field| match field {
            Field::Body => self.body.is_some() || self.body_file.is_some(),
            Field::Phase => self.phase.is_some(),
            Field::Labels => !self.labels.is_empty(),
            Field::Requires => !self.requires.is_empty(),
            Field::Acceptance => self.acceptance.is_some(),
            Field::NotBefore => self.not_before.is_some(),
            Field::MaxAttempts => self.max_attempts.is_some(),
        };
        match self.clear.iter().find(|field| given(**field)) {
            Some(field) => Err(Failure::usage(format!(
                "{} is both given and cleared",
                field.column()
            ))),
            None => Ok(()),
        }
    }
}
