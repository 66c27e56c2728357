//! A tool: one function of the backlog, as an agent calls it.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use rmcp::model::{JsonObject, ToolAnnotations};
use serde_json::{Map, Value, json};

use super::argument::{self, Argument, LISTS, OPEN, STATUSES};
use super::bound::{self, bounded};
use super::given;
use super::session::Session;
use crate::answer;
use crate::backlog::fields_of_a_card;
use crate::call::Call;
use crate::failure::{Code, Failure};
use crate::input::duration;
use crate::nearest::{nearest, question};
use crate::shape::check_fields;
use crate::store::Record;

pub struct Tool {
    pub name: &'static str,
    pub about: &'static str,
    pub role: Role,
    pub function: &'static str,
    pub arguments: &'static [Argument],
    pub effect: Effect,
    pub answer: Answer,
}

/// Whose tool it is. What somebody may do is decided by the database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// What it takes to work on cards, and to plan them
    Worker,
    /// And what changes the plan of others
    Operator,
}

/// What a call does, beside its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Reads,
    /// It takes leases, in the name of a worker.
    Claims,
    /// It prolongs a lease.
    Renews,
    /// It gives a lease back, in the name of the worker that the card knows.
    Returns,
    /// It ends a lease if there is one, in the name of an actor.
    Settles,
    /// The same, and somebody may miss what it ended.
    Ends,
    /// It changes a card, in the name of an actor.
    Changes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Cards with all that it takes to start.
    Work,
    WholeCard,
    Card,
    Cards,
    /// A card, and a column that belongs beside it.
    CardAnd(&'static str),
    Created,
    Page,
    Lease,
    Reasons,
    Reclaimed,
    Events,
    Numbers,
}

/// What can be long. Agents get it where they ask for it: with `claim`, `show` and `fields`.
const LONG: [&str; 3] = ["body", "acceptance", "result"];
/// The token comes first, so that no client that cuts an answer cuts it off.
const FIRST: [&str; 3] = ["id", "claim_token", "claim_expires_at"];
/// Cards of one claim, so that each fits into the answer.
pub const MOST_CLAIMED: i64 = 20;

impl Tool {
    pub fn described(&self) -> rmcp::model::Tool {
        let annotations = match self.effect {
            Effect::Reads => ToolAnnotations::new().read_only(true),
            Effect::Ends => ToolAnnotations::new().destructive(true),
            _ => ToolAnnotations::new().destructive(false),
        };
        rmcp::model::Tool::new(
            self.name,
            self.about,
            Arc::new(argument::of_tool(self.arguments)),
        )
        .with_annotations(annotations)
    }

    pub fn run(&self, arguments: JsonObject, session: &Session) -> Result<Value, Failure> {
        let given = self.read(arguments)?;
        let id = given.text("id");
        let call = self.call(&given, id.as_deref(), session)?;
        let rows = session.rows(&call)?;
        let lost = id.as_deref().and_then(|id| session.tell_lost(id));
        match (self.effect, &id) {
            (Effect::Claims, _) => rows.iter().for_each(|card| session.hold(card)),
            (Effect::Returns | Effect::Settles | Effect::Ends, Some(id)) => session.let_go(id),
            (Effect::Renews, Some(id)) => {
                let ttl = given.text("ttl").and_then(|ttl| duration(&ttl).ok());
                session.renewed(
                    id,
                    given.number("claim_token"),
                    ttl.map(Duration::from_secs),
                );
            }
            _ => {}
        }
        let mut document = self.document(rows, &given)?;
        if let (Some(lost), true) = (lost, self.effect != Effect::Claims) {
            document["claim_lost"] = json!(lost);
        }
        Ok(document)
    }

    /// The arguments in their own types.
    fn read(&self, mut arguments: JsonObject) -> Result<Given, Failure> {
        arguments.retain(|_, value| !given::is_missing(value));
        self.refuse_unknown(&arguments)?;
        let mut values = Map::new();
        for argument in self.arguments {
            match arguments.get(argument.name) {
                Some(value) => {
                    let value = given::read(argument.name, argument.kind, value)?;
                    values.insert(argument.name.to_owned(), value);
                }
                None if argument.required => {
                    return Err(
                        Failure::usage(format!("{} needs {}", self.name, argument.name))
                            .hint(self.takes()),
                    );
                }
                None => {}
            }
        }
        let given = Given(values);
        self.check(&given)?;
        Ok(given)
    }

