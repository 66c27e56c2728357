//! The arguments of tools: their schema, and their way into a call. They have the names that SQL gives them.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::call::Call;
use crate::failure::Failure;
use crate::input::{duration, moment};

pub struct Argument {
    pub name: &'static str,
    pub kind: Kind,
    pub about: &'static str,
    pub required: bool,
}

#[derive(Clone, Copy)]
pub enum Kind {
    Text,
    Texts,
    Integer,
    /// A claim_token, which outgrows other numbers.
    Token,
    Switch,
    Duration,
    Moment,
    Uuid,
    /// One of these words.
    Word(&'static [&'static str]),
    Statuses,
    /// Free JSON with a structure. A text is refused: most likely it is JSON that was quoted once too often.
    Json,
    Objects,
}

pub const STATUSES: &[&str] = &["ready", "claimed", "blocked", "done", "cancelled"];

/// An argument that may be left out.
pub const fn may(name: &'static str, kind: Kind, about: &'static str) -> Argument {
    Argument {
        name,
        kind,
        about,
        required: false,
    }
}

/// An argument that must be given.
pub const fn must(name: &'static str, kind: Kind, about: &'static str) -> Argument {
    Argument {
        name,
        kind,
        about,
        required: true,
    }
}

impl Argument {
    pub fn schema(&self) -> Value {
        let mut schema = match self.kind {
            Kind::Text | Kind::Duration | Kind::Moment | Kind::Uuid => json!({"type": "string"}),
            Kind::Integer | Kind::Token => json!({"type": "integer"}),
            Kind::Switch => json!({"type": "boolean"}),
            Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
            Kind::Word(words) => json!({"type": "string", "enum": words}),
            Kind::Statuses => {
                json!({"type": "array", "items": {"type": "string", "enum": STATUSES}})
            }
            Kind::Json => json!({"type": ["object", "array"]}),
            Kind::Objects => json!({"type": "array", "items": {"type": "object"}}),
        };
        if !self.about.is_empty() {
            schema["description"] = json!(self.about);
        }
        schema
    }

    /// Adds the value to the call. What only the database can judge is left to it.
    pub fn add_to(&self, call: Call, value: &Value) -> Result<Call, Failure> {
        let name = self.name;
        let unreadable = |reason: String| Failure::usage(format!("{name}: {reason}"));
        Ok(match self.kind {
            Kind::Text => call.text(name, self.text(value)?.to_owned()),
            Kind::Word(words) => {
                let word = self.text(value)?;
                if !words.contains(&word) {
                    return Err(self.wrong(value));
                }
                call.text(name, word.to_owned())
            }
            Kind::Texts => {
                let texts = self.texts(value)?;
                if texts.is_empty() && self.required {
                    return Err(Failure::usage(format!("{name} is empty")));
                }
                call.texts(name, texts)
            }
            Kind::Statuses => {
                let statuses = self.texts(value)?;
                if !statuses
                    .iter()
                    .all(|word| STATUSES.contains(&word.as_str()))
                {
                    return Err(self.wrong(value));
                }
                call.statuses(name, statuses)
            }
            Kind::Integer => {
                let number = value.as_i64().ok_or_else(|| self.wrong(value))?;
                call.int(name, i32::try_from(number).map_err(|_| self.wrong(value))?)
            }
            Kind::Token => call.bigint(name, value.as_i64().ok_or_else(|| self.wrong(value))?),
            Kind::Switch => call.switch(name, value.as_bool().ok_or_else(|| self.wrong(value))?),
            Kind::Duration => {
                let seconds = duration(self.text(value)?).map_err(unreadable)?;
                call.seconds(name, Some(seconds))
            }
            Kind::Moment => {
                let time = moment(self.text(value)?).map_err(unreadable)?;
                call.moment(name, Some(time))
            }
            Kind::Uuid => {
                let uuid = Uuid::parse_str(self.text(value)?).map_err(|_| self.wrong(value))?;
                call.uuid(name, Some(uuid))
            }
            Kind::Json if value.is_object() || value.is_array() => {
                call.json(name, value.to_string())
            }
            Kind::Objects if objects(value) => call.json(name, value.to_string()),
            Kind::Json | Kind::Objects => return Err(self.wrong(value)),
        })
    }

