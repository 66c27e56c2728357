//! `--reason` and `--reason-file`: why something is done to a card. A reason is often the end of a
//! log, which may be long, cut in the middle of a character, or empty: none of that is to cost the call.

use std::ffi::OsString;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::failure::Failure;
use crate::input::{self, filled, prose};
use crate::output::reply::warn;

/// Characters that the backlog takes.
const MOST: usize = 10_000;
/// What stands in place of the beginning of a longer one.
pub const MARK: &str = "[the beginning was left out]\n";
/// The reason of a failure that comes without one.
const NONE: &str = "no reason was given";

#[derive(Args)]
pub struct Reason {
    /// Why, for the card's history and its next worker
    #[arg(long, value_name = "TEXT", value_parser = text(), allow_hyphen_values = true)]
    reason: Option<String>,

    /// Read the reason from a file, such as a log, or from standard input (-)
    #[arg(long, value_name = "FILE", value_parser = filled, conflicts_with = "reason")]
    reason_file: Option<String>,
}

/// Text that may be empty; bytes that are not UTF-8 are replaced.
fn text() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().try_map(given)
}

pub fn given(given: OsString) -> Result<String, String> {
    let given = given.to_string_lossy().into_owned();
    match given.trim() {
        "" => Ok(given),
        _ => prose(&given),
    }
}

impl Reason {
    /// Of a verb that has to say why.
    pub fn said(self) -> Result<String, Failure> {
        let flag = match &self.reason_file {
            Some(_) => "--reason-file",
            None => "--reason",
        };
        self.read()?.ok_or_else(|| {
            Failure::usage(format!("{flag} must not be empty"))
                .detail("Is a shell variable unset, or a file empty?")
        })
    }

    /// Of a verb that need not say why: it is not to fail for want of words either.
    pub fn if_any(self) -> Option<String> {
        self.read().unwrap_or_else(|failure| {
            warn(&failure.message);
            None
        })
    }

    /// Of a failure, which is told in any case: a card must not stay held for want of words.
    pub fn or_none(self) -> String {
        match self.read() {
            Ok(Some(reason)) => reason,
            Ok(None) => NONE.to_owned(),
            Err(failure) => {
                warn(&failure.message);
                format!("{NONE}: {}", failure.message)
            }
        }
    }

    fn read(self) -> Result<Option<String>, Failure> {
        let (text, is_cut) = match (self.reason, self.reason_file) {
            (Some(text), _) => (text, false),
            (None, Some(path)) => input::end_of("--reason-file", &path, 8 * MOST)?,
            (None, None) => return Ok(None),
        };
        // PostgreSQL keeps no NUL.
        let text = text.replace('\0', "\u{fffd}");
        let text = text.trim();
        Ok((!text.is_empty()).then(|| end(text, is_cut)))
    }
}

/// What the backlog takes of it: what went wrong stands at the end.
fn end(text: &str, is_cut: bool) -> String {
    let length = text.chars().count();
    if length <= MOST && !is_cut {
        return text.to_owned();
    }
    let room = MOST - MARK.chars().count();
    let end: String = text.chars().skip(length.saturating_sub(room)).collect();
    format!("{MARK}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_keeps_its_end() {
        assert_eq!(end("short", false), "short");
        assert_eq!(end("short", true), format!("{MARK}short"));
        let long = "é".repeat(MOST) + "!";
        let kept = end(&long, false);
        assert_eq!(kept.chars().count(), MOST);
        assert!(kept.starts_with(MARK) && kept.ends_with("é!"));
        let fits = "é".repeat(MOST);
        assert_eq!(end(&fits, false), fits);
    }

    #[test]
    fn words_are_not_needed_to_tell_a_failure() {
        let said = |reason: &str| Reason {
            reason: Some(reason.to_owned()),
            reason_file: None,
        };
        assert_eq!(said(" ").or_none(), NONE);
        assert_eq!(said("a\0b").or_none(), "a\u{fffd}b");
        assert!(said("").said().is_err());
        let missing = Reason {
            reason: None,
            reason_file: Some("/no/such/log".to_owned()),
        };
        assert!(missing.or_none().contains("/no/such/log"));
    }
}
