//! A tool: one function of the backlog, as an agent calls it.

use std::sync::Arc;

use rmcp::model::{JsonObject, ToolAnnotations};
use serde_json::Value;

use super::argument::{self, Argument};
use super::session::Session;
use crate::answer;
use crate::call::Call;
use crate::failure::Failure;
use crate::store::Record;

pub struct Tool {
    pub name: &'static str,
    pub about: &'static str,
    pub function: &'static str,
    pub arguments: &'static [Argument],
    pub effect: Effect,
    pub answer: Answer,
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
    /// It changes a card, in the name of an actor.
    Changes,
}

#[derive(Clone, Copy)]
pub enum Answer {
    /// Cards with all that it takes to start.
    Work,
    WholeCard,
    Card,
    /// A card, and a column that belongs beside it.
    CardAnd(&'static str),
    Created,
    Page,
    Lease,
    Reasons,
    Numbers,
}

/// What can be long. Agents get it where they ask for it: with `claim` and `show`.
const LONG: [&str; 3] = ["body", "acceptance", "result"];

impl Tool {
    pub fn described(&self) -> rmcp::model::Tool {
        let annotations = match self.effect {
            Effect::Reads => ToolAnnotations::new().read_only(true),
            _ => ToolAnnotations::new().destructive(false),
        };
        rmcp::model::Tool::new(
            self.name,
            self.about,
            Arc::new(argument::schema(self.arguments)),
        )
        .with_annotations(annotations)
    }

    pub fn run(&self, mut arguments: JsonObject, session: &Session) -> Result<Value, Failure> {
        // Models write null for what they leave out.
        arguments.retain(|_, value| !value.is_null());
        let id = arguments
            .get("id")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let call = self.call(&arguments, id.as_deref(), session)?;
        let rows = session.rows(&call)?;
        match (self.effect, &id) {
            (Effect::Claims, _) => rows.iter().for_each(|card| session.hold(card)),
            (Effect::Returns | Effect::Settles, Some(id)) => session.let_go(id),
            _ => {}
        }
        self.document(rows, id)
    }

    fn call(
        &self,
        arguments: &JsonObject,
        id: Option<&str>,
        session: &Session,
    ) -> Result<Call, Failure> {
        self.refuse_unknown(arguments)?;
        refuse_moving_time(arguments)?;
        let mut call = Call::new(self.function);
        for argument in self.arguments {
            match arguments.get(argument.name) {
                Some(value) => call = argument.add_to(call, value)?,
                None if argument.required => {
                    return Err(
                        Failure::usage(format!("{} needs {}", self.name, argument.name))
                            .hint(self.takes()),
                    );
                }
                None => {}
            }
        }
        Ok(match self.effect {
            Effect::Claims if !arguments.contains_key("worker") => {
                call.text("worker", session.worker.clone())
            }
            Effect::Settles | Effect::Changes => call.text("actor", session.actor(id)),
            Effect::Renews => call.returning("claim_expires_at"),
            Effect::Reads | Effect::Claims | Effect::Returns => call,
        })
    }

    fn refuse_unknown(&self, arguments: &JsonObject) -> Result<(), Failure> {
        let known = |name: &str| self.arguments.iter().any(|argument| argument.name == name);
        match arguments.keys().find(|name| !known(name)) {
            Some(name) => Err(Failure::usage(format!(
                "{} does not know the argument {name:?}",
                self.name
            ))
            .hint(self.takes())),
            None => Ok(()),
        }
    }

    fn takes(&self) -> String {
        let names: Vec<&str> = self
            .arguments
            .iter()
            .map(|argument| argument.name)
            .collect();
        format!("{} takes {}.", self.name, names.join(", "))
    }

    fn document(&self, rows: Vec<Record>, id: Option<String>) -> Result<Value, Failure> {
        let id = id.unwrap_or_default();
        let (mut document, left_out): (Value, &[&str]) = match self.answer {
            Answer::Work => (answer::cards(rows), &[]),
            Answer::WholeCard => (answer::card(self.only(rows)?), &[]),
            Answer::Card => (answer::card(self.only(rows)?), &LONG),
            Answer::CardAnd(column) => (answer::card_and(column, self.only(rows)?), &LONG),
            Answer::Page => (answer::page(rows), &LONG),
            Answer::Created => return Ok(answer::cards(rows)),
            Answer::Lease => return Ok(answer::lease(id, &self.only(rows)?)),
            Answer::Reasons => (answer::reasons(id, rows), &[]),
            Answer::Numbers => return Ok(Value::Object(self.only(rows)?)),
        };
        for key in ["card", "cards", "reasons"] {
            match document.get_mut(key) {
                Some(Value::Object(record)) => trim(record, left_out),
                Some(Value::Array(records)) => records
                    .iter_mut()
                    .filter_map(Value::as_object_mut)
                    .for_each(|record| trim(record, left_out)),
                _ => {}
            }
        }
        Ok(document)
    }

    fn only(&self, rows: Vec<Record>) -> Result<Record, Failure> {
        rows.into_iter()
            .next()
            .ok_or_else(|| Failure::internal(format!("mosaic.{} returned no row", self.function)))
    }

    /// Takes back what a call did whose answer nobody got.
    pub fn undo(&self, document: &Value, session: &Session) {
        if self.effect != Effect::Claims {
            return;
        }
        for card in document["cards"].as_array().into_iter().flatten() {
            if let Some(id) = card["id"].as_str() {
                session.release(id, "the client cancelled its claim");
            }
        }
    }
}

/// The key stands for one card, and a time from now would be another one each time.
fn refuse_moving_time(arguments: &JsonObject) -> Result<(), Failure> {
    let moves = arguments
        .get("not_before")
        .and_then(Value::as_str)
        .is_some_and(|time| time.starts_with('+'));
    if moves && arguments.contains_key("idempotency_key") {
        return Err(Failure::usage(
            "not_before from now cannot be repeated under an idempotency_key",
        )
        .hint("Give the time itself, as in 2030-01-31T09:00:00Z."));
    }
    Ok(())
}

/// Columns without a value cost an agent tokens and tell it nothing.
fn trim(record: &mut Record, left_out: &[&str]) {
    record.retain(|column, value| {
        let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        !is_empty && !left_out.contains(&column.as_str())
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_columns_without_a_value_are_trimmed() {
        let mut record = json!({"id": "A1", "labels": [], "phase": null, "attempts": 0,
            "result": {"notes": null, "files": []}, "body": "long"});
        let record = record.as_object_mut().unwrap();
        trim(record, &["body"]);
        assert_eq!(
            json!(record),
            json!({"id": "A1", "attempts": 0, "result": {"notes": null, "files": []}})
        );
    }

    #[test]
    fn a_time_that_moves_has_no_key() {
        let arguments = |time: &str| {
            let arguments = json!({"idempotency_key": "k", "not_before": time});
            refuse_moving_time(arguments.as_object().unwrap())
        };
        assert!(arguments("+2h").is_err());
        assert!(arguments("2030-01-31T09:00:00Z").is_ok());
    }
}
