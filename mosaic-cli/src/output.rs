//! What the program prints: answers, errors and remarks, for people and for programs.

pub mod answer;
pub mod error;
pub mod hint;
pub mod notes;
pub mod progress;
pub mod redact;
pub mod reply;
pub mod screen;
pub mod shape;
pub mod stdout;
pub mod table;
