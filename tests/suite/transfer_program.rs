//! `mosaic backlog export` and `import`, `mosaic db backup` and `restore`: the files that they
//! write and refuse.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mosaic_backlog_tests::account;
use mosaic_backlog_tests::at_end::{As, AtEnd};
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::{folder, programs};
use serde_json::{Value, json};

/// Where the program finds its backlog.
enum Place {
    External(String),
    /// A mosaicHome, and what stops its server and removes it.
    Embedded(
        PathBuf,
        #[expect(dead_code, reason = "kept for its end")] AtEnd,
    ),
}

impl Place {
    fn of(db: &Database) -> Self {
        Place::External(db.url("postgres"))
    }

    fn embedded() -> Self {
        let home = folder::kept();
        account::give(&home);
        let end = AtEnd::run(
            As::Caller,
            "MOSAIC_HOME=\"$1\" \"$2\" db stop; rm -rf \"$1\"",
            &[&home, programs::mosaic()],
        );
        Place::Embedded(home, end)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(programs::mosaic());
        command.args(arguments).env_remove("DATABASE_URL");
        match self {
            Place::External(url) => command.env("DATABASE_URL", url),
            Place::Embedded(home, _) => {
                let server = programs::postgresql("postgres");
                let root = server.parent().and_then(Path::parent).expect("a root");
                command
                    .env("MOSAIC_HOME", home)
                    .env("MOSAIC_POSTGRES", root)
            }
        };
        command.output().expect("mosaic")
    }

    /// The document of a call that must succeed.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {text}");
        serde_json::from_str(&text).expect("one document")
    }

    /// The code and the exit code of a call that must fail.
    #[track_caller]
    fn refusal(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let output = self.run(&[arguments, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        let document: Value = serde_json::from_str(&text).expect("one document");
        let code = document["error"]["code"].as_str().expect("a code");
        (code.to_owned(), output.status.code())
    }

    /// The lines of an export but for the header, whose time differs.
    #[track_caller]
    fn lines(&self) -> Vec<String> {
        let output = self.run(&["backlog", "export"]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().skip(1).map(str::to_owned).collect()
    }
}

fn some_cards(place: &Place) {
    for arguments in [
        &["create", "first", "--id", "A1", "--idempotency-key", "k"][..],
        &["create", "second", "--id", "A2", "--needs", "A1"],
        &[
            "create", "third", "--id", "A3", "--needs", "A1", "--needs", "A2",
        ],
        &["complete", "A1", "--result", "[1.10]"],
    ] {
        place.json(&[&["backlog"], arguments].concat());
    }
}

fn path(file: &Path) -> &str {
    file.to_str().expect("UTF-8")
}

#[test]
fn an_export_comes_back_by_file_and_by_pipe() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let (from, to) = (Place::of(&from), Place::of(&to));
    some_cards(&from);
    let folder = folder::create();
    let file = folder.join("backlog.jsonl");
    let answer = from.json(&["backlog", "export", path(&file)]);
    let size = fs::metadata(&file).expect("the file").len();
    let expected =
        json!({"file": path(&file), "cards": 3, "dependencies": 3, "events": 4, "bytes": size});
    assert_eq!(answer, expected);
    assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 1);
    let answer = to.json(&["backlog", "import", path(&file)]);
    assert_eq!(answer, json!({"cards": 3, "dependencies": 3, "events": 4}));
    let mut expected = from.lines();
    for line in &mut expected {
        *line = line.replace("\"login_role\": \"", "\"login_role\": \"imported:");
    }
    assert_eq!(to.lines(), expected);
    assert_eq!(
        to.refusal(&["backlog", "import", path(&file)]),
        ("id_conflict".into(), Some(6))
    );
    let third = Database::fresh();
    let input = fs::File::open(&file).expect("the file");
    let output = Command::new(programs::mosaic())
        .args(["backlog", "import", "-", "--no-events"])
        .env("DATABASE_URL", third.url("postgres"))
        .stdin(input)
        .output()
        .expect("mosaic");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "imported 3 cards, 3 dependencies, 0 events\n"
    );
}

#[test]
fn a_file_that_is_cut_or_spoilt_is_refused_and_changes_nothing() {
    let (from, to) = (Database::fresh(), Database::fresh());
    let (from, to) = (Place::of(&from), Place::of(&to));
    some_cards(&from);
    let before = to.lines();
    let folder = folder::create();
    let file = folder.join("backlog.jsonl");
    from.json(&["backlog", "export", path(&file)]);
    let whole = fs::read(&file).expect("the file");
    let mut spoilt: Vec<Vec<u8>> = (1..whole.len() - 1)
        .step_by(97)
        .map(|end| whole[..end].to_vec())
        .collect();
    let lines: Vec<usize> = (0..whole.len() - 1)
        .filter(|at| whole[*at] == b'\n')
        .collect();
    spoilt.extend(lines.iter().map(|end| whole[..=*end].to_vec()));
    spoilt.push([&whole[..], &whole[..]].concat());
    spoilt.push([&whole[..], b"\n"].concat());
    spoilt.push([b"\n", &whole[..]].concat());
    spoilt.push([b"[", &whole[..]].concat());
    spoilt.push(vec![0xff; 100]);
    for bytes in spoilt {
        fs::write(&file, &bytes).expect("the file");
        let (code, exit) = to.refusal(&["backlog", "import", path(&file)]);
        assert_eq!(
            (code.as_str(), exit),
            ("invalid_argument", Some(2)),
            "{}",
            String::from_utf8_lossy(&bytes)
        );
    }
    fs::write(&file, "").expect("the file");
    assert_eq!(to.refusal(&["backlog", "import", path(&file)]).1, Some(2));
    assert_eq!(to.refusal(&["backlog", "import", "/nowhere"]).1, Some(2));
    assert_eq!(to.lines(), before);
    // The last line break alone is nobody's loss.
    fs::write(&file, &whole[..whole.len() - 1]).expect("the file");
    to.json(&["backlog", "import", path(&file)]);
}

