//! Who runs on the data folder: a lock that the server holds for its whole life.
//!
//! Whoever starts the server locks files in the data folder and lets the server inherit them, open.
//! The kernel keeps the locks until the last process of that server is gone, and keeps them for
//! everybody who reaches the files: also from another container, where the server's number means
//! nothing and its socket may be out of sight, and from another host, where the file system passes
//! locks on. A lock of the file system is all that such callers have in common.
//!
//! The lock that counts is on a file of PostgreSQL's own, without which there is no store: whoever
//! removes ours, as a stale one, lets nobody in. Ours tells who holds it, and is locked as well:
//! a program or a server of before knows no other.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use super::home;
use super::home::Socket;
use super::process;
use crate::failure::{Code, Failure};
use crate::output::screen::one_line;

/// Locked, and never written to.
const STORE: &str = "PG_VERSION";
/// Says who holds the lock.
const TOLD: &str = "mosaic.lock";

/// How long the helpers of a killed server may take to notice it.
const AFTERMATH: Duration = Duration::from_secs(20);
/// Processes that are out of sight get so long to end. A look at the lock takes no time at all.
const GRACE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// The locks, held.
pub struct Guard {
    store: File,
    told: File,
}

/// What the server's starter wrote into the file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub struct Holder {
    /// As its own container counts; absent while it starts.
    pub pid: Option<u32>,
    pub host: String,
    /// Differs from machine to machine, and from boot to boot.
    pub boot_id: String,
    /// Within which process numbers mean the same.
    pub pid_namespace: String,
    pub started_at: String,
    pub socket: String,
}

impl Guard {
    /// Takes the locks for a server that is about to start on the folder, or says who has them.
    pub fn take(data: &Path, socket: &Socket) -> Result<Guard, Failure> {
        let cannot = |name: &str, error: &io::Error| home::cannot("lock", &data.join(name), error);
        let start = Instant::now();
        let lock = |name: &str, file: io::Result<File>| -> Result<File, Failure> {
            let file = file.map_err(|error| cannot(name, &error))?;
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(file),
                    Err(TryLockError::Error(error)) => return Err(cannot(name, &error)),
                    Err(TryLockError::WouldBlock) => {}
                }
                let left = process::all_of(data);
                if left.is_empty() && start.elapsed() > GRACE {
                    return Err(Holder::of(data).refusal(data));
                }
                if start.elapsed() > AFTERMATH {
                    return Err(still_at_work(data, &left));
                }
                std::thread::sleep(PAUSE);
            }
        };
        let store = lock(STORE, open_store(data))?;
        let told = lock(
            TOLD,
            options().write(true).create(true).open(data.join(TOLD)),
        )?;
        let mut guard = Guard { store, told };
        guard
            .write(&Holder::here(None, socket))
            .map_err(|error| cannot(TOLD, &error))?;
        Ok(guard)
    }

    /// From here on every process that this one starts, and what those start, holds the locks too.
    pub fn bequeath(&self) -> io::Result<()> {
        for file in [&self.store, &self.told] {
            fcntl_setfd(file, FdFlags::empty())?;
        }
        Ok(())
    }

    /// The server runs.
    pub fn tell(&mut self, data: &Path, socket: &Socket) -> io::Result<()> {
        let pid = process::noted(&data.join("postmaster.pid"));
        self.write(&Holder::here(pid, socket))
    }

    fn write(&mut self, holder: &Holder) -> io::Result<()> {
        let text = serde_json::to_string(holder)?;
        self.told.set_len(0)?;
        self.told.seek(SeekFrom::Start(0))?;
        self.told.write_all(text.as_bytes())?;
        self.told.write_all(b"\n")
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW);
    options
}

/// Over a network only who may write to a file may have it for himself.
fn open_store(data: &Path) -> io::Result<File> {
    let file = data.join(STORE);
    options()
        .write(true)
        .open(&file)
        .or_else(|_| options().open(&file))
}

/// Who holds the folder, if somebody does.
pub fn holder(data: &Path) -> Option<Holder> {
    [STORE, TOLD]
        .into_iter()
        .any(|name| is_locked(&data.join(name)))
        .then(|| Holder::of(data))
}

/// Whether the folder is held by the lock that nobody can take away.
pub fn is_held(data: &Path) -> bool {
    is_locked(&data.join(STORE))
}

