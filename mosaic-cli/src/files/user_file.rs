//! Text files that the user keeps for other programs: what stands in them, and whether they are ours to change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::failure::{Code, Failure};
use crate::files::replacement::resolved;

/// What editors of Windows put first.
const MARK: &str = "\u{feff}";

/// The text without the mark.
pub fn text(bytes: Option<&[u8]>, file: &Path) -> Result<Option<String>, Failure> {
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text.strip_prefix(MARK).unwrap_or(text).to_owned())),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let column = before
                .iter()
                .rev()
                .take_while(|byte| **byte != b'\n')
                .count()
                + 1;
            Err(malformed(
                file,
                &format!("line {line}, column {column}: it is not UTF-8"),
            ))
        }
    }
}

/// A new text for a file, with the mark if that had one.
pub fn bytes(before: Option<&[u8]>, after: &str) -> Vec<u8> {
    let mark = before.is_some_and(|before| before.starts_with(MARK.as_bytes()));
    format!("{}{after}", if mark { MARK } else { "" }).into_bytes()
}

pub fn malformed(file: &Path, reason: &str) -> Failure {
    Failure::usage(format!("{} cannot be read: {reason}", file.display()))
        .detail("Nothing was changed.")
        .hint("Correct it there, and try again.")
}

/// Refuses a file that may not be written, before anything is. `instead` says what to do with what was to stand in it.
pub fn check_writable(file: &Path, instead: &str) -> Result<(), Failure> {
    let folder = file.ancestors().skip(1).find(|folder| folder.exists());
    let writable = folder.is_none_or(|folder| access(folder, Access::WRITE_OK).is_ok())
        && fs::metadata(file).map_or(true, |metadata| metadata.mode() & 0o222 != 0);
    if writable {
        return Ok(());
    }
    Err(Failure::new(
        Code::Unauthorized,
        format!("{} is read-only", file.display()),
    )
    .detail("Another program may make it, home-manager for one. Nothing was changed.")
    .hint(instead))
}

/// Refuses a file that lies outside of the user's home and of these folders, where a link has led to.
pub fn check_place(file: &Path, roots: &[PathBuf], hint: &str) -> Result<(), Failure> {
    for root in std::env::home_dir().iter().chain(roots) {
        if file.starts_with(resolved(root)?) {
            return Ok(());
        }
    }
    Err(Failure::new(
        Code::Unauthorized,
        format!("{} is outside your home folder", file.display()),
    )
    .detail("A link leads there. Nothing was changed.")
    .hint(hint))
}
