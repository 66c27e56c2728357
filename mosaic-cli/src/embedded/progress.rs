//! A line on stderr before work that takes seconds.

use std::io::{IsTerminal, Write};

/// Scripts that read JSON get no line, unless a person watches.
pub fn say(what: &str) {
    let mut stderr = std::io::stderr();
    let arguments: Vec<_> = std::env::args_os().collect();
    if stderr.is_terminal() || !crate::wants_json(&arguments) {
        // Nothing is lost if nobody can read it.
        let _ = writeln!(stderr, "mosaic: {what}");
    }
}
