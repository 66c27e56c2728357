//! The embedded store, as far as it shows without its server.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use postgres::Client;

use super::finding::{Finding, State};
use crate::database::embedded::Cluster;
use crate::failure::Failure;

/// With less than this the server is likely to fill the disk soon.
const SCARCE: u64 = 1_000_000_000;
/// With less than this it hardly runs.
const FULL: u64 = 100_000_000;

/// A connection, if the server runs.
pub fn examine(findings: &mut Vec<Finding>) -> Result<Result<Option<Client>, Failure>, Failure> {
    let cluster = Cluster::locate()?;
    findings.push(installation(&cluster));
    let report = match cluster.report() {
        Ok(report) => report,
        Err(failure) => return Ok(Err(failure)),
    };
    findings.extend(disk(&report.data));
    findings.extend(folder(&report.data));
    if !report.initialized {
        findings.push(Finding::not_ok(
            "server",
            State::Unknown,
            format!(
                "The embedded backlog in {} is not set up yet.",
                report.data.display()
            ),
            "The first call of any verb sets it up; `mosaic db start` only does that.",
        ));
        return Ok(Ok(None));
    }
    if let Some(silent) = report.silent {
        return Ok(Err(silent));
    }
    let client = cluster.connect_running();
    if let (Ok(None), None, Some(holder)) = (&client, report.pid, &report.holder) {
        return Ok(Err(holder.refusal(&report.data)));
    }
    if let Ok(None) = client {
        findings.push(match report.pid {
            Some(pid) => Finding::not_ok(
                "server",
                State::Error,
                format!(
                    "The embedded server runs as process {pid}, but nothing answers on its socket."
                ),
                "Any verb starts it again; `mosaic db start` only does that.",
            ),
            None => Finding::not_ok(
                "server",
                State::Unknown,
                format!(
                    "The embedded server of {} is stopped.",
                    report.data.display()
                ),
                "Any verb starts it; `mosaic db start` only does that. Then ask again.",
            ),
        });
    }
    Ok(client)
}

fn installation(cluster: &Cluster) -> Finding {
    const NAME: &str = "installation";
    match cluster.installed() {
        Ok(found) => Finding::ok(
            NAME,
            format!(
                "PostgreSQL {} with the extension in {}.",
                found.major,
                found.root.display()
            ),
        ),
        Err(failure) => Finding::failed(NAME, State::Error, &failure, "Run Mosaic's install.sh."),
    }
}

/// The disk that the data folder is on, or will be.
fn disk(data: &Path) -> Option<Finding> {
    let there = data.ancestors().find(|folder| folder.exists())?;
    let finding = match rustix::fs::statvfs(there) {
        Ok(disk) => judge(disk.f_bavail * disk.f_frsize, there),
        Err(error) => Finding::not_ok(
            "disk",
            State::Unknown,
            format!(
                "Cannot read the free space under {}: {error}.",
                there.display()
            ),
            "Run as the owner of the backlog.",
        ),
    };
    Some(finding)
}

/// Of the folders above the data, one in which others may put another in its place: between two calls, the
/// backlog would be theirs.
fn folder(data: &Path) -> Option<Finding> {
    const OTHERS: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let there = data.ancestors().find(|folder| folder.exists())?;
    let there = there.canonicalize().ok()?;
    let open = there.ancestors().find(|folder| {
        let mode = folder.metadata().map_or(0, |metadata| metadata.mode());
        mode & OTHERS != 0 && mode & STICKY == 0
    })?;
    Some(Finding::not_ok(
        "folder",
        State::Warning,
        format!(
            "Every user of the machine can rename what is in {}, and put another backlog in place of this one.",
            open.display()
        ),
        format!("chmod o-w {0}, or chmod +t {0}.", open.display()),
    ))
}

fn judge(free: u64, folder: &Path) -> Finding {
    const NAME: &str = "disk";
    let room = format!(
        "{} MB are free under {}.",
        free / 1_000_000,
        folder.display()
    );
    let hint = "Make room on that disk: a server that cannot write stops.";
    if free < FULL {
        Finding::not_ok(NAME, State::Error, room, hint)
    } else if free < SCARCE {
        Finding::not_ok(NAME, State::Warning, room, hint)
    } else {
        Finding::ok(NAME, room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fills_up_is_told_before_it_is_full() {
        for (free, state) in [
            (50_000_000, State::Error),
            (500_000_000, State::Warning),
            (5_000_000_000, State::Ok),
        ] {
            assert_eq!(judge(free, Path::new("/")).state, state, "{free}");
        }
    }
}