    /// What arguments do not say together.
    fn check(&self, given: &Given) -> Result<(), Failure> {
        refuse_moving_time(given)?;
        if let Some(fields) = given.fields() {
            check_fields(&fields, &self.fields())?;
        }
        if given.is_on("all") && (given.has("statuses") || given.is_on("ready_only")) {
            return Err(Failure::usage(
                "all does not go with statuses and ready_only",
            ));
        }
        let claimed = given.number("max_cards").unwrap_or_default();
        if self.effect == Effect::Claims && claimed > MOST_CLAIMED {
            return Err(Failure::usage(format!(
                "max_cards must be {MOST_CLAIMED} or less"
            )));
        }
        if let Some(offset) = given.number("offset") {
            if offset < 0 {
                return Err(Failure::usage("offset must not be negative"));
            }
            let is_one = match self.answer {
                Answer::Events => given.has("id") && given.number("max_events") == Some(1),
                _ => given.fields().is_some_and(|fields| fields.len() == 1),
            };
            if !is_one {
                return Err(Failure::usage("offset is for one text alone").hint(
                    match self.answer {
                        Answer::Events => {
                            "Give id, max_events 1 and the cursor before the event as after."
                        }
                        _ => "As in {\"id\":\"A1\",\"fields\":[\"body\"],\"offset\":10000}",
                    },
                ));
            }
        }
        if self.function == "backlog_update" {
            return self.check_changes(given);
        }
        Ok(())
    }

    /// An update that would change nothing is one that was meant otherwise.
    fn check_changes(&self, given: &Given) -> Result<(), Failure> {
        let emptied: Vec<&str> = given.texts("clear").collect();
        for field in LISTS {
            if given.is_empty_list(field) {
                let clear = json!({"clear": [field]});
                return Err(Failure::usage(format!("{field} is empty"))
                    .hint(format!("{clear} empties it; what is not given stays.")));
            }
        }
        if let Some(field) = emptied.into_iter().find(|field| given.has(field)) {
            return Err(Failure::usage(format!("{field} is both given and cleared")));
        }
        if given.0.keys().all(|key| key == "id" || key == "fields") {
            return Err(Failure::usage("nothing to change was given").hint(self.takes()));
        }
        Ok(())
    }

    fn call(&self, given: &Given, id: Option<&str>, session: &Session) -> Result<Call, Failure> {
        let mut call = Call::new(self.function);
        for argument in self.arguments {
            if let Some(value) = given.0.get(argument.name) {
                call = argument.add_to(call, value)?;
            }
        }
        let is_open_alone = !given.is_on("ready_only") && given.texts("statuses").next().is_none();
        if self.answer == Answer::Page && is_open_alone {
            // Said, as an older extension has another default.
            let statuses = if given.is_on("all") { STATUSES } else { OPEN };
            call = call.statuses("statuses", words(statuses));
        }
        Ok(match self.effect {
            Effect::Claims if !given.has("worker") => call.text("worker", session.worker.clone()),
            Effect::Settles | Effect::Ends | Effect::Changes => {
                call.text("actor", session.actor(id))
            }
            Effect::Renews => call.returning("claim_expires_at"),
            Effect::Reads | Effect::Claims | Effect::Returns => call,
        })
    }

    fn refuse_unknown(&self, arguments: &JsonObject) -> Result<(), Failure> {
        let known = || self.arguments.iter().map(|argument| argument.name);
        let Some(name) = arguments
            .keys()
            .find(|name| !known().any(|known| known == *name))
        else {
            return Ok(());
        };
        let message = format!("{} does not know the argument {name:?}", self.name);
        let hint = match question(&nearest(name, known())) {
            Some(question) => format!("{question} {}", self.takes()),
            None => self.takes(),
        };
        Err(Failure::usage(message).hint(hint))
    }

    fn takes(&self) -> String {
        let names: Vec<&str> = self
            .arguments
            .iter()
            .map(|argument| argument.name)
            .collect();
        format!("{} takes {}.", self.name, names.join(", "))
    }

