//! Where the embedded store lives: mosaicHome, the data folder and the server's socket.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::process::current_uid;
use crate::database::limit;
use crate::environment;
use crate::failure::{Code, Failure};

/// The name of the socket in its folder. The port is only part of this name: nothing listens on TCP.
const SOCKET_NAME: &str = ".s.PGSQL.5432";
pub const PORT: u16 = 5432;

/// The kernel takes 107 bytes for the path of a socket.
const LONGEST_SOCKET_PATH: usize = 100;

/// The folders and files of one embedded store.
#[derive(Clone, Debug)]
pub struct Home {
    /// mosaicHome, where other parts of Mosaic keep their files too.
    pub root: PathBuf,
    /// The server's data folder.
    pub data: PathBuf,
}

impl Home {
    pub fn locate() -> Result<Home, Failure> {
        let root = match environment::folder("MOSAIC_HOME")? {
            Some(folder) => folder,
            None if current_uid() == 0 => PathBuf::from("/var/lib/mosaic"),
            None => std::env::home_dir()
                .filter(|folder| folder.is_absolute())
                .map(|folder| folder.join(".config/mosaic"))
                .ok_or_else(|| {
                    Failure::new(Code::Resource, "this user has no home folder")
                        .lasts(true)
                        .hint("MOSAIC_HOME names the folder in which the backlog lives.")
                })?,
        };
        let root = std::path::absolute(&root).map_err(|error| {
            Failure::io(
                format!("cannot resolve the folder {}", root.display()),
                &error,
            )
        })?;
        let data = root.join("fleet/backlog");
        Ok(Home { root, data })
    }

    /// The folder of the gateway's settings.
    pub fn gateway(&self) -> PathBuf {
        self.root.join("gateway")
    }

    /// The folder that holds the data folder and what belongs beside it.
    pub fn fleet(&self) -> PathBuf {
        self.root.join("fleet")
    }

    /// Held by whoever sets up, starts, migrates or stops the server.
    pub fn lock_file(&self) -> PathBuf {
        self.fleet().join("backlog.lock")
    }

    /// Where a PostgreSQL that had to be downloaded is kept.
    pub fn downloads(&self) -> PathBuf {
        self.fleet().join("postgresql")
    }

    /// The major version that the data folder was made by; `None` while there is no data.
    pub fn data_major(&self) -> Result<Option<u32>, Failure> {
        let file = self.data.join("PG_VERSION");
        match fs::read_to_string(&file) {
            Ok(text) => match text.trim().parse() {
                Ok(major) => Ok(Some(major)),
                Err(_) => Err(Failure::new(
                    Code::Resource,
                    format!("{} does not hold a version", file.display()),
                )
                .lasts(true)
                .detail("The data folder is damaged; nothing in it was changed.")
                .hint("Restore the folder from a backup.")),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    /// Where the server of this store listens. The data folder must exist.
    pub fn socket(&self) -> Result<Socket, Failure> {
        let data = self
            .data
            .canonicalize()
            .map_err(|error| self.unreadable(&error))?;
        let owner = fs::metadata(&data)
            .map_err(|error| self.unreadable(&error))?
            .uid();
        Ok(Socket::of(&data, owner))
    }

    pub fn unreadable(&self, error: &std::io::Error) -> Failure {
        let failure = match error.kind() {
            ErrorKind::PermissionDenied => Failure::new(
                Code::Unauthorized,
                format!(
                    "the backlog in {} belongs to another user",
                    self.data.display()
                ),
            )
            .hint("Run as its owner or as root, or name another server in DATABASE_URL."),
            _ => Failure::io(
                format!("cannot read the data folder {}", self.data.display()),
                error,
            ),
        };
        failure.detail(format!("{error}."))
    }
}

/// The folder of the server's socket, which is the only way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    pub folder: PathBuf,
    /// The user that the server runs as.
    owner: u32,
    /// Whether the folder lies apart from the data folder, in a place where others can write.
    apart: bool,
}

impl Socket {
    /// In the data folder, where nobody else gets in; where its path is too long for the kernel
    /// or cannot be written into a server's settings or a URL, in a folder of its own.
    pub fn of(data: &Path, owner: u32) -> Socket {
        let fits = data.as_os_str().len() + 1 + SOCKET_NAME.len() <= LONGEST_SOCKET_PATH;
        if fits && is_plain(data) {
            return Socket {
                folder: data.to_owned(),
                owner,
                apart: false,
            };
        }
        let name = format!("/tmp/mosaic-{owner}-{:016x}", fingerprint(data));
        Socket {
            folder: name.into(),
            owner,
            apart: true,
        }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.join(SOCKET_NAME)
    }

    /// The server's own lock on the socket.
    pub fn lock_file(&self) -> PathBuf {
        self.folder.join(format!("{SOCKET_NAME}.lock"))
    }

    /// Refuses a folder in which someone else could have put a server of his own.
    pub fn verify(&self) -> Result<(), Failure> {
        if !self.apart {
            return Ok(());
        }
        let metadata = match fs::symlink_metadata(&self.folder) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.refused(&format!("{error}."))),
        };
        if !metadata.is_dir() || metadata.uid() != self.owner {
            return Err(self.refused("It is not a folder of the user that the server runs as."));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(self.refused("Other users may enter it."));
        }
        Ok(())
    }

