//! `why`: what keeps a card from being claimed.

use clap::Args;
use serde_json::{Value, json};

use super::card::{self, items, number, text};
use crate::Global;
use crate::call::Call;
use crate::failure::Failure;
use crate::input::filled;
use crate::reply::Reply;
use crate::screen::{Paint, Screen, local_time, one_line};
use crate::store;

/// Say why a card cannot be claimed, down to the cards that it waits for
#[derive(Args)]
#[command(after_help = "\
Example:
  mosaic backlog why B1")]
pub struct Why {
    /// The card
    #[arg(value_parser = filled)]
    id: String,
}

impl Why {
    pub fn run(self, global: &Global) -> Result<Reply, Failure> {
        let call = Call::new("backlog_why").text("id", self.id.clone());
        let reasons = store::rows(global, call)?;
        let document = json!({
            "id": self.id,
            "claimable": reasons.is_empty(),
            "reasons": reasons,
        });
        Ok(Reply::new(document, view))
    }
}

fn view(document: &Value, screen: &Screen) -> String {
    let id = card::id(document, screen);
    if document["claimable"] == Value::Bool(true) {
        return format!("{id} can be claimed\n");
    }
    let mut lines = format!("{id} cannot be claimed\n");
    for reason in items(&document["reasons"]) {
        let depth = usize::try_from(number(reason, "depth")).unwrap_or_default();
        lines.push_str(&format!(
            "{}{}\n",
            "  ".repeat(depth + 1),
            line(reason, screen)
        ));
    }
    lines
}

/// `open dependency A1 (claimed by w1 until 12:31): Title`
fn line(reason: &Value, screen: &Screen) -> String {
    let mut line = text(reason, "kind").replace('_', " ");
    if !text(reason, "id").is_empty() {
        line.push_str(&format!(" {}", card::id(reason, screen)));
    }
    let mut state = one_line(text(reason, "status"));
    for (word, value) in [
        ("by", one_line(text(reason, "owner"))),
        ("until", local_time(text(reason, "until"))),
        ("for", one_line(text(reason, "block_kind"))),
    ] {
        if !value.is_empty() {
            state.push_str(&format!(" {word} {value}"));
        }
    }
    if !state.is_empty() {
        line.push_str(&format!(" ({})", screen.paint(Paint::Info, &state)));
    }
    for column in ["title", "reason"] {
        let value = one_line(text(reason, column));
        if !value.is_empty() {
            line.push_str(&format!(": {value}"));
        }
    }
    line
}
