//! The embedded store: a PostgreSQL of our own under mosaicHome.
//!
//! A warm call reads one small file and connects. Whatever it does not find in order, the data
//! folder, the server, the database, the extension, the slow way brings about, one call at a
//! time, and each part so that it can be cut off anywhere and begun again.

mod account;
mod cluster;
mod connect;
mod download;
mod ending;
mod folder;
mod guard;
mod home;
mod installation;
mod lock;
mod process;
mod restore;
mod schema;
mod search;
mod server;
mod settings;
mod setup;
mod step;
mod version;

use std::path::Path;

use postgres::Client;

use crate::failure::Failure;

pub use cluster::{Cluster, Report};
pub use home::Home;
pub use installation::default_version;
pub use restore::{finish_restore, refuse_cards};
pub use search::beside_the_program;
pub use step::Step;
pub use version::Version;

/// A connection to the embedded store as the backlog's operator. Sets up, starts and migrates
/// whatever is missing; usually nothing is.
pub fn connect() -> Result<Client, Failure> {
    Cluster::locate()?.connect()
}

/// A connection to the embedded store if it runs and is in order. Starts nothing.
pub fn rejoin() -> Result<Client, Failure> {
    Cluster::locate()?
        .connect_running()?
        .ok_or_else(|| Failure::unreachable("the embedded server does not run"))
}

/// A connection after one of `connect` turned out to lack a function: everything is looked at again.
pub fn repair() -> Result<Client, Failure> {
    Cluster::locate()?.repair()
}

/// A connection if the server runs and is set up.
pub fn at_hand() -> Option<Client> {
    Cluster::locate().ok()?.connect_running().ok()?
}

/// A program of every PostgreSQL that was installed beside this program, and of those that the
/// machine's packages brought; newest first.
pub fn packaged(program: &str) -> Vec<std::path::PathBuf> {
    search::beside_the_program()
        .map(|mosaic| version::versions_in(&mosaic.join(search::PRIVATE_COPIES)))
        .unwrap_or_default()
        .into_iter()
        .chain(version::versions_in(Path::new("/usr/lib/postgresql")))
        .map(|folder| folder.join("bin").join(program))
        .filter(|path| path.is_file())
        .collect()
}
