//! The primer for agents, and a block with it in a file that they read anyway.

mod block;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::files::ordinary;
use crate::files::replacement::{self, Replacement};

pub const PRIMER: &str = include_str!("primer/primer.md");

/// What a file is, and what it would be with the primer in it.
pub struct Preview {
    pub place: PathBuf,
    pub before: Option<Vec<u8>>,
    pub after: Vec<u8>,
}

/// Looks, and changes nothing.
pub fn preview(file: &Path) -> Result<Preview, Failure> {
    let (place, _) = replacement::editable(&destination(file)?)?;
    let before = match ordinary::read(&place) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            return Err(Failure::usage(format!("cannot read {}", file.display()))
                .detail(format!("{error}.")));
        }
    };
    let after = block::put(before.as_deref().unwrap_or_default(), PRIMER).map_err(|reason| {
        Failure::usage(format!(
            "the primer's place in {} is not clear",
            file.display()
        ))
        .detail(format!("{reason} Nothing was changed."))
        .hint(format!(
            "Leave one {} and one {} after it in the file, or neither.",
            block::BEGIN,
            block::END
        ))
    })?;
    Ok(Preview {
        place,
        before,
        after,
    })
}

/// Says whether the file had to be changed.
pub fn write(file: &Path) -> Result<bool, Failure> {
    let Preview {
        place,
        before,
        after,
    } = preview(file)?;
    if before.is_some_and(|before| before == after) {
        return Ok(false);
    }
    let replacement = Replacement::begin_edit(&place)?;
    replacement
        .open()?
        .write_all(&after)
        .map_err(|error| replacement.failed(&error))?;
    replacement.finish()?;
    Ok(true)
}

/// The file that is meant, which a link may name before it is there.
fn destination(file: &Path) -> Result<PathBuf, Failure> {
    match (fs::symlink_metadata(file), fs::metadata(file)) {
        (Ok(_), Err(error)) if error.kind() == ErrorKind::NotFound => Err(Failure::usage(format!(
            "{} is a link to a file that does not exist",
            file.display()
        ))),
        (_, Err(error)) if error.kind() != ErrorKind::NotFound => Err(Failure::io(
            format!("cannot look at {}", file.display()),
            &error,
        )),
        _ => Ok(file.to_owned()),
    }
}
