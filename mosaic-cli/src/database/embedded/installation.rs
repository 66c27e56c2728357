//! The PostgreSQL that runs the store: found, judged, or fetched.
//!
//! In this order: the one that `MOSAIC_POSTGRES` names; the private copy that the installation of
//! Mosaic made beside the program; one that was fetched earlier; a PostgreSQL of the machine that
//! has the extension; and, where there is a network, an archive that is fetched now.

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::Account;
use super::home::Home;
use super::version::Version;
use super::{EXTENSION, download};
use crate::environment;
use crate::environment::this_program;
use crate::failure::{Code, Failure};
use crate::output::notes::say_to_people;

const OVERRIDE: &str = "MOSAIC_POSTGRES";
/// Below `<prefix>/lib/mosaic`: a folder for each major.
pub const PRIVATE_COPIES: &str = "postgresql/lib/postgresql";

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
    /// The best PostgreSQL for this store, fetched if need be, or one error that says what to
    /// install.
    pub fn find(home: &Home, account: &Account) -> Result<Installation, Failure> {
        let mut search = Search::of(home, account)?;
        if let Some(fit) = search.among_installed(home)? {
            return Ok(fit);
        }
        let bundle = beside_the_program()
            .and_then(|mosaic| download::Bundle::choose(&mosaic, search.data_major));
        if let Some(bundle) = bundle {
            say_to_people(&format!(
                "no PostgreSQL {} is installed: fetching it once",
                bundle.major
            ));
            match bundle.fetch(home) {
                Ok(folder) => {
                    if let Some(fit) = search.try_folder(&folder) {
                        return Ok(fit);
                    }
                }
                Err(why) => search.refused.push(why),
            }
        }
        Err(search.failure(None))
    }

    /// The same, of what is on the machine.
    pub fn find_installed(home: &Home, account: &Account) -> Result<Installation, Failure> {
        let mut search = Search::of(home, account)?;
        match search.among_installed(home)? {
            Some(fit) => Ok(fit),
            None => Err(search.failure(None)),
        }
    }

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

struct Search<'a> {
    account: &'a Account,
    data_major: Option<u32>,
    /// Why, in a sentence each.
    refused: Vec<String>,
}

impl<'a> Search<'a> {
    fn of(home: &Home, account: &'a Account) -> Result<Search<'a>, Failure> {
        Ok(Search {
            account,
            data_major: home.data_major()?,
            refused: Vec::new(),
        })
    }

    fn among_installed(&mut self, home: &Home) -> Result<Option<Installation>, Failure> {
        if let Some(folder) = named()? {
            return match self.try_folder(&folder) {
                Some(fit) => Ok(Some(fit)),
                None => Err(self.failure(Some(&folder))),
            };
        }
        let private = beside_the_program()
            .map(|mosaic| versions_in(&mosaic.join(PRIVATE_COPIES)))
            .unwrap_or_default();
        let candidates = private
            .into_iter()
            .chain(download::kept(home))
            .chain(of_the_machine());
        let mut tried = Vec::new();
        for folder in candidates {
            if !tried.contains(&folder) {
                if let Some(fit) = self.try_folder(&folder) {
                    return Ok(Some(fit));
                }
                tried.push(folder);
            }
        }
        Ok(None)
    }

    fn try_folder(&mut self, folder: &Path) -> Option<Installation> {
        let verdict = Installation::inspect(folder).and_then(|found| self.judge(found));
        verdict.map_err(|why| self.refused.push(why)).ok()
    }

    fn judge(&self, found: Installation) -> Result<Installation, String> {
        let at = found.root.display();
        if let Some(data) = self.data_major.filter(|data| *data != found.major) {
            return Err(format!(
                "{at} is PostgreSQL {}, but the data was made by PostgreSQL {data}.",
                found.major
            ));
        }
        match found.extension {
            None => return Err(format!("{at} does not hold the extension {EXTENSION}.")),
            Some(version) if version < Version::own() => {
                return Err(format!(
                    "{at} holds version {version} of the extension, older than this program's {}.",
                    Version::own()
                ));
            }
            Some(_) => {}
        }
        if self.account.is_other() && !self.account.may_reach(&found.program("postgres")) {
            return Err(format!(
                "{at} cannot be reached by {}, the user that the server runs as.",
                self.account.name
            ));
        }
        Ok(found)
    }

    fn failure(&self, named: Option<&Path>) -> Failure {
        let message = match (named, self.data_major) {
            (Some(folder), _) => format!(
                "the PostgreSQL that {OVERRIDE} names cannot be used: {}",
                folder.display()
            ),
            (None, Some(major)) => format!("no usable PostgreSQL {major} for the embedded backlog"),
            (None, None) => "no usable PostgreSQL for the embedded backlog".to_owned(),
        };
        let detail = match self.refused.as_slice() {
            [] => "None was found on this machine.".to_owned(),
            reasons => reasons.join(" "),
        };
        let hint = match self.data_major {
            Some(major) => format!(
                "Install PostgreSQL {major} (Debian: postgresql-{major}) and run Mosaic's install.sh with `--pg-config` of that version, or set {OVERRIDE} to an installation of it. The data was left as it is."
            ),
            None => format!(
                "Run Mosaic's install.sh, which needs PostgreSQL (Debian: postgresql-15), or set {OVERRIDE} to an installation that holds the extension, or name a server in DATABASE_URL."
            ),
        };
        Failure::new(Code::Resource, message)
            .lasts(true)
            .detail(detail)
            .hint(hint)
    }
}

/// The one that the user chose.
pub fn named() -> Result<Option<PathBuf>, Failure> {
    environment::folder(OVERRIDE)
}

/// `<prefix>/lib/mosaic` of the program `<prefix>/bin/mosaic`.
pub fn beside_the_program() -> Option<PathBuf> {
    let program = this_program::file().ok()?.canonicalize().ok()?;
    let folder = program.parent()?.parent()?.join("lib/mosaic");
    folder.is_dir().then_some(folder)
}

/// Asked only when nothing better was found: that takes a while.
fn of_the_machine() -> impl Iterator<Item = PathBuf> {
    let on_path = || {
        let bin = output(Path::new("pg_config"), &["--bindir"]).ok()?;
        Path::new(&bin).parent().map(Path::to_owned)
    };
    let packaged = || versions_in(Path::new("/usr/lib/postgresql"));
    iter::once_with(on_path)
        .flatten()
        .chain(iter::once_with(packaged).flatten())
}

/// The folders that are named after a version, newest first.
pub fn versions_in(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(Version, PathBuf)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path()))
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
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

fn output(program: &Path, arguments: &[&str]) -> Result<String, String> {
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
