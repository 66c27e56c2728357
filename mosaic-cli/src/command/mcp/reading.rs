//! Arguments of a call are read in their own types, and refused where they do not go together.

use rmcp::model::JsonObject;
use serde_json::{Map, json};

use super::given;
use super::kind::LISTS;
use super::request::Request;
use super::tool::{Effect, Returns, Tool};
use crate::failure::Failure;
use crate::failure::suggest::{question, similar};
use crate::output::selection::check_fields;

/// Cards of one claim, so that each fits into the answer.
const MOST_CLAIMED: i64 = 20;

impl Tool {
    /// The arguments in their own types.
    pub fn read(&self, mut arguments: JsonObject) -> Result<Request, Failure> {
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
        let given = Request(values);
        self.check(&given)?;
        Ok(given)
    }

    /// What arguments do not say together.
    fn check(&self, given: &Request) -> Result<(), Failure> {
        refuse_moving_time(given)?;
        if let Some(fields) = given.fields() {
            check_fields(&fields, &self.fields())?;
        }
        if given.is_on("all") && (given.has("statuses") || given.is_on("ready_only")) {
            return Err(
                Failure::usage("all does not go with statuses and ready_only")
                    .hint("Each of them says which cards: give one."),
            );
        }
        let claimed = given.number("max_cards").unwrap_or_default();
        if self.effect == Effect::Claims && claimed > MOST_CLAIMED {
            return Err(
                Failure::usage(format!("max_cards must be {MOST_CLAIMED} or less"))
                    .hint(format!("As in {{\"max_cards\":{MOST_CLAIMED}}}")),
            );
        }
        if let Some(offset) = given.number("offset") {
            if offset < 0 {
                return Err(Failure::usage("offset must not be negative"));
            }
            let is_one = match self.returns {
                Returns::Events => given.has("id") && given.number("max_events") == Some(1),
                _ => given.fields().is_some_and(|fields| fields.len() == 1),
            };
            if !is_one {
                return Err(Failure::usage("offset is for a single text").hint(
                    match self.returns {
                        Returns::Events => {
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
    fn check_changes(&self, given: &Request) -> Result<(), Failure> {
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
            return Err(Failure::usage("no change was given").hint(self.takes()));
        }
        Ok(())
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
        let hint = match question(&similar(name, known())) {
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
}

/// The key stands for one card, and a time from now would be another one each time.
fn refuse_moving_time(given: &Request) -> Result<(), Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_moves_has_no_key() {
        let refused = |time: &str| {
            let given = json!({"idempotency_key": "k", "not_before": time});
            refuse_moving_time(&Request(given.as_object().cloned().unwrap_or_default())).is_err()
        };
        assert!(refused("+2h"));
        assert!(!refused("2030-01-31T09:00:00Z"));
    }
}
