//! What surrounds the program: variables, and the folders that they name.

pub mod actor;
pub mod this_program;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A variable; set but empty counts as not set.
pub fn filled(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The folder that a variable names: the same one wherever the call is made.
pub fn folder(name: &str) -> Result<Option<PathBuf>, Failure> {
    filled(name)
        .map(|value| whole_path(name, Path::new(&value)))
        .transpose()
}

/// The path with the home folder for a `~` at its beginning, where it is known. A shell does that
/// unless the `~` is quoted or behind a flag's "="; a configuration file never does.
pub fn from_home(path: &Path) -> PathBuf {
    let home = std::env::home_dir().filter(|folder| folder.is_absolute());
    match (path.strip_prefix("~"), home) {
        (Ok(below), Some(home)) => home.join(below).components().collect(),
        _ => path.to_owned(),
    }
}

fn whole_path(name: &str, value: &Path) -> Result<PathBuf, Failure> {
    if value.is_absolute() {
        return Ok(value.to_owned());
    }
    let expanded = from_home(value);
    if expanded.is_absolute() {
        return Ok(expanded);
    }
    if value.starts_with("~") {
        return Err(Failure::usage(format!(
            "{name} is {value:?}, but this user has no home folder"
        ))
        .hint("Write the whole path, or set HOME."));
    }
    let failure = Failure::usage(format!("{name} is not a whole path: {value:?}"))
        .detail("It would mean another folder in every working folder. Nothing was changed.");
    Err(match std::path::absolute(value) {
        Ok(here) if !value.to_string_lossy().starts_with('~') => {
            failure.hint(format!("Write {here:?}, if that is intended."))
        }
        _ => failure.hint("Write the whole path, such as /home/anna/mosaic; only ~ by itself, your own home folder, is expanded."),
    })
}
