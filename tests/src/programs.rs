//! The programs under test, and those of PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The prefix of an installation made by `install.sh`: of `MOSAIC_TEST_PREFIX`, else the one that
/// `tests/run` makes.
pub fn prefix() -> Option<PathBuf> {
    let target = variable("CARGO_TARGET_DIR").unwrap_or_else(|| sources().join("target"));
    chosen(variable("MOSAIC_TEST_PREFIX"), &target.join("tests/prefix"))
}

fn chosen(named: Option<PathBuf>, usual: &Path) -> Option<PathBuf> {
    named.or_else(|| usual.join("bin/mosaic").is_file().then(|| usual.to_owned()))
}

const NOTHING_TO_TEST: &str = "nothing is installed to be tested: \
    run `./install.sh --prefix target/tests/prefix`, and again after each change of the program or \
    the extension; or name the prefix of another installation in MOSAIC_TEST_PREFIX \
    (tests/README.md)";

/// The folder of the sources.
pub fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

/// The program `mosaic`: `MOSAIC_TEST_PROGRAM`, else of the installation.
pub fn mosaic() -> &'static Path {
    static MOSAIC: OnceLock<PathBuf> = OnceLock::new();
    MOSAIC.get_or_init(|| {
        let program = variable("MOSAIC_TEST_PROGRAM")
            .or_else(|| prefix().map(|prefix| prefix.join("bin/mosaic")))
            .expect(NOTHING_TO_TEST);
        assert!(program.is_file(), "{} does not exist", program.display());
        program
    })
}

/// A program of the PostgreSQL that holds the extension: of the folder in
/// `MOSAIC_TEST_PG_BIN`, else of the installation.
pub fn postgresql(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        variable("MOSAIC_TEST_PG_BIN")
            .or_else(|| prefix().map(|prefix| private_copy(&prefix).join("bin")))
            .expect(NOTHING_TO_TEST)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name_the_usual_installation_is_tested_if_there_is_one() {
        let folder = crate::folder::create();
        assert_eq!(chosen(None, &folder), None);
        let named = Some(PathBuf::from("/named"));
        assert_eq!(chosen(named.clone(), &folder), named);
        std::fs::create_dir(folder.join("bin")).expect("a folder");
        std::fs::write(folder.join("bin/mosaic"), "").expect("write");
        assert_eq!(chosen(None, &folder), Some(folder.to_path_buf()));
        assert_eq!(chosen(named.clone(), &folder), named);
    }
}
