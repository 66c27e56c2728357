//! Validation of arguments. The limits here are the documented ones.

use pgrx::datum::Interval;
use pgrx::prelude::*;

use crate::postgres::clock::{self, Micros, SECOND};
pub use crate::postgres::passed::Jsonb;
use crate::postgres::passed::{Array, ArrayText};
use crate::postgres::statement::Parameter;
use crate::refusal::Refusal;

/// Characters of an id, a phase, a worker, a key.
pub const NAME_MAX: usize = 200;
/// Characters of a title.
pub const TITLE_MAX: usize = 1_000;
/// Bytes of a body, of acceptance and of a result.
pub const DOCUMENT_MAX: usize = 1024 * 1024;
/// Bytes of the cards or lines of one call, as text; jsonb itself can hold no more text.
const BATCH_TEXT_MAX: u64 = 256 * 1024 * 1024;
/// Arrays and objects within each other in acceptance and in a result. Readers of JSON give up
/// at some depth, serde_json at 128, and an answer wraps them in some more.
pub const DEPTH_MAX: usize = 100;
/// Characters of a reason.
pub const REASON_MAX: usize = 10_000;
/// Bytes of a note and of an answer.
pub const NOTE_MAX: usize = 16 * 1024;
/// Labels of a card, and capabilities that it requires.
pub const LABELS_MAX: usize = 64;
/// Characters of a label or a capability.
pub const LABEL_MAX: usize = 100;
/// Bytes of a search, and its words.
pub const SEARCH_MAX: usize = 1024;
pub const WORDS_MAX: usize = 20;
/// Cards in one claim, one page of a list, one reclaim.
pub const CARDS_MAX: i32 = 10_000;
/// Cards in one batch, dependencies of one call.
pub const BATCH_MAX: usize = 100_000;
/// Seconds of a lease or a delay.
pub const TTL_MAX: i64 = 30 * 86_400;
/// A priority lies between minus this and this.
pub const PRIORITY_MAX: i32 = 1_000_000;

fn chars_within(field: &str, value: &str, max: usize) -> Result<(), Refusal> {
    let n = value.chars().count();
    if n > max {
        return Err(Refusal::argument(
            format!("{field} has {n} characters, at most {max} are allowed"),
            "Shorten it.",
        ));
    }
    Ok(())
}

/// A card's id: 1 to 200 characters, no control characters, no surrounding space.
pub fn id(field: &str, value: Option<String>) -> Result<String, Refusal> {
    let value = name(field, value)?;
    if value.trim() != value {
        return Err(Refusal::argument(
            format!("{field} starts or ends with white space"),
            "Trim it.",
        ));
    }
    Ok(value)
}

/// A worker, a phase, a key: 1 to 200 characters, not blank, no control characters.
pub fn name(field: &str, value: Option<String>) -> Result<String, Refusal> {
    let Some(value) = value else {
        return Err(Refusal::argument(
            format!("{field} is missing"),
            format!("Give {field} a value."),
        ));
    };
    if value.trim().is_empty() {
        return Err(Refusal::argument(
            format!("{field} is empty"),
            format!("Give {field} a value."),
        ));
    }
    chars_within(field, &value, NAME_MAX)?;
    without_controls(field, &value)?;
    Ok(value)
}

fn without_controls(field: &str, value: &str) -> Result<(), Refusal> {
    if value.chars().any(char::is_control) {
        return Err(Refusal::argument(
            format!("{field} contains a control character"),
            "Use printable characters only.",
        ));
    }
    Ok(())
}

/// As `name`, where null means "not given".
pub fn optional_name(field: &str, value: Option<String>) -> Result<Option<String>, Refusal> {
    value.map(|value| name(field, Some(value))).transpose()
}

/// A title: 1 to 1,000 characters, not blank.
pub fn title(value: Option<String>) -> Result<String, Refusal> {
    match value {
        Some(value) if !value.trim().is_empty() => {
            chars_within("title", &value, TITLE_MAX)?;
            Ok(value)
        }
        _ => Err(Refusal::argument(
            "title is empty",
            "Give the card a title.",
        )),
    }
}

/// A reason: 1 to 10,000 characters, not blank.
pub fn reason(value: Option<String>) -> Result<String, Refusal> {
    match value {
        Some(value) if !value.trim().is_empty() => {
            chars_within("reason", &value, REASON_MAX)?;
            Ok(value)
        }
        _ => Err(Refusal::argument(
            "reason is empty",
            "Say why, for the next person or worker who looks at the card.",
        )),
    }
}

/// A note, an answer: 1 to 16 KiB, not blank.
pub fn note(field: &str, value: Option<String>) -> Result<String, Refusal> {
    match value {
        Some(value) if value.len() > NOTE_MAX => Err(Refusal::argument(
            format!(
                "{field} has {} bytes, at most {NOTE_MAX} are allowed",
                value.len()
            ),
            "Store it elsewhere and name the place.",
        )),
        Some(value) if !value.trim().is_empty() => Ok(value),
        _ => Err(Refusal::argument(
            format!("{field} is empty"),
            "Say what whoever looks at the card next should know.",
        )),
    }
}

