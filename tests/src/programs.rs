//! The programs under test, and those of PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The prefix of an installation made by `install.sh`.
pub fn prefix() -> Option<PathBuf> {
    variable("MOSAIC_TEST_PREFIX")
}

/// The folder of the sources.
pub fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

/// The program `mosaic`: `MOSAIC_TEST_PROGRAM`, else of the installation, else of the build.
pub fn mosaic() -> &'static Path {
    static MOSAIC: OnceLock<PathBuf> = OnceLock::new();
    MOSAIC.get_or_init(|| {
        let program = variable("MOSAIC_TEST_PROGRAM")
            .or_else(|| prefix().map(|prefix| prefix.join("bin/mosaic")))
            .unwrap_or_else(|| sources().join("target/debug/mosaic"));
        assert!(program.is_file(), "{} does not exist", program.display());
        program
    })
}

/// A program of the PostgreSQL that holds the extension: of the folder in
/// `MOSAIC_TEST_PG_BIN`, else of the installation, else of the machine.
pub fn postgresql(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        variable("MOSAIC_TEST_PG_BIN")
            .or_else(|| prefix().map(|prefix| private_copy(&prefix).join("bin")))
            .unwrap_or_else(of_the_machine)
    });
    let program = folder.join(name);
    assert!(program.is_file(), "{} does not exist", program.display());
    program
}

/// The PostgreSQL that the installation brought along.
pub fn private_copy(prefix: &Path) -> PathBuf {
    let folder = prefix.join("lib/mosaic/postgresql/lib/postgresql");
    let mut versions: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("bin/postgres").is_file())
        .collect();
    versions.sort();
    versions
        .pop()
        .unwrap_or_else(|| panic!("no PostgreSQL in {}", folder.display()))
}

fn of_the_machine() -> PathBuf {
    let output = Command::new("pg_config")
        .arg("--bindir")
        .output()
        .expect("pg_config");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// Runs a program to its end; its output, if it went well.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}
