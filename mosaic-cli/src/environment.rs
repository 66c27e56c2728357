//! Our own variables: none is accepted and then ignored.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config;
use crate::failure::Failure;
use crate::nearest::{nearest, question};
use crate::notes::warn;

const PREFIX: &str = "MOSAIC";

/// What means something here beside settings.
const OTHERS: [&str; 5] = [
    "MOSAIC_COMPLETE",
    // Of the command of a run.
    "MOSAIC_CARD_ID",
    "MOSAIC_CLAIM_TOKEN",
    "MOSAIC_CARD_FILE",
    "MOSAIC_RESULT_FILE",
];

/// The variables that mean something here, without the prefix.
fn known() -> Vec<String> {
    config::variables()
        .chain(OTHERS.map(str::to_owned))
        .filter_map(|name| Some(name.strip_prefix(PREFIX)?.to_owned()))
        .collect()
}

/// Other products may share the prefix, so that an unknown variable is only worth a warning, and
/// only if it looks like one of ours that is not set.
pub fn check() -> Result<(), Failure> {
    let given: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| Some(name.to_str()?.strip_prefix(PREFIX)?.to_owned()))
        .collect();
    for (name, question) in mistyped(&given) {
        warn(&format!("{PREFIX}{name} is not used here. {question}"));
    }
    match std::env::var_os("MOSAIC_AUTO_MIGRATE") {
        Some(value) if !["", "0", "1"].iter().any(|known| value == **known) => {
            Err(Failure::usage("MOSAIC_AUTO_MIGRATE is neither 0 nor 1")
                .hint("1 lets a call update an older extension on an external server."))
        }
        _ => Ok(()),
    }
}

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
            failure.hint(format!("Write {here:?}, if that is meant."))
        }
        _ => failure.hint("Write the whole path, such as /home/anna/mosaic; only ~ alone, your own home folder, is expanded."),
    })
}

/// The names that look like slips, each with what may have been meant.
fn mistyped(given: &[String]) -> Vec<(&str, String)> {
    let known = known();
    let unset: Vec<&str> = known
        .iter()
        .filter(|known| !given.contains(known))
        .map(String::as_str)
        .collect();
    given
        .iter()
        .filter(|name| !known.contains(name))
        .filter_map(|name| {
            let near: Vec<String> = nearest(name, unset.iter().copied())
                .into_iter()
                .map(|known| format!("{PREFIX}{known}"))
                .collect();
            let near: Vec<&str> = near.iter().map(String::as_str).collect();
            Some((name.as_str(), question(&near)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::mistyped;

    #[test]
    fn a_slip_is_seen_and_the_variables_of_others_are_not() {
        let given = ["_AGNT", "_GATEWAY_PORT", "_TEST_PREFIX", "_CARD_ID"].map(str::to_owned);
        assert_eq!(
            mistyped(&given),
            [("_AGNT", "Did you mean \"MOSAIC_AGENT\"?".to_owned())]
        );
    }

    #[test]
    fn who_has_set_the_real_one_did_not_mean_it() {
        let given = ["_HOST", "_HOME"].map(str::to_owned);
        assert_eq!(mistyped(&given), []);
    }

    #[test]
    fn the_gateway_s_variables_are_known_with_the_files_that_hold_them() {
        let given = ["_VALKEY_URL_FILE", "_PUBLIC_URL", "_DATABSE_URL"].map(str::to_owned);
        assert_eq!(
            mistyped(&given),
            [(
                "_DATABSE_URL",
                "Did you mean \"MOSAIC_DATABASE_URL\"?".to_owned()
            )]
        );
    }
}
