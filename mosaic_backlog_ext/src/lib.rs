//! Mosaic Backlog inside PostgreSQL. The schema is in `sql/`; the functions `mosaic.backlog_*` are in
//! `verb`, each in the module named after its family.

// pgrx keeps the SQLSTATE of an unboxed ErrorReport alone.
#![allow(clippy::result_large_err)]

use pgrx::prelude::*;

::pgrx::pg_module_magic!(name, version);

// Each floor imports from those below it.
mod verb;

mod frontier;

mod card;

mod argument;
mod guard;

mod refusal;

mod postgres;

// The order of `sql/` in the install script.
mod schema;

#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    postgres::raised::without_backtraces();
    postgres::settings::register();
}

#[cfg(feature = "bench")]
mod baseline;

#[cfg(any(test, feature = "pg_test"))]
mod pgrx_tests;

/// Called by the test framework of pgrx.
#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}
