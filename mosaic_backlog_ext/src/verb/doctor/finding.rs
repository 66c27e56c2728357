//! What one look of the doctor found.

#[derive(Clone, Copy)]
pub enum State {
    Ok,
    /// The backlog does what it should, but somebody has to look at this.
    Warning,
    /// The backlog may do wrong.
    Error,
    /// It could not be looked at.
    Unknown,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }
}

pub struct Finding {
    pub name: &'static str,
    pub state: State,
    pub detail: String,
    pub hint: Option<&'static str>,
}

impl Finding {
    pub fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            detail: detail.into(),
            hint: None,
        }
    }

    pub fn not_ok(
        name: &'static str,
        state: State,
        detail: impl Into<String>,
        hint: &'static str,
    ) -> Self {
        Self {
            name,
            state,
            detail: detail.into(),
            hint: Some(hint),
        }
    }
}
