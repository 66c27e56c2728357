//! Values as an export writes them.

use crate::card::status::Status;
use crate::postgres::clock::{self, Micros};
use crate::refusal::Refusal;

/// Tokens above this are no tokens: the sequence would come to its end.
const TOKEN_MAX: i64 = 1 << 62;

pub fn wrong(message: impl Into<String>) -> Refusal {
    Refusal::argument(
        message,
        "Import the lines of mosaic.backlog_export, whole and in their order.",
    )
}

pub fn status(name: &str) -> Result<Status, Refusal> {
    match name {
        "ready" | "claimed" | "blocked" | "done" | "cancelled" => Ok(Status::parse(name)),
        _ => Err(wrong("the status is not a known status")),
    }
}

pub fn token(number: i64) -> Result<i64, Refusal> {
    if (1..=TOKEN_MAX).contains(&number) {
        Ok(number)
    } else {
        Err(wrong(format!("a token must lie between 1 and {TOKEN_MAX}")))
    }
}

pub fn time(field: &str, text: &str) -> Result<Micros, Refusal> {
    clock::parse(text).ok_or_else(|| wrong(format!("{field} is not a time")))
}
