//! An answer that cannot be written: it is said where it can be, and nothing stays claimed for nobody.

use std::fs::File;
use std::process::{Child, Stdio};

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{Mosaic, Outcome, mosaic};
use serde_json::json;

/// With a standard output that is always full.
fn to_a_full_disk(call: Mosaic) -> Outcome {
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    call.with(|command| {
        command.stdout(full);
    })
    .run()
}

/// With a reader that went away before.
fn to_nobody(call: Mosaic) -> Outcome {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    call.with(|command| {
        command.stdout(writer);
    })
    .run()
}

/// With a standard output that was closed, as by `>&-`.
fn to_nothing(call: Mosaic) -> Outcome {
    let call = call.into_command();
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", "exec \"$@\" >&-", "sh"])
        .arg(call.get_program())
        .args(call.get_args())
        .env_clear()
        .envs(
            call.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child: Child = shell.spawn().expect("sh");
    Outcome::of(child)
}

#[test]
fn a_claim_whose_answer_is_lost_is_given_back() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 3);
    for lost in [to_a_full_disk, to_nobody, to_nothing] {
        for flags in [
            &["--max", "2", "--json"][..],
            &[],
            &["--wait", "5s", "--json"],
            &["--quiet"],
        ] {
            let call = [&["backlog", "claim", "--worker", "w"], flags].concat();
            let outcome = lost(mosaic(&call).on_as(&db, "worker"));
            if flags.contains(&"--wait") && outcome.exit == 3 {
                // Its reader was known to be gone, so that nothing was claimed.
                continue;
            }
            assert_eq!(outcome.exit, 4, "{flags:?}: {outcome:?}");
            assert!(
                outcome
                    .stderr
                    .starts_with("error: cannot write to standard output\n")
                    && outcome.stderr.contains("What was claimed was given back."),
                "{flags:?}: {outcome:?}"
            );
            let card = s.card("c1");
            assert_eq!(
                (&card["status"], &card["attempts"]),
                (&json!("ready"), &json!(0))
            );
        }
    }
    assert_eq!(
        s.number("select count(*) from mosaic.backlog where status = 'ready'"),
        3
    );
}

#[test]
fn a_full_disk_is_told_on_stderr_and_by_the_exit_code() {
    let db = Database::fresh();
    db.session().create("A");
    for call in [
        &["backlog", "list", "--json"][..],
        &["backlog", "list"],
        &["backlog", "show", "A", "--json"],
        &["backlog", "create", "t", "--json"],
        &["backlog", "events", "--json"],
        &["backlog", "watch", "--from-start", "--json"],
        &["backlog", "export"],
        &["backlog", "run", "--json", "--", "true"],
        &["backlog", "prime"],
        &["backlog", "graph"],
        &["backlog", "stats", "--format", "prometheus"],
        &["db", "status", "--json"],
        &["completions", "bash"],
        &["man", "backlog", "list"],
        &["--version"],
        &["--help"],
    ] {
        let outcome = to_a_full_disk(mosaic(call).on(&db));
        assert_eq!(outcome.exit, 4, "{call:?}: {outcome:?}");
        let said = "error: cannot write to standard output\nNo space left on device";
        assert!(outcome.stderr.contains(said), "{call:?}: {outcome:?}");
    }
    // What went wrong before is told as well, under its own exit code.
    let outcome = to_a_full_disk(mosaic(&["backlog", "show", "B", "--json"]).on(&db));
    assert_eq!(outcome.exit, 5);
    assert!(
        outcome
            .stderr
            .starts_with("error: card \"B\" does not exist\n"),
        "{outcome:?}"
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let db = Database::fresh();
    db.session().create("A");
    for call in [
        &["backlog", "list", "--json"][..],
        &["backlog", "show", "A"],
        &["--help"],
    ] {
        let outcome = to_nobody(mosaic(call).on(&db));
        assert_eq!((outcome.exit, outcome.stderr.as_str()), (0, ""), "{call:?}");
    }
}
