//! The stable codes of errors, and which of them an SQLSTATE of PostgreSQL stands for.

use pgrx::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    InvalidArgument,
    NotFound,
    ClaimLost,
    KeyConflict,
    IdConflict,
    Cycle,
    OpenDependencies,
    BadTransition,
    AlreadyClaimed,
    Isolation,
    Unauthorized,
    ReadOnly,
    Busy,
    Timeout,
    Unreachable,
    Resource,
    Internal,
}

impl Code {
    const ALL: [Self; 17] = [
        Self::InvalidArgument,
        Self::NotFound,
        Self::ClaimLost,
        Self::KeyConflict,
        Self::IdConflict,
        Self::Cycle,
        Self::OpenDependencies,
        Self::BadTransition,
        Self::AlreadyClaimed,
        Self::Isolation,
        Self::Unauthorized,
        Self::ReadOnly,
        Self::Busy,
        Self::Timeout,
        Self::Unreachable,
        Self::Resource,
        Self::Internal,
    ];

    pub fn is_name(word: &str) -> bool {
        Self::ALL.into_iter().any(|code| code.name() == word)
    }

    /// The code of an error that PostgreSQL raises. `None`: what somebody's own trigger or
    /// constraint says, or that a part of the extension is missing.
    pub fn of_postgres(sqlstate: PgSqlErrorCode) -> Option<Self> {
        let packed = sqlstate as i32;
        let state: String = (0..5)
            .map(|at| char::from((packed >> (6 * at) & 0x3f) as u8 + b'0'))
            .collect();
        Some(match state.as_str() {
            "42501" => Self::Unauthorized,
            "25006" => Self::ReadOnly,
            "55P03" | "40001" | "40P01" => Self::Busy,
            "57014" => Self::Timeout,
            "42883" | "42704" | "3F000" | "58P01" => return None,
            other => match &other[..2] {
                "09" | "23" | "27" | "2F" | "38" | "39" | "44" | "P0" => return None,
                "08" | "57" => Self::Unreachable,
                "28" => Self::Unauthorized,
                "53" => Self::Resource,
                "22" | "54" => Self::InvalidArgument,
                _ => Self::Internal,
            },
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::ClaimLost => "claim_lost",
            Self::KeyConflict => "key_conflict",
            Self::IdConflict => "id_conflict",
            Self::Cycle => "cycle",
            Self::OpenDependencies => "open_dependencies",
            Self::BadTransition => "bad_transition",
            Self::AlreadyClaimed => "already_claimed",
            Self::Isolation => "isolation",
            Self::Unauthorized => "unauthorized",
            Self::ReadOnly => "read_only",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Resource => "resource",
            Self::Internal => "internal",
        }
    }

    pub fn sqlstate(self) -> PgSqlErrorCode {
        match self {
            Self::InvalidArgument => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::NotFound => PgSqlErrorCode::ERRCODE_NO_DATA_FOUND,
            Self::KeyConflict | Self::IdConflict => PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION,
            Self::ClaimLost
            | Self::Cycle
            | Self::OpenDependencies
            | Self::BadTransition
            | Self::AlreadyClaimed => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Isolation => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::Unauthorized => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::ReadOnly => PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            Self::Busy => PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
            Self::Timeout => PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
            Self::Unreachable => PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
            Self::Resource => PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
            Self::Internal => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        }
    }
}
