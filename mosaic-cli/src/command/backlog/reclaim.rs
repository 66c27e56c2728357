//! `reclaim`: take back what dead workers hold.

use clap::Args;
use serde_json::{Value, json};

use super::card::{items, text};
use super::worker::Actor;
use crate::database::call::Call;
use crate::database::store::{self, Address};
use crate::failure::Failure;
use crate::input::{duration, filled};
use crate::output::reply::Reply;
use crate::output::screen::{Paint, Screen};
use crate::output::table::{Cell, Table};

/// What the answer says of a card.
pub const FIELDS: [&str; 4] = ["id", "previous_owner", "attempts", "action"];

/// Take back cards whose lease has ended
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog reclaim
  mosaic backlog reclaim --grace 10m --max 100 --json
  mosaic backlog reclaim A4 --force

Claiming does this by itself; reclaim does it now. Cards whose attempts are used up are blocked
(quarantined), the others are ready again (requeued).")]
pub struct Reclaim {
    /// Only this card
    #[arg(value_parser = filled)]
    id: Option<String>,

    /// Even if the lease has not ended (operators)
    #[arg(long)]
    force: bool,

    /// Only leases that ended at least this long ago
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    grace: Option<u64>,

    /// Take back at most N cards [default: 1000]
    #[arg(long, value_name = "N")]
    max: Option<i32>,

    #[command(flatten)]
    actor: Actor,
}

impl Reclaim {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let call = Call::new("backlog_reclaim")
            .text("id", self.id)
            .switch("force", self.force)
            .seconds("grace", self.grace)
            .int("max_cards", self.max)
            .text("actor", self.actor.name());
        let reclaimed = store::rows(address, call)?;
        Ok(Reply::new(json!({"reclaimed": reclaimed}), view))
    }
}

fn view(document: &Value, screen: &Screen) -> String {
    let reclaimed = items(&document["reclaimed"]);
    if reclaimed.is_empty() {
        return "nothing to reclaim\n".into();
    }
    let mut table = Table::new(["ID", "HELD BY", "ATTEMPTS", "ACTION"], "HELD BY");
    for row in reclaimed {
        let action = text(row, "action");
        let paint = match action {
            "quarantined" => Paint::Warn,
            _ => Paint::Good,
        };
        table.push([
            Cell::painted(text(row, "id"), Paint::Bold),
            Cell::plain(text(row, "previous_owner")),
            Cell::plain(row["attempts"].to_string()),
            Cell::painted(action, paint),
        ]);
    }
    table.render(screen)
}
