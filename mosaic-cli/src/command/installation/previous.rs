//! The version before an update, kept beside the new one, and putting it back.
//!
//! `lib/mosaic/previous` is whole where it is there at all: it is made beside its place and renamed. A file
//! `lib/mosaic/updating` says that files are being replaced: what is installed may be a mixture, which works, since a
//! program works with older files of the extension and with newer ones; it is not to be kept in place of the previous.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::place::{Place, SHARED, remove};
use super::receipt::{self, Receipt};
use crate::database::embedded::default_version;
use crate::failure::{Code, Failure};

const EXTENSION: &str = "mosaic_backlog_ext";
/// What is kept of files below the prefix, and of others by their whole path.
const PREFIX: &str = "prefix";
const SERVER: &str = "server";

pub struct Previous<'a> {
    place: &'a Place,
    folder: PathBuf,
    mark: PathBuf,
}

/// What putting back did about the files of the extension.
#[derive(Debug, PartialEq, Eq)]
pub enum Extension {
    /// They are the ones that were there before the update.
    Back { library_changed: bool },
    /// Newer ones stay: cards may have been migrated to them.
    Newer(String),
}

impl<'a> Previous<'a> {
    pub fn of(place: &'a Place) -> Self {
        Previous {
            place,
            folder: place.private.join("previous"),
            mark: place.private.join("updating"),
        }
    }

    /// Whether an update or a rollback was cut off.
    pub fn is_cut_off(&self) -> bool {
        self.mark.exists()
    }

    pub fn receipt(&self) -> Result<Option<Receipt>, Failure> {
        let below = self.place.private.strip_prefix(&self.place.prefix);
        let below = below.unwrap_or(Path::new("lib/mosaic"));
        Receipt::read(&self.folder.join(PREFIX).join(below).join(receipt::NAME))
    }

    /// Keeps what is installed, unless an update that was cut off has done so, and says that it is being replaced.
    pub fn keep(&self, receipt: &Receipt) -> Result<(), Failure> {
        if self.is_cut_off() && self.folder.exists() {
            return Ok(());
        }
        let beside = self.folder.with_extension("new");
        self.fill(&beside, receipt)
            .and_then(|()| {
                clear(&self.folder)?;
                fs::rename(&beside, &self.folder)
            })
            .map_err(|error| self.cannot("keep the installed version in", &error))?;
        self.mark()
    }

    /// Says that files are being replaced.
    pub fn mark(&self) -> Result<(), Failure> {
        fs::write(&self.mark, "")
            .map_err(|error| Failure::io(format!("cannot write {}", self.mark.display()), &error))
    }

    /// All files are of one version again.
    pub fn unmark(&self) -> Result<(), Failure> {
        remove(&self.mark)
    }

    pub fn forget(&self) -> Result<(), Failure> {
        clear(&self.folder).map_err(|error| self.cannot("remove", &error))
    }

    fn fill(&self, beside: &Path, receipt: &Receipt) -> io::Result<()> {
        clear(beside)?;
        let prefix = &self.place.prefix;
        for file in self.installed(receipt) {
            let kept = match file.strip_prefix(prefix) {
                Ok(below) => beside.join(PREFIX).join(below),
                Err(_) => beside
                    .join(SERVER)
                    .join(file.strip_prefix("/").unwrap_or(&file)),
            };
            if file.is_file() {
                make_folder_of(&kept)?;
                fs::copy(&file, &kept)?;
            }
        }
        Ok(())
    }

    /// All files that an installation replaces.
    fn installed(&self, receipt: &Receipt) -> Vec<PathBuf> {
        let place = self.place;
        let mut found = vec![
            place.program(),
            place.private.join(SHARED),
            place.private.join(receipt::NAME),
            place.private.join("install.sh"),
        ];
        let share = place.prefix.join("share");
        found.extend(place.shared().into_iter().map(|file| share.join(file)));
        let extensions = files(&place.private).into_iter();
        found.extend(
            extensions.filter(|file| is_extension(file) && !file.starts_with(&self.folder)),
        );
        if let Some(pg_config) = receipt.pg_config() {
            found.extend(of_server(pg_config));
        }
        found
    }

