//! What people see without `--json`.

use std::process::Command;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::mosaic;
use mosaic_backlog_tests::programs;

fn text(db: &Database, arguments: &[&str]) -> String {
    let mut all = vec!["backlog"];
    all.extend(arguments);
    let outcome = mosaic(&all).on(db).run();
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    assert_eq!(outcome.stderr, "", "{arguments:?}");
    outcome.stdout
}

#[test]
fn a_list_that_is_cut_says_so() {
    let db = Database::fresh();
    db.session().create_numbered("c", 12);
    let page = text(&db, &["list", "--limit", "5"]);
    assert!(page.contains("5 of 12"), "{page}");
    assert!(page.contains("--after"), "{page}");
    let all = text(&db, &["list"]);
    assert!(all.contains("12 of 12"), "{all}");
    assert_eq!(text(&db, &["list", "--phase", "none"]), "no cards\n");
}

#[test]
fn columns_are_aligned_whatever_script_the_titles_are_in() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('plain title', id => 'short');
         select from mosaic.backlog_create('世界 title', id => 'a-much-longer-id');
         select from mosaic.backlog_create(E'two\\nlines', id => 'two')",
    );
    let list = text(&db, &["list"]);
    let title = |needle: &str| {
        list.lines()
            .find(|line| line.contains(needle))
            .map(|line| line[..line.find(needle).unwrap_or(0)].chars().count())
            .unwrap_or_else(|| panic!("{needle} is not in {list}"))
    };
    assert_eq!(title("plain title"), title("世界"));
    // A title with a line break stays in its row.
    assert_eq!(
        list.lines().filter(|line| line.contains("lines")).count(),
        1
    );
    assert!(
        list.lines()
            .any(|line| line.contains("two") && line.contains("lines")),
        "{list}"
    );
}

#[test]
fn control_characters_of_a_title_do_not_reach_the_terminal() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create(E'evil \\x1b[31m title \\x07', id => 'A', body => E'\\x1b]0;owned\\x07')");
    for call in [
        &["list"][..],
        &["show", "A"],
        &["why", "A"],
        &["claim", "A"],
        &["events"],
        &["complete", "A", "--force"],
    ] {
        let shown = text(&db, call);
        assert!(
            !shown.contains('\x1b') && !shown.contains('\x07'),
            "{call:?}: {shown:?}"
        );
    }
}

#[test]
fn every_verb_has_something_to_say() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    for (call, part) in [
        (&["create", "New", "--id", "C"][..], "C"),
        (&["show", "A"], "A"),
        (&["why", "B"], "A"),
        (&["stats"], "ready"),
        (&["stats", "--format", "prometheus"], "# TYPE"),
        (&["block", "A", "--reason", "need a key"], "need a key"),
        (&["unblock", "A"], "A"),
        (&["link", "C", "--needs", "A"], "C"),
        (&["unlink", "C", "--needs", "A"], "C"),
        (&["update", "C", "--title", "Newer"], "Newer"),
        (&["complete", "A"], "B"),
        (&["cancel", "C", "--reason", "r"], "C"),
        (&["reopen", "C", "--reason", "r"], "C"),
        (&["claim", "--worker", "w9"], "w9"),
        (&["events", "A"], "created"),
        (&["reclaim"], ""),
    ] {
        let shown = text(&db, call);
        assert!(
            shown.contains(part) && !shown.trim().is_empty(),
            "{call:?}: {shown:?}"
        );
        assert!(!shown.contains('\x1b'), "{call:?}: {shown:?}");
    }
}

/// Runs the program on a terminal.
fn on_a_terminal(db: &Database, arguments: &str, variable: (&str, &str)) -> String {
    let output = Command::new("script")
        .args([
            "-qec",
            &format!("'{}' {arguments}", programs::mosaic().display()),
            "/dev/null",
        ])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TERM", "xterm")
        .env("DATABASE_URL", db.url("postgres"))
        .env(variable.0, variable.1)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("script");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn colour_appears_on_a_terminal_alone_and_never_with_no_color() {
    let db = Database::fresh();
    db.session().create("A");
    let plain = ("LANG", "C.UTF-8");
    let coloured = on_a_terminal(&db, "backlog list", plain);
    assert!(coloured.contains("\x1b["), "{coloured:?}");
    let quiet = on_a_terminal(&db, "backlog list", ("NO_COLOR", "1"));
    assert!(!quiet.contains("\x1b["), "{quiet:?}");
    let json = on_a_terminal(&db, "backlog list --json", plain);
    assert!(!json.contains("\x1b["), "{json:?}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let db = Database::fresh();
    db.session().create_numbered("c", 2000);
    let output = Command::new("bash")
        .args([
            "-o",
            "pipefail",
            "-c",
            "\"$1\" backlog list --limit 2000 | head -n 1",
            "-",
        ])
        .arg(programs::mosaic())
        .env("DATABASE_URL", db.url("postgres"))
        .output()
        .expect("bash");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