/// What is searched for: 1 to 20 words in at most 1 KiB, with one blank between them.
pub fn search(value: Option<String>) -> Result<Option<String>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    let refused = |message: String, hint: &str| Err(Refusal::argument(message, hint));
    if value.len() > SEARCH_MAX {
        let message = format!(
            "search has {} bytes, at most {SEARCH_MAX} are allowed",
            value.len()
        );
        return refused(message, "Search for fewer words.");
    }
    let words: Vec<&str> = value.split_whitespace().collect();
    match words.len() {
        0 => refused("search is empty".to_owned(), "Give the words to look for."),
        n if n > WORDS_MAX => refused(
            format!("search has {n} words, at most {WORDS_MAX} are allowed"),
            "Search for fewer words.",
        ),
        _ => Ok(Some(words.join(" "))),
    }
}

/// A text of at most 1 MiB, given its size in bytes.
pub fn document(field: &str, bytes: usize) -> Result<(), Refusal> {
    if bytes > DOCUMENT_MAX {
        return Err(Refusal::argument(
            format!("{field} has {bytes} bytes, at most {DOCUMENT_MAX} are allowed"),
            "Store it elsewhere and put a reference on the card.",
        ));
    }
    Ok(())
}

/// Acceptance or a result of at most 1 MiB, nested at most 100 levels deep, as text.
pub fn json(field: &str, text: &str) -> Result<(), Refusal> {
    json_of(field, text.len(), depth(text))
}

fn json_of(field: &str, bytes: usize, depth: usize) -> Result<(), Refusal> {
    document(field, bytes)?;
    if depth > DEPTH_MAX {
        return Err(Refusal::argument(
            format!("{field} is nested {depth} levels deep, at most {DEPTH_MAX} are allowed"),
            "Make it flatter, or store it as a text.",
        ));
    }
    Ok(())
}

/// How many arrays and objects lie within each other in valid JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                most = most.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => {
                            bytes.next();
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    most
}

fn without_nulls(field: &str, values: Vec<Option<String>>) -> Result<Vec<String>, Refusal> {
    values
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| {
            Refusal::argument(
                format!("{field} contains null"),
                "Leave the null out of the array.",
            )
        })
}

/// Labels or capabilities: at most 64 of 1 to 100 characters, no control characters. Sorted, without
/// repeats.
pub fn labels(field: &str, values: Option<Vec<Option<String>>>) -> Result<Vec<String>, Refusal> {
    let mut values = without_nulls(field, values.unwrap_or_default())?;
    for value in &values {
        if value.trim().is_empty() {
            return Err(Refusal::argument(
                format!("{field} contains an empty string"),
                "Leave it out.",
            ));
        }
        chars_within(field, value, LABEL_MAX)?;
        without_controls(field, value)?;
    }
    values.sort();
    values.dedup();
    if values.len() > LABELS_MAX {
        return Err(Refusal::argument(
            format!(
                "{field} has {} entries, at most {LABELS_MAX} are allowed",
                values.len()
            ),
            "Use fewer.",
        ));
    }
    Ok(values)
}

/// The same of a card that is made or changed: they are read from a line in a terminal.
pub fn new_labels(
    field: &str,
    values: Option<Vec<Option<String>>>,
) -> Result<Vec<String>, Refusal> {
    let values = labels(field, values)?;
    if values.iter().any(|value| value.chars().any(moves_text)) {
        return Err(Refusal::argument(
            format!("{field} contains a character that reorders or breaks a line"),
            "Use printable characters only.",
        ));
    }
    Ok(values)
}

/// Marks, embeddings and isolates of the two directions of writing; separators of lines and paragraphs.
fn moves_text(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
    )
}

/// Ids of cards, sorted, without repeats.
pub fn ids(field: &str, values: Option<Vec<Option<String>>>) -> Result<Vec<String>, Refusal> {
    let values = without_nulls(field, values.unwrap_or_default())?;
    let mut values = values
        .into_iter()
        .map(|v| id(field, Some(v)))
        .collect::<Result<Vec<_>, _>>()?;
    values.sort();
    values.dedup();
    if values.len() > BATCH_MAX {
        return Err(Refusal::argument(
            format!(
                "{field} has {} entries, at most {BATCH_MAX} are allowed",
                values.len()
            ),
            "Split the call.",
        ));
    }
    Ok(values)
}

/// The fencing token that a claim gave.
pub fn token(value: Option<i64>) -> Result<i64, Refusal> {
    value.ok_or_else(|| {
        Refusal::argument(
            "claim_token is missing",
            "Give the claim_token that the claim returned.",
        )
    })
}

