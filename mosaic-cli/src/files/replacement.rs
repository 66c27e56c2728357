//! Files that have their name only when they are whole: written beside, and renamed.
//!
//! Nothing on the way there is trusted that somebody else put there: a link may lead anywhere, and a
//! file may be there to be given our mode. It is no better in a folder of his own: then he rules it all
//! the time. Root trusts no such folder.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Component, Path, PathBuf};

use uuid::Uuid;

use crate::failure::{Code, Failure};

/// Rules over everybody's files.
const ROOT: u32 = 0;

/// As many links as the kernel follows on one path.
const LINKS: usize = 40;

/// Cards are for their owner alone.
const SECRET: u32 = 0o600;
/// For all to read; the umask may still take that away.
const PUBLIC: u32 = 0o644;

pub struct Replacement {
    target: PathBuf,
    /// Where it is written.
    beside: PathBuf,
    file: File,
    is_whole: bool,
}

impl Replacement {
    /// Makes the empty file beside `target`. Others may read it only if they could read the
    /// file that it replaces.
    pub fn begin(target: &Path) -> Result<Self, Failure> {
        Replacement::begin_as(target, SECRET)
    }

    /// The same for what is no secret.
    pub fn begin_public(target: &Path) -> Result<Self, Failure> {
        Replacement::begin_as(target, PUBLIC)
    }

    /// The same for settings, of which root may change those of other users: their files, in their
    /// folders, stay theirs. Links are no better there.
    pub fn begin_settings(target: &Path, mode: u32) -> Result<Self, Failure> {
        let target = resolved(target)?;
        let before = existing(&target)?;
        if let Some(before) = &before
            && !is_settled(before, folder_of(&target))?
        {
            return Err(foreign(&target, "file"));
        }
        Replacement::beside(target, before, mode)
    }

    /// The same for a file of which all but a part stays, and with it its owner.
    pub fn begin_edit(target: &Path) -> Result<Self, Failure> {
        let (target, before) = editable(target)?;
        Replacement::beside(target, before, SECRET)
    }

    fn begin_as(target: &Path, mode: u32) -> Result<Self, Failure> {
        // Where the name is a link, the file that it leads to is replaced.
        let (target, before) = replaceable(target)?;
        Replacement::beside(target, before, mode)
    }

    fn beside(target: PathBuf, before: Option<Metadata>, mode: u32) -> Result<Self, Failure> {
        let Some(name) = target.file_name() else {
            return Err(Failure::usage(format!(
                "{} does not name a file",
                target.display()
            )));
        };
        let mut beside = OsString::from(".");
        beside.push(name);
        beside.push(format!(
            ".{}.part",
            &Uuid::new_v4().simple().to_string()[..8]
        ));
        let beside = target.with_file_name(beside);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)
            .map_err(|error| cannot("write to", &target, &error))?;
        let replacement = Replacement {
            target,
            beside,
            file,
            is_whole: false,
        };
        if let Some(before) = before {
            take_after(&replacement.file, &before).map_err(|error| replacement.failed(&error))?;
        }
        Ok(replacement)
    }

    /// The file to write.
    pub fn open(&self) -> Result<File, Failure> {
        self.file.try_clone().map_err(|error| self.failed(&error))
    }

    pub fn failed(&self, error: &io::Error) -> Failure {
        cannot("write to", &self.target, error)
    }

    /// Gives the file its name, once it is on the disk. Tells its size.
    pub fn finish(mut self) -> Result<u64, Failure> {
        let place = || -> io::Result<u64> {
            self.file.sync_all()?;
            fs::rename(&self.beside, &self.target)?;
            File::open(folder_of(&self.target))?.sync_all()?;
            Ok(self.file.metadata()?.len())
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

/// Where a file is to be written, and what is there: nothing, or an ordinary file of our own.
fn replaceable(path: &Path) -> Result<(PathBuf, Option<Metadata>), Failure> {
    let target = way(path, true)?;
    let before = existing(&target)?;
    match &before {
        Some(before) if before.uid() != ours() => Err(foreign(&target, "file")),
        _ => Ok((target, before)),
    }
}

/// The same, where the file may be of another user's if nobody but us can have put it there.
pub fn editable(path: &Path) -> Result<(PathBuf, Option<Metadata>), Failure> {
    let target = way(path, true)?;
    let before = existing(&target)?;
    match &before {
        Some(before) if before.uid() != ours() && !is_closed(folder_of(&target))? => {
            Err(foreign(&target, "file"))
        }
        _ => Ok((target, before)),
    }
}

/// Where a folder is to be made.
pub fn place(path: &Path) -> Result<PathBuf, Failure> {
    way(path, true)
}

/// Where a path leads to, through links of our own and of root's. What it names need not be there yet.
pub fn resolved(path: &Path) -> Result<PathBuf, Failure> {
    way(path, false)
}

/// `writes`: for root, through nobody else's folders either.
fn way(path: &Path, writes: bool) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| cannot("resolve", path, &error))?;
    let mut ahead: Vec<OsString> = parts(&absolute);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    let is_careful = writes && ours() == ROOT;
    while let Some(part) = ahead.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        if is_careful && fs::metadata(&at).is_ok_and(|folder| !is_trusted(&folder)) {
            return Err(foreign_folder(&at));
        }
        let next = at.join(&part);
        match fs::symlink_metadata(&next) {
            Ok(metadata) if metadata.is_symlink() => {
                if !is_trusted(&metadata) {
                    return Err(foreign(&next, "link"));
                }
                links += 1;
                if links > LINKS {
                    let error = io::Error::from(rustix::io::Errno::LOOP);
                    return Err(cannot("resolve", path, &error));
                }
                let leads_to =
                    fs::read_link(&next).map_err(|error| cannot("read", &next, &error))?;
                if leads_to.is_absolute() {
                    at = PathBuf::from("/");
                }
                ahead.extend(parts(&leads_to));
            }
            _ => at = next,
        }
    }
    Ok(at)
}

