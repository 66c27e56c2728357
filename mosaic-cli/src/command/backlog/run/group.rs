//! The process group that a command runs in. It ends when we end, however that happens.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// Leads the group, so that its number is not given to anybody else. The kernel closes the pipe
/// that it reads also when we are killed; then it removes the files and ends the whole group.
const GUARD: &str = "trap '' HUP INT TERM; read -r _; rm -rf \"$1\"; kill -s KILL 0";

pub struct Group {
    guard: Child,
}

impl Group {
    /// `folder` holds what nobody needs once the group has ended.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "mosaic-guard"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()?;
        Ok(Group { guard })
    }

    pub fn id(&self) -> i32 {
        self.guard.id() as i32
    }

    /// Sends a signal to every process of the group. The guard does not mind those that can be caught.
    pub fn signal(&self, signal: i32) {
        if let (Some(group), Some(signal)) =
            (Pid::from_raw(self.id()), Signal::from_named_raw(signal))
        {
            // That nobody is left is as well.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Whether nobody but the guard is left. Where there is no /proc, nobody can tell.
    pub fn is_deserted(&self) -> bool {
        let Ok(processes) = fs::read_dir("/proc") else {
            return true;
        };
        let guard = self.guard.id().to_string();
        !processes
            .flatten()
            .filter(|process| *process.file_name() != *guard)
            .filter_map(|process| fs::read_to_string(process.path().join("stat")).ok())
            .any(|stat| is_member(&stat, &guard))
    }
}

impl Drop for Group {
    /// The guard leaves, and whoever the command left behind goes on.
    fn drop(&mut self) {
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}

/// Of `pid (name) state parent group …`, where the name may hold anything.
fn is_member(stat: &str, group: &str) -> bool {
    let mut fields = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace();
    fields.next().is_some_and(|state| state != "Z") && fields.nth(1) == Some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_by_their_group() {
        assert!(is_member("7 (a) b) S 1 42 42 0", "42"));
        assert!(!is_member("7 (sh) S 42 1 42 0", "42"));
        assert!(!is_member("7 (sh) Z 1 42 42 0", "42"));
        assert!(!is_member("", "42"));
    }
}
