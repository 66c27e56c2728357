//! The documents that calls answer with: what `--json` prints and what MCP clients get.

use serde_json::{Map, Value, json};

/// A row of the database, under its column names.
type Record = Map<String, Value>;

pub fn card(card: Record) -> Value {
    json!({"card": card})
}

pub fn cards(cards: Vec<Record>) -> Value {
    json!({"cards": cards})
}

/// A card, and a column that belongs beside it.
pub fn card_and(column: &str, mut card: Record) -> Value {
    let beside = split_off(&mut card, column);
    json!({"card": card, column: beside})
}

/// A page of a list, and the cursor of the next one.
pub fn page(mut cards: Vec<Record>) -> Value {
    let mut next = Value::Null;
    for card in &mut cards {
        next = split_off(card, "cursor");
        split_off(card, "total");
    }
    json!({"cards": cards, "next": next})
}

/// A renewed lease.
pub fn lease(id: String, lease: &Record) -> Value {
    json!({"id": id, "claim_expires_at": lease.get("claim_expires_at")})
}

/// Why a card cannot be claimed.
pub fn reasons(id: String, reasons: Vec<Record>) -> Value {
    json!({"id": id, "claimable": reasons.is_empty(), "reasons": reasons})
}

/// Takes a column that belongs beside the card out of it.
pub fn split_off(record: &mut Record, column: &str) -> Value {
    record.shift_remove(column).unwrap_or_default()
}
