//! A database of its own for each test, with the extension in it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use postgres::Config;

use crate::cluster::{Cluster, SUPERUSER};
use crate::refused::Refused;
use crate::session::Session;

/// Roles that can log in, one of each kind. `stranger` has no rights on the backlog.
pub const LOGINS: [&str; 4] = ["reader", "worker", "operator", "stranger"];

const TEMPLATE: &str = "with_extension";

pub struct Database {
    cluster: &'static Cluster,
    name: String,
}

/// The shared cluster, with the logins and a database to copy.
#[track_caller]
fn prepared() -> &'static Cluster {
    static PREPARED: OnceLock<Result<(), Refused>> = OnceLock::new();
    let cluster = Cluster::shared();
    if let Err(refused) = PREPARED.get_or_init(|| prepare(cluster)) {
        panic!("the extension cannot be created: {refused:?}");
    }
    cluster
}

fn prepare(cluster: &Cluster) -> Result<(), Refused> {
    let mut admin = cluster.session("postgres");
    admin.run(&format!("create database {TEMPLATE}"));
    cluster
        .session(TEMPLATE)
        .attempt_run("create extension mosaic_backlog_ext")?;
    for login in LOGINS {
        admin.attempt_run(&format!("create role {login} login"))?;
    }
    admin.attempt_run(
        "grant mosaic_reader to reader; grant mosaic_worker to worker;
         grant mosaic_operator to operator",
    )
}

impl Database {
    /// A new database with the extension.
    #[track_caller]
    pub fn fresh() -> Self {
        Self::copy_of(TEMPLATE)
    }

    /// A new database without the extension.
    #[track_caller]
    pub fn bare() -> Self {
        Self::copy_of("template0")
    }

    #[track_caller]
    fn copy_of(template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let cluster = prepared();
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        cluster
            .session("postgres")
            .run(&format!("create database {name} template {template}"));
        Self { cluster, name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn cluster(&self) -> &'static Cluster {
        self.cluster
    }

    pub fn config(&self, user: &str) -> Config {
        self.cluster.config(&self.name, user)
    }

    /// A superuser's session.
    #[track_caller]
    pub fn session(&self) -> Session {
        self.session_as(SUPERUSER)
    }

    #[track_caller]
    pub fn session_as(&self, user: &str) -> Session {
        Session::open(&self.config(user))
    }

    /// The address for programs.
    pub fn url(&self, user: &str) -> String {
        self.cluster.url(&self.name, user)
    }

    /// Gives all sessions that start from now on a fixed clock.
    #[track_caller]
    pub fn fix_clock(&self, time: &str) {
        self.session().run(&format!(
            "alter database {} set mosaic.clock = '{time}'",
            self.name
        ));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The cluster goes away with all its databases; this only saves room while it runs.
        if !std::thread::panicking() {
            let mut admin = self.cluster.session("postgres");
            admin.run(&format!("drop database {} with (force)", self.name));
        }
    }
}