    fn text<'a>(&self, value: &'a Value) -> Result<&'a str, Failure> {
        value.as_str().ok_or_else(|| self.wrong(value))
    }

    fn texts(&self, value: &Value) -> Result<Vec<String>, Failure> {
        value
            .as_array()
            .and_then(|texts| {
                texts
                    .iter()
                    .map(|text| text.as_str().map(str::to_owned))
                    .collect()
            })
            .ok_or_else(|| self.wrong(value))
    }

    fn wrong(&self, value: &Value) -> Failure {
        let wanted = match self.kind {
            Kind::Text | Kind::Duration | Kind::Moment => "a string".to_owned(),
            Kind::Texts => "an array of strings".to_owned(),
            Kind::Integer => "an integer of 32 bits".to_owned(),
            Kind::Token => "an integer".to_owned(),
            Kind::Switch => "true or false".to_owned(),
            Kind::Uuid => "a UUID".to_owned(),
            Kind::Word(words) => format!("one of {}", words.join(", ")),
            Kind::Statuses => format!("an array of {}", STATUSES.join(", ")),
            Kind::Json => "a JSON object or array".to_owned(),
            Kind::Objects => "an array of objects".to_owned(),
        };
        Failure::usage(format!("{} must be {wanted}", self.name))
            .detail(format!("It is {}.", shown(value)))
    }
}

fn objects(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|values| values.iter().all(Value::is_object))
}

/// A value for a message, which need not hold all of it.
fn shown(value: &Value) -> String {
    const LENGTH: usize = 60;
    let text = value.to_string();
    let kind = match value {
        Value::String(_) => "the string ",
        Value::Array(_) => "the array ",
        Value::Object(_) => "the object ",
        _ => "",
    };
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{kind}{}…", &text[..end]),
        None => format!("{kind}{text}"),
    }
}

/// The schema of all arguments of a tool.
pub fn schema(arguments: &[Argument]) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".into(), json!("object"));
    let properties: Map<String, Value> = arguments
        .iter()
        .map(|argument| (argument.name.to_owned(), argument.schema()))
        .collect();
    schema.insert("properties".into(), properties.into());
    let required: Vec<&str> = arguments
        .iter()
        .filter(|argument| argument.required)
        .map(|argument| argument.name)
        .collect();
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    schema.insert("additionalProperties".into(), json!(false));
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: Kind, value: Value) -> Failure {
        match must("x", kind, "").add_to(Call::new("f"), &value) {
            Ok(_) => panic!("{value} was taken"),
            Err(failure) => failure,
        }
    }

    #[test]
    fn what_is_of_another_type_is_refused_and_named() {
        let failure = refused(Kind::Token, json!("42"));
        assert_eq!(failure.message, "x must be an integer");
        assert_eq!(failure.detail.unwrap(), "It is the string \"42\".");
        for (kind, value) in [
            (Kind::Text, json!(7)),
            (Kind::Texts, json!("a")),
            (Kind::Texts, json!(["a", 7])),
            (Kind::Texts, json!([])),
            (Kind::Integer, json!(1.5)),
            (Kind::Integer, json!(5_000_000_000_i64)),
            (Kind::Switch, json!("true")),
            (Kind::Duration, json!("15")),
            (Kind::Duration, json!(15)),
            (Kind::Moment, json!("tomorrow")),
            (Kind::Uuid, json!("7")),
            (Kind::Word(&["input"]), json!("other")),
            (Kind::Statuses, json!(["open"])),
            (Kind::Json, json!("{\"commit\": \"1f2e3d\"}")),
            (Kind::Objects, json!([1])),
        ] {
            refused(kind, value);
        }
    }

    #[test]
    fn a_long_value_is_not_repeated_whole() {
        let failure = refused(Kind::Token, json!("é".repeat(1_000)));
        assert!(failure.detail.unwrap().ends_with("…."));
    }

    #[test]
    fn the_schema_says_what_is_required_and_that_this_is_all() {
        const ARGUMENTS: &[Argument] = &[
            must("id", Kind::Text, ""),
            may("n", Kind::Integer, "how many"),
        ];
        let schema = Value::Object(schema(ARGUMENTS));
        assert_eq!(
            schema,
            json!({
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "n": {"type": "integer", "description": "how many"},
                },
                "required": ["id"],
                "additionalProperties": false,
            })
        );
    }
}