/// The file of that name, if there is one.
fn existing(target: &Path) -> Result<Option<Metadata>, Failure> {
    match fs::symlink_metadata(target) {
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
        Ok(_) => Err(
            Failure::usage(format!("{} is not an ordinary file", target.display()))
                .hint("Name a file that is new or may be replaced."),
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("look at", target, &error)),
    }
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn ours() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether it is our own, or of who rules over all files. In a container where root has no number,
/// that is whoever has the root of them.
fn is_trusted(entry: &Metadata) -> bool {
    let owner = entry.uid();
    owner == ours() || owner == ROOT || fs::metadata("/").is_ok_and(|root| root.uid() == owner)
}

/// Whether a file was put into this folder by us, or by who rules the folder anyway.
fn is_settled(file: &Metadata, folder: &Path) -> Result<bool, Failure> {
    let folder_is = of_folder(folder)?;
    Ok(is_trusted(file) || !is_open(&folder_is) || folder_is.uid() == file.uid())
}

/// Whether nobody else, but for root, puts anything into this folder.
fn is_closed(folder: &Path) -> Result<bool, Failure> {
    let folder_is = of_folder(folder)?;
    Ok(is_trusted(&folder_is) && !is_open(&folder_is))
}

fn is_open(folder: &Metadata) -> bool {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    folder.mode() & WRITABLE_BY_OTHERS != 0
}

fn of_folder(folder: &Path) -> Result<Metadata, Failure> {
    fs::metadata(folder).map_err(|error| cannot("look at", folder, &error))
}

fn foreign(path: &Path, what: &str) -> Failure {
    Failure::new(
        Code::Unauthorized,
        format!("{} is another user's {what}", path.display()),
    )
    .detail("What others put there may be a trap. Nothing was changed.")
    .hint("Name another file, in a folder of your own.")
}

fn foreign_folder(path: &Path) -> Failure {
    Failure::new(
        Code::Unauthorized,
        format!("{} is another user's folder", path.display()),
    )
    .detail("Its owner can lead what root writes there to any other file. Nothing was changed.")
    .hint("Name a file in a folder of root's, or call as that user.")
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::io(format!("cannot {what} {}", path.display()), error)
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

    #[test]
    fn links_of_our_own_are_followed_wherever_they_lead() {
        let folder = std::env::temp_dir().join(format!("mosaic-{}", Uuid::new_v4()));
        fs::create_dir_all(folder.join("a/b")).unwrap();
        let folder = folder.canonicalize().unwrap();
        std::os::unix::fs::symlink("../b/file", folder.join("a/link")).unwrap();
        std::os::unix::fs::symlink(folder.join("a/b"), folder.join("b")).unwrap();
        std::os::unix::fs::symlink("loop", folder.join("loop")).unwrap();
        assert_eq!(
            resolved(&folder.join("a/./link")).unwrap(),
            folder.join("a/b/file")
        );
        assert!(resolved(&folder.join("loop")).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
