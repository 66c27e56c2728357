//! `events`: the history, in an order that a follower can rely on.

use clap::Args;
use serde_json::{Value, json};

use super::card::{items, text};
use crate::database::call::Call;
use crate::database::store::{self, Address};
use crate::failure::Failure;
use crate::input::filled;
use crate::output::document::split_off;
use crate::output::reply::Reply;
use crate::output::screen::{Paint, Screen, local_time, one_line};
use crate::output::table::{Cell, Table};

/// Show what happened to a card, or to all of them
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog events A4
  mosaic backlog events --after CURSOR --limit 1000 --json

A reader that hands next back as --after misses nothing.")]
pub struct Events {
    /// Only this card
    #[arg(value_parser = filled)]
    id: Option<String>,

    /// Only events after this cursor
    #[arg(long, value_name = "CURSOR", value_parser = filled)]
    after: Option<String>,

    /// At most N events
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: i32,
}

impl Events {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let call = Call::new("backlog_events")
            .text("id", self.id)
            .text("after", self.after.clone())
            .int("max_events", self.limit);
        let mut events = store::rows(address, call)?;
        // Without news the reader stays where it is.
        let mut next = json!(self.after);
        for event in &mut events {
            next = split_off(event, "cursor");
        }
        Ok(Reply::new(json!({"events": events, "next": next}), view))
    }
}

fn view(document: &Value, screen: &Screen) -> String {
    let events = items(&document["events"]);
    if events.is_empty() {
        return "no events\n".into();
    }
    let mut table = Table::new(
        ["AT", "CARD", "EVENT", "STATUS", "ACTOR", "DETAIL"],
        "DETAIL",
    );
    for event in events {
        table.push([
            Cell::painted(local_time(text(event, "at")), Paint::Dim),
            Cell::painted(text(event, "card_id"), Paint::Bold),
            Cell::plain(text(event, "kind")),
            Cell::plain(step(event)),
            Cell::plain(actor(event)),
            Cell::painted(detail(&event["detail"]), Paint::Dim),
        ]);
    }
    let next = format!("next: --after {}", one_line(text(document, "next")));
    format!(
        "{}{}\n",
        table.render(screen),
        screen.paint(Paint::Dim, &next)
    )
}

/// The change of status: "ready → claimed".
pub fn step(event: &Value) -> String {
    match (text(event, "old_status"), text(event, "new_status")) {
        (old, new) if old == new => new.to_owned(),
        ("", new) => new.to_owned(),
        (old, new) => format!("{old} → {new}"),
    }
}

pub fn actor(event: &Value) -> &str {
    match text(event, "actor") {
        "" => text(event, "login_role"),
        actor => actor,
    }
}

fn detail(detail: &Value) -> String {
    match detail {
        Value::Null => String::new(),
        Value::Object(map) if map.is_empty() => String::new(),
        detail => detail.to_string(),
    }
}
