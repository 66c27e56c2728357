//! A server that is set up as one in use: durable, autovacuum as it comes.

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::programs;
use mosaic_backlog_tests::session::Session;

pub const DATABASE: &str = "bench";

/// Room for the rows and the log, so that neither the cache nor a checkpoint decides a ratio.
const SETTINGS: [&str; 7] = [
    "fsync = on",
    "max_connections = 120",
    "shared_buffers = 1GB",
    "max_wal_size = 16GB",
    "checkpoint_timeout = 60min",
    "deadlock_timeout = 1s",
    "log_statement = none",
];

pub struct Server {
    pub cluster: Cluster,
}

impl Server {
    pub fn start() -> Self {
        let server = Self {
            cluster: Cluster::start(&SETTINGS),
        };
        server.create(DATABASE);
        let mut session = server.session();
        session.run("create extension mosaic_backlog_ext");
        let floor = programs::sources().join("tests/bench/floor.sql");
        session.run(&std::fs::read_to_string(floor).expect("tests/bench/floor.sql"));
        server
    }

    pub fn create(&self, database: &str) {
        self.cluster
            .session("postgres")
            .run(&format!("create database {database} template template0"));
    }

    pub fn session(&self) -> Session {
        self.cluster.session(DATABASE)
    }

    /// A session whose snapshot keeps all that is removed from now on.
    pub fn hold_snapshot(&self, table: &str) -> Session {
        self.hold_snapshot_of(DATABASE, table)
    }

    /// The same in another database.
    pub fn hold_snapshot_of(&self, database: &str, table: &str) -> Session {
        let mut session = self.cluster.session(database);
        session.run(&format!(
            "begin isolation level repeatable read; select from {table} limit 1"
        ));
        session
    }

    /// Sessions that start from now on do not wait for the disk.
    pub fn wait_for_the_disk(&self, wait: bool) {
        let sql = if wait {
            "alter database bench reset mosaic.durability; alter database bench reset synchronous_commit"
        } else {
            "alter database bench set mosaic.durability = 'inherit';
             alter database bench set synchronous_commit = off"
        };
        self.session().run(sql);
    }
}
