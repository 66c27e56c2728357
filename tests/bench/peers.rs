//! Other queues, prepared by the scripts in `peers/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use mosaic_backlog_tests::programs;

use crate::arguments::Arguments;
use crate::server::Server;

/// By the rate of their claims.
const NAMES: [&str; 7] = [
    "pg-boss",
    "graphile-worker",
    "procrastinate",
    "pgqueuer",
    "pgmq",
    "awa",
    "absurd",
];

/// A queue in a database of its own.
pub struct Peer {
    pub name: String,
    pub database: String,
    /// How many jobs it was given.
    pub jobs: u32,
    scripts: PathBuf,
}

impl Peer {
    pub fn script(&self, name: &str) -> Option<PathBuf> {
        let file = self.scripts.join(name);
        file.is_file().then_some(file)
    }
}

/// Those for runs that need much time.
pub fn prepare_at_length(server: &Server, arguments: &Arguments, jobs: u32) -> Vec<Peer> {
    if arguments.size.others_at_length {
        prepare(server, arguments, jobs)
    } else {
        Vec::new()
    }
}

/// They with `jobs` to claim. One that cannot be had is named and left out.
pub fn prepare(server: &Server, arguments: &Arguments, jobs: u32) -> Vec<Peer> {
    if !arguments.peers {
        return Vec::new();
    }
    // A claim of Absurd reads all of its jobs.
    let jobs_of = |name: &str| {
        if name == "absurd" {
            jobs.min(30_000)
        } else {
            jobs
        }
    };
    let one = |name: &&str| prepare_one(server, name, jobs_of(name));
    let names = NAMES.iter().take(arguments.size.others);
    names.filter_map(one).collect()
}

fn prepare_one(server: &Server, name: &str, jobs: u32) -> Option<Peer> {
    let database = format!("peer_{}", name.replace('-', "_"));
    server
        .cluster
        .session("postgres")
        .run(&format!("drop database if exists {database} with (force)"));
    server.create(&database);
    let cache = cache();
    std::fs::create_dir_all(&cache).expect("a folder for the packages");
    let config = server.cluster.config(&database, "postgres");
    let folder = programs::sources().join("tests/bench/peers").join(name);
    let psql = programs::postgresql("psql");
    let path = std::env::var("PATH").unwrap_or_default();
    let bin = psql.parent().map(Path::to_path_buf).unwrap_or_default();
    let output = Command::new(folder.join("prepare"))
        .arg(&cache)
        .arg(jobs.to_string())
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("PGHOST", server.cluster.folder())
        .env("PGPORT", config.get_ports()[0].to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", &database)
        .output()
        .expect("prepare");
    if !output.status.success() {
        eprintln!(
            "  left out: {name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        return None;
    }
    Some(Peer {
        name: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        database,
        jobs,
        scripts: cache.join(name),
    })
}

fn cache() -> PathBuf {
    std::env::var_os("MOSAIC_BENCH_CACHE")
        .map_or_else(|| std::env::temp_dir().join("mosaic-bench"), PathBuf::from)
}
