//! What can go wrong, under one stable code each, and the exit code that follows from it.

pub mod passing;
pub mod suggest;

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use postgres::error::{DbError, SqlState};

/// The exit codes of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Success = 0,
    Internal = 1,
    Usage = 2,
    NoWork = 3,
    Database = 4,
    NotFound = 5,
    Conflict = 6,
    State = 7,
    Busy = 8,
    WorkerBroken = 9,
    CommandFailed = 10,
    HungUp = 129,
    Interrupted = 130,
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// The stable error codes. The extension sends its own as the first word of DETAIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Internal,
    Usage,
    InvalidArgument,
    Unreachable,
    Unauthorized,
    ReadOnly,
    Resource,
    /// The server is reachable, but this backlog is not there, or not completely.
    NotInstalled,
    NotFound,
    ClaimLost,
    KeyConflict,
    IdConflict,
    Cycle,
    OpenDependencies,
    BadTransition,
    AlreadyClaimed,
    Isolation,
    Busy,
    Timeout,
    /// What is installed, or its clone, does not allow it.
    WrongState,
    /// The command of `run` keeps failing, on one card after the other.
    WorkerBroken,
    Interrupted,
}

/// Every code with the word that users see and its exit code.
const CODES: [(Code, &str, Exit); 22] = [
    (Code::Internal, "internal", Exit::Internal),
    (Code::Usage, "usage", Exit::Usage),
    (Code::InvalidArgument, "invalid_argument", Exit::Usage),
    (Code::Unreachable, "unreachable", Exit::Database),
    (Code::Unauthorized, "unauthorized", Exit::Database),
    (Code::ReadOnly, "read_only", Exit::Database),
    (Code::Resource, "resource", Exit::Database),
    (Code::NotInstalled, "not_installed", Exit::Database),
    (Code::NotFound, "not_found", Exit::NotFound),
    (Code::ClaimLost, "claim_lost", Exit::Conflict),
    (Code::KeyConflict, "key_conflict", Exit::Conflict),
    (Code::IdConflict, "id_conflict", Exit::Conflict),
    (Code::Cycle, "cycle", Exit::State),
    (Code::OpenDependencies, "open_dependencies", Exit::State),
    (Code::BadTransition, "bad_transition", Exit::State),
    (Code::AlreadyClaimed, "already_claimed", Exit::State),
    (Code::Isolation, "isolation", Exit::State),
    (Code::Busy, "busy", Exit::Busy),
    (Code::Timeout, "timeout", Exit::Busy),
    (Code::WrongState, "wrong_state", Exit::State),
    (Code::WorkerBroken, "worker_broken", Exit::WorkerBroken),
    (Code::Interrupted, "interrupted", Exit::Interrupted),
];

impl Code {
    fn row(self) -> (&'static str, Exit) {
        let (_, word, exit) = CODES
            .into_iter()
            .find(|(code, ..)| *code == self)
            .unwrap_or(CODES[0]);
        (word, exit)
    }

    pub fn word(self) -> &'static str {
        self.row().0
    }

    pub fn exit(self) -> Exit {
        self.row().1
    }

    /// Whether what it stands for can pass by itself.
    fn can_pass(self) -> bool {
        matches!(
            self,
            Code::Busy | Code::Timeout | Code::Unreachable | Code::Resource
        )
    }

    fn from_word(word: &str) -> Option<Code> {
        CODES
            .into_iter()
            .find(|(_, known, _)| *known == word)
            .map(|(code, ..)| code)
    }

    /// The code of an error that PostgreSQL itself raised.
    fn from_sqlstate(state: &SqlState) -> Code {
        match state.code() {
            "42501" => Code::Unauthorized,
            "25006" => Code::ReadOnly,
            "55P03" | "40001" | "40P01" => Code::Busy,
            "57014" => Code::Timeout,
            // A function, schema, type or library of the extension that is not there.
            "42883" | "3F000" | "42704" | "58P01" => Code::NotInstalled,
            // The database does not exist.
            "3D000" => Code::Unreachable,
            other => match &other[..2.min(other.len())] {
                "08" | "57" => Code::Unreachable,
                "28" => Code::Unauthorized,
                "53" => Code::Resource,
                "22" | "54" => Code::InvalidArgument,
                _ => Code::Internal,
            },
        }
    }
}

