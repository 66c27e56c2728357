//! A connection pooler in transaction mode in front of a database.

use std::fs;
use std::path::{Path, PathBuf};

use postgres::{Config, NoTls};

use crate::at_end::AtEnd;
use crate::cluster::SUPERUSER;
use crate::database::{Database, LOGINS};
use crate::session::Session;
use crate::{account, folder, wait};

const PORT: u16 = 6432;

pub struct Pooler {
    folder: PathBuf,
    database: String,
    _end: AtEnd,
}

impl Pooler {
    /// A pooler that serves all its clients with `connections` connections to the database.
    #[track_caller]
    pub fn start(database: &Database, connections: usize) -> Self {
        let folder = folder::kept();
        account::give(&folder);
        let logins: Vec<String> = LOGINS
            .iter()
            .chain(&[SUPERUSER])
            .map(|login| format!("\"{login}\" \"\"\n"))
            .collect();
        fs::write(folder.join("users"), logins.concat()).expect("write");
        let settings = format!(
            "[databases]\n{name} = host={host} port=5432\n[pgbouncer]\nlisten_addr =\nlisten_port = {PORT}\n\
             unix_socket_dir = {own}\nlogfile = {own}/log\npidfile = {own}/pid\nauth_type = trust\n\
             auth_file = {own}/users\npool_mode = transaction\ndefault_pool_size = {connections}\n\
             max_client_conn = 200\n",
            name = database.name(),
            host = database.cluster().folder().display(),
            own = folder.display(),
        );
        fs::write(folder.join("settings"), settings).expect("write");
        let end = AtEnd::serve(
            "\"$2\" -q \"$1/settings\"",
            "rm -rf \"$1\"",
            &[&folder, Path::new(program())],
        );
        let pooler = Self {
            folder,
            database: database.name().to_owned(),
            _end: end,
        };
        wait::until("the pooler answers", || {
            pooler.config(SUPERUSER).connect(NoTls).ok()
        });
        pooler
    }

    pub fn config(&self, user: &str) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.folder)
            .port(PORT)
            .dbname(&self.database)
            .user(user);
        config
    }

    #[track_caller]
    pub fn session(&self, user: &str) -> Session {
        Session::open(&self.config(user))
    }

    /// The address for programs.
    pub fn url(&self, user: &str) -> String {
        let host = self.folder.to_string_lossy().replace('/', "%2F");
        format!(
            "postgresql://{user}@/{}?host={host}&port={PORT}",
            self.database
        )
    }
}

/// It may lie where only root's path leads.
fn program() -> &'static str {
    let sbin = "/usr/sbin/pgbouncer";
    if fs::exists(sbin).unwrap_or(false) {
        sbin
    } else {
        "pgbouncer"
    }
}
