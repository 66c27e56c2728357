//! Changing a file that others change too: what they wrote meanwhile is never lost.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::failure::{Code, Failure, sentence};
use crate::files::ordinary;
use crate::files::replacement::Replacement;

const TRIES: u32 = 3;

/// What becomes of a file.
pub enum Change {
    Nothing,
    To(Vec<u8>),
    Removed,
}

/// The file as it is; `None`: it is not there.
pub fn read(file: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match ordinary::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot("read", file, &error)),
    }
}

/// Makes a folder for its user alone, and those above it that are missing.
pub fn make_private(folder: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| cannot("make", folder, &error))
}

/// Replaces the file by what `change` makes of it; a new file gets this mode. Where somebody else wrote to
/// it meanwhile, `change` is asked again with what they wrote. Says whether anything was changed.
pub fn rewrite(
    file: &Path,
    mode: u32,
    change: impl FnMut(Option<&[u8]>) -> Result<Change, Failure>,
) -> Result<bool, Failure> {
    let _turn = turn(file);
    rewrite_in_turn(file, mode, change)
}

/// The same while another file of the folder is rewritten, whose turn covers this one.
pub fn rewrite_in_turn(
    file: &Path,
    mode: u32,
    mut change: impl FnMut(Option<&[u8]>) -> Result<Change, Failure>,
) -> Result<bool, Failure> {
    for _ in 0..TRIES {
        let before = read(file)?;
        let replacement = match change(before.as_deref())? {
            Change::Nothing => return Ok(false),
            Change::To(after) => {
                let replacement = Replacement::begin_settings(file, mode)?;
                replacement
                    .open()?
                    .write_all(&after)
                    .map_err(|error| replacement.failed(&error))?;
                Some(replacement)
            }
            Change::Removed => None,
        };
        if read(file)? != before {
            continue;
        }
        match replacement {
            Some(replacement) => drop(replacement.finish()?),
            None => fs::remove_file(file).map_err(|error| cannot("remove", file, &error))?,
        }
        return Ok(true);
    }
    Err(Failure::new(
        Code::Busy,
        format!("{} is being changed by another program", file.display()),
    )
    .detail(format!(
        "It was another one at each of {TRIES} tries. It was not changed from here."
    ))
    .hint("Try again once that program is done."))
}

/// Our own calls take turns by a lock on the folder, which leaves no file behind. Where a file system has no
/// such locks, the comparison alone has to do.
fn turn(file: &Path) -> Option<File> {
    let folder = File::open(file.parent()?).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Resource, format!("cannot {what} {}", path.display()))
        .detail(sentence(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn what_a_rival_writes_meanwhile_is_kept() {
        let folder = std::env::temp_dir().join(format!("mosaic-{}", Uuid::new_v4()));
        make_private(&folder).unwrap();
        let file = folder.join("file");
        fs::write(&file, "a").unwrap();
        let mut asked = 0;
        let append = |before: Option<&[u8]>| {
            asked += 1;
            if asked == 1 {
                fs::write(&file, "b").unwrap();
            }
            Ok(Change::To([before.unwrap(), b"!"].concat()))
        };
        assert!(rewrite(&file, 0o600, append).unwrap());
        assert_eq!(fs::read(&file).unwrap(), b"b!");
        // One that never rests is left alone.
        let mut number = 0;
        let restless = |_: Option<&[u8]>| {
            number += 1;
            fs::write(&file, format!("{number}")).unwrap();
            Ok(Change::To(b"ours".to_vec()))
        };
        let failure = rewrite(&file, 0o600, restless).unwrap_err();
        assert_eq!(failure.code, Code::Busy);
        assert_eq!(fs::read(&file).unwrap(), b"3");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