pub fn priority(value: i32) -> Result<i32, Refusal> {
    if (-PRIORITY_MAX..=PRIORITY_MAX).contains(&value) {
        Ok(value)
    } else {
        Err(Refusal::argument(
            format!("priority is {value}, it must lie between -{PRIORITY_MAX} and {PRIORITY_MAX}"),
            "Use a smaller number.",
        ))
    }
}

pub fn max_attempts(value: Option<i32>) -> Result<Option<i32>, Refusal> {
    match value {
        Some(n) if n < 1 => Err(Refusal::argument(
            format!("max_attempts is {n}, it must be at least 1"),
            "Leave it out for the default.",
        )),
        other => Ok(other),
    }
}

/// A number of cards, 1 to 10,000.
pub fn count(field: &str, value: Option<i32>) -> Result<i32, Refusal> {
    match value {
        Some(n) if (1..=CARDS_MAX).contains(&n) => Ok(n),
        Some(n) => Err(Refusal::argument(
            format!("{field} is {n}, it must lie between 1 and {CARDS_MAX}"),
            "Make several calls for more.",
        )),
        None => Err(Refusal::argument(
            format!("{field} is missing"),
            format!("Leave {field} out for the default."),
        )),
    }
}

/// Microseconds of an interval, a month being 30 days.
fn micros(value: &Interval) -> i128 {
    i128::from(value.months()) * 30 * 86_400_000_000
        + i128::from(value.days()) * 86_400_000_000
        + i128::from(value.micros())
}

/// Seconds of a lease: 1 second to 30 days, fractions rounded up.
pub fn ttl(value: Option<Interval>) -> Result<i32, Refusal> {
    let Some(value) = value else {
        return Err(Refusal::argument(
            "ttl is missing",
            "Say how long the lease lasts, as in '15 minutes'.",
        ));
    };
    let micros = micros(&value);
    if micros < i128::from(SECOND) || micros > i128::from(TTL_MAX * SECOND) {
        return Err(Refusal::argument(
            "ttl must lie between 1 second and 30 days",
            "Say how long the lease lasts, as in '15 minutes'.",
        ));
    }
    Ok(((micros + i128::from(SECOND) - 1) / i128::from(SECOND)) as i32)
}

/// A delay of 0 to 30 days.
pub fn delay(field: &str, value: &Interval) -> Result<Micros, Refusal> {
    let micros = micros(value);
    if !(0..=i128::from(TTL_MAX * SECOND)).contains(&micros) {
        return Err(Refusal::argument(
            format!("{field} must lie between 0 and 30 days"),
            "Give an interval such as '5 minutes'.",
        ));
    }
    Ok(micros as Micros)
}

/// A time in RFC 3339, as JSON has it.
pub fn written_time(text: &str) -> Result<Micros, Refusal> {
    clock::parse(text).ok_or_else(|| {
        Refusal::argument(
            format!("\"{text}\" is not a time in RFC 3339"),
            "Write times as in 2026-01-31T12:00:00Z.",
        )
    })
}

/// A point in time within the years 1 to 9999, which is what RFC 3339 can write.
pub fn time(field: &str, value: Option<TimestampWithTimeZone>) -> Result<Option<Micros>, Refusal> {
    match value.map(i64::from) {
        Some(at) if !(clock::FIRST..=clock::LAST).contains(&at) => Err(Refusal::argument(
            format!("{field} must lie within the years 1 to 9999"),
            "Give a point in time; to hold a card back without end, block it.",
        )),
        other => Ok(other),
    }
}

impl Jsonb {
    /// The value as a parameter, if its text is no larger than 1 MiB and not nested too deep. Its
    /// text is what counts, as that is what whoever reads the card is sent.
    pub fn parameter(field: &str, value: Option<&Self>) -> Result<Parameter, Refusal> {
        let Some(document) = value else {
            return Ok(None);
        };
        let extent = document.extent();
        json_of(field, extent.bytes as usize, extent.depth)?;
        Ok(Some(document.value()))
    }

    /// The text of an array of cards or lines.
    pub fn batch(&self, field: &str) -> Result<String, Refusal> {
        let bytes = self.extent().bytes;
        if bytes > BATCH_TEXT_MAX {
            return Err(Refusal::argument(
                format!("{field} has {bytes} bytes as text, at most {BATCH_TEXT_MAX} are allowed"),
                "Split the call.",
            ));
        }
        Ok(self.text())
    }
}

/// `mosaic.backlog_status[]`.
pub struct StatusArray;

impl Array for StatusArray {
    const NAME: &'static str = "mosaic_backlog_ext::Statuses";
    const SQL: &'static str = "mosaic.backlog_status[]";
}

/// It as the text of the array.
pub type Statuses = ArrayText<StatusArray>;
