//! The server that faults happen to.

use std::cell::Cell;

use super::disk::Disk;
use crate::cluster::{Cluster, SUPERUSER};
use crate::load::Target;
use crate::session::Session;
use crate::{programs, wait};

/// Few connections, so that they can run out, and little log, so that it fits on the disk. The
/// data need not outlive the kernel, which keeps what a killed process has written: fsync is off.
const SETTINGS: &[&str] = &[
    "max_connections = 40",
    "max_wal_size = 64MB",
    "min_wal_size = 32MB",
    "shared_buffers = 32MB",
    "autovacuum_naptime = 1s",
    "log_statement = none",
];

const TEMPLATE: &str = "with_extension";
pub const CALLER: &str = "operator";
/// Has no rights on the backlog, and no connections in reserve.
pub const STRANGER: &str = "stranger";

pub struct Server {
    pub cluster: Cluster,
    /// Or why there is none.
    pub disk: Result<Disk, String>,
    databases: Cell<u32>,
}

impl Server {
    #[track_caller]
    pub fn start() -> Self {
        let disk = Disk::mount();
        let cluster = match &disk {
            Ok(disk) => {
                let bin = programs::postgresql("postgres");
                let bin = bin.parent().expect("a folder");
                Cluster::start_in(disk.folder().to_owned(), bin, SETTINGS)
            }
            Err(_) => Cluster::start(SETTINGS),
        };
        let mut admin = cluster.session("postgres");
        admin.run(&format!("create database {TEMPLATE}"));
        cluster
            .session(TEMPLATE)
            .run("create extension mosaic_backlog_ext");
        admin.run(&format!(
            "create role {CALLER} login; create role {STRANGER} login;
             grant mosaic_operator to {CALLER}"
        ));
        Self {
            cluster,
            disk,
            databases: Cell::new(0),
        }
    }

    /// A new database with the extension.
    #[track_caller]
    pub fn create(&self) -> String {
        let number = self.databases.replace(self.databases.get() + 1);
        let name = format!("round_{number}");
        self.cluster
            .session("postgres")
            .run(&format!("create database {name} template {TEMPLATE}"));
        name
    }

    #[track_caller]
    pub fn remove(&self, database: &str) {
        self.cluster
            .session("postgres")
            .run(&format!("drop database {database} with (force)"));
    }

    pub fn target(&self, database: &str) -> Target {
        let mut config = self.cluster.config(database, CALLER);
        // A call that hangs is to show.
        config.options("-c statement_timeout=30s");
        Target {
            config,
            url: self.cluster.url(database, CALLER),
        }
    }

    /// Waits until the server takes calls, and starts it if it is down.
    #[track_caller]
    pub fn bring_back(&self, database: &str) -> Session {
        let config = self.cluster.config(database, SUPERUSER);
        wait::until("the server is back", || {
            if self.cluster.postmaster().is_none() {
                self.cluster.try_resume();
            }
            Session::try_open(&config)
        })
    }
}
