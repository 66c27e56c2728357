//! Files that are written whole, and those of the user that other programs read too.

pub mod diff;
pub mod jsonc;
pub mod ordinary;
pub mod replacement;
pub mod rewrite;
pub mod user_file;
