//! A line on stderr before work that takes seconds.

use std::io::{self, IsTerminal};

/// Scripts that read JSON get no line, unless a person watches.
pub fn say(what: &str) {
    let arguments: Vec<_> = std::env::args_os().collect();
    if io::stderr().is_terminal() || !crate::wants_json(&arguments) {
        crate::output::notes::say(what);
    }
}
