//! The arguments of tools: their schema, and their way into a call. They have the names that SQL gives them.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::given;
use super::kind::{Argument, Kind, LISTS, STATUSES};
use crate::database::call::Call;
use crate::failure::Failure;
use crate::input::{duration, moment};

impl Kind {
    /// Clients differ in what they take: each value has one type, each array says of what, each object of which keys.
    fn schema(self) -> Value {
        let texts = |items: Value| json!({"type": "array", "items": items});
        match self {
            Kind::Text | Kind::Duration | Kind::Moment | Kind::Uuid => json!({"type": "string"}),
            Kind::Integer | Kind::Token | Kind::Offset => json!({"type": "integer"}),
            Kind::Switch | Kind::All => json!({"type": "boolean"}),
            Kind::Texts | Kind::Fields => texts(json!({"type": "string"})),
            Kind::Word(words) => json!({"type": "string", "enum": words}),
            Kind::Statuses => texts(json!({"type": "string", "enum": STATUSES})),
            Kind::Clear(fields) => texts(json!({"type": "string", "enum": fields})),
            Kind::Document(keys) => object(keys, true).into(),
            Kind::Cards(arguments) => texts(object(arguments, false).into()),
        }
    }
}

impl Argument {
    fn schema(&self, described: bool) -> Value {
        let mut schema = self.kind.schema();
        if described && !self.about.is_empty() {
            schema["description"] = json!(self.about);
        }
        schema
    }

    /// Adds a value that was read as this argument to the call. What only the database can judge is left to it.
    pub fn add_to(&self, call: Call, value: &Value) -> Result<Call, Failure> {
        let name = self.name;
        let text = || value.as_str().unwrap_or_default().to_owned();
        let texts = || -> Vec<String> {
            let items = value.as_array().into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let wrong = || given::wrong(name, self.kind, value);
        let unreadable = |reason: String| wrong().detail(format!("{reason}."));
        Ok(match self.kind {
            Kind::Text | Kind::Word(_) => call.text(name, text()),
            Kind::Texts => {
                let texts = texts();
                if texts.is_empty() && self.required {
                    return Err(wrong().detail("It is empty."));
                }
                call.texts(name, texts)
            }
            Kind::Statuses => call.statuses(name, texts()),
            Kind::Integer => {
                let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
                call.int(name, number.ok_or_else(wrong)?)
            }
            Kind::Token => call.bigint(name, value.as_i64().ok_or_else(wrong)?),
            Kind::Switch => call.switch(name, value == &Value::Bool(true)),
            Kind::Duration => call.seconds(name, Some(duration(&text()).map_err(unreadable)?)),
            Kind::Moment => call.moment(name, Some(moment(&text()).map_err(unreadable)?)),
            Kind::Uuid => call.uuid(name, Some(Uuid::parse_str(&text()).map_err(|_| wrong())?)),
            Kind::Document(_) | Kind::Cards(_) => call.json(name, value.to_string()),
            Kind::Clear(_) => {
                let (lists, columns): (Vec<String>, Vec<String>) = texts()
                    .into_iter()
                    .partition(|field| LISTS.contains(&field.as_str()));
                let emptied = LISTS
                    .into_iter()
                    .filter(|list| lists.iter().any(|l| l == list));
                emptied.fold(call, Call::no_texts).texts(name, columns)
            }
            Kind::All | Kind::Fields | Kind::Offset => call,
        })
    }
}

/// The schema of an object with these keys.
fn object(arguments: &[Argument], is_free: bool) -> Map<String, Value> {
    schema(arguments, is_free, false)
}

/// The schema of all arguments of a tool.
pub fn of_tool(arguments: &[Argument]) -> Map<String, Value> {
    schema(arguments, false, true)
}

fn schema(arguments: &[Argument], is_free: bool, described: bool) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".into(), json!("object"));
    let properties: Map<String, Value> = arguments
        .iter()
        .map(|argument| (argument.name.to_owned(), argument.schema(described)))
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
    schema.insert("additionalProperties".into(), json!(is_free));
    schema
}

#[cfg(test)]
mod tests {
    use super::super::kind::{may, must};
    use super::*;

    #[test]
    fn the_schema_says_what_is_required_and_that_this_is_all() {
        const ARGUMENTS: &[Argument] = &[
            must("id", Kind::Text, ""),
            may("n", Kind::Integer, "how many"),
        ];
        let schema = Value::Object(of_tool(ARGUMENTS));
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

    #[test]
    fn what_is_emptied_is_a_list_or_a_column() {
        let clear = may("clear", Kind::Clear(&["body", "labels"]), "");
        let call = clear.add_to(Call::new("backlog_update"), &json!(["labels", "body"]));
        let sql = call.map(|call| call.sql()).unwrap_or_default();
        assert!(
            sql.contains("backlog_update(labels => $1, clear => $2)"),
            "{sql}"
        );
    }
}
