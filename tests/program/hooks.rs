//! The hooks of Claude Code: switching them in files of every kind, and what ours do in a session.

mod files;
mod session;
mod settings;
