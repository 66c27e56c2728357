//! One thing that was looked at, and how it stands.

use serde::Serialize;

use crate::failure::Failure;
use crate::output::error::whole;
use crate::output::redact::redact;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// The backlog does what it should, but somebody has to look at this.
    Warning,
    /// The backlog cannot be used, or may do wrong.
    Error,
    /// It could not be looked at.
    Unknown,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub name: String,
    pub state: State,
    pub detail: String,
    pub hint: Option<String>,
}

impl Finding {
    pub fn ok(name: &str, detail: impl Into<String>) -> Self {
        Finding {
            name: name.to_owned(),
            state: State::Ok,
            detail: detail.into(),
            hint: None,
        }
    }

    pub fn not_ok(
        name: &str,
        state: State,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Finding {
            name: name.to_owned(),
            state,
            detail: detail.into(),
            hint: Some(hint.into()),
        }
    }

    /// What kept something from being looked at; `hint` is for failures that have none.
    pub fn failed(name: &str, state: State, failure: &Failure, hint: &str) -> Self {
        Finding {
            name: name.to_owned(),
            state,
            detail: whole(failure),
            hint: Some(redact(failure.hint.as_deref().unwrap_or(hint))),
        }
    }
}