    /// The fields of the cards that it answers with.
    fn fields(&self) -> Vec<&'static str> {
        match self.answer {
            Answer::Work => {
                fields_of_a_card(&["dependencies", "last_failure", "dependencies_total"])
            }
            _ => fields_of_a_card(&[]),
        }
    }

    fn document(&self, mut rows: Vec<Record>, given: &Given) -> Result<Value, Failure> {
        let id = given.text("id").unwrap_or_default();
        if let Some(offset) = given.number("offset") {
            return self.part(&rows, given, offset.try_into().unwrap_or_default());
        }
        let cursors: Vec<Value> = rows
            .iter()
            .filter_map(|row| row.get("cursor").cloned())
            .collect();
        let wanted = given.fields();
        let left_out: &[&str] = match self.answer {
            Answer::Work | Answer::WholeCard => &[],
            _ => &LONG,
        };
        let is_of_cards = !matches!(
            self.answer,
            Answer::Created
                | Answer::Lease
                | Answer::Reasons
                | Answer::Reclaimed
                | Answer::Events
                | Answer::Numbers
        );
        if is_of_cards {
            let beside = match self.answer {
                Answer::CardAnd(column) => column,
                _ => "cursor",
            };
            rows.iter_mut()
                .for_each(|card| shape(card, wanted.as_deref(), left_out, beside));
        }
        let tokens = (rows.len() > 1).then(|| tokens(&rows));
        let document = match self.answer {
            Answer::Work => match tokens {
                Some(tokens) => json!({"claim_tokens": tokens, "cards": rows}),
                None => answer::cards(rows),
            },
            Answer::WholeCard | Answer::Card => answer::card(self.only(rows)?),
            Answer::Cards | Answer::Created => answer::cards(rows),
            Answer::CardAnd(column) => answer::card_and(column, self.only(rows)?),
            Answer::Page => answer::page(rows),
            Answer::Lease => answer::lease(id, &self.only(rows)?),
            Answer::Reasons => {
                rows.iter_mut()
                    .for_each(|reason| reason.retain(|_, value| has_value(value)));
                answer::reasons(id, rows)
            }
            Answer::Reclaimed => json!({"reclaimed": rows}),
            Answer::Events => {
                // Without news the reader stays where it is.
                let next = cursors.last().cloned().or(given.0.get("after").cloned());
                for event in &mut rows {
                    event.shift_remove("cursor");
                    event.retain(|_, value| has_value(value));
                }
                json!({"events": rows, "next": next})
            }
            Answer::Numbers => Value::Object(self.only(rows)?),
        };
        Ok(bounded(document, &cursors, given.text("after").as_deref()))
    }

    /// One text, from a character on.
    fn part(&self, rows: &[Record], given: &Given, offset: usize) -> Result<Value, Failure> {
        let column = match self.answer {
            Answer::Events => "detail".to_owned(),
            _ => given.fields().unwrap_or_default().remove(0),
        };
        let record = rows
            .first()
            .ok_or_else(|| Failure::new(Code::NotFound, "there is no event behind that cursor"))?;
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

    fn only(&self, rows: Vec<Record>) -> Result<Record, Failure> {
        rows.into_iter()
            .next()
            .ok_or_else(|| Failure::internal(format!("mosaic.{} returned no row", self.function)))
    }
}

/// The arguments of a call, in their own types.
struct Given(Map<String, Value>);

impl Given {
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn is_on(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().map(str::to_owned)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }

    fn is_empty_list(&self, name: &str) -> bool {
        self.0
            .get(name)
            .and_then(Value::as_array)
            .is_some_and(Vec::is_empty)
    }

    fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let items = self.0.get(name).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str)
    }

    /// The fields that were asked for.
    fn fields(&self) -> Option<Vec<String>> {
        let fields: Vec<String> = self.texts("fields").map(str::to_owned).collect();
        (!fields.is_empty()).then_some(fields)
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The key stands for one card, and a time from now would be another one each time.
fn refuse_moving_time(given: &Given) -> Result<(), Failure> {
    let moves = given
        .text("not_before")
        .is_some_and(|time| time.starts_with('+'));
    if moves && given.has("idempotency_key") {
        return Err(Failure::usage(
            "not_before from now cannot be repeated under an idempotency_key",
        )
        .hint("Give the time itself, as in 2030-01-31T09:00:00Z."));
    }
    Ok(())
}

/// Leaves of a card what was asked for; else what has a value, which alone is worth an agent's tokens. The column that
/// belongs beside the card stays in any case.
fn shape(card: &mut Record, wanted: Option<&[String]>, left_out: &[&str], beside: &str) {
    let mut shaped = Record::new();
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
            shaped.insert(column, value);
        }
    }
    *card = shaped;
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
        shape(&mut card, None, &["body"], "cursor");
        assert_eq!(
            json!(card),
            json!({"id": "A1", "attempts": 0, "result": {"notes": null, "files": []}})
        );
    }

    #[test]
    fn fields_are_what_was_asked_for_and_the_token_comes_first() {
        let card = record(json!({"id": "A", "title": "t", "body": null, "claim_token": 7}));
        let mut shaped = card.clone();
        shape(&mut shaped, Some(&["body".to_owned()]), &["body"], "cursor");
        assert_eq!(
            json!(shaped),
            json!({"id": "A", "claim_token": 7, "body": null})
        );
        let mut whole = card;
        shape(&mut whole, None, &[], "cursor");
        let order: Vec<&str> = whole.keys().map(String::as_str).collect();
        assert_eq!(order, ["id", "claim_token", "title"]);
    }

    #[test]
    fn a_time_that_moves_has_no_key() {
        let refused = |time: &str| {
            let given = json!({"idempotency_key": "k", "not_before": time});
            refuse_moving_time(&Given(record(given))).is_err()
        };
        assert!(refused("+2h"));
        assert!(!refused("2030-01-31T09:00:00Z"));
    }
}
