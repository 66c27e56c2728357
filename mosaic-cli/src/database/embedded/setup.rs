//! Making the data folder: beside its place, and put there by one rename when it is whole.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use uuid::Uuid;

use super::account::Account;
use super::folder::{self, Folder};
use super::home;
use super::home::Home;
use super::installation::Installation;
use super::lock::Lock;
use super::process::current_uid;
use super::server::UNFINISHED;
use super::step::{Action, perform};
use crate::failure::{Code, Failure};

/// How the names of unfinished folders begin.
const UNFINISHED_PREFIX: &str = ".backlog-setup-";

/// Makes the folders above the data folder. Other users may pass through root's, so that the
/// server's user can; they see nothing there.
pub fn make_folders(home: &Home, account: &Account) -> Result<(), Failure> {
    let mode = if current_uid() == 0 { 0o711 } else { 0o700 };
    make_folder(&home.root, mode)?;
    let fleet = home.fleet();
    let Some(made) = make_folder(&fleet, mode)? else {
        return Ok(());
    };
    let above =
        fs::metadata(&home.root).map_err(|error| home::cannot("read", &home.root, &error))?;
    if above.uid() == account.uid && account.is_other() {
        made.give_to(account.uid, account.gid)
            .map_err(|error| home::cannot("hand over", &fleet, &error))?;
    }
    Ok(())
}

/// The folder, if it was missing.
fn make_folder(path: &Path, mode: u32) -> Result<Option<Folder>, Failure> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(None),
        Ok(_) => {
            let error = io::Error::from(ErrorKind::NotADirectory);
            return Err(home::cannot("use", path, &error));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(home::cannot("read", path, &error)),
    }
    match Folder::make(path, mode) {
        Ok(folder) => Ok(Some(folder)),
        // By another call at the same moment.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(home::cannot("create", path, &error)),
    }
}

/// Removes what killed calls left unfinished. Under the lock nobody works on it any more.
pub fn sweep(home: &Home) {
    for entry in fs::read_dir(home.fleet()).into_iter().flatten().flatten() {
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(UNFINISHED_PREFIX)
        {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Makes the data folder.
pub fn create(
    home: &Home,
    account: &Account,
    lock: &Lock,
    installation: &Installation,
) -> Result<(), Failure> {
    let unfinished = home
        .fleet()
        .join(format!("{UNFINISHED_PREFIX}{}", Uuid::new_v4()));
    let made = fill(home, account, lock, installation, &unfinished);
    // The next call sweeps again.
    let _ = fs::remove_dir_all(&unfinished);
    made
}

/// Refuses a place where there is something, but no data.
pub fn check_free(home: &Home) -> Result<(), Failure> {
    let taken = |what: &str| {
        Failure::new(
            Code::Resource,
            format!("{} is not a data folder of PostgreSQL", home.data.display()),
        )
        .lasts(true)
        .detail(format!("{what} Nothing was changed."))
        .hint("Move it away, or set MOSAIC_HOME to another folder.")
    };
    match fs::symlink_metadata(&home.data) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(home.unreadable(&error)),
        Ok(metadata) if metadata.is_symlink() => Err(taken(
            "It is a link that leads to no data: is something not mounted?",
        )),
        Ok(metadata) if !metadata.is_dir() => Err(taken("It is a file.")),
        Ok(_) => match fs::read_dir(&home.data).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(taken("It holds other files.")),
            Err(error) => Err(home.unreadable(&error)),
        },
    }
}

fn fill(
    home: &Home,
    account: &Account,
    lock: &Lock,
    installation: &Installation,
    unfinished: &Path,
) -> Result<(), Failure> {
    Folder::make(unfinished, 0o700)
        .and_then(|folder| match account.is_other() {
            true => folder.give_to(account.uid, account.gid),
            false => Ok(()),
        })
        .map_err(|error| home::cannot("create", unfinished, &error))?;
    perform(
        Action::Initdb,
        account,
        lock,
        &installation.root,
        unfinished,
    )?;
    fs::rename(unfinished.join(UNFINISHED), &home.data)
        .and_then(|()| folder::sync(&home.fleet()))
        .map_err(|error| home::cannot("put in place", &home.data, &error))
}
