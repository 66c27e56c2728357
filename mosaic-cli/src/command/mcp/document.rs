//! What a tool answers with: the rows of its function as a document that an agent can pay for.

use serde_json::{Map, Value, json};

use super::bound::{self, bounded};
use super::request::Request;
use super::tool::{Effect, Returns, Tool};
use crate::command::backlog::{SAID, claimed_fields, fields_of_a_card};
use crate::database::store::Record;
use crate::failure::{Code, Failure};
use crate::output::document;

/// What can be long. Agents get it where they ask for it: with `claim`, `show` and `fields`.
const LONG: [&str; 3] = ["body", "acceptance", "result"];
/// The token comes first, so that no client that cuts an answer cuts it off.
const FIRST: [&str; 3] = ["id", "claim_token", "claim_expires_at"];

impl Tool {
    pub fn document(&self, mut rows: Vec<Record>, given: &Request) -> Result<Value, Failure> {
        let id = given.text("id").unwrap_or_default();
        if let Some(offset) = given.number("offset") {
            return self.part(&rows, given, offset.try_into().unwrap_or_default());
        }
        let cursors: Vec<Value> = rows
            .iter()
            .filter_map(|row| row.get("cursor").cloned())
            .collect();
        let wanted = given.fields();
        let left_out: &[&str] = match self.returns {
            Returns::Work | Returns::WholeCard => &[],
            _ => &LONG,
        };
        let is_of_cards = !matches!(
            self.returns,
            Returns::Created
                | Returns::Lease
                | Returns::Reasons
                | Returns::Reclaimed
                | Returns::Events
                | Returns::Event
                | Returns::Numbers
        );
        if is_of_cards {
            let beside = match self.returns {
                Returns::CardAnd(column) => column,
                _ => "cursor",
            };
            rows.iter_mut()
                .for_each(|card| select_fields(card, wanted.as_deref(), left_out, beside));
        }
        let tokens = (rows.len() > 1).then(|| tokens(&rows));
        let document = match self.returns {
            Returns::Work => match tokens {
                Some(tokens) => json!({"claim_tokens": tokens, "cards": rows}),
                None => document::cards(rows),
            },
            Returns::WholeCard | Returns::Card => document::card(self.only(rows)?),
            Returns::Cards | Returns::Created => document::cards(rows),
            Returns::CardAnd(column) => document::card_and(column, self.only(rows)?),
            Returns::Page => document::page(rows),
            Returns::Lease => document::lease(id, &self.only(rows)?),
            Returns::Reasons => {
                rows.iter_mut()
                    .for_each(|reason| reason.retain(|_, value| has_value(value)));
                document::reasons(id, rows)
            }
            Returns::Reclaimed => json!({"reclaimed": rows}),
            Returns::Events => {
                // Without news the reader stays where it is.
                let next = cursors.last().cloned().or(given.0.get("after").cloned());
                for event in &mut rows {
                    event.shift_remove("cursor");
                    event.retain(|_, value| has_value(value));
                }
                json!({"events": rows, "next": next})
            }
            Returns::Event => {
                let mut event = self.only(rows)?;
                // What was said is known to who said it.
                event.retain(|column, _| {
                    ["event_id", "card_id", "at", "actor"].contains(&column.as_str())
                });
                json!({"event": event})
            }
            Returns::Numbers => Value::Object(self.only(rows)?),
        };
        Ok(bounded(document, &cursors, given.text("after").as_deref()))
    }

    /// One text, from a character on.
    fn part(&self, rows: &[Record], given: &Request, offset: usize) -> Result<Value, Failure> {
        let column = match self.returns {
            Returns::Events => "detail".to_owned(),
            _ => given.fields().unwrap_or_default().remove(0),
        };
        let record = rows
            .first()
            .ok_or_else(|| Failure::new(Code::NotFound, "there is no event after that cursor"))?;
        let whole = bound::text(record.get(&column).unwrap_or(&Value::Null));
        let part = bound::part(&whole, offset);
        Ok(json!({
            "id": given.text("id"),
            "field": column,
            "offset": offset,
            "text": part.text,
            "next_offset": part.next,
            "characters": part.length,
        }))
    }

    /// The cards that a claim's document is about.
    pub fn claimed(&self, document: &Value) -> Vec<String> {
        let cards = document["cards"].as_array().into_iter().flatten();
        let ids = cards.filter_map(|card| card["id"].as_str().map(str::to_owned));
        match self.effect {
            Effect::Claims => ids.collect(),
            _ => Vec::new(),
        }
    }

    /// The fields of the cards that it answers with.
    pub fn fields(&self) -> Vec<&'static str> {
        match self.returns {
            Returns::Work => claimed_fields(),
            Returns::WholeCard => fields_of_a_card(&SAID),
            _ => fields_of_a_card(&[]),
        }
    }

    fn only(&self, rows: Vec<Record>) -> Result<Record, Failure> {
        rows.into_iter()
            .next()
            .ok_or_else(|| Failure::internal(format!("mosaic.{} returned no row", self.function)))
    }
}

/// Leaves of a card what was asked for; else what has a value, which alone is worth an agent's tokens. The column that
/// belongs beside the card stays in any case.
fn select_fields(card: &mut Record, wanted: Option<&[String]>, left_out: &[&str], beside: &str) {
    let mut selected = Record::new();
    let is_held = card
        .get("claim_token")
        .is_some_and(|token| !token.is_null());
    let order = FIRST.into_iter().map(str::to_owned);
    let order: Vec<String> = order.chain(card.keys().cloned()).collect();
    for column in order {
        let Some(value) = card.shift_remove(&column) else {
            continue;
        };
        let stays = match wanted {
            _ if column == beside || column == "id" => true,
            Some(wanted) => wanted.contains(&column) || (column == "claim_token" && is_held),
            None => has_value(&value) && !left_out.contains(&column.as_str()),
        };
        if stays {
            selected.insert(column, value);
        }
    }
    *card = selected;
}

fn has_value(value: &Value) -> bool {
    !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
}

/// The tokens of several cards, before any of them.
fn tokens(cards: &[Record]) -> Map<String, Value> {
    let of = |card: &Record| {
        Some((
            card.get("id")?.as_str()?.to_owned(),
            card.get("claim_token")?.clone(),
        ))
    };
    cards.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: Value) -> Record {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn only_columns_without_a_value_are_left_out() {
        let mut card = record(
            json!({"id": "A1", "labels": [], "phase": null, "attempts": 0,
            "result": {"notes": null, "files": []}, "body": "long"}),
        );
        select_fields(&mut card, None, &["body"], "cursor");
        assert_eq!(
            json!(card),
            json!({"id": "A1", "attempts": 0, "result": {"notes": null, "files": []}})
        );
    }

    #[test]
    fn fields_are_what_was_asked_for_and_the_token_comes_first() {
        let card = record(json!({"id": "A", "title": "t", "body": null, "claim_token": 7}));
        let mut selected = card.clone();
        select_fields(
            &mut selected,
            Some(&["body".to_owned()]),
            &["body"],
            "cursor",
        );
        assert_eq!(
            json!(selected),
            json!({"id": "A", "claim_token": 7, "body": null})
        );
        let mut whole = card;
        select_fields(&mut whole, None, &[], "cursor");
        let order: Vec<&str> = whole.keys().map(String::as_str).collect();
        assert_eq!(order, ["id", "claim_token", "title"]);
    }
}