fn is_locked(file: &Path) -> bool {
    options()
        .open(file)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

impl Holder {
    fn here(pid: Option<u32>, socket: &Socket) -> Holder {
        Holder {
            pid,
            host: whoami::hostname().unwrap_or_default(),
            boot_id: boot_id(),
            pid_namespace: pid_namespace(),
            started_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            socket: socket.file().to_string_lossy().into_owned(),
        }
    }

    /// What cannot be read is not known, but for the number that PostgreSQL notes.
    fn of(data: &Path) -> Holder {
        let mut text = String::new();
        let _ = options()
            .open(data.join(TOLD))
            .and_then(|mut file| file.read_to_string(&mut text));
        serde_json::from_str(&text).unwrap_or_else(|_| Holder {
            pid: process::noted(&data.join("postmaster.pid")),
            ..Holder::default()
        })
    }

    /// Whether its process number means here what it means there.
    pub fn is_here(&self) -> bool {
        self.boot_id == boot_id() && self.pid_namespace == pid_namespace()
    }

    /// "process 12 in another container of this machine (host name c1), since …"
    pub fn describe(&self) -> String {
        let process = match self.pid {
            Some(pid) => format!("process {pid}"),
            None => "a process".to_owned(),
        };
        let host = one_line(&self.host);
        let place = if self.boot_id.is_empty() {
            "in an unknown place".to_owned()
        } else if self.boot_id != boot_id() {
            format!("on the host {host}")
        } else if self.is_here() {
            "on this machine".to_owned()
        } else {
            format!("in another container of this machine (its host name is {host})")
        };
        let since = match self.started_at.as_str() {
            "" => String::new(),
            since => format!(", since {}", one_line(since)),
        };
        let socket = match self.socket.as_str() {
            "" => String::new(),
            socket => format!(", and listens at {}", one_line(socket)),
        };
        format!("{process} {place}{since}{socket}")
    }

    /// For a call that cannot reach it, and must not start a second one.
    pub fn refusal(&self, data: &Path) -> Failure {
        // It runs until somebody stops it, and a stop or a start under way was waited for.
        Failure::unreachable("the backlog's server runs where this call cannot reach it")
            .lasts(true)
            .detail(format!(
                "The data folder {} is in use by {}. A second server on it would destroy the cards; nothing was changed.",
                data.display(),
                self.describe()
            ))
            .hint("Call from there, or stop it there with `mosaic db stop`. With a shorter MOSAIC_HOME the socket lies in the data folder, where all containers of one machine reach it; for several machines DATABASE_URL names one server.")
    }
}

impl Holder {
    /// For a call that is to end it.
    pub fn out_of_reach(&self, data: &Path) -> Failure {
        Failure::unreachable("the backlog's server runs where this call cannot end it")
            .lasts(true)
            .detail(format!(
                "The data folder {} is in use by {}.",
                data.display(),
                self.describe()
            ))
            .hint("Run `mosaic db stop` there.")
    }
}

pub fn still_at_work(data: &Path, left: &[u32]) -> Failure {
    let left: Vec<String> = left.iter().map(u32::to_string).collect();
    Failure::new(
        Code::Resource,
        "processes of the last server are still at work",
    )
    .detail(format!(
        "They work in {}: {}.",
        data.display(),
        left.join(", ")
    ))
    .hint(
        "They end by themselves when their statement is finished; `mosaic db stop` ends them now.",
    )
}

/// Waits for the lock of a server whose processes have ended: the kernel takes a process out of its folder
/// before it closes what the process had open. What still holds it after a while is out of sight.
pub fn wait_for_release(data: &Path) {
    let start = Instant::now();
    while holder(data).is_some() && start.elapsed() < GRACE {
        std::thread::sleep(PAUSE);
    }
}

/// Waits for the helpers of a killed server, which may still write for a moment.
pub fn wait_for_the_last_ones(data: &Path) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        let left = process::all_of(data);
        if left.is_empty() {
            return Ok(());
        }
        if start.elapsed() > AFTERMATH {
            return Err(still_at_work(data, &left));
        }
        std::thread::sleep(PAUSE);
    }
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn pid_namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid")
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_named_as_far_as_it_is_known() {
        let socket = Socket::of(Path::new("/d"), 1000);
        let here = Holder::here(Some(12), &socket);
        let told = here.describe();
        assert!(
            told.starts_with("process 12 on this machine, since 20"),
            "{told}"
        );
        assert!(
            told.ends_with(", and listens at /d/.s.PGSQL.5432"),
            "{told}"
        );
        let elsewhere = Holder {
            boot_id: "another".into(),
            host: "c1".into(),
            ..here.clone()
        };
        assert!(elsewhere.describe().contains("on the host c1"));
        let beside = Holder {
            pid_namespace: "pid:[1]".into(),
            ..here
        };
        assert!(
            beside
                .describe()
                .contains("another container of this machine")
        );
        assert_eq!(
            Holder::default().describe(),
            "a process in an unknown place"
        );
    }
}
