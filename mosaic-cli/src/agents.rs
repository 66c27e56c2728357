//! Agents: what is known of each, and what of ours is in their files.

pub mod claude;
pub mod claude_session;
mod entry;
mod json;
mod known;
mod ledger;
pub mod primer;
mod server;

mod toml;

pub use entry::{Edit, Removal, remove_all, remove_from, take_all_out};
pub use known::{AGENTS, Agent, Level};
pub use server::{FORWARDED, Found, NAME};
