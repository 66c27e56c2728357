//! What the verbs need of PostgreSQL: statements and rows, the tables without a statement, locks, parts
//! that can be undone, the clock, settings. Knows no card, and imports nothing from above.
//!
//! What the compiler cannot prove is here, behind functions that can be called without a thought, and in
//! the frontier's memory; nowhere else.

pub mod call;
pub mod clock;
pub mod code;
pub mod command;
pub mod configuration;
pub mod document;
pub mod lock;
pub mod passed;
pub mod raised;
pub mod retry;
pub mod roles;
pub mod room;
pub mod rows;
pub mod sequence;
pub mod settings;
pub mod statement;
pub mod subtransaction;
pub mod table;
pub mod transaction;
pub mod trigger;
pub mod value;
