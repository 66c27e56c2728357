//! One at a time: the lock around everything that changes the server or its schema.
//!
//! The kernel releases it when the last process that holds it is gone. The steps that run in
//! processes of their own hold it too, so that nobody works beside the rest of a killed call.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::home;
use super::home::Home;
use super::process::current_uid;
use crate::failure::{Code, Failure};
use crate::output::notes::say_to_people;

/// Longer than a crash recovery, and than the download of an archive.
const PATIENCE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(10);
/// After so long a caller may wonder.
const SOME_TIME: Duration = Duration::from_secs(5);

pub struct Lock(File);

impl Lock {
    /// Waits for the lock. The folder must exist.
    pub fn acquire(home: &Home) -> Result<Lock, Failure> {
        Lock::acquire_within(home, PATIENCE)
    }

    pub fn acquire_within(home: &Home, patience: Duration) -> Result<Lock, Failure> {
        let path = home.lock_file();
        let file = open(home).map_err(|error| home::cannot("open", &path, &error))?;
        let start = Instant::now();
        let mut is_told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) if start.elapsed() < patience => {
                    if !is_told && start.elapsed() > SOME_TIME {
                        say_to_people(
                            "waiting for another call that sets up, starts or stops the server",
                        );
                        is_told = true;
                    }
                    std::thread::sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::new(
                        Code::Timeout,
                        "another call is still setting up the embedded server",
                    )
                    .detail(format!("It holds the lock {}.", path.display())));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(home::cannot("lock", &path, &error));
                }
            }
        }
    }

    /// The lock as the standard input of a step.
    pub fn share(&self) -> Result<Stdio, Failure> {
        self.0.try_clone().map(Stdio::from).map_err(|error| {
            Failure::internal("cannot pass the lock on").detail(format!("{error}."))
        })
    }
}

/// Opens the file, or makes it. Where root makes it in another user's store, it is that user's.
fn open(home: &Home) -> io::Result<File> {
    let path = home.lock_file();
    let mut options = OpenOptions::new();
    options
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW);
    loop {
        match options.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return opened,
        }
        match options.clone().create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(file) => {
                let folder = fs::metadata(home.fleet())?;
                if folder.uid() != current_uid() {
                    fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
                }
                return Ok(file);
            }
        }
    }
}
