//! Moving a backlog as JSON lines: a header, cards, dependencies, history, and an end line by
//! which a file that was cut off is recognised.

mod card_line;
mod export;
mod graph;
mod import;
mod insert;
mod line;
mod tokens;

/// The name and the version of the format, in the header of every file.
const FORMAT: &str = "mosaic-backlog";
const FORMAT_VERSION: u32 = 1;
