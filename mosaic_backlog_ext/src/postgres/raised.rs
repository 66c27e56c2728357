//! Errors that PostgreSQL itself raises inside of a call: a timeout, a full disk. They go on as they
//! are, with a stable code before their DETAIL, as the errors of the verbs have one.

use std::backtrace::Backtrace;
use std::panic::AssertUnwindSafe;

use pgrx::PgTryBuilder;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::prelude::*;

use crate::postgres::code::Code;

/// Keeps the library's backtraces out of DETAIL, whatever the environment of the server says.
/// Whether they are made is asked once, and the environment is everybody's, so it is put back.
pub fn without_backtraces() {
    const ASKED: &str = "RUST_LIB_BACKTRACE";
    let before = std::env::var_os(ASKED);
    // SAFETY: a backend that loads a library has one thread.
    unsafe {
        std::env::set_var(ASKED, "0");
        let _ = Backtrace::capture();
        match before {
            Some(before) => std::env::set_var(ASKED, before),
            None => std::env::remove_var(ASKED),
        }
    }
}

/// Where PostgreSQL adds the whole row to what a constraint of somebody's own refuses. Its words differ from
/// language to language.
const SHOWS_ROWS: &str = "execMain.c";

/// Does the `work` of a call; an error of PostgreSQL in it gets its code.
pub fn coded<R>(work: impl FnOnce() -> R) -> R {
    PgTryBuilder::new(AssertUnwindSafe(work))
        .catch_others(|caught| raise(caught))
        .execute()
}

fn raise(caught: CaughtError) -> ! {
    let (CaughtError::PostgresError(report)
    | CaughtError::ErrorReport(report)
    | CaughtError::RustPanic {
        ereport: report, ..
    }) = &caught;
    let detail = report.detail();
    let is_coded = detail
        .and_then(|detail| detail.split_once(": "))
        .is_some_and(|(word, _)| Code::is_name(word));
    let sqlstate = report.sql_error_code();
    if detail.is_some() && report.file().ends_with(SHOWS_ROWS) {
        let mut told =
            ErrorReport::new(sqlstate, report.message().to_owned(), "mosaic_backlog_ext")
                .set_detail(
                    "The row is not shown, as it holds the card's token. Nothing was changed.",
                );
        if let Some(hint) = report.hint() {
            told = told.set_hint(hint);
        }
        told.report(PgLogLevel::ERROR);
    }
    let Some(code) = Code::of_postgres(sqlstate).filter(|_| !is_coded) else {
        caught.rethrow();
    };
    let detail = match detail {
        Some(detail) => detail.to_owned(),
        None if code == Code::Internal => format!(
            "Raised at {}:{}. Nothing was changed.",
            report.file(),
            report.line_number()
        ),
        None => "Nothing was changed.".to_owned(),
    };
    let mut coded = ErrorReport::new(sqlstate, report.message().to_owned(), "mosaic_backlog_ext")
        .set_detail(format!("{}: {detail}", code.name()));
    if let Some(hint) = report.hint() {
        coded = coded.set_hint(hint);
    }
    coded.report(PgLogLevel::ERROR);
    unreachable!("an error was raised")
}
