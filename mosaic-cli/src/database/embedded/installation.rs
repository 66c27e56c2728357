//! A PostgreSQL of the machine, and whether it holds the extension.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::version::Version;
use crate::database::extension::EXTENSION;

#[derive(Clone, Debug)]
pub struct Installation {
    /// The folder above `bin`.
    pub root: PathBuf,
    pub major: u32,
    /// Where extensions keep their libraries.
    pub libraries: PathBuf,
    /// Where extensions keep their control files and scripts.
    pub scripts: PathBuf,
    /// The version of our extension that it holds.
    pub extension: Option<Version>,
}

impl Installation {
    pub fn program(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }

    /// Looks at the folder above `bin`; says in a sentence why it is of no use.
    pub fn inspect(root: &Path) -> Result<Installation, String> {
        let bin = root.join("bin");
        for program in ["postgres", "initdb", "pg_ctl"] {
            if !bin.join(program).is_file() {
                return Err(format!("{} has no {program}.", bin.display()));
            }
        }
        let version = output(&bin.join("postgres"), &["--version"])?;
        let major = version
            .split(|c: char| !c.is_ascii_digit())
            .find_map(|number| number.parse().ok())
            .ok_or_else(|| format!("{} says that it is {version}.", bin.display()))?;
        let folders = output(&bin.join("pg_config"), &["--sharedir", "--pkglibdir"])?;
        let (share, libraries) = folders
            .split_once('\n')
            .ok_or_else(|| format!("{} does not say where its files are.", bin.display()))?;
        let scripts = Path::new(share).join("extension");
        let control = fs::read_to_string(scripts.join(format!("{EXTENSION}.control")));
        Ok(Installation {
            root: root.to_owned(),
            major,
            extension: control.ok().as_deref().and_then(default_version),
            libraries: libraries.into(),
            scripts,
        })
    }
}

/// The `default_version` line of a control file.
pub fn default_version(control: &str) -> Option<Version> {
    control.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "default_version")
            .then(|| value.trim().trim_matches('\'').parse().ok())
            .flatten()
    })
}

pub fn output(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| format!("{} cannot be run: {error}.", program.display()))?;
    if !output.status.success() {
        return Err(format!(
            "{} {} failed: {}",
            program.display(),
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_control_file() {
        let control = "comment = 'x'\ndefault_version = '0.1.0'\nmodule_pathname = 'y'\n";
        assert_eq!(default_version(control), "0.1.0".parse().ok());
        assert_eq!(default_version("default_version = '@CARGO_VERSION@'"), None);
    }
}
