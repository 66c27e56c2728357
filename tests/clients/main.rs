//! The clients that people use, directly and through a pooler; README.md lists what each does.

mod tokio_postgres;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::pooler::Pooler;
use mosaic_backlog_tests::programs;

/// What the programs print, a line a step; `tokio_postgres::conform` calls the same.
const STEPS: [&str; 11] = [
    "arguments",
    "nulls",
    "claim",
    "renew",
    "stale",
    "complete",
    "events",
    "repeat",
    "transaction",
    "race",
    "prepared",
];

/// Runs `conform` with the address of a database; then of another one, through a pooler.
fn both_ways(conform: impl Fn(&str, bool)) {
    let database = Database::fresh();
    conform(&database.url("worker"), false);
    let database = Database::fresh();
    let pooler = Pooler::start(&database, 2);
    conform(&pooler.url("worker"), true);
}

/// Runs a client's program, which has to do all steps.
fn conforms(program: &Path, arguments: &[&Path], url: &str, pooled: bool) {
    let output = programs::run(
        Command::new(program)
            .args(arguments)
            .env("DATABASE_URL", url)
            .env("PSQL", programs::postgresql("psql"))
            .env("POOLED", if pooled { "1" } else { "0" }),
    );
    let steps: Vec<&str> = output.lines().collect();
    assert_eq!(steps, STEPS);
}

/// The folder with what the clients need.
fn installed() -> PathBuf {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
            programs::run(Command::new(source("prepare")).arg(&folder));
            folder
        })
        .clone()
}

fn source(file: &str) -> PathBuf {
    programs::sources().join("tests/clients").join(file)
}

#[test]
fn psql_conforms() {
    let program = source("psql/conformance");
    both_ways(|url, pooled| conforms(&program, &[], url, pooled));
}

#[test]
fn psycopg_conforms() {
    let python = installed().join("psycopg/bin/python");
    let program = source("psycopg/conformance.py");
    both_ways(|url, pooled| conforms(&python, &[&program], url, pooled));
}

#[test]
fn node_postgres_conforms() {
    let program = installed().join("node-postgres/conformance.mjs");
    both_ways(|url, pooled| conforms(Path::new("node"), &[&program], url, pooled));
}

#[test]
fn tokio_postgres_conforms() {
    both_ways(tokio_postgres::conform);
}