    fn refused(&self, why: &str) -> Failure {
        Failure::new(
            Code::Resource,
            format!("the socket's folder {} cannot be trusted", self.folder.display()),
        )
        .lasts(true)
        .detail(why)
        .hint("Set MOSAIC_HOME to a shorter path, so that the socket lies in the data folder, or ask an administrator about that folder.")
    }

    /// Makes the folder where it lies apart. Runs as the user of the server.
    pub fn prepare(&self) -> Result<(), Failure> {
        use std::os::unix::fs::DirBuilderExt;
        if self.apart {
            match fs::DirBuilder::new().mode(0o700).create(&self.folder) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.refused(&format!("{error}."))),
            }
        }
        self.verify()
    }

    /// Takes the folder away again where it lies apart.
    pub fn clear(&self) {
        if self.apart {
            // If someone put something there, it stays.
            let _ = fs::remove_dir(&self.folder);
        }
    }

    /// The same for programs that are told by their environment.
    pub fn environment(&self, role: &str, database: &str) -> Vec<(&'static str, OsString)> {
        vec![
            ("PGHOST", self.folder.clone().into_os_string()),
            ("PGPORT", PORT.to_string().into()),
            ("PGUSER", role.into()),
            ("PGDATABASE", database.into()),
            (
                "PGCONNECT_TIMEOUT",
                limit::connect().as_secs().to_string().into(),
            ),
        ]
    }

    /// A URL that every libpq client takes as it is.
    pub fn url(&self, role: &str) -> String {
        let mut host = String::new();
        for byte in self.folder.as_os_str().as_bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    host.push(char::from(*byte));
                }
                other => host.push_str(&format!("%{other:02X}")),
            }
        }
        format!("postgresql:///mosaic?host={host}&port={PORT}&user={role}")
    }
}

/// Whether the path can stand in a settings file and as a host of libpq without surprises.
fn is_plain(path: &Path) -> bool {
    path.to_str().is_some_and(|text| {
        !text
            .chars()
            .any(|c| c.is_control() || matches!(c, ',' | '\'' | '"' | '\\'))
    })
}

/// FNV-1a: the same in every build and for ever, which the hashes of the standard library are not.
fn fingerprint(path: &Path) -> u64 {
    path.as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

pub fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::io(format!("cannot {what} {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_lies_in_the_data_folder_where_it_can() {
        let socket = Socket::of(Path::new("/home/a b/fleet/backlog"), 1000);
        assert_eq!(socket.folder, Path::new("/home/a b/fleet/backlog"));
        assert_eq!(
            socket.url("mosaic"),
            "postgresql:///mosaic?host=%2Fhome%2Fa%20b%2Ffleet%2Fbacklog&port=5432&user=mosaic"
        );
    }

    #[test]
    fn a_long_or_awkward_path_gets_a_short_folder_that_stays_the_same() {
        let long = format!("/home/{}/fleet/backlog", "x".repeat(90));
        for path in [long.as_str(), "/home/a,b/fleet/backlog", "/home/it's/fleet"] {
            let socket = Socket::of(Path::new(path), 1000);
            assert!(socket.file().as_os_str().len() <= LONGEST_SOCKET_PATH);
            assert!(socket.folder.starts_with("/tmp"));
            assert_eq!(socket, Socket::of(Path::new(path), 1000));
            assert_ne!(socket, Socket::of(Path::new(path), 1001));
        }
        assert_eq!(fingerprint(Path::new("a")), 0xaf63_dc4c_8601_ec8c);
    }
}
