//! The processes of the store's server, as the data folder and the kernel tell of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The server that runs on this data folder, if one does.
///
/// The number in `postmaster.pid` alone proves nothing: after a crash it stays, and the kernel
/// may have given it to another process since.
pub fn server_of(data: &Path) -> Option<u32> {
    let pid = noted(&data.join("postmaster.pid"))?;
    works_in(pid, data).then_some(pid)
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

fn works_in(pid: u32, data: &Path) -> bool {
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
