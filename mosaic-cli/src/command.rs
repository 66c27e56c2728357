//! The commands of the program: what is typed behind `mosaic`.

pub mod backlog;
pub mod completions;
pub mod config;
pub mod db;
pub mod hooks;
pub mod installation;
pub mod man;
pub mod mcp;
pub mod meant;
pub mod version;
pub mod wizard;
