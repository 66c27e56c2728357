//! Folders that root makes or opens where other users can write.
//!
//! A folder is held open while its owner and mode are changed, so that it is this very folder that
//! changes, whatever somebody puts in its place meanwhile.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

pub struct Folder(File);

impl Folder {
    /// Makes the folder, and those above it that are missing.
    pub fn make(path: &Path, mode: u32) -> io::Result<Folder> {
        if let Some(above) = path.parent() {
            DirBuilder::new().recursive(true).mode(mode).create(above)?;
        }
        DirBuilder::new().mode(mode).create(path)?;
        let folder = Folder::open(path)?;
        // The umask may have taken bits away.
        folder.allow(mode)?;
        Ok(folder)
    }

    /// Opens the folder itself, not what a link leads to.
    pub fn open(path: &Path) -> io::Result<Folder> {
        OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(path)
            .map(Folder)
    }

    pub fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    pub fn allow(&self, mode: u32) -> io::Result<()> {
        self.0.set_permissions(Permissions::from_mode(mode))
    }

    pub fn give_to(&self, user: u32, group: u32) -> io::Result<()> {
        fchown(&self.0, Some(user), Some(group))
    }

    pub fn give_to_group(&self, group: u32) -> io::Result<()> {
        fchown(&self.0, None, Some(group))
    }
}

/// Makes sure that what was renamed in the folder stays so after a crash.
pub fn sync(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}
