//! What the program prints: answers, errors and remarks, for people and for programs.

pub mod document;
pub mod error;
pub mod hint;
pub mod notes;
pub mod progress;
pub mod redact;
pub mod reply;
pub mod screen;
pub mod selection;
pub mod stdout;
pub mod table;
