//! Moving a backlog as JSON lines: a header, cards, dependencies, history, and an end line by
//! which a file that was cut off is recognised.

mod card_line;
mod export;
mod graph;
mod import;
mod insert;
mod line;
mod tokens;
mod value;
