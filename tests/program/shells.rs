//! Completions and manual pages, in the shells and programs that they are for.

use std::fs;
use std::path::Path;
use std::process::Command;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::home::Home;
use mosaic_backlog_tests::program::mosaic;
use mosaic_backlog_tests::{folder, programs};

/// Where the scripts find `mosaic`.
fn path() -> String {
    let folder = programs::mosaic().parent().expect("a folder").display();
    format!("{folder}:{}", std::env::var("PATH").unwrap_or_default())
}

/// What bash offers for the last of these words.
fn offered(database_url: &str, words: &[&str]) -> Vec<String> {
    const SCRIPT: &str = r#"
        source <(mosaic completions bash)
        # A slip, which is not warned about in the middle of a line.
        export MOSAIC_AGNT=w1
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        complete -p mosaic >/dev/null || exit 1
        _clap_complete_mosaic mosaic "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let output = Command::new("bash")
        .args(["-c", SCRIPT, "bash", "mosaic"])
        .args(words)
        .env("PATH", path())
        .env("DATABASE_URL", database_url)
        .output()
        .expect("bash");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{words:?}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn bash_completes_commands_flags_values_and_ids() {
    let db = Database::fresh();
    let mut session = db.session();
    for id in ["A4", "A5", "B1"] {
        session.create(id);
    }
    let url = db.url("reader");
    for (words, expected) in [
        (&["backlog", "sho"][..], &["show"][..]),
        (&["back"], &["backlog"]),
        (&["backlog", "list", "--rea"], &["--ready"]),
        (
            &["backlog", "list", "--status", "c"],
            &["claimed", "cancelled"],
        ),
        (&["backlog", "show", "A"], &["A4", "A5"]),
        (&["fleet", "backlog", "claim", "B"], &["B1"]),
        (&["backlog", "link", "B1", "--needs", "A"], &["A4", "A5"]),
        (&["backlog", "create", "t", "--needs", "B"], &["B1"]),
        (&["backlog", "create", "t", "--id", "A"], &[]),
        (&["backlog", "show", "Z"], &[]),
    ] {
        assert_eq!(offered(&url, words), expected, "{words:?}");
    }
    let flag = ["--database-url", &url, "backlog", "show", "B"];
    assert_eq!(offered("host=nowhere.invalid", &flag), ["B1"]);
}

#[test]
fn completing_without_a_database_is_silent_and_starts_none() {
    let start = std::time::Instant::now();
    assert_eq!(
        offered("postgresql://127.0.0.1:1/x", &["backlog", "show", "A"]),
        [""; 0]
    );
    assert_eq!(offered("nonsense", &["backlog", "sho"]), ["show"]);
    assert!(start.elapsed().as_secs() < 5);
    let home = Home::new();
    let outcome = mosaic(&["--", "mosaic", "backlog", "show", ""])
        .at(&home)
        .env("MOSAIC_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "3")
        .run();
    assert_eq!(
        (outcome.exit, outcome.stderr.as_str()),
        (0, ""),
        "{outcome:?}"
    );
    assert!(!home.data().exists());
}

/// Whether this machine has the program.
fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[test]
fn the_scripts_are_what_their_shells_read() {
    let folder = folder::create();
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = mosaic(&["completions", shell]).run();
        assert_eq!((script.exit, script.stderr.as_str()), (0, ""));
        assert!(script.stdout.contains("MOSAIC_COMPLETE"), "{script:?}");
        let file = folder.join(shell);
        fs::write(&file, &script.stdout).expect("write");
        if has(shell) {
            programs::run(Command::new(shell).arg(check).arg(&file));
        }
        let document = mosaic(&["completions", shell, "--json"]).json();
        assert_eq!(document["shell"], shell);
        assert_eq!(
            document["script"].as_str().map(str::trim),
            Some(script.stdout.trim())
        );
    }
    assert_eq!(mosaic(&["completions", "tcsh"]).run().exit, 2);
}

/// Formats a page as `man` does; what it complains about.
fn complaints(page: &Path) -> String {
    let output = Command::new("groff")
        .args(["-ww", "-z", "-man", "-Tutf8"])
        .arg(page)
        .output()
        .expect("groff");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_command_has_a_manual_page_that_formats_without_a_warning() {
    let folder = folder::create();
    let at = folder.join("man1");
    let document = mosaic(&["man", "--output", at.to_str().expect("UTF-8"), "--json"]).json();
    let pages: Vec<&str> = document["pages"]
        .as_array()
        .expect("pages")
        .iter()
        .filter_map(|page| page.as_str())
        .collect();
    for page in [
        "mosaic.1",
        "mosaic-backlog.1",
        "mosaic-backlog-claim.1",
        "mosaic-db-backup.1",
    ] {
        assert!(pages.contains(&page), "{page}: {pages:?}");
    }
    assert!(
        !pages
            .iter()
            .any(|page| page.contains("fleet") || page.contains("step"))
    );
    for page in pages {
        let text = fs::read_to_string(at.join(page)).expect("a page");
        assert!(text.contains(".SH NAME") && text.is_ascii(), "{page}");
        if has("groff") {
            assert_eq!(complaints(&at.join(page)), "", "{page}");
        }
    }
}

#[test]
fn a_page_is_printed_by_the_words_of_its_command() {
    let page = |words: &[&str]| {
        let mut all = vec!["man"];
        all.extend(words);
        mosaic(&all).run()
    };
    let claim = page(&["backlog", "claim"]).stdout;
    assert!(
        claim.contains("mosaic\\-backlog\\-claim \\- Claim the next card"),
        "{claim}"
    );
    assert!(claim.contains("\\-\\-request\\-id"), "{claim}");
    assert!(claim.contains("mosaic backlog claim A4"), "{claim}");
    assert_eq!(page(&["fleet", "backlog", "claim"]).stdout, claim);
    assert!(page(&[]).stdout.contains("mosaic \\-"));
    assert_eq!(page(&["backlog", "nonsense"]).exit, 2);
}