    /// Puts the previous version in place again. Can be cut off anywhere and done again.
    pub fn put_back(&self) -> Result<Extension, Failure> {
        let Some(before) = self.receipt()? else {
            return Err(Failure::new(
                Code::WrongState,
                "there is no version to go back to",
            )
            .detail("The last update keeps the version before it; a rollback uses it up. Nothing was changed.")
            .hint("In a clone of Mosaic, `git checkout` an older version and run its install.sh."));
        };
        self.mark()?;
        let now = self.extension_version(&before);
        let is_same = now.as_deref().is_none_or(|now| now == before.version);
        let shared = self.place.shared();
        let mut library_changed = false;
        for (kept, file) in self.kept() {
            if is_extension(&file) {
                if !is_same {
                    continue;
                }
                let changed = place_file(&kept, &file).map_err(|error| {
                    Failure::io(format!("cannot write {}", file.display()), &error)
                })?;
                library_changed |= changed && file.extension().is_some_and(|end| end == "so");
            } else {
                place_file(&kept, &file).map_err(|error| {
                    Failure::io(format!("cannot write {}", file.display()), &error)
                })?;
            }
        }
        let back = self.place.shared();
        for gone in shared.iter().filter(|file| !back.contains(file)) {
            remove(&self.place.prefix.join("share").join(gone))?;
        }
        Ok(match now {
            Some(now) if !is_same => Extension::Newer(now),
            _ => Extension::Back { library_changed },
        })
    }

    /// What is kept and where it belongs, in the order in which it is put back: what the program needs comes before
    /// it, and the receipt comes last.
    fn kept(&self) -> Vec<(PathBuf, PathBuf)> {
        let mut found = Vec::new();
        for (below, root) in [
            (PREFIX, self.place.prefix.as_path()),
            (SERVER, Path::new("/")),
        ] {
            let folder = self.folder.join(below);
            for file in files(&folder) {
                if let Ok(path) = file.strip_prefix(&folder) {
                    let target = root.join(path);
                    found.push((file, target));
                }
            }
        }
        let receipt = self.place.private.join(receipt::NAME);
        let program = self.place.program();
        found.sort_by_key(|(_, file)| {
            let is_control = file.extension().is_some_and(|end| end == "control");
            (*file == receipt, *file == program, is_control, file.clone())
        });
        found
    }

    /// Of the extension's files that are installed now.
    fn extension_version(&self, before: &Receipt) -> Option<String> {
        let major = before.pg_major;
        let control = format!("extension/{major}/share/{EXTENSION}.control");
        let text = fs::read_to_string(self.place.private.join(control)).ok()?;
        default_version(&text).map(|version| version.to_string())
    }

    fn cannot(&self, what: &str, error: &io::Error) -> Failure {
        Failure::io(format!("cannot {what} {}", self.folder.display()), error)
    }
}

/// The extension's files in the server of this `pg_config`; none if it is gone.
pub fn of_server(pg_config: &Path) -> Vec<PathBuf> {
    let Ok(output) = Command::new(pg_config)
        .args(["--pkglibdir", "--sharedir"])
        .output()
    else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let (Some(libraries), Some(share)) = (lines.next(), lines.next()) else {
        return Vec::new();
    };
    let folders = [PathBuf::from(libraries), Path::new(share).join("extension")];
    let entries = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| is_extension(file))
        .collect();
    found.sort();
    found
}

/// `mosaic_backlog_ext.so`, `.control` and `--0.1.0.sql`; not what a killed installation left beside them.
fn is_extension(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.strip_prefix(EXTENSION))
        .is_some_and(|rest| {
            rest == ".so"
                || rest == ".control"
                || (rest.starts_with("--") && rest.ends_with(".sql"))
        })
}

/// All files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) => found.push(entry.path()),
                Err(_) => {}
            }
        }
    }
    found.sort();
    found
}

/// Written beside and renamed over, as the old file may be in use. Says whether it was another one.
fn place_file(from: &Path, to: &Path) -> io::Result<bool> {
    if fs::read(to).ok() == Some(fs::read(from)?) {
        return Ok(false);
    }
    make_folder_of(to)?;
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new.{}", std::process::id()));
    let beside = to.with_file_name(name);
    let copied = fs::copy(from, &beside).and_then(|_| {
        let metadata = fs::metadata(from)?;
        // Only root may do that, and only root needs to.
        let _ = chown(&beside, Some(metadata.uid()), Some(metadata.gid()));
        fs::rename(&beside, to)
    });
    if copied.is_err() {
        let _ = fs::remove_file(&beside);
    }
    copied.map(|()| true)
}

fn make_folder_of(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)
}

fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
