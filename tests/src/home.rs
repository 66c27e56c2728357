//! A home of its own for an embedded server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::at_end::{As, AtEnd};
use crate::{folder, programs};

pub struct Home {
    /// What MOSAIC_HOME names.
    path: PathBuf,
    _end: AtEnd,
}

/// Stops the server, by force if need be, and removes the folder and the socket's.
const END: &str = "
    export MOSAIC_HOME=\"$2\"
    socket=$(sed -n 5p \"$2/fleet/backlog/postmaster.pid\")
    env -u DATABASE_URL \"$1\" db stop || kill -9 \"$(head -n 1 \"$2/fleet/backlog/postmaster.pid\")\"
    case $socket in /tmp/mosaic-*) rm -rf \"$socket\" ;; esac
    rm -rf \"$3\"";

impl Home {
    pub fn new() -> Self {
        Self::named("home")
    }

    /// With a path that ends in `name`.
    pub fn named(name: &str) -> Self {
        Self::of(programs::mosaic(), name)
    }

    /// For the program of another installation.
    pub fn of(program: &Path, name: &str) -> Self {
        let above = folder::kept();
        let path = above.join(name);
        let end = AtEnd::run(As::Caller, END, &[program, &path, &above]);
        Self { path, _end: end }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn data(&self) -> PathBuf {
        self.path.join("fleet/backlog")
    }

    /// Makes a call use this home.
    pub fn describe(&self, command: &mut Command) {
        command.env("MOSAIC_HOME", &self.path);
    }

    /// The process of the server, as its data folder says.
    pub fn server(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().next()?.parse().ok()
    }

    /// The processes whose data folder is this home's.
    pub fn servers(&self) -> Vec<u32> {
        let data = self.data();
        let wanted = data.canonicalize().unwrap_or(data);
        fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &u32| {
                let folder = fs::read_link(format!("/proc/{pid}/cwd"));
                let parent = parent(*pid).map(|pid| fs::read_link(format!("/proc/{pid}/cwd")));
                let here = |link: &std::io::Result<PathBuf>| {
                    link.as_ref().is_ok_and(|folder| *folder == wanted)
                };
                // A server's children work in the data folder as well.
                here(&folder) && !parent.as_ref().is_some_and(here)
            })
            .collect()
    }
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

/// Sends a signal.
pub fn signal(name: &str, pid: u32) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .expect("kill");
    assert!(status.success(), "kill -{name} {pid}");
}