/// One failed call: a lower-case message without full stop, detail and hint as sentences.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// The cause stays until somebody does something about it.
    pub lasts: bool,
}

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Failure {
            code,
            message: message.into(),
            detail: None,
            hint: None,
            lasts: false,
        }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Failure::new(Code::Usage, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Failure::new(Code::Internal, message)
    }

    pub fn unreachable(message: impl Into<String>) -> Self {
        Failure::new(Code::Unreachable, message)
    }

    /// The kernel refused something.
    pub fn io(message: impl Into<String>, error: &io::Error) -> Self {
        Failure::new(Code::Resource, message)
            .detail(format!("{error}."))
            .lasts(!passing::io(error))
    }

    pub fn lasts(mut self, lasts: bool) -> Self {
        self.lasts = lasts;
        self
    }

    pub fn detail(mut self, detail: impl Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    pub fn exit(&self) -> Exit {
        self.code.exit()
    }

    /// Whether the same call may succeed if it is simply tried again.
    pub fn retryable(&self) -> bool {
        self.code.can_pass() && !self.lasts
    }
}

impl From<postgres::Error> for Failure {
    fn from(error: postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => from_server(db),
            None => Failure::unreachable("the connection to the database failed")
                .detail(sentence(&error))
                .lasts(!passing::connection(&error)),
        }
    }
}

fn from_server(db: &DbError) -> Failure {
    let (code, detail) = match db.detail().and_then(split_code) {
        Some((code, rest)) => (code, Some(rest.to_owned())),
        None => (
            Code::from_sqlstate(db.code()),
            db.detail().map(str::to_owned),
        ),
    };
    let hint = match (db.hint(), db.code().code()) {
        (Some(hint), _) => Some(hint.to_owned()),
        (None, "42501") => Some(
            "An administrator can grant the role mosaic_reader, mosaic_worker or mosaic_operator."
                .to_owned(),
        ),
        (None, _) => None,
    };
    Failure {
        code,
        message: db.message().to_owned(),
        detail: detail.filter(|detail| !detail.is_empty()),
        hint,
        lasts: !passing::sqlstate(db.code().code()),
    }
}

/// "claim_lost: The card …" into the code and the sentences.
fn split_code(detail: &str) -> Option<(Code, &str)> {
    let (word, rest) = detail.split_once(':')?;
    Some((Code::from_word(word)?, rest.trim_start()))
}

/// An error and everything under it, as a sentence.
pub fn sentence(error: &dyn std::error::Error) -> String {
    capitalised(&causes(error))
}

/// Text in the form of DETAIL and HINT.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}

/// An error and everything under it, in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_row_and_word() {
        for (code, word, exit) in CODES {
            assert_eq!(code.word(), word);
            assert_eq!(code.exit(), exit);
            assert_eq!(Code::from_word(word), Some(code));
        }
    }

    #[test]
    fn detail_gives_its_code_away() {
        assert_eq!(
            split_code("claim_lost: The card A4 is held under another token."),
            Some((Code::ClaimLost, "The card A4 is held under another token."))
        );
        assert_eq!(split_code("Key (id)=(A4: x) already exists."), None);
        assert_eq!(split_code("no colon here"), None);
    }

    #[test]
    fn postgres_errors_map_by_class() {
        let code = |state: &str| Code::from_sqlstate(&SqlState::from_code(state));
        assert_eq!(code("08006"), Code::Unreachable);
        assert_eq!(code("57P03"), Code::Unreachable);
        assert_eq!(code("57014"), Code::Timeout);
        assert_eq!(code("28P01"), Code::Unauthorized);
        assert_eq!(code("53300"), Code::Resource);
        assert_eq!(code("22P02"), Code::InvalidArgument);
        assert_eq!(code("40P01"), Code::Busy);
        assert_eq!(code("XX000"), Code::Internal);
    }

    #[test]
    fn only_what_may_pass_is_retryable() {
        let retryable: Vec<_> = CODES
            .into_iter()
            .filter(|(code, ..)| Failure::new(*code, "it failed").retryable())
            .map(|(_, word, _)| word)
            .collect();
        assert_eq!(retryable, ["unreachable", "resource", "busy", "timeout"]);
        for (code, ..) in CODES {
            assert!(!Failure::new(code, "it failed").lasts(true).retryable());
        }
    }
}
