//! Arguments as clients give them: numbers, switches, arrays and objects come as texts, too. What says the same is
//! taken; of what does not, the right form is shown.

use serde_json::{Map, Value, json};

use super::kind::{Argument, Kind, STATUSES};
use crate::failure::Failure;

/// Models write null or an empty text for what they do not give.
pub fn is_missing(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// The value in the argument's own type.
pub fn read(name: &str, kind: Kind, value: &Value) -> Result<Value, Failure> {
    let refused = || wrong(name, kind, value);
    match kind {
        Kind::Text | Kind::Duration | Kind::Moment | Kind::Uuid => text(value),
        Kind::Word(words) => text(value).filter(|word| is_of(words, word)),
        Kind::Integer | Kind::Token | Kind::Offset => whole(value).map(Value::from),
        Kind::Switch | Kind::All => switch(value).map(Value::from),
        Kind::Texts | Kind::Fields => texts(value),
        Kind::Statuses => texts(value).filter(|words| all_of(STATUSES, words)),
        Kind::Clear(fields) => texts(value).filter(|words| all_of(fields, words)),
        Kind::Document(_) => structure(value),
        Kind::Cards(arguments) => return cards(name, arguments, value).ok_or_else(refused)?,
    }
    .ok_or_else(refused)
}

/// A text, also as a number that has one way to be written.
fn text(value: &Value) -> Option<Value> {
    match value {
        Value::String(_) => Some(value.clone()),
        Value::Number(number) => number.as_i64().map(|number| json!(number.to_string())),
        _ => None,
    }
}

/// `3`, `3.0` and `"3"`.
fn whole(value: &Value) -> Option<i64> {
    let written = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    let (number, fraction) = written.split_once('.').unwrap_or((&written, ""));
    match number.parse() {
        Ok(number) => fraction
            .bytes()
            .all(|digit| digit == b'0')
            .then_some(number),
        // Only then are there no two integers with one such number.
        Err(_) => written
            .parse::<f64>()
            .ok()
            .filter(|number| number.fract() == 0.0 && number.abs() < 9e15)
            .map(|number| number as i64),
    }
}

fn switch(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(on) => Some(*on),
        Value::String(word) => word.trim().to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

fn texts(value: &Value) -> Option<Value> {
    let value = structure(value)?;
    value.as_array()?.iter().map(text).collect()
}

/// An object or an array, also as JSON text.
fn structure(value: &Value) -> Option<Value> {
    let value = match value {
        Value::String(text) => serde_json::from_str(text).ok()?,
        value => value.clone(),
    };
    (value.is_object() || value.is_array()).then_some(value)
}

fn cards(name: &str, arguments: &[Argument], value: &Value) -> Option<Result<Value, Failure>> {
    let cards: Vec<Map<String, Value>> = structure(value)?
        .as_array()?
        .iter()
        .map(|card| match structure(card)? {
            Value::Object(card) => Some(card),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let read_card = |(at, card): (usize, Map<String, Value>)| {
        card.into_iter()
            .filter(|(_, value)| !is_missing(value))
            .map(|(key, value)| {
                // What a card cannot have is told by the database, with the card's place.
                let known = arguments.iter().find(|argument| argument.name == key);
                let value = match known {
                    Some(known) => read(&format!("{name}[{at}].{key}"), known.kind, &value)?,
                    None => value,
                };
                Ok((key, value))
            })
            .collect::<Result<Map<_, _>, Failure>>()
            .map(Value::Object)
    };
    Some(cards.into_iter().enumerate().map(read_card).collect())
}

fn is_of(words: &[&str], word: &Value) -> bool {
    word.as_str().is_some_and(|word| words.contains(&word))
}

fn all_of(known: &[&str], words: &Value) -> bool {
    let words = words.as_array().into_iter().flatten();
    words.into_iter().all(|word| is_of(known, word))
}

/// What is refused, and how it is written.
pub fn wrong(name: &str, kind: Kind, value: &Value) -> Failure {
    let wanted = match kind {
        Kind::Text => "a string".to_owned(),
        Kind::Duration => "a duration".to_owned(),
        Kind::Moment => "a time".to_owned(),
        Kind::Texts | Kind::Fields => "an array of strings".to_owned(),
        Kind::Integer => "an integer of 32 bits".to_owned(),
        Kind::Token | Kind::Offset => "an integer".to_owned(),
        Kind::Switch | Kind::All => "true or false".to_owned(),
        Kind::Uuid => "a UUID".to_owned(),
        Kind::Word(words) => format!("one of {}", words.join(", ")),
        Kind::Statuses => format!("an array of {}", STATUSES.join(", ")),
        Kind::Clear(fields) => format!("an array of {}", fields.join(", ")),
        Kind::Document(_) => "a JSON object or array".to_owned(),
        Kind::Cards(_) => "an array of objects".to_owned(),
    };
    let key = name.rsplit('.').next().unwrap_or(name);
    Failure::usage(format!("{name} must be {wanted}"))
        .detail(format!("It is {}.", shown(value)))
        .hint(format!("As in {}", json!({ key: form(kind, value) })))
}

/// How a value of this kind is written: the one that was meant, where that is clear.
fn form(kind: Kind, value: &Value) -> Value {
    const SHORT: usize = 60;
    let word = value.as_str().filter(|word| word.len() <= SHORT);
    match kind {
        Kind::Text => json!("text"),
        Kind::Duration => match whole(value) {
            Some(seconds) if seconds >= 0 => json!(format!("{seconds}s")),
            _ => json!("15m"),
        },
        Kind::Moment => json!("2030-01-31T09:00:00Z"),
        Kind::Uuid => json!("6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c"),
        Kind::Integer | Kind::Token | Kind::Offset => json!(3),
        Kind::Switch | Kind::All => json!(true),
        Kind::Word(words) => json!(words.first()),
        Kind::Texts => match word {
            Some(words) => words.split(',').map(|word| json!(word.trim())).collect(),
            None => json!(["a", "b"]),
        },
        Kind::Fields => json!(["id", "title"]),
        Kind::Statuses => json!([STATUSES[0]]),
        Kind::Clear(fields) => json!([fields.first()]),
        Kind::Document(keys) => {
            let first = keys.first().map_or("summary", |key| key.name);
            json!({first: word.unwrap_or("text")})
        }
        Kind::Cards(_) => json!([{"title": word.unwrap_or("text")}]),
    }
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

#[cfg(test)]
mod tests {
    use super::super::kind::must;
    use super::*;

    const CARD: &[Argument] = &[
        must("title", Kind::Text, ""),
        must("priority", Kind::Integer, ""),
        must("labels", Kind::Texts, ""),
    ];

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_says_the_same_is_taken() {
        for (kind, given, read_as) in [
            (Kind::Token, r#""42""#, "42"),
            (Kind::Token, "3.0", "3"),
            (Kind::Token, r#"" 3.00 ""#, "3"),
            (Kind::Token, "9007199254740993", "9007199254740993"),
            (Kind::Integer, "-2", "-2"),
            (Kind::Integer, "1e3", "1000"),
            (Kind::Switch, r#""true""#, "true"),
            (Kind::Switch, r#""False""#, "false"),
            (Kind::Texts, r#""[\"a\", \"b\"]""#, r#"["a", "b"]"#),
            (Kind::Texts, r#"["a", 7]"#, r#"["a", "7"]"#),
            (Kind::Texts, "[]", "[]"),
            (Kind::Text, "7", r#""7""#),
            (Kind::Statuses, r#""[\"done\"]""#, r#"["done"]"#),
            (Kind::Document(&[]), r#""{\"a\": 1.50}""#, r#"{"a": 1.50}"#),
            (Kind::Document(&[]), r#"[1]"#, r#"[1]"#),
            (
                Kind::Cards(CARD),
                r#""[{\"title\": \"t\", \"priority\": \"3\", \"labels\": null, \"colour\": \"\"}]""#,
                r#"[{"title": "t", "priority": 3}]"#,
            ),
            (
                Kind::Cards(CARD),
                r#"["{\"title\": \"t\"}", {"title": "u", "labels": "[\"a\"]"}]"#,
                r#"[{"title": "t"}, {"title": "u", "labels": ["a"]}]"#,
            ),
        ] {
            let value = read("x", kind, &parsed(given));
            let value = value.unwrap_or_else(|failure| panic!("{given}: {}", failure.message));
            assert_eq!(value, parsed(read_as), "{given}");
        }
    }

    #[test]
    fn what_says_something_else_is_refused_and_named() {
        for (kind, given) in [
            (Kind::Text, "1.5"),
            (Kind::Text, "[]"),
            (Kind::Texts, r#""a""#),
            (Kind::Texts, r#"["a", null]"#),
            (Kind::Token, "1.5"),
            (Kind::Token, r#""1,000""#),
            (Kind::Token, r#""0x1""#),
            (Kind::Token, "1e300"),
            (Kind::Token, "true"),
            (Kind::Switch, r#""yes""#),
            (Kind::Switch, "1"),
            (Kind::Word(&["input"]), r#""other""#),
            (Kind::Statuses, r#"["open"]"#),
            (Kind::Clear(&["body"]), r#"["title"]"#),
            (Kind::Document(&[]), r#""done""#),
            (Kind::Document(&[]), r#""{\"cut""#),
            (Kind::Document(&[]), r#""7""#),
            (Kind::Cards(CARD), "[1]"),
            (Kind::Cards(CARD), r#"{"title": "t"}"#),
            (Kind::Cards(CARD), r#"[{"priority": "high"}]"#),
        ] {
            let Err(failure) = read("x", kind, &parsed(given)) else {
                panic!("{given} was taken");
            };
            assert!(failure.message.starts_with('x'), "{}", failure.message);
            assert!(
                failure.detail.is_some() && failure.hint.is_some(),
                "{given}"
            );
        }
    }

    #[test]
    fn the_right_form_is_of_what_was_meant() {
        let hint = |kind, given: Value| read("x", kind, &given).err().and_then(|f| f.hint);
        let labels = hint(Kind::Texts, json!("parser, urgent"));
        assert_eq!(
            labels.as_deref(),
            Some(r#"As in {"x":["parser","urgent"]}"#)
        );
        let failure = wrong("ttl", Kind::Duration, &json!(900));
        assert_eq!(failure.hint.as_deref(), Some(r#"As in {"ttl":"900s"}"#));
    }

    #[test]
    fn a_long_value_is_not_repeated_whole() {
        let failure = wrong("x", Kind::Token, &json!("é".repeat(1_000)));
        assert!(failure.detail.is_some_and(|detail| detail.ends_with("….")));
    }
}
