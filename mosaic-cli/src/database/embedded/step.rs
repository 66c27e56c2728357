//! The steps that must run as the server's user: initdb and start.
//!
//! Each runs in a process of its own, this program with a hidden subcommand. For root that is how
//! it becomes the service user; for everyone it means that a step that has begun is finished,
//! under the lock, also when the call that began it is killed or interrupted.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::account::Account;
use super::home;
use super::home::Socket;
use super::lock::Lock;
use super::server;
use crate::environment;
use crate::failure::{Code, Failure};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Action {
    Initdb,
    Start,
}

/// What a step is told.
#[derive(Args, Debug)]
pub struct Step {
    action: Action,
    /// The folder above `bin` of the PostgreSQL
    #[arg(long)]
    installation: PathBuf,
    /// The data folder; for initdb, the folder in which it is made
    #[arg(long)]
    folder: PathBuf,
}

impl Step {
    /// Runs in the process of its own.
    pub fn run(self) -> Result<(), Failure> {
        keep_files_from_children().map_err(|error| {
            Failure::io("cannot tell which files of the caller are open", &error)
        })?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        // From here on paths are relative: they reach PostgreSQL through a shell, which would
        // trip over what may stand in the name of a folder.
        std::env::set_current_dir(&self.folder)
            .map_err(|error| home::cannot("enter", &self.folder, &error))?;
        let here = std::env::current_dir()
            .and_then(|folder| folder.canonicalize())
            .map_err(|error| home::cannot("resolve", &self.folder, &error))?;
        let socket = Socket::of(&here, super::process::current_uid());
        match self.action {
            Action::Initdb => server::initdb(&self.installation),
            Action::Start => server::start(&self.installation, &here, &socket),
        }
    }
}

/// What the caller of the program has open, such as the lock of a `flock FILE mosaic …`, is nothing to
/// a server that outlives it. Input and outputs are the step's own.
fn keep_files_from_children() -> io::Result<()> {
    let open: Vec<i32> = fs::read_dir("/dev/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > libc::STDERR_FILENO)
        .collect();
    for number in open {
        // SAFETY: a flag of a number. The one of the folder that was read is closed by now, which is
        // no matter.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Has a step done, and waits for it.
pub fn perform(
    action: Action,
    account: &Account,
    lock: &Lock,
    installation: &Path,
    folder: &Path,
) -> Result<(), Failure> {
    let name = action
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default();
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("mosaic")
        .args(["--json", "db", "step", &name, "--installation"])
        .arg(installation)
        .arg("--folder")
        .arg(folder)
        // The environment of the caller may hold secrets, and settings for other servers.
        .env_clear()
        .envs(
            ["PATH", "TZ"].into_iter().filter_map(|variable| {
                environment::filled(variable).map(|value| (variable, value))
            }),
        )
        .env("LC_ALL", "C.UTF-8")
        .env("PGCTLTIMEOUT", "300")
        .stdin(lock.share()?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C at the caller's terminal is not meant for the server.
        .process_group(0);
    if account.is_other() {
        command.gid(account.gid).uid(account.uid);
    }
    let output = command.output().map_err(|error| {
        Failure::io(
            format!("cannot run this program again as {}", account.name),
            &error,
        )
        .hint("The program's file must be readable and executable for that user.")
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(answer(&output.stdout).unwrap_or_else(|| {
        Failure::internal(format!("the step {name} ended with {}", output.status))
            .detail(String::from_utf8_lossy(&output.stderr).trim())
    }))
}

/// The failure that a step printed.
fn answer(document: &[u8]) -> Option<Failure> {
    let document: Value = serde_json::from_slice(document).ok()?;
    let error = &document["error"];
    let text = |key: &str| error[key].as_str().map(str::to_owned);
    let word = text("code")?;
    let code = [
        Code::Resource,
        Code::Unauthorized,
        Code::Unreachable,
        Code::Usage,
    ]
    .into_iter()
    .find(|code| code.word() == word)
    .unwrap_or(Code::Internal);
    Some(Failure {
        code,
        message: text("message")?,
        detail: text("detail"),
        hint: text("hint"),
        lasts: error["retryable"] == false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::error;
    use crate::output::hint::Words;

    fn printed(failure: &Failure) -> String {
        error::document(failure, Words::of(clap::Command::default)).to_string()
    }

    #[test]
    fn a_failure_survives_the_way_through_a_step() {
        let sent = Failure::new(Code::Resource, "no room").detail("The disk is full.");
        let received = answer(printed(&sent).as_bytes()).expect("a failure");
        assert_eq!(received.code, Code::Resource);
        assert_eq!(received.message, "no room");
        assert_eq!(received.detail.as_deref(), Some("The disk is full."));
        assert_eq!(received.hint, None);
        assert!(received.retryable());
        let sent = sent.lasts(true);
        let received = answer(printed(&sent).as_bytes()).expect("a failure");
        assert!(!received.retryable());
        assert!(answer(b"").is_none());
    }
}
