//! The PostgreSQL that runs the store: found, judged, or fetched.
//!
//! In this order: the one that `MOSAIC_POSTGRES` names; the private copy that the installation of
//! Mosaic made beside the program; one that was fetched earlier; a PostgreSQL of the machine that
//! has the extension; and, where there is a network, an archive that is fetched now.

use std::iter;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::download;
use super::home::Home;
use super::installation::{Installation, output};
use super::version::{Version, versions_in};
use crate::database::extension::EXTENSION;
use crate::environment;
use crate::environment::this_program;
use crate::failure::{Code, Failure};
use crate::output::notes::say_to_people;

const OVERRIDE: &str = "MOSAIC_POSTGRES";
/// Below `<prefix>/lib/mosaic`: a folder for each major.
pub const PRIVATE_COPIES: &str = "postgresql/lib/postgresql";

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
