//! The users of the machine: who calls, and who the server runs as.
//!
//! PostgreSQL refuses to run as root. For root it therefore runs as a service user, or as the
//! owner of the data folder where there is one already.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::folder::Folder;
use super::home;
use super::home::Home;
use super::process::current_uid;
use crate::failure::{Code, Failure};

/// The user that Debian's packages make for PostgreSQL.
const SERVICE_USER: &str = "postgres";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// The user that this store's server runs as: the owner of its folders, if that is not root.
    pub fn of_server(home: &Home) -> Result<Account, Failure> {
        let caller = current_uid();
        let mut owner = None;
        for folder in [&home.data, &home.fleet(), &home.root] {
            match fs::metadata(folder) {
                Ok(metadata) => {
                    owner = Some(metadata.uid());
                    break;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(home.unreadable(&error)),
            }
        }
        match owner {
            Some(owner) if caller != 0 && owner != caller => Err(Failure::new(
                Code::Unauthorized,
                format!(
                    "the backlog in {} belongs to another user",
                    home.data.display()
                ),
            )
            .hint("Run as its owner or as root, or name another server in DATABASE_URL.")),
            Some(0) | None if caller == 0 => Account::service(),
            Some(owner) => Account::by_uid(owner),
            None => Account::by_uid(caller),
        }
    }

    fn service() -> Result<Account, Failure> {
        look_up(SERVICE_USER).ok_or_else(|| {
            Failure::new(
                Code::Resource,
                format!("the user {SERVICE_USER} does not exist"),
            )
            .lasts(true)
            .detail("PostgreSQL refuses to run as root, so that it needs a user of its own.")
            .hint(format!(
                "`useradd --system --user-group --shell /usr/sbin/nologin {SERVICE_USER}` makes one; or run as an ordinary user."
            ))
        })
    }

    pub fn current() -> Result<Account, Failure> {
        Account::by_uid(current_uid())
    }

    fn by_uid(uid: u32) -> Result<Account, Failure> {
        look_up(&uid.to_string()).ok_or_else(|| {
            Failure::new(
                Code::Resource,
                format!("the user with the number {uid} has no name on this machine"),
            )
            .lasts(true)
            .detail("PostgreSQL knows local users by their names.")
            .hint("Add the user to the machine's user database, or name another server in DATABASE_URL.")
        })
    }

    /// Whether the caller has to change to this user before it may run the server.
    pub fn is_other(&self) -> bool {
        self.uid != current_uid()
    }

    /// Makes sure that this user can walk down to the store's folders. mosaicHome itself is ours:
    /// if only root gets in, the server's own group gets the right to pass, and nothing more.
    pub fn reach(&self, home: &Home) -> Result<(), Failure> {
        if !self.is_other() {
            return Ok(());
        }
        let fleet = home.fleet();
        let folder = fleet.canonicalize().unwrap_or(fleet);
        let ours = home.root.canonicalize().unwrap_or(home.root.clone());
        let mut path: Vec<&Path> = folder.ancestors().collect();
        path.reverse();
        for folder in path {
            let Ok(metadata) = fs::metadata(folder) else {
                break;
            };
            if self.may_pass(&metadata) {
                continue;
            }
            if folder != ours || metadata.uid() != 0 || metadata.mode() & 0o070 != 0 {
                return Err(Failure::new(
                    Code::Resource,
                    format!("the server's user {} cannot enter {}", self.name, folder.display()),
                )
                .lasts(true)
                .detail(format!(
                    "PostgreSQL refuses to run as root; it runs as {} and needs the right to pass through every folder above {}.",
                    self.name,
                    home.data.display()
                ))
                .hint("Set MOSAIC_HOME to a folder that this user can reach (root's default is /var/lib/mosaic), or let it pass with `chmod o+x`."));
            }
            self.let_through(folder)
                .map_err(|error| home::cannot("open the way through", folder, &error))?;
        }
        Ok(())
    }

    /// Gives this user's group the right to pass a folder that only root can enter.
    fn let_through(&self, path: &Path) -> io::Result<()> {
        let folder = Folder::open(path)?;
        let metadata = folder.metadata()?;
        if metadata.uid() != 0 || metadata.mode() & 0o070 != 0 {
            return Err(ErrorKind::PermissionDenied.into());
        }
        folder.give_to_group(self.gid)?;
        folder.allow(metadata.mode() & 0o7777 | 0o010)
    }

    /// Whether this user may read the file or enter the folder, and everything above it.
    pub fn may_reach(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|path| {
            path.ancestors()
                .all(|part| fs::metadata(part).is_ok_and(|metadata| self.may_pass(&metadata)))
        })
    }

    fn may_pass(&self, metadata: &fs::Metadata) -> bool {
        let shift = if metadata.uid() == self.uid {
            6
        } else if metadata.gid() == self.gid {
            3
        } else {
            0
        };
        self.uid == 0 || (metadata.mode() >> shift) & 0o1 != 0
    }
}

/// By name or number, from the machine's file, else from whatever else it asks for its users.
fn look_up(key: &str) -> Option<Account> {
    let local = fs::read_to_string("/etc/passwd").unwrap_or_default();
    find(&local, key).or_else(|| {
        let output = Command::new("getent").args(["passwd", key]).output().ok()?;
        find(&String::from_utf8_lossy(&output.stdout), key)
    })
}

fn find(passwd: &str, key: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?;
        let gid = fields.next()?;
        (name == key || uid == key)
            .then(|| {
                Some(Account {
                    name: name.to_owned(),
                    uid: uid.parse().ok()?,
                    gid: gid.parse().ok()?,
                })
            })
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        let postgres = Account {
            name: "postgres".into(),
            uid: 101,
            gid: 104,
        };
        assert_eq!(find(passwd, "postgres"), Some(postgres.clone()));
        assert_eq!(find(passwd, "101"), Some(postgres));
        assert_eq!(find(passwd, "104"), None);
    }
}
