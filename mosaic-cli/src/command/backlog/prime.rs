//! `prime`: what an agent reads at its start, and a block with it in a file that it reads anyway.

mod block;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::environment;
use crate::failure::Failure;
use crate::files::replacement::{self, Replacement};
use crate::output::reply::Reply;
use crate::output::screen::one_line;

pub const PRIMER: &str = include_str!("prime/primer.md");

/// Print the primer that an agent reads at its start
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog prime
  mosaic backlog prime --write AGENTS.md

In a file, the primer stands between two marks. The same command again brings it up to date there, and
leaves all else in the file as it is.")]
pub struct Prime {
    /// Put it into this file, or bring it up to date there
    #[arg(long, value_name = "FILE", value_parser = crate::input::filled)]
    write: Option<String>,
}

impl Prime {
    pub fn run(self) -> Result<Reply, Failure> {
        let Some(file) = self.write else {
            return Ok(Reply::new(json!({"primer": PRIMER}), |document, _| {
                document["primer"].as_str().unwrap_or_default().to_owned()
            }));
        };
        let changed = write(&environment::from_home(Path::new(&file)))?;
        Ok(Reply::new(
            json!({"file": file, "changed": changed}),
            |document, _| {
                let file = one_line(document["file"].as_str().unwrap_or_default());
                if document["changed"] == true {
                    format!("{file} has the primer now")
                } else {
                    format!("{file} has the primer already")
                }
            },
        ))
    }
}

/// What a file is, and what it would be with the primer in it.
pub struct Preview {
    pub place: PathBuf,
    pub before: Option<Vec<u8>>,
    pub after: Vec<u8>,
}

/// Looks, and changes nothing.
pub fn preview(file: &Path) -> Result<Preview, Failure> {
    let (place, _) = replacement::editable(&destination(file)?)?;
    let before = match fs::read(&place) {
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
