//! What users type: text that must not be empty, durations, times, JSON, files and stdin.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::DateTime;
use serde::de::IgnoredAny;

use crate::failure::{Failure, sentence};

/// A value that is not empty: an unset shell variable must never widen or empty anything.
pub fn filled(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("must not be empty (is a shell variable unset?)".into());
    }
    Ok(text.to_owned())
}

/// Free text, which may begin with a dash as a list does; a lone flag is a forgotten value.
pub fn prose(text: &str) -> Result<String, String> {
    let is_flag = text.strip_prefix("--").is_some_and(|name| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    });
    if is_flag {
        return Err("a value is missing (this is a flag)".into());
    }
    filled(text)
}

/// `90s`, `15m`, `2h`, `1d`, `1h30m`, in seconds.
pub fn duration(text: &str) -> Result<u64, String> {
    const SHAPE: &str = "write it as 90s, 15m, 2h, 1d or 1h30m";
    filled(text)?;
    let mut total: u64 = 0;
    let mut rest = text;
    // Largest unit first, each at most once: `5m2h` is a slip.
    let mut previous = u64::MAX;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        if tail.is_empty() {
            return Err(format!("{number:?} has no unit: {SHAPE}"));
        }
        let unit = match tail.as_bytes()[0] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return Err(SHAPE.into()),
        };
        if number.is_empty() || unit >= previous {
            return Err(SHAPE.into());
        }
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .and_then(|seconds| total.checked_add(seconds))
            .ok_or("is too long")?;
        previous = unit;
        rest = &tail[1..];
    }
    Ok(total)
}

/// A moment that the caller gives, or one that the server computes from its own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    At(String),
    In(u64),
}

/// RFC 3339, or `+2h`.
pub fn moment(text: &str) -> Result<Moment, String> {
    filled(text)?;
    if let Some(relative) = text.strip_prefix('+') {
        return duration(relative).map(Moment::In);
    }
    match DateTime::parse_from_rfc3339(text) {
        Ok(_) => Ok(Moment::At(text.to_owned())),
        Err(_) => Err("write it as 2030-01-31T09:00:00Z (RFC 3339) or +2h".into()),
    }
}

/// The argument of `--result` and its like: JSON, `@FILE` or `-`. The text is checked and passed on as it is.
pub fn json(flag: &str, argument: &str) -> Result<String, Failure> {
    let text = match argument.strip_prefix('@') {
        Some(path) => file(flag, path)?,
        None if argument == "-" => file(flag, "-")?,
        None => argument.to_owned(),
    };
    match serde_json::from_str::<IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::usage(format!("{flag} is not valid JSON"))
            .detail(sentence(&error))
            .hint(format!(
                "Text needs quotes of its own, as in {flag} '\"done\"'."
            ))),
    }
}

/// The text of a file, or of standard input if the path is `-`.
pub fn file(flag: &str, path: &str) -> Result<String, Failure> {
    let unreadable = |error: &dyn std::error::Error| {
        Failure::usage(format!("{flag} cannot read {path}")).detail(sentence(error))
    };
    let bytes = if path == "-" {
        stdin(flag)?
    } else {
        std::fs::read(Path::new(path)).map_err(|error| unreadable(&error))?
    };
    let text = String::from_utf8(bytes).map_err(|error| unreadable(&error))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim().is_empty() {
        return Err(Failure::usage(format!(
            "{flag} got an empty text from {path}"
        )));
    }
    Ok(text.to_owned())
}

fn stdin(flag: &str) -> Result<Vec<u8>, Failure> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Failure::usage(format!(
            "{flag} cannot read standard input a second time"
        )));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("{flag} cannot read standard input: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_human() {
        assert_eq!(duration("90s"), Ok(90));
        assert_eq!(duration("15m"), Ok(900));
        assert_eq!(duration("2h"), Ok(7_200));
        assert_eq!(duration("1d"), Ok(86_400));
        assert_eq!(duration("1h30m"), Ok(5_400));
        assert_eq!(duration("0s"), Ok(0));
    }

    #[test]
    fn durations_that_could_be_misread_are_refused() {
        for text in [
            "", " ", "m", "-5m", "5", "1h30", "5m2h", "1h1h", "1.5h", "5 m", "15min", "∞s",
        ] {
            assert!(duration(text).is_err(), "{text:?} was taken");
        }
        assert!(duration("90").unwrap_err().contains("no unit"));
        assert_eq!(
            duration("99999999999999999999d"),
            Err("is too long".to_owned())
        );
    }

    #[test]
    fn moments_are_absolute_or_relative() {
        assert_eq!(
            moment("2030-01-31T09:00:00Z"),
            Ok(Moment::At("2030-01-31T09:00:00Z".into()))
        );
        assert_eq!(moment("+2h"), Ok(Moment::In(7_200)));
        for text in [
            "",
            "tomorrow",
            "2030-01-31",
            "2030-01-31T09:00:00",
            "+",
            "+5",
        ] {
            assert!(moment(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn empty_text_is_refused() {
        assert!(filled("").is_err());
        assert!(filled(" \t").is_err());
        assert_eq!(filled("x"), Ok("x".to_owned()));
    }

    #[test]
    fn prose_may_begin_with_a_dash_but_is_no_flag() {
        assert!(prose("- one\n- two").is_ok());
        assert!(prose("---\ntitle: x").is_ok());
        assert!(prose("--json").is_err());
        assert!(prose("").is_err());
    }

    #[test]
    fn json_is_passed_on_as_it_was_written() {
        let long = r#"{"n": 123456789012345678901234567890.10}"#;
        assert_eq!(json("--result", long).unwrap(), long);
        let failure = json("--result", "done").unwrap_err();
        assert_eq!(failure.message, "--result is not valid JSON");
        assert!(failure.hint.is_some());
    }

    #[test]
    fn an_unreadable_file_is_a_usage_error() {
        let failure = json("--result", "@no/such/file").unwrap_err();
        assert_eq!(failure.code, crate::failure::Code::Usage);
    }
}
