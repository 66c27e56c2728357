//! A throwaway PostgreSQL cluster on a Unix socket in a temporary folder.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use postgres::Config;

use crate::at_end::{As, AtEnd};
use crate::session::Session;
use crate::{account, folder, programs};

pub const SUPERUSER: &str = "postgres";
pub const PORT: u16 = 5432;

/// The settings of every cluster. The data is thrown away, so nothing needs to reach the
/// disk; deadlocks are found soon; transactions can be prepared.
const SETTINGS: &[&str] = &[
    "listen_addresses = ''",
    "max_connections = 300",
    "max_prepared_transactions = 10",
    "shared_buffers = 128MB",
    "fsync = off",
    "deadlock_timeout = 100ms",
    "timezone = 'UTC'",
    "log_statement = ddl",
];

pub struct Cluster {
    folder: PathBuf,
    /// The programs of PostgreSQL.
    bin: PathBuf,
    /// Stops the server and removes the folder.
    _end: AtEnd,
}

impl Cluster {
    /// The cluster that all tests share. It runs until the tests are over.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// A cluster of its own, with more settings.
    #[track_caller]
    pub fn start(settings: &[&str]) -> Self {
        let bin = programs::postgresql("postgres");
        Self::start_from(bin.parent().expect("a folder"), settings)
    }

    /// The same of the PostgreSQL whose programs are in `bin`.
    #[track_caller]
    pub fn start_from(bin: &Path, settings: &[&str]) -> Self {
        Self::start_in(folder::kept(), bin, settings)
    }

    /// The same in a folder that exists, and that is empty in the end.
    #[track_caller]
    pub fn start_in(folder: PathBuf, bin: &Path, settings: &[&str]) -> Self {
        let cluster = Self::placed(folder, bin);
        programs::run(
            cluster
                .program("initdb")
                .arg("-D")
                .arg(cluster.data())
                .args(["-U", SUPERUSER, "--auth", "trust", "-E", "UTF8"])
                .args(["--locale", "C.UTF-8", "--no-sync"]),
        );
        cluster.configure(SETTINGS);
        cluster.listen_here();
        cluster.configure(settings);
        cluster.resume();
        cluster
    }

    /// A place for a cluster, with no data yet.
    pub(crate) fn placed(folder: PathBuf, bin: &Path) -> Self {
        account::give(&folder);
        let pg_ctl = bin.join("pg_ctl");
        let end = AtEnd::run(
            As::Server,
            "\"$1\" -D \"$2/data\" -m immediate stop; rm -rf \"$2\"",
            &[&pg_ctl, &folder],
        );
        Self {
            folder,
            bin: bin.to_owned(),
            _end: end,
        }
    }

    /// A program of this cluster's PostgreSQL, as the user of servers.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        account::serve(&mut command).current_dir("/");
        command
    }

    /// The folder of the programs.
    pub(crate) fn bin(&self) -> &Path {
        &self.bin
    }

    pub(crate) fn listen_here(&self) {
        self.configure(&[&format!(
            "unix_socket_directories = '{}'",
            self.folder.display()
        )]);
    }

    /// Adds lines to the settings; they hold from the next start.
    pub fn configure(&self, lines: &[&str]) {
        self.append("postgresql.conf", lines);
    }

    /// Adds lines to a file of the data folder.
    pub fn append(&self, file: &str, lines: &[&str]) {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(self.data().join(file))
            .expect("a file of the cluster");
        for line in lines {
            writeln!(file, "{line}").expect("write");
        }
    }

    #[track_caller]
    pub(crate) fn pg_ctl(&self, arguments: &[&str]) {
        assert!(
            self.try_pg_ctl(arguments),
            "pg_ctl {arguments:?}: {}",
            fs::read_to_string(self.folder.join("log")).unwrap_or_default()
        );
    }

    fn try_pg_ctl(&self, arguments: &[&str]) -> bool {
        self.program("pg_ctl")
            .arg("-D")
            .arg(self.data())
            .arg("-l")
            .arg(self.folder.join("log"))
            .arg("-w")
            .args(arguments)
            .env_remove("PGOPTIONS")
            // No error carries a backtrace, whatever the environment of the server says.
            .env("RUST_BACKTRACE", "full")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .expect("pg_ctl")
            .success()
    }

    /// Starts the server again.
    #[track_caller]
    pub fn resume(&self) {
        self.pg_ctl(&["start"]);
    }

    /// The same where it may fail, as after a crash whose last processes are not gone yet.
    pub fn try_resume(&self) -> bool {
        self.try_pg_ctl(&["start"])
    }

    /// The first process of the server, if it runs.
    pub fn postmaster(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        let pid = text.lines().next()?.parse().ok()?;
        fs::exists(format!("/proc/{pid}")).ok()?.then_some(pid)
    }

    /// Ends the server as a crash does: at once, and nothing is written any more.
    #[track_caller]
    pub fn crash(&self) {
        self.pg_ctl(&["-m", "immediate", "stop"]);
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The folder of the socket.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How to connect by the socket.
    pub fn config(&self, database: &str, user: &str) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.folder)
            .port(PORT)
            .dbname(database)
            .user(user);
        config
    }

    /// The same as a URL for programs.
    pub fn url(&self, database: &str, user: &str) -> String {
        let host = self.folder.to_string_lossy().replace('/', "%2F");
        format!("postgresql://{user}@/{database}?host={host}&port={PORT}")
    }

    #[track_caller]
    pub fn session(&self, database: &str) -> Session {
        Session::open(&self.config(database, SUPERUSER))
    }
}
