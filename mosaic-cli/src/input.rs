//! What users type: text that must not be empty, durations, times, JSON, files and stdin.

pub mod prompt;

use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::DateTime;
use serde::de::IgnoredAny;

use crate::failure::{Failure, sentence};
use crate::output::notes::warn;

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
    if names_a_file(text) {
        return Err(
            "text is meant here: what names a file, or - for standard input, \
             goes to the option that ends in -file"
                .into(),
        );
    }
    filled(text)
}

/// A title, which no file can give.
pub fn title(text: &str) -> Result<String, String> {
    if names_a_file(text) {
        return Err("a title is meant here, and no file".into());
    }
    filled(text)
}

/// `-` or `@FILE`: whoever writes it expects that something is read.
fn names_a_file(text: &str) -> bool {
    let is_word = !text.contains(char::is_whitespace);
    text == "-" || (is_word && text.len() > 1 && text.starts_with('@'))
}

/// One of several values that commas may part: a label, a capability, an id.
pub fn item(text: &str) -> Result<String, String> {
    name(text.trim())
}

/// A name: `-` would be one that somebody meant to be read from somewhere.
pub fn name(text: &str) -> Result<String, String> {
    match text {
        "-" => Err("a name is meant here, and nothing is read".into()),
        text => filled(text),
    }
}

/// The id of a card that is made: no file gives it. Names of other kinds may begin so, as handles do.
pub fn new_id(text: &str) -> Result<String, String> {
    if names_a_file(text) {
        return Err("an id is meant here, and no file".into());
    }
    name(text)
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

/// The same as [`duration`], or seconds without a unit, as libpq's `connect_timeout` has them. Not 0.
pub fn connect_timeout(text: &str) -> Result<u64, String> {
    match text.parse().or_else(|_| duration(text))? {
        0 => Err("must be longer than 0".into()),
        seconds => Ok(seconds),
    }
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
    checked_json(flag, &text)?;
    Ok(text)
}

fn checked_json(flag: &str, text: &str) -> Result<(), Failure> {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::usage(format!("{flag} is not valid JSON"))
            .detail(sentence(&error))
            .hint(format!(
                "Text needs quotes of its own, as in {flag} '\"done\"'."
            ))),
    }
}

/// The result of work that is done: as `json`, but what cannot be kept of it is replaced, and told.
pub fn result(flag: &str, argument: &str) -> Result<String, Failure> {
    let path = match argument.strip_prefix('@') {
        Some(path) => Some(path),
        None => Some(argument).filter(|argument| *argument == "-"),
    };
    let text = match path {
        Some(path) => String::from_utf8_lossy(&bytes(flag, path)?).into_owned(),
        None => argument.to_owned(),
    };
    let text = text.trim_start_matches('\u{feff}');
    checked_json(flag, text)?;
    let (text, replaced) = storable(text);
    if !replaced.is_empty() {
        warn(&format!(
            "replaced in {flag} by U+FFFD: {}",
            replaced.join(", ")
        ));
    }
    Ok(text)
}

/// JSON that PostgreSQL can keep, and what was replaced by U+FFFD for that: a NUL, and halves of
/// surrogate pairs. Everything else stays as it was written.
pub fn storable(json: &str) -> (String, Vec<String>) {
    let (mut nuls, mut halves) = (0, 0);
    let mut kept = String::with_capacity(json.len());
    let mut rest = json;
    // Outside of strings JSON has no backslash.
    while let Some(at) = rest.find('\\') {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        let (length, count) = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0), _) => (6, Some(&mut nuls)),
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, None),
            (Some(0xd800..=0xdfff), _) => (6, Some(&mut halves)),
            (Some(_), _) => (6, None),
            // The escaped character may be a backslash.
            (None, _) => (1 + rest[1..].chars().next().map_or(0, char::len_utf8), None),
        };
        match count {
            Some(count) => {
                *count += 1;
                kept.push_str("\\ufffd");
            }
            None => kept.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    kept.push_str(rest);
    let replaced = [
        (nuls, "NUL", "NULs"),
        (
            halves,
            "half of a surrogate pair",
            "halves of surrogate pairs",
        ),
    ];
    let replaced = replaced.into_iter().filter(|(count, ..)| *count > 0);
    let replaced = replaced
        .map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }));
    (kept, replaced.collect())
}

/// The number in `\\uXXXX` at the beginning.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}

/// The text of a file, or of standard input if the path is `-`.
pub fn file(flag: &str, path: &str) -> Result<String, Failure> {
    let text =
        String::from_utf8(bytes(flag, path)?).map_err(|error| unreadable(flag, path, &error))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim().is_empty() {
        return Err(Failure::usage(format!(
            "{flag} got an empty text from {path}"
        )));
    }
    Ok(text.to_owned())
}

