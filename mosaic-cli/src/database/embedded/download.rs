//! A PostgreSQL from the network, for a machine that has none.
//!
//! The archive's major is the one that our extension was built for; the installation of Mosaic
//! keeps the extension's files for it in `<prefix>/lib/mosaic/extension/<major>`.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use postgresql_embedded::VersionReq;
use postgresql_embedded::blocking::PostgreSQL;

use super::home::{Home, PORT};
use super::installation::Installation;
use super::version::versions_in;
use crate::failure::causes;

const ARCHIVES: &str = "https://github.com/theseus-rs/postgresql-binaries";

/// What was fetched earlier, newest first.
pub fn kept(home: &Home) -> Vec<PathBuf> {
    versions_in(&home.downloads())
}

/// The extension's files for one major.
pub struct Bundle {
    pub major: u32,
    folder: PathBuf,
}

impl Bundle {
    /// For the major of the data; without data, for the newest that there is.
    pub fn choose(mosaic: &Path, data_major: Option<u32>) -> Option<Bundle> {
        versions_in(&mosaic.join("extension"))
            .into_iter()
            .filter_map(|folder| {
                let major = folder.file_name()?.to_str()?.parse().ok()?;
                Some(Bundle { major, folder })
            })
            .find(|bundle| data_major.is_none_or(|data| data == bundle.major))
    }

    /// Fetches the archive unless it is there, and puts the extension into it.
    /// Fails with a sentence.
    pub fn fetch(&self, home: &Home) -> Result<PathBuf, String> {
        let major = self.major;
        let downloads = home.downloads();
        let root = self
            .unpack(&downloads)
            .map_err(|why| format!("PostgreSQL {major} could not be fetched: {why}."))?;
        self.equip(&root)
            .and_then(|()| open_to_all(&downloads).map_err(|error| error.to_string()))
            .map_err(|why| format!("{} could not be equipped: {why}.", root.display()))?;
        Ok(root)
    }

    fn unpack(&self, downloads: &Path) -> Result<PathBuf, String> {
        // The crate unpacks an archive only on the way to a data folder. A folder that looks
        // like one that is there already keeps it from making one.
        let scratch = downloads.join("no-data");
        let unpacked = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&scratch)
            .and_then(|()| fs::write(scratch.join("postgresql.conf"), ""))
            .map_err(|error| error.to_string())
            .and_then(|()| {
                self.fetch_into(downloads, &scratch)
                    .map_err(|error| causes(&error))
            });
        // An empty folder that is left over does no harm.
        let _ = fs::remove_dir_all(&scratch);
        unpacked
    }

    fn fetch_into(
        &self,
        downloads: &Path,
        scratch: &Path,
    ) -> Result<PathBuf, postgresql_embedded::Error> {
        let mut server = PostgreSQL::new(postgresql_embedded::Settings {
            releases_url: ARCHIVES.into(),
            version: VersionReq::parse(&format!("={}", self.major))?,
            installation_dir: downloads.to_owned(),
            password_file: scratch.join("none"),
            data_dir: scratch.to_owned(),
            host: String::new(),
            port: PORT,
            username: postgresql_embedded::BOOTSTRAP_SUPERUSER.into(),
            password: String::new(),
            temporary: false,
            timeout: None,
            configuration: HashMap::new(),
            trust_installation_dir: false,
            socket_dir: None,
        });
        server.setup()?;
        Ok(server.settings().installation_dir.clone())
    }

    /// Copies our files in: written beside and renamed over, as a server may have them mapped.
    fn equip(&self, root: &Path) -> Result<(), String> {
        let installation = Installation::inspect(root)?;
        for (from, to) in [
            ("lib", &installation.libraries),
            ("share", &installation.scripts),
        ] {
            replace_files(&self.folder.join(from), to).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

fn replace_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let mut beside = entry.file_name();
        beside.push(".new");
        let beside = to.join(beside);
        fs::copy(entry.path(), &beside)?;
        fs::rename(&beside, to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Programs and libraries are no secret, and the server may run as another user than the caller. But
/// nobody else may change them, whatever the umask was.
fn open_to_all(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let readers = 0o044 | if mode & 0o100 == 0 { 0 } else { 0o011 };
    fs::set_permissions(path, fs::Permissions::from_mode((mode | readers) & !0o022))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            open_to_all(&entry?.path())?;
        }
    }
    Ok(())
}
