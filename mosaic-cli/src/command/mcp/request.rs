//! The arguments of one call, in their own types.

use serde_json::{Map, Value};

/// The arguments of a call, in their own types.
pub struct Request(pub Map<String, Value>);

impl Request {
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().map(str::to_owned)
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }

    pub fn is_empty_list(&self, name: &str) -> bool {
        self.0
            .get(name)
            .and_then(Value::as_array)
            .is_some_and(Vec::is_empty)
    }

    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let items = self.0.get(name).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str)
    }

    /// The fields that were asked for.
    pub fn fields(&self) -> Option<Vec<String>> {
        let fields: Vec<String> = self.texts("fields").map(str::to_owned).collect();
        (!fields.is_empty()).then_some(fields)
    }
}
