//! Why something was done: from the command line or a file, whatever bytes it holds.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{Mosaic, backlog};
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::{folder, programs};

/// A claim of a card, and a call that fails it.
fn fail(db: &Database, flags: &[&str]) -> Mosaic {
    let mut s = db.session();
    s.run("select from mosaic.backlog_update('A', not_before => now())");
    let token = s.claim("A", "w").to_string();
    let mut call = vec!["fail", "A", "--token", &token];
    call.extend(flags);
    backlog(&call).on(db)
}

fn with_a_card() -> (Database, Session) {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', max_attempts => 100)");
    (db, s)
}

fn last_failure(s: &mut Session) -> String {
    s.text(
        "select detail->>'reason' from mosaic.backlog_event
         where card_id = 'A' and kind = 'failed' order by event_id desc limit 1",
    )
}

#[test]
fn a_failure_is_told_whatever_its_log_is() {
    let (db, mut s) = with_a_card();
    let folder = folder::create();
    let log = folder.join("work.log");
    let name = log.to_str().expect("a path");
    for (bytes, told) in [
        (&"das Ä".as_bytes()[..5], "das \u{fffd}"),
        (&"Ä fehlt\n".as_bytes()[1..], "\u{fffd} fehlt"),
        (b"", "no reason was given"),
        (b" \n", "no reason was given"),
        (b"a\0b", "a\u{fffd}b"),
        (b"- one\n- two", "- one\n- two"),
    ] {
        fs::write(&log, bytes).expect("a log");
        fail(&db, &["--reason-file", name]).json();
        assert_eq!(last_failure(&mut s), told, "{bytes:?}");
    }
    // A log of which the end alone is of interest.
    fs::write(&log, "é".repeat(3_000_000) + "the last line\n").expect("a log");
    fail(&db, &["--reason-file", name]).json();
    let told = last_failure(&mut s);
    assert_eq!(told.chars().count(), 10_000);
    assert!(
        told.starts_with("[the beginning was left out]\nééé"),
        "{told:.80}"
    );
    assert!(told.ends_with("éthe last line"));
    fail(&db, &["--reason-file", "/no/such/log"]).json();
    assert!(last_failure(&mut s).starts_with("no reason was given: "));
    fail(&db, &["--reason-file", "-"])
        .input("from a pipe\n")
        .run()
        .json(0);
    assert_eq!(last_failure(&mut s), "from a pipe");
}

#[test]
fn a_reason_on_the_command_line_is_taken_in_whatever_bytes() {
    let (db, mut s) = with_a_card();
    let broken = OsStr::from_bytes(b"das \xc3");
    let call = fail(&db, &["--reason"]).with(|command| {
        let mut arguments: Vec<_> = command.get_args().map(OsStr::to_owned).collect();
        // `--json` stands last.
        arguments.insert(arguments.len() - 1, broken.to_owned());
        let program = command.get_program().to_owned();
        let envs: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        *command = Command::new(program);
        command.args(arguments).env_clear().envs(envs);
        command.stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped());
    });
    call.json();
    assert_eq!(last_failure(&mut s), "das \u{fffd}");
    fail(&db, &["--reason", ""]).json();
    assert_eq!(last_failure(&mut s), "no reason was given");
    fail(&db, &["--reason", &("x".repeat(20_000) + "!")]).json();
    assert!(last_failure(&mut s).ends_with("x!"));
}

#[test]
fn every_reason_can_come_from_a_file() {
    let db = Database::fresh();
    let mut s = db.session();
    let folder = folder::create();
    let file = folder.join("why");
    fs::write(&file, b"why \xff\n").expect("a file");
    let file = file.to_str().expect("a path");
    for id in ["B", "C", "D"] {
        s.create(id);
    }
    let token = s.claim("B", "w").to_string();
    for call in [
        &["release", "B", "--token", &token][..],
        &["block", "C"],
        &["cancel", "D"],
        &["reopen", "D"],
    ] {
        let flags = [call, &["--reason-file", file]].concat();
        backlog(&flags).on(&db).json();
    }
    let told = s.column(
        "select distinct detail->>'reason' from mosaic.backlog_event where detail ? 'reason'",
    );
    assert_eq!(told, ["why \u{fffd}"]);
    // A card that is given back does not stay held for want of words.
    s.create("E");
    let token = s.claim("E", "w").to_string();
    let call = [
        "release",
        "E",
        "--token",
        &token,
        "--reason-file",
        "/no/such/file",
    ];
    assert_eq!(backlog(&call).on(&db).run().exit, 0);
    assert_eq!(s.status("E"), "ready");
    // Where words are the point, none are not enough.
    for call in [&["block", "B"][..], &["cancel", "B"], &["reopen", "D"]] {
        for reason in [&["--reason", " "][..], &["--reason-file", "/dev/null"], &[]] {
            let call = [call, reason].concat();
            assert_eq!(backlog(&call).on(&db).code(2), "usage", "{call:?}");
        }
    }
}

