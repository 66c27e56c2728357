//! Versions of the extension and of PostgreSQL: numbers with points between them.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::home::Home;
use crate::database::extension;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 3]);

impl Version {
    /// The version of this program, which is that of the extension it was made with.
    pub fn own() -> Version {
        extension::version()
            .parse()
            .expect("the workspace's version is three numbers")
    }
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Version, ()> {
        let mut numbers = [0; 3];
        let mut parts = text.split('.');
        for number in &mut numbers {
            match parts.next() {
                Some(part) => *number = part.parse().map_err(|_| ())?,
                None => break,
            }
        }
        parts.next().is_none().then_some(Version(numbers)).ok_or(())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version([major, minor, patch]) = self;
        write!(formatter, "{major}.{minor}.{patch}")
    }
}

/// The file that says which program last found the schema in order, so that a warm call
/// need not ask the server.
pub struct Marker(PathBuf);

impl Marker {
    pub fn of(home: &Home) -> Marker {
        Marker(home.data.join("mosaic.version"))
    }

    /// Whether this version or a newer one has looked after the schema already.
    pub fn is_current(&self) -> bool {
        self.version()
            .and_then(|text| text.parse::<Version>().ok())
            .is_some_and(|version| version >= Version::own())
    }

    pub fn version(&self) -> Option<String> {
        let text = fs::read_to_string(&self.0).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    pub fn remove(&self) {
        // Where it cannot be removed it does no harm: the next step says what is wrong there.
        let _ = fs::remove_file(&self.0);
    }

    /// Written beside and renamed over, so that it is never half there. Where root writes it into
    /// another user's folder, it is that user's, and no link that lies there is followed.
    pub fn set(&self) -> io::Result<()> {
        let folder = self.0.parent().unwrap_or(Path::new("."));
        let beside = self.0.with_extension("version.new");
        let _ = fs::remove_file(&beside);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        let owner = fs::metadata(folder)?;
        if file.metadata()?.uid() != owner.uid() {
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        writeln!(file, "{}", Version::own())?;
        file.sync_all()?;
        fs::rename(&beside, &self.0)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Option<Version> {
        text.parse().ok()
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(version("0.10.0") > version("0.9.9"));
        assert!(version("15") > version("9.6"));
        assert_eq!(
            version("15.4").map(|v| v.to_string()).as_deref(),
            Some("15.4.0")
        );
        assert_eq!(version("1.2.3.4"), None);
        assert_eq!(version("0.1.0-dev"), None);
        assert_eq!(version(""), None);
    }

    #[test]
    fn this_program_has_a_version() {
        assert_eq!(Version::own().to_string(), env!("CARGO_PKG_VERSION"));
    }
}
