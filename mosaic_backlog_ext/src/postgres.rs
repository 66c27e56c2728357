//! What the verbs need of PostgreSQL: statements and rows, the tables without a statement, locks, parts
//! that can be undone, the clock, settings. Knows no card, and imports nothing from above.

pub mod clock;
pub mod code;
pub mod lock;
pub mod raised;
pub mod retry;
pub mod rows;
pub mod sequence;
pub mod settings;
pub mod statement;
pub mod subtransaction;
pub mod table;
pub mod trigger;
