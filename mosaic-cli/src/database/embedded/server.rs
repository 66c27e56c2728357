//! The server itself, through `postgresql_embedded`. Everything here runs as the server's user,
//! in the folder that it is about, in a step of its own.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use postgresql_embedded::blocking::PostgreSQL;
use postgresql_embedded::{BOOTSTRAP_SUPERUSER, Settings, VersionReq};
use uuid::Uuid;

use super::account::Account;
use super::guard::{self, Guard};
use super::home;
use super::home::{PORT, Socket};
use super::{process, settings};
use crate::failure::passing;
use crate::failure::{Code, Failure};

/// The name of the data folder while it is made.
pub const UNFINISHED: &str = "data";

/// A new data folder and its first log files do not fit into less.
const ROOM: u64 = 64_000_000;

/// Makes a data folder in the current folder.
pub fn initdb(installation: &Path) -> Result<(), Failure> {
    let data = Path::new(UNFINISHED);
    let password = Path::new("password");
    let make = || -> std::io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(data)?;
        // The crate wants a password. It is in nobody's way: no line of pg_hba.conf asks for one.
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(password)
            .and_then(|mut file| {
                use std::io::Write;
                file.write_all(Uuid::new_v4().to_string().as_bytes())
            })
    };
    make().map_err(|error| home::cannot("write to", Path::new("."), &error))?;
    handle(installation, data)
        .setup()
        .map_err(|error| explain("cannot create the data folder", &error.to_string()))?;
    fs::remove_file(password)
        .and_then(|()| settings::write_access(data))
        .map_err(|error| home::cannot("write to", data, &error))
}

/// Starts the server on the current folder and leaves it running.
pub fn start(installation: &Path, data: &Path, socket: &Socket) -> Result<(), Failure> {
    socket.prepare()?;
    guard::wait_for_the_last_ones(data)?;
    let mut guard = Guard::take(data, socket)?;
    // Only now nobody else's server can be behind them.
    remove_stale_locks(data, socket)?;
    let owner = Account::current()?;
    settings::write_settings(Path::new("."), socket)
        .and_then(|()| settings::admit(Path::new("."), &owner.name))
        .map_err(|error| home::cannot("write to", data, &error))?;
    let log = StartLog::now();
    guard
        .bequeath()
        .map_err(|error| home::cannot("pass on the lock of", data, &error))?;
    let mut server = handle(installation, Path::new("."));
    let started = server.start();
    // The handle would stop the server when dropped.
    std::mem::forget(server);
    if started.is_ok() {
        // Who asks later is told less, if that fails.
        let _ = guard.tell(data, socket);
    }
    started.map_err(|error| {
        let written = log.written_since();
        let text = if written.is_empty() {
            error.to_string()
        } else {
            written
        };
        explain("the embedded server does not start", &text)
    })
}

/// Every field is given: the crate's defaults leave folders behind under /tmp.
fn handle(installation: &Path, data: &Path) -> PostgreSQL {
    PostgreSQL::new(Settings {
        releases_url: String::new(),
        version: VersionReq::STAR,
        installation_dir: installation.to_owned(),
        password_file: PathBuf::from("password"),
        data_dir: data.to_owned(),
        host: String::new(),
        port: PORT,
        username: BOOTSTRAP_SUPERUSER.into(),
        password: String::new(),
        temporary: false,
        timeout: None,
        configuration: HashMap::from(
            settings::DURABLE.map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
        trust_installation_dir: true,
        socket_dir: None,
    })
}

/// A killed server leaves lock files with its number. PostgreSQL's own look at them is fooled
/// where that number belongs to another process by now, or to a zombie that nobody reaps.
fn remove_stale_locks(data: &Path, socket: &Socket) -> Result<(), Failure> {
    for file in [data.join("postmaster.pid"), socket.lock_file()] {
        if process::noted(&file).is_some_and(process::exists) {
            fs::remove_file(&file).map_err(|error| home::cannot("remove", &file, &error))?;
        }
    }
    Ok(())
}

/// What the server says while it starts: first into one file, then into the log of the day.
struct StartLog {
    since: SystemTime,
    position: u64,
}

impl StartLog {
    const FIRST: &str = "start.log";

    fn now() -> StartLog {
        StartLog {
            since: SystemTime::now(),
            position: fs::metadata(Self::FIRST).map_or(0, |metadata| metadata.len()),
        }
    }

    fn written_since(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = fs::File::open(Self::FIRST)
            && file.seek(SeekFrom::Start(self.position)).is_ok()
        {
            // What cannot be read is not shown.
            let _ = file.read_to_string(&mut text);
        }
        let today = fs::read_dir("log")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .filter(|(modified, _)| *modified >= self.since)
            .max();
        if let Some((_, path)) = today {
            let log = fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            text.push_str(&lines[lines.len().saturating_sub(20)..].join("\n"));
        }
        text
    }
}

/// The lines that matter of what PostgreSQL's programs say.
fn explain(what: &str, text: &str) -> Failure {
    // The crate quotes both streams of a program.
    let text = text
        .split_once("; stderr=")
        .map_or(text, |(_, stderr)| stderr);
    let telling: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| {
            ["FATAL", "PANIC", "DETAIL", "error:", "could not"]
                .iter()
                .any(|word| line.contains(word))
        })
        .collect();
    let detail = if telling.is_empty() {
        text.trim().to_owned()
    } else {
        telling[telling.len().saturating_sub(6)..].join("\n")
    };
    let failure = Failure::new(Code::Resource, what)
        .lasts(!passing::complaint(text))
        .detail(detail);
    let room = rustix::fs::statvfs(".").map(|disk| disk.f_bavail * disk.f_frsize);
    match room {
        Ok(bytes) if bytes < ROOM => failure.lasts(false).hint(format!(
            "The disk has {} MB left. Nothing that was acknowledged is lost; make room and try again.",
            bytes / 1_000_000
        )),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_matter_are_found() {
        let failure = explain(
            "it failed",
            "Command error: stdout=running bootstrap script ... ; stderr=LOG:  x\nFATAL:  y\nHINT:  z",
        );
        assert_eq!(failure.detail.as_deref(), Some("FATAL:  y"));
        let failure = explain("it failed", "just words\n");
        assert_eq!(failure.detail.as_deref(), Some("just words"));
        assert!(!failure.retryable());
        let failure = explain(
            "it failed",
            "FATAL:  could not fork: Cannot allocate memory",
        );
        assert!(failure.retryable());
    }
}