/// The end of a text such as a log, of about so many bytes, and whether something stood before it.
/// What is no UTF-8 is replaced.
pub fn end_of(flag: &str, path: &str, most: usize) -> Result<(String, bool), Failure> {
    let mut from = open(flag, path)?;
    let mut end: Vec<u8> = Vec::new();
    let mut is_cut = false;
    loop {
        let count = from
            .by_ref()
            .take(most as u64)
            .read_to_end(&mut end)
            .map_err(|error| unreadable(flag, path, &error))?;
        if count == 0 {
            break;
        }
        let above = end.len().saturating_sub(most);
        is_cut |= above > 0;
        end.drain(..above);
    }
    // The first character may be cut, which is no fault of the text.
    let cut = match is_cut {
        true => end
            .iter()
            .take_while(|byte| (0x80..0xc0).contains(*byte))
            .count(),
        false => 0,
    };
    Ok((String::from_utf8_lossy(&end[cut..]).into_owned(), is_cut))
}

fn bytes(flag: &str, path: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    open(flag, path)?
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(flag, path, &error))?;
    Ok(bytes)
}

fn unreadable(flag: &str, path: &str, error: &dyn std::error::Error) -> Failure {
    let place = match path {
        "-" => "standard input",
        path => path,
    };
    Failure::usage(format!("{flag} cannot read {place}")).detail(sentence(error))
}

/// A file, or standard input, which there is only once.
fn open(flag: &str, path: &str) -> Result<Box<dyn Read>, Failure> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if path != "-" {
        let file = File::open(path).map_err(|error| unreadable(flag, path, &error))?;
        return Ok(Box::new(file));
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Failure::usage(format!(
            "{flag} cannot read standard input a second time"
        )));
    }
    Ok(Box::new(std::io::stdin()))
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
    fn the_limit_for_connecting_may_be_bare_seconds_but_not_none() {
        assert_eq!(connect_timeout("10"), Ok(10));
        assert_eq!(connect_timeout("1m30s"), Ok(90));
        for text in ["", "0", "0s", "-1", "soon"] {
            assert!(connect_timeout(text).is_err(), "{text:?} was taken");
        }
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
    fn what_names_a_file_is_no_text() {
        for text in ["-", "@notes.md", "@/tmp/log"] {
            assert!(prose(text).is_err() && title(text).is_err(), "{text}");
        }
        for text in ["@alice has the key", "- one", "@", "a@b"] {
            assert!(prose(text).is_ok() && title(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn names_are_not_read_from_anywhere() {
        assert!(name("-").is_err() && item(" - ").is_err() && item(" ").is_err());
        assert_eq!(item(" a b "), Ok("a b".to_owned()));
        assert_eq!(name("@alice"), Ok("@alice".to_owned()));
        assert!(new_id("@ids").is_err() && new_id("-").is_err() && new_id(" ").is_err());
        assert_eq!(new_id("a@b"), Ok("a@b".to_owned()));
    }

    #[test]
    fn json_that_cannot_be_stored_is_replaced_and_nothing_else_is() {
        for (json, kept, replaced) in [
            (r#"{"n": 1.50, "s": "\u00e9\n\\u0000"}"#, None, vec![]),
            (
                r#""\u0000\u0000""#,
                Some(r#""\ufffd\ufffd""#),
                vec!["2 NULs"],
            ),
            (r#""\ud83d\ude00""#, None, vec![]),
            (
                r#""\ud83d-\ude00\ud83d""#,
                Some(r#""\ufffd-\ufffd\ufffd""#),
                vec!["3 halves of surrogate pairs"],
            ),
            (
                r#""\ud83d\ud83d\ude00""#,
                Some(r#""\ufffd\ud83d\ude00""#),
                vec!["1 half of a surrogate pair"],
            ),
            (r#""\é\u0000""#, Some(r#""\é\ufffd""#), vec!["1 NUL"]),
        ] {
            let (text, told) = storable(json);
            assert_eq!(text, kept.unwrap_or(json));
            assert_eq!(told, replaced, "{json}");
        }
    }

    #[test]
    fn the_end_of_a_log_is_text_whatever_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let end = |bytes: &[u8], most| {
            std::fs::write(&path, bytes).unwrap();
            end_of("--reason-file", path.to_str().unwrap(), most).unwrap()
        };
        assert_eq!(end(b"", 4), (String::new(), false));
        assert_eq!(end("aé".as_bytes(), 4), ("aé".to_owned(), false));
        assert_eq!(
            end(&"éé".as_bytes()[1..], 8),
            ("\u{fffd}é".to_owned(), false)
        );
        assert_eq!(end("xxxééé".as_bytes(), 5), ("éé".to_owned(), true));
        assert_eq!(end(&[b'x'; 1000], 3), ("xxx".to_owned(), true));
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
