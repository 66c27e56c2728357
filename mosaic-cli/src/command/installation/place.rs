//! Where the installation of this program lies, and the lock on it.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{Access, access};

use crate::database::embedded;
use crate::failure::{Code, Failure};
use crate::files::ordinary;

pub struct Place {
    pub prefix: PathBuf,
    /// `lib/mosaic` below it.
    pub private: PathBuf,
}

impl Place {
    /// Of this program.
    pub fn locate() -> Result<Place, Failure> {
        let found = embedded::beside_the_program().and_then(|private| {
            let prefix = private.parent()?.parent()?.to_owned();
            Some(Place { prefix, private })
        });
        found.ok_or_else(|| {
            Failure::new(
                Code::WrongState,
                "this program was not installed by install.sh",
            )
            .detail("No folder lib/mosaic lies beside its bin. Nothing was changed.")
            .hint("Run the install.sh of a clone of Mosaic.")
        })
    }

    pub fn program(&self) -> PathBuf {
        self.prefix.join("bin/mosaic")
    }

    /// The files below `share` that are ours.
    pub fn shared(&self) -> Vec<PathBuf> {
        shared_in(&self.private.join(SHARED))
    }

    /// Refuses what is another's to change.
    pub fn check_writable(&self) -> Result<(), Failure> {
        for folder in [
            self.prefix.join("bin"),
            self.prefix.join("share"),
            self.private.clone(),
        ] {
            if folder.exists() && access(&folder, Access::WRITE_OK).is_err() {
                return Err(Failure::new(
                    Code::Unauthorized,
                    format!("cannot write to {}", folder.display()),
                )
                .detail("Nothing was changed.")
                .hint("Run as the user that installed it, or as root."));
            }
        }
        Ok(())
    }

    /// One at a time.
    pub fn lock(&self) -> Result<Lock, Failure> {
        let cannot = |error: &std::io::Error| {
            Failure::io(format!("cannot lock {}", self.private.display()), error)
        };
        let folder = File::open(&self.private).map_err(|error| cannot(&error))?;
        match folder.try_lock() {
            Ok(()) => Ok(Lock(folder)),
            Err(TryLockError::WouldBlock) => Err(Failure::new(
                Code::Busy,
                format!("{} is already being updated", self.prefix.display()),
            )
            .detail("Another update is at work, or the build of one that was killed. Nothing was changed.")
            .hint("Try again when it is done.")),
            Err(TryLockError::Error(error)) => Err(cannot(&error)),
        }
    }
}

pub const SHARED: &str = "shared-files";

/// The files that such a list names, below `share`.
pub fn shared_in(list: &Path) -> Vec<PathBuf> {
    let text = ordinary::read_text(list).unwrap_or_default();
    text.lines()
        .map(|line| PathBuf::from(line.trim_start_matches("./")))
        .collect()
}

/// Held by the update, and by the processes of it that change files: what a killed one left running is waited for.
pub struct Lock(File);

impl Lock {
    /// The lock as the standard input of such a process.
    pub fn share(&self) -> Result<Stdio, Failure> {
        self.0.try_clone().map(Stdio::from).map_err(|error| {
            Failure::internal("cannot pass the lock on").detail(format!("{error}."))
        })
    }
}

/// Removes a file that may be gone already.
pub fn remove(file: &Path) -> Result<(), Failure> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::io(
            format!("cannot remove {}", file.display()),
            &error,
        )),
        _ => Ok(()),
    }
}
