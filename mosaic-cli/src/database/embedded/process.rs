//! The processes of the store's server, as the data folder and the kernel tell of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Whose rights this program has.
pub fn current_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The server that runs on this data folder, if one does.
///
/// The number in `postmaster.pid` alone proves nothing: after a crash it stays, and the kernel
/// may have given it to another process since. And a server in a container below this one has
/// another number here than there.
pub fn server_of(data: &Path) -> Option<u32> {
    let noted = noted(&data.join("postmaster.pid"))?;
    if works_in(noted, data) {
        return Some(noted);
    }
    all_of(data)
        .into_iter()
        .find(|pid| innermost(*pid) == Some(noted))
}

/// The number of a process in its own container.
fn innermost(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}

/// Whether the server has begun to shut down, as it notes in its lock file.
pub fn is_shutting_down(data: &Path) -> bool {
    fs::read_to_string(data.join("postmaster.pid"))
        .is_ok_and(|text| text.lines().nth(7).map(str::trim) == Some("stopping"))
}

/// Whether a signal holds the process up, so that it does nothing until it is told to go on.
pub fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
}

/// Whether the process sees the same files as this one.
pub fn sees_our_files(pid: u32) -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt"));
    match (namespace(&pid.to_string()), namespace("self")) {
        (Ok(its), Ok(ours)) => its == ours,
        // Nobody can tell.
        _ => true,
    }
}

/// The process number in a lock file of a server.
pub fn noted(lock_file: &Path) -> Option<u32> {
    let text = fs::read_to_string(lock_file).ok()?;
    text.lines().next()?.trim().parse().ok()
}

pub fn exists(pid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok()
}

/// Every process of PostgreSQL that works in the folder: the server and its helpers, also the
/// helpers that outlive a killed server for a moment.
pub fn all_of(data: &Path) -> Vec<u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| works_in(*pid, data))
        .collect()
}

pub fn works_in(pid: u32, data: &Path) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let (Ok(folder), Ok(data)) = (fs::metadata(process.join("cwd")), fs::metadata(data)) else {
        return false;
    };
    (folder.dev(), folder.ino()) == (data.dev(), data.ino()) && is_postgres(&process)
}

/// The folder above `bin` of the PostgreSQL that a process runs.
pub fn installation_of(pid: u32) -> Option<PathBuf> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let root = program.parent()?.parent()?;
    root.join("bin/pg_ctl").is_file().then(|| root.to_owned())
}

/// An update may have replaced the program's file since: the kernel then adds " (deleted)".
fn is_postgres(process: &Path) -> bool {
    fs::read_link(process.join("exe")).is_ok_and(|program| {
        program
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("postgres"))
    })
}
