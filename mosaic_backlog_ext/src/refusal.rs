//! Every error that a verb raises: one constructor a case, so that all texts stand in one room.
//!
//! DETAIL starts with a stable code; clients and the CLI go by that code, not by the text.

use pgrx::pg_sys::panic::ErrorReport;
use thiserror::Error;

use crate::postgres::code::Code;

#[derive(Debug, Error)]
#[error("{message}")]
pub struct Refusal {
    pub code: Code,
    message: String,
    detail: String,
    hint: String,
}

impl From<Refusal> for ErrorReport {
    fn from(refusal: Refusal) -> Self {
        let detail = format!("{}: {}", refusal.code.name(), refusal.detail);
        ErrorReport::new(
            refusal.code.sqlstate(),
            refusal.message,
            "mosaic_backlog_ext",
        )
        .set_detail(detail)
        .set_hint(refusal.hint)
    }
}

impl Refusal {
    pub fn new(
        code: Code,
        message: String,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message,
            detail: detail.into(),
            hint: hint.into(),
        }
    }

    /// An argument that is missing, out of range or malformed.
    pub fn argument(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(
            Code::InvalidArgument,
            message.into(),
            "Nothing was changed.",
            hint,
        )
    }

    /// The same refusal, naming the card of a batch, counted from 1.
    pub fn of_batch(self, at: usize) -> Self {
        Self {
            message: format!("card {at} of the batch: {}", self.message),
            ..self
        }
    }

    /// The same refusal, naming the line of an import, counted from 1.
    pub fn of_line(self, at: u64) -> Self {
        Self {
            message: format!("line {at} of the import: {}", self.message),
            ..self
        }
    }

    /// A line that is not what an export wrote.
    pub fn line(at: u64, message: impl std::fmt::Display) -> Self {
        Self::argument(
            format!("line {at} of the import {message}"),
            "Import the lines of mosaic.backlog_export, whole and in their order.",
        )
    }

    /// An import whose end line has not come.
    pub fn unfinished_import(lines: u64) -> Self {
        Self::argument(
            format!("the import ends after line {lines} without its end line"),
            "The file was cut off; export again, or find the whole file.",
        )
    }

    /// An import that goes on below or above the savepoint at which it began.
    pub fn scattered_import() -> Self {
        Self::argument(
            "the import began outside this savepoint or inside another",
            "Give all lines of an import at the same level of one transaction.",
        )
    }

    /// Claims of transactions that are still open keep the sequence of tokens from being set.
    pub fn dependents_changing(id: &str) -> Self {
        Self::new(
            Code::Busy,
            format!("the dependents of card \"{id}\" are changing right now"),
            "Another session has just linked a card to it. Nothing was changed.",
            "Repeat the call.",
        )
    }

    pub fn tokens_in_use() -> Self {
        Self::new(
            Code::Busy,
            "claims of open transactions keep the import from raising the tokens".to_owned(),
            "An import must not hand out tokens that were handed out before. Nothing was changed.",
            "Try again after the transactions that claimed have ended.",
        )
    }

    /// Whether the message names the card.
    pub fn is_about(&self, id: &str) -> bool {
        self.message.contains(&format!("\"{id}\""))
    }

    pub fn key_taken(key: &str, id: &str) -> Self {
        Self::new(
            Code::KeyConflict,
            format!("idempotency key \"{key}\" already belongs to card \"{id}\""),
            "Nothing was changed.",
            "Import into a backlog that does not hold these cards yet.",
        )
    }

    pub fn not_found(id: &str) -> Self {
        Self::new(
            Code::NotFound,
            format!("card \"{id}\" does not exist"),
            "No card has this id.",
            "Look the id up with mosaic.backlog_list().",
        )
    }

    /// A repeat of a completion that would drop what it hands over.
    pub fn other_result(id: &str) -> Self {
        Self::new(
            Code::ClaimLost,
            format!("card \"{id}\" was completed before with another result"),
            "The result that it has stays, and the one given was not stored. Nothing was changed.",
            "Compare the two with mosaic.backlog_get(); if the stored one is wrong, ask an operator to reopen the card.",
        )
    }

    pub fn request_lost(request_id: &str) -> Self {
        Self::new(
            Code::ClaimLost,
            format!("nothing that request {request_id} claimed is still held"),
            "Its cards were completed, given back or taken over. Nothing was changed.",
            "Claim with a new request_id to get work.",
        )
    }

    pub fn request_conflict(request_id: &str, fields: &[&str]) -> Self {
        Self::new(
            Code::KeyConflict,
            format!(
                "request {request_id} was made before with another {}",
                fields.join(", ")
            ),
            "A request_id names one claim. Nothing was changed.",
            "Use a new request_id for a new claim.",
        )
    }

    pub fn key_conflict(key: &str, id: &str, fields: &[String]) -> Self {
        Self::new(
            Code::KeyConflict,
            format!(
                "idempotency key \"{key}\" was used with another {}",
                fields.join(", ")
            ),
            format!("It created card \"{id}\". Nothing was changed."),
            "Repeat the first request unchanged, or use a new key for a new card.",
        )
    }

    pub fn id_conflict(id: &str) -> Self {
        Self::new(
            Code::IdConflict,
            format!("card \"{id}\" already exists"),
            "Nothing was changed.",
            "Choose another id, or create with an idempotency_key so that a retry is recognised.",
        )
    }

    pub fn cycle(id: &str, depends_on: &str) -> Self {
        let detail = if id == depends_on {
            "A card cannot depend on itself. Nothing was changed.".to_owned()
        } else {
            format!(
                "\"{depends_on}\" already depends on \"{id}\", directly or through others. Nothing was changed."
            )
        };
        Self::new(
            Code::Cycle,
            format!("card \"{id}\" cannot depend on \"{depends_on}\""),
            detail,
            "Unlink the dependency that points the other way first.",
        )
    }

    pub fn too_many_dependencies(id: &str, count: i64, at_most: usize) -> Self {
        Self::argument(
            format!("card \"{id}\" would have {count} dependencies, at most {at_most} are allowed"),
            "Insert a card between them that depends on some of them.",
        )
    }

    pub fn unanswerable(id: &str, why: &str) -> Self {
        Self::new(
            Code::BadTransition,
            format!("cannot claim card \"{id}\": its answer cannot be made"),
            format!("{why}. Nothing was changed."),
            "An administrator has to look at what the card holds; claim another one.",
        )
    }

    pub fn isolation() -> Self {
        Self::new(
            Code::Isolation,
            "the backlog is written at isolation level READ COMMITTED only".to_owned(),
            "A higher level would work on an old snapshot and miss changes. Nothing was changed.",
            "Run the call in a transaction with ISOLATION LEVEL READ COMMITTED.",
        )
    }

    pub fn read_only(is_standby: bool) -> Self {
        let (place, hint) = if is_standby {
            ("on a standby", "Connect to the primary server.")
        } else {
            (
                "in a read-only transaction",
                "Begin the transaction READ WRITE, or set default_transaction_read_only to off.",
            )
        };
        Self::new(
            Code::ReadOnly,
            format!("the backlog cannot be written {place}"),
            "Nothing was changed.",
            hint,
        )
    }

    pub fn cards_exist() -> Self {
        Self::new(
            Code::BadTransition,
            "cannot drop extension mosaic_backlog_ext: cards exist".to_owned(),
            "Dropping it would remove every card and its history. Nothing was changed.",
            "If this is intended, an administrator takes a backup and sets mosaic.allow_drop first.",
        )
    }

    pub fn operator_only(what: &str) -> Self {
        Self::new(
            Code::Unauthorized,
            format!("{what} needs the role mosaic_operator"),
            "Nothing was changed.",
            "Ask an operator of the backlog.",
        )
    }
}
