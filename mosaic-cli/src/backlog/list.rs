//! `list`: the cards in claim order, page by page.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::card::{self, items, text};
use crate::Global;
use crate::answer;
use crate::call::Call;
use crate::failure::Failure;
use crate::input::filled;
use crate::reply::Reply;
use crate::screen::{Paint, Screen, one_line};
use crate::store;

/// List cards in the order in which they are claimed
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog list --ready --label parser
  mosaic backlog list --status blocked --status claimed --json
  mosaic backlog list --limit 100 --after CURSOR

With --json the answer is {\"cards\":[…],\"next\":CURSOR}; next is null on the last page.")]
pub struct List {
    /// Only cards that can be claimed now
    #[arg(long)]
    ready: bool,

    /// Only cards of this status (repeatable)
    #[arg(long = "status", value_name = "STATUS")]
    statuses: Vec<Status>,

    /// Only cards of this phase
    #[arg(long, value_parser = filled)]
    phase: Option<String>,

    /// Only cards that carry this label (repeatable: all of them)
    #[arg(long = "label", value_name = "LABEL", value_parser = filled)]
    labels: Vec<String>,

    /// Only cards that this worker holds
    #[arg(long, value_name = "WORKER", value_parser = filled)]
    owner: Option<String>,

    /// Cards on a page
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: i32,

    /// The page that follows this cursor
    #[arg(long, value_name = "CURSOR", value_parser = filled)]
    after: Option<String>,

    /// Count all cards that fit, too
    #[arg(long)]
    count: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Ready,
    Claimed,
    Blocked,
    Done,
    Cancelled,
}

impl Status {
    fn word(self) -> String {
        match self {
            Status::Ready => "ready",
            Status::Claimed => "claimed",
            Status::Blocked => "blocked",
            Status::Done => "done",
            Status::Cancelled => "cancelled",
        }
        .to_owned()
    }
}

impl List {
    pub fn run(self, global: &Global) -> Result<Reply, Failure> {
        if global.quiet && self.count {
            return Err(Failure::usage("--quiet does not go with --count")
                .hint("--quiet prints ids alone, one a line."));
        }
        let first_page = self.after.is_none();
        // People are told how many there are wherever a list is cut.
        let with_total = self.count || !(global.json || global.quiet);
        let statuses = self.statuses.into_iter().map(Status::word).collect();
        let call = Call::new("backlog_list")
            .statuses("statuses", statuses)
            .text("phase", self.phase)
            .texts("labels", self.labels)
            .text("owner", self.owner)
            .switch("ready_only", self.ready)
            .int("max_cards", self.limit)
            .text("after", self.after)
            .switch("with_total", with_total);
        let cards = store::rows(global, call)?;
        // The total comes with the cards. Without any it is none, unless they ended before this page.
        let total = match cards.last() {
            Some(card) => card.get("total").cloned().unwrap_or_default(),
            None if first_page => json!(0),
            None => Value::Null,
        };
        let mut document = answer::page(cards);
        if with_total {
            document["total"] = total;
        }
        Ok(Reply::new(document, view))
    }
}

fn view(document: &Value, screen: &Screen) -> String {
    let cards = items(&document["cards"]);
    if cards.is_empty() {
        return "no cards\n".into();
    }
    let footer = match text(document, "next") {
        "" => format!("{} of {}", cards.len(), document["total"]),
        next => format!(
            "{} of {}, next: --after {}",
            cards.len(),
            document["total"],
            one_line(next)
        ),
    };
    format!(
        "{}{}\n",
        card::table(cards, screen),
        screen.paint(Paint::Dim, &footer)
    )
}
