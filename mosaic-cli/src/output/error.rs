//! An error as it is printed: no passwords, and hints in the words of who calls the program.

use serde_json::{Value, json};

use crate::failure::{Failure, capitalised};
use crate::output::hint::Words;
use crate::output::redact::redact;
use crate::output::screen::{Paint, Screen, many_lines};

/// The document for programs.
pub fn document(failure: &Failure, words: Words) -> Value {
    json!({"error": {
        "code": failure.code.word(),
        "message": redact(&failure.message),
        "detail": failure.detail.as_deref().map(redact),
        "hint": words.hint(failure).as_deref().map(redact),
        "retryable": failure.retryable(),
    }})
}

/// The lines for stderr.
pub fn text(failure: &Failure, words: Words, screen: &Screen) -> String {
    // They quote what others wrote.
    let shown = |text: &str| many_lines(&redact(text));
    let label = screen.paint(Paint::Bad, "error");
    let mut text = format!("{label}: {}\n", shown(&failure.message));
    if let Some(detail) = &failure.detail {
        text.push_str(&shown(detail));
        text.push('\n');
    }
    if let Some(hint) = words.hint(failure) {
        let label = screen.paint(Paint::Info, "hint");
        text.push_str(&format!("{label}: {}\n", shown(&hint)));
    }
    text
}

/// A failure's message and detail, as sentences.
pub fn whole(failure: &Failure) -> String {
    let detail = failure.detail.as_deref().unwrap_or_default();
    redact(format!("{} {detail}", capitalised(&failure.message)).trim_end())
}
