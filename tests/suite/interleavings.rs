//! Pairs and triples of calls, in each order in which their steps can come: PostgreSQL's
//! `pg_isolation_regress` runs `tests/isolation/specs` and compares with `tests/isolation/expected`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::{folder, programs};

/// The tool, which comes with the headers of a PostgreSQL server: of the one under test, else of
/// any. It talks SQL alone, so that its version need not be the server's.
fn tool() -> PathBuf {
    let relative = Path::new("lib/pgxs/src/test/isolation/pg_isolation_regress");
    let own = programs::postgresql("postgres");
    let mut roots = vec![own.ancestors().nth(2).expect("a folder").to_owned()];
    if let Ok(output) = Command::new("pg_config").arg("--pgxs").output() {
        let makefile = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        roots.extend(makefile.ancestors().nth(5).map(Path::to_owned));
    }
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> = versions.flatten().map(|entry| entry.path()).collect();
        versions.sort();
        roots.extend(versions.into_iter().rev());
    }
    let tools: Vec<PathBuf> = roots.iter().map(|root| root.join(relative)).collect();
    tools
        .iter()
        .find(|tool| tool.is_file())
        .unwrap_or_else(|| {
            panic!("no pg_isolation_regress; it is in Debian's postgresql-server-dev-NN: {tools:?}")
        })
        .clone()
}

fn specs(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the specs")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into())
        .collect();
    names.sort();
    names
}

/// Runs the specs of a folder; the differences from what is expected, if there are any.
fn run(folder: &Path, names: &[String]) -> Result<(), String> {
    let db = Database::fresh();
    let fresh = programs::sources().join("tests/isolation/fresh.sql");
    db.session()
        .run(&fs::read_to_string(fresh).expect("fresh.sql"));
    let output = folder::create();
    let run = Command::new(tool())
        .arg("--use-existing")
        .arg(format!("--host={}", db.cluster().folder().display()))
        .args(["--user=postgres", "--bindir="])
        .arg(format!("--dbname={}", db.name()))
        .arg(format!("--inputdir={}", folder.display()))
        .arg(format!("--outputdir={}", output.display()))
        .args(names)
        .current_dir(&*output)
        .env_remove("PGOPTIONS")
        .output()
        .expect("pg_isolation_regress");
    if run.status.success() {
        return Ok(());
    }
    let diff = fs::read_to_string(output.join("regression.diffs")).unwrap_or_default();
    Err(format!(
        "{diff}\n{}{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    ))
}

#[test]
fn every_interleaving_answers_as_written_down() {
    let folder = programs::sources().join("tests/isolation");
    let names = specs(&folder.join("specs"));
    assert!(names.len() >= 13, "{names:?}");
    if let Err(differences) = run(&folder, &names) {
        panic!("{differences}");
    }
}

/// The comparison is not blind: where something else is expected, it says so.
#[test]
fn an_interleaving_that_answers_otherwise_is_told() {
    let folder = programs::sources().join("tests/isolation");
    let other = folder::create();
    for part in ["specs", "expected"] {
        fs::create_dir(other.join(part)).expect("a folder");
    }
    let spec = "specs/claim-claim.spec";
    fs::copy(folder.join(spec), other.join(spec)).expect("a spec");
    let expected = "expected/claim-claim.out";
    let text = fs::read_to_string(folder.join(expected)).expect("what is expected");
    // As if the second worker got the card while the first one's transaction is open.
    let wrong = text.replacen("(0 rows)", "A |w2         |          2\n(1 row)", 1);
    assert_ne!(text, wrong);
    fs::write(other.join(expected), wrong).expect("write");
    let differences = run(&other, &["claim-claim".to_owned()]).expect_err("a difference");
    assert!(differences.contains("(0 rows)"), "{differences}");
}
