//! `why`: what keeps a card from being claimed.

use clap::Args;
use serde_json::Value;

use super::card::{self, items, text};
use crate::database::call::Call;
use crate::database::store::{self, Address};
use crate::failure::Failure;
use crate::input::filled;
use crate::output::document;
use crate::output::reply::Reply;
use crate::output::screen::{Paint, Screen, local_time, one_line};

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
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let call = Call::new("backlog_why").text("id", self.id.clone());
        let reasons = store::rows(address, call)?;
        Ok(Reply::new(document::reasons(self.id, reasons), view))
    }
}

fn view(document: &Value, screen: &Screen) -> String {
    let id = card::id(document, screen);
    if document["claimable"] == Value::Bool(true) {
        return format!("{id} can be claimed\n");
    }
    let mut lines = format!("{id} cannot be claimed\n");
    for reason in items(&document["reasons"]) {
        lines.push_str(&line(reason, text(document, "id"), screen));
    }
    lines
}

/// `open dependency A1 (claimed by w1 until 12:31): Title`. What the card itself lacks goes without its name:
/// `deferred until 12:31`.
fn line(reason: &Value, of: &str, screen: &Screen) -> String {
    let own = text(reason, "id") == of;
    let mut line = format!("  {}", text(reason, "kind").replace('_', " "));
    if !own {
        line.push_str(&format!(" {}", card::id(reason, screen)));
    }
    let mut state = Vec::new();
    if !own {
        state.push(one_line(text(reason, "status")));
    }
    for (word, value) in [
        ("by", one_line(text(reason, "owner"))),
        ("until", local_time(text(reason, "until"))),
        ("for", one_line(text(reason, "block_kind"))),
    ] {
        if !value.is_empty() {
            state.push(format!("{word} {value}"));
        }
    }
    let state = screen.paint(Paint::Info, &state.join(" "));
    match (own, state.is_empty()) {
        (_, true) => {}
        (true, false) => line.push_str(&format!(" {state}")),
        (false, false) => line.push_str(&format!(" ({state})")),
    }
    let title = if own { "" } else { text(reason, "title") };
    for words in [title, text(reason, "reason")] {
        if !words.is_empty() {
            line.push_str(&format!(": {}", one_line(words)));
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_reasons_are_what_the_card_lacks_and_what_it_waits_for() {
        let document = json!({"id": "B1", "claimable": false, "reasons": [
            {"kind": "deferred", "id": "B1", "title": "Later", "status": "ready", "depth": 0,
             "until": "infinity"},
            {"kind": "open_dependency", "id": "A1", "title": "First", "status": "claimed",
             "owner": "w1", "depth": 1},
            {"kind": "open_dependency", "id": "A0", "title": "Root", "status": "blocked",
             "block_kind": "input", "reason": "which?", "depth": 2},
        ]});
        let plain = Screen {
            width: None,
            colour: false,
        };
        assert_eq!(
            view(&document, &plain),
            "B1 cannot be claimed\n\
             \x20 deferred until infinity\n\
             \x20 open dependency A1 (claimed by w1): First\n\
             \x20 open dependency A0 (blocked for input): Root: which?\n"
        );
    }
}