#[test]
fn an_export_that_fails_leaves_the_file_before_alone() {
    let folder = folder::create();
    let file = folder.join("backlog.jsonl");
    fs::write(&file, "precious").expect("the file");
    let nowhere = Place::External("postgresql://u@/d?host=/nowhere".into());
    assert_eq!(
        nowhere.refusal(&["backlog", "export", path(&file)]),
        ("unreachable".into(), Some(4))
    );
    assert_eq!(nowhere.refusal(&["db", "backup", path(&file)]).1, Some(4));
    assert_eq!(fs::read(&file).expect("the file"), b"precious");
    assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 1);
    assert_eq!(
        nowhere.refusal(&["backlog", "export", path(&folder)]),
        ("usage".into(), Some(2))
    );
    assert_eq!(
        nowhere.refusal(&["backlog", "export"]),
        ("usage".into(), Some(2))
    );
}

#[test]
fn a_backup_of_an_external_database_comes_back() {
    let (from, to) = (Database::fresh(), Database::bare());
    let (mut session, from) = (from.session(), Place::of(&from));
    some_cards(&from);
    let token = session.claim("A2", "w1");
    let folder = folder::create();
    let file = folder.join("backlog.dump");
    from.json(&["db", "backup", path(&file)]);
    let external = Place::of(&to);
    let answer = external.json(&["db", "restore", path(&file)]);
    assert_eq!(
        (&answer["cards"], &answer["kept_database"]),
        (&json!(3), &Value::Null)
    );
    assert_eq!(external.lines(), from.lines());
    let mut session = to.session();
    session.assert_counters_are_right();
    session.create("new");
    // Tokens that were given since the backup was made do not come again.
    assert!(session.claim("new", "w2") > token + 1_000_000_000);
    assert!(session.truth("select count(*) = 1 from mosaic.backlog_event where kind = 'resumed'"));
    // The lease itself goes on.
    session.run(&format!(
        "select from mosaic.backlog_complete('A2', {token})"
    ));
    assert_eq!(
        external.refusal(&["db", "restore", path(&file)]),
        ("bad_transition".into(), Some(7))
    );
}

#[test]
fn a_backup_of_the_embedded_server_comes_back() {
    let (from, to) = (Place::embedded(), Place::embedded());
    some_cards(&from);
    let claimed = from.json(&["backlog", "claim", "A2", "--worker", "w1"]);
    let token = claimed["cards"][0]["claim_token"]
        .as_i64()
        .expect("a token");
    let folder = folder::create();
    let file = folder.join("backlog.dump");
    let answer = from.json(&["db", "backup", path(&file)]);
    assert_eq!(
        answer["bytes"],
        json!(fs::metadata(&file).expect("the file").len())
    );
    assert_eq!(
        from.refusal(&["db", "restore", path(&file)]),
        ("bad_transition".into(), Some(7))
    );

    // A backup that is cut off changes nothing.
    let whole = fs::read(&file).expect("the file");
    let cut = folder.join("cut.dump");
    for end in [0, 10, whole.len() / 2, whole.len() - 10] {
        fs::write(&cut, &whole[..end]).expect("the file");
        assert_ne!(to.refusal(&["db", "restore", path(&cut)]).1, Some(0));
        assert_eq!(to.json(&["backlog", "list"])["cards"], json!([]));
    }

    let answer = to.json(&["db", "restore", path(&file)]);
    assert_eq!(
        (&answer["cards"], &answer["kept_database"]),
        (&json!(3), &Value::Null)
    );
    assert_eq!(to.lines(), from.lines());
    to.json(&["backlog", "create", "new", "--id", "new"]);
    let next = to.json(&["backlog", "claim", "new", "--worker", "w2"]);
    assert!(next["cards"][0]["claim_token"].as_i64() > Some(token + 1_000_000_000));
    to.json(&["backlog", "complete", "A2", "--token", &token.to_string()]);
    to.json(&["db", "stop"]);
    assert_eq!(
        to.json(&["backlog", "show", "A3"])["card"]["open_dependencies"],
        json!(0)
    );
}

#[test]
fn a_restore_keeps_tables_of_the_operators_own_and_heals_after_a_kill() {
    let (from, to) = (Place::embedded(), Place::embedded());
    some_cards(&from);
    let folder = folder::create();
    let file = folder.join("backlog.dump");
    from.json(&["db", "backup", path(&file)]);
    let psql = |sql: &str| {
        let output = to.run(&[
            "db",
            "psql",
            "--admin",
            "--",
            "-qAt",
            "-c",
            "\\c postgres",
            "-c",
            sql,
        ]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let output = to.run(&[
        "db",
        "psql",
        "--admin",
        "--",
        "-qc",
        "create table mine (n int)",
    ]);
    assert!(output.status.success(), "{output:?}");
    // As a restore leaves it that is killed at the moment of the change.
    psql("alter database mosaic with allow_connections false");
    assert_eq!(to.json(&["backlog", "list"])["cards"], json!([]));
    let answer = to.json(&["db", "restore", path(&file)]);
    let kept = answer["kept_database"].as_str().expect("a name");
    assert_eq!(
        psql(&format!(
            "select count(*) from pg_database where datname in ('mosaic', '{kept}') and datallowconn"
        )),
        "2"
    );
    assert_eq!(to.lines(), from.lines());
}
