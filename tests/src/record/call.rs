//! A call of a verb, and how it ended.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cards::{array, quote};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Create,
    Claim,
    Renew,
    Release,
    Fail,
    Complete,
    Block,
    Unblock,
    Cancel,
    Reopen,
    Update,
    Link,
    Unlink,
    Reclaim,
}

impl Verb {
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Claim => "claim",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Fail => "fail",
            Self::Complete => "complete",
            Self::Block => "block",
            Self::Unblock => "unblock",
            Self::Cancel => "cancel",
            Self::Reopen => "reopen",
            Self::Update => "update",
            Self::Link => "link",
            Self::Unlink => "unlink",
            Self::Reclaim => "reclaim",
        }
    }

    /// What is kept of an answer.
    fn columns(self) -> &'static str {
        match self {
            Self::Create => "id, created",
            Self::Claim => {
                "id, claim_token, claimed_at, claim_expires_at, dependencies_total, array(
                   select told ->> 'id' from jsonb_array_elements(dependencies) told) as dependencies"
            }
            Self::Renew => "backlog_renew as claim_expires_at",
            Self::Complete => "id, status, unblocked",
            Self::Reclaim => "id, action",
            _ => "id, status",
        }
    }
}

/// A verb and its arguments, under the names that the SQL function gives them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub verb: Verb,
    pub arguments: Map<String, Value>,
}

impl Call {
    pub fn new(verb: Verb) -> Self {
        Self {
            verb,
            arguments: Map::new(),
        }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.arguments.insert(name.to_owned(), value.into());
        self
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.arguments.get(name)?.as_str()
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        self.arguments.get(name)?.as_i64()
    }

    pub fn list(&self, name: &str) -> Vec<&str> {
        let list = self.arguments.get(name).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// The card that the call names.
    pub fn card(&self) -> Option<&str> {
        self.text("id")
    }

    pub fn token(&self) -> Option<i64> {
        self.number("claim_token")
    }

    /// How a trigger makes the claim, if one does; see `load::nested`.
    pub fn nested(&self) -> Option<&str> {
        self.text("nested")
    }

    /// The query that makes the call.
    pub fn sql(&self) -> String {
        let arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|(name, value)| format!("{name} => {}", literal(name, value)))
            .collect();
        let function = match self.nested() {
            Some(_) => "public.errand".to_owned(),
            None => format!("mosaic.backlog_{}", self.verb.name()),
        };
        format!(
            "select {} from {function}({})",
            self.verb.columns(),
            arguments.join(", ")
        )
    }
}

fn literal(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(items) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            array(&items)
        }
        Value::Object(_) => quote(&value.to_string()),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null => panic!("{name}: leave out what is not given"),
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The answer says that it took effect; the rows of the answer.
    Acknowledged(Vec<Value>),
    /// The answer says that it did not.
    Refused {
        /// The stable code, or empty where the error is PostgreSQL's own.
        code: String,
        sqlstate: String,
        message: String,
    },
    /// No answer came, so that it may have taken effect or not.
    Unknown(String),
}

impl Outcome {
    pub fn rows(&self) -> &[Value] {
        match self {
            Self::Acknowledged(rows) => rows,
            _ => &[],
        }
    }

    pub fn is_acknowledged(&self) -> bool {
        matches!(self, Self::Acknowledged(_))
    }

    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// The stable code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}