#[test]
fn what_names_a_file_is_refused_where_text_is_meant() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for call in [
        &["create", "-"][..],
        &["create", "@plan.md"],
        &["create", "t", "--body", "-"],
        &["create", "t", "--body", "@plan.md"],
        &["update", "A", "--title", "-"],
        &["update", "A", "--body", "@plan.md"],
        &["block", "A", "--reason", "-"],
        &["cancel", "A", "--reason", "@why.txt"],
        &["fail", "A", "--token", "1", "--reason", "@work.log"],
        &["create", "t", "--id", "-"],
        &["create", "t", "--label", "-"],
        &["create", "t", "--phase", "-"],
        &["claim", "--worker", "-"],
        &["unblock", "A", "--actor", "-"],
    ] {
        assert_eq!(backlog(call).on(&db).code(2), "usage", "{call:?}");
    }
    assert_eq!(s.number("select count(*) from mosaic.backlog_event"), 1);
    backlog(&["create", "@alice: review this"]).on(&db).json();
}

#[test]
fn a_result_of_finished_work_is_kept_without_what_cannot_be_stored() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let call = backlog(&[
        "complete",
        "A",
        "--result",
        r#"{"log": "a\u0000b", "half": "\ud83d"}"#,
    ]);
    let outcome = call.on(&db).run();
    assert!(
        outcome.stderr.contains("U+FFFD: 1 NUL, 1 half"),
        "{outcome:?}"
    );
    assert_eq!(outcome.exit, 0);
    let result = &s.card("A")["result"];
    assert_eq!(result["log"], "a\u{fffd}b");
    assert_eq!(result["half"], "\u{fffd}");
}

/// The loop that the conventions show, as it stands there.
fn the_loop() -> String {
    let page = programs::sources().join("docs/fleet/backlog-conventions.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, rest) = page.split_once("```sh\nwhile").expect("the loop");
    let (body, _) = rest.split_once("```").expect("its end");
    format!("while{body}")
}

#[test]
fn the_loop_of_the_conventions_loses_no_failure_and_no_result() {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["cut", "empty", "long", "good", "last"] {
        s.create(id);
    }
    let folder = folder::create();
    let bin = programs::mosaic().parent().expect("a folder").to_owned();
    let path = std::env::var("PATH").unwrap_or_default();
    let script = format!(
        r#"me=w
        work_on() {{
          case $(echo "$1" | jq -r '.cards[0].id') in
            cut) printf 'das \303'; return 1 ;;
            empty) return 1 ;;
            long) head -c 1000000 /dev/zero | tr '\0' x; echo; printf '\244 the end'; return 1 ;;
            good) echo '{{"n": 1}}' > result.json ;;
            last) exit 7 ;;
          esac
        }}
        {}"#,
        the_loop()
    );
    let output = Command::new("bash")
        .args(["-c", &script])
        .env_clear()
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("DATABASE_URL", db.url("worker"))
        .current_dir(&folder)
        .output()
        .expect("bash");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let failed = s.rows(
        "select card_id, right(detail->>'reason', 20) as reason from mosaic.backlog_event
         where kind = 'failed' order by event_id",
    );
    let failed: Vec<_> = failed
        .iter()
        .map(|row| {
            (
                row["card_id"].as_str().unwrap(),
                row["reason"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        failed,
        [
            ("cut", "das \u{fffd}"),
            ("empty", "no reason was given"),
            ("long", "xxxxxxxxxx\n\u{fffd} the end"),
        ]
    );
    assert_eq!(s.card("good")["result"]["n"], 1);
    // What the loop did not come to say of the last card is its lease's.
    assert_eq!(s.status("last"), "claimed");
}
