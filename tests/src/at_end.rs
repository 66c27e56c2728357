//! Cleaning up when the tests are over, however they end.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::account;

/// A shell that waits for the end of its standard input and then runs a script. The kernel
/// closes the other end also when the tests are killed, so that nothing is left behind.
pub struct AtEnd {
    shell: Child,
}

/// As whom the script runs.
pub enum As {
    /// The user of servers.
    Server,
    /// The user of the tests.
    Caller,
}

impl AtEnd {
    /// `script` finds `arguments` as `$1`, `$2`…
    pub fn run(who: As, script: &str, arguments: &[&Path]) -> Self {
        Self::after(who, ":", script, arguments)
    }

    /// Starts a program, which `start` names, and ends it when the tests are over; then the
    /// script runs.
    pub fn serve(start: &str, script: &str, arguments: &[&Path]) -> Self {
        let start = format!("{start} & program=$!");
        let script = format!("kill -9 \"$program\"; {script}");
        Self::after(As::Server, &start, &script, arguments)
    }

    fn after(who: As, start: &str, script: &str, arguments: &[&Path]) -> Self {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!(
                "trap '' INT TERM HUP; {start}; cat >/dev/null; {{ {script}; }} >/dev/null 2>&1"
            ))
            .arg("at-end")
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::piped())
            .process_group(0);
        if let As::Server = who {
            account::serve(&mut command);
        }
        let shell = command.spawn().expect("sh");
        Self { shell }
    }
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
