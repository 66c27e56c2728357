//! Files that have their name only when they are whole: written beside, and renamed.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::failure::{Code, Failure};

pub struct Replacement {
    target: PathBuf,
    /// Where it is written.
    beside: PathBuf,
    is_whole: bool,
}

impl Replacement {
    /// Makes the empty file beside `target`. Others may read it only if they could read the
    /// file that it replaces.
    pub fn begin(target: &Path) -> Result<Self, Failure> {
        // Where the name is a link, the file that it leads to is replaced.
        let target = target.canonicalize().unwrap_or_else(|_| target.to_owned());
        let before = match fs::metadata(&target) {
            Ok(metadata) if !metadata.is_file() => {
                return Err(Failure::usage(format!(
                    "{} is not an ordinary file",
                    target.display()
                ))
                .hint("Name a file that is new or may be replaced."));
            }
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(cannot("look at", &target, &error)),
        };
        let Some(name) = target.file_name() else {
            return Err(Failure::usage(format!(
                "{} does not name a file",
                target.display()
            )));
        };
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(format!(
            ".{}.part",
            &Uuid::new_v4().simple().to_string()[..8]
        ));
        let replacement = Replacement {
            beside: target.with_file_name(beside),
            target,
            is_whole: false,
        };
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&replacement.beside)
            .and_then(|file| before.map_or(Ok(()), |before| take_after(&file, &before)))
            .map_err(|error| cannot("write to", &replacement.target, &error))?;
        Ok(replacement)
    }

    /// The file to write.
    pub fn path(&self) -> &Path {
        &self.beside
    }

    pub fn open(&self) -> Result<File, Failure> {
        OpenOptions::new()
            .write(true)
            .open(&self.beside)
            .map_err(|error| self.failed(&error))
    }

    pub fn failed(&self, error: &io::Error) -> Failure {
        cannot("write to", &self.target, error)
    }

    /// Gives the file its name, once it is on the disk. Tells its size.
    pub fn finish(mut self) -> Result<u64, Failure> {
        let place = || -> io::Result<u64> {
            let file = File::open(&self.beside)?;
            file.sync_all()?;
            fs::rename(&self.beside, &self.target)?;
            let folder = self
                .target
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(file.metadata()?.len())
        };
        let size = place().map_err(|error| self.failed(&error))?;
        self.is_whole = true;
        Ok(size)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_whole {
            // What cannot be removed is at least not under the name.
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// Gives a file the owner and the mode of another one.
fn take_after(file: &File, other: &Metadata) -> io::Result<()> {
    // Only root may do that, and only root needs to.
    let _ = fchown(file, Some(other.uid()), Some(other.gid()));
    file.set_permissions(other.permissions())
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Resource, format!("cannot {what} {}", path.display()))
        .detail(format!("{error}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_name_appears_with_the_whole_file_alone() {
        let folder = std::env::temp_dir().join(format!("mosaic-{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let target = folder.join("export");
        let given_up = Replacement::begin(&target).unwrap();
        given_up.open().unwrap().write_all(b"half").unwrap();
        drop(given_up);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        let whole = Replacement::begin(&target).unwrap();
        whole.open().unwrap().write_all(b"whole").unwrap();
        assert!(!target.exists());
        assert_eq!(whole.finish().unwrap(), 5);
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert!(Replacement::begin(&folder).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
