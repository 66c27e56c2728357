//! Mosaic Backlog inside PostgreSQL: one module a subject.
//!
//! The schema is in `sql/`; the verbs of the backlog are the functions
//! `mosaic.backlog_*`, each defined in the module named after its family.

// pgrx keeps the SQLSTATE of an unboxed ErrorReport alone.
#![allow(clippy::result_large_err)]

use pgrx::prelude::*;

::pgrx::pg_module_magic!(name, version);

// What every verb stands on.
mod argument;
mod card;
mod clock;
mod document;
mod event;
mod fit;
mod guard;
mod lock;
mod patience;
mod raised;
mod refusal;
mod rows;
mod schema;
mod sequence;
mod settings;
mod statement;
mod status;
mod subtransaction;
mod table;
mod trigger;
mod wake;

// The gate: which card waits for which.
mod cycle;
mod dependency;

// Which card is next.
mod due;
mod frontier;

// The verbs.
mod block;
mod cancel;
mod claim;
mod complete;
mod create;
mod doctor;
mod drop;
mod events;
mod failing;
mod lease;
mod link;
mod list;
mod reclaim;
mod resume;
mod stats;
mod transfer;
mod update;
mod why;

#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    raised::without_backtraces();
    settings::register();
}

#[cfg(feature = "bench")]
mod floor;

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
