//! How a command ends, and what becomes of its card.

use std::fs;
use std::process::Stdio;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::mosaic;
use mosaic_backlog_tests::{folder, programs};
use serde_json::json;

use super::{cards, run, run_json};

#[test]
fn a_command_finds_its_card_and_its_result_is_kept() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('first', id => 'A'); select from mosaic.backlog_complete('A', result => '{\"n\": 1}')");
    s.create_after("B", &["A"]);
    let script = "
        test \"$MOSAIC_CARD_ID\" = B && test \"$MOSAIC_AGENT\" = w || exit 10
        cmp -s - \"$MOSAIC_CARD_FILE\" || exit 11
        printf '{\"token\": %s, \"card\": %s}' \"$MOSAIC_CLAIM_TOKEN\" \"$(cat \"$MOSAIC_CARD_FILE\")\" > \"$MOSAIC_RESULT_FILE\"";
    let (exit, cards) = run_json(&db, &[], script);
    let card = s.card("B");
    assert_eq!(exit, 0, "{cards:?}");
    let result = &card["result"];
    assert_eq!(card["status"], "done");
    assert_eq!(result["card"]["title"], "B");
    assert_eq!(result["card"]["claim_token"], result["token"]);
    assert_eq!(
        result["card"]["dependencies"],
        json!([{"id": "A", "title": "first", "result": {"n": 1}}])
    );
    assert_eq!(
        cards,
        [json!({
            "id": "B", "claim_token": result["token"], "outcome": "completed", "exit": 0,
            "signal": null, "reason": null
        })]
    );
}

#[test]
fn a_result_that_is_no_json_is_kept_as_text_and_none_as_none() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 3);
    for (script, kept) in [
        (
            "echo 'see \"docs\"' > \"$MOSAIC_RESULT_FILE\"",
            json!("see \"docs\""),
        ),
        ("true", json!(null)),
        (": > \"$MOSAIC_RESULT_FILE\"", json!(null)),
    ] {
        let (exit, cards) = run_json(&db, &[], script);
        assert_eq!(exit, 0);
        let id = cards[0]["id"].as_str().expect("an id");
        assert_eq!(s.card(id)["result"], kept, "{script}");
    }
}

#[test]
fn a_result_that_cannot_be_kept_fails_the_card() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let script = "head -c 2000000 /dev/zero | tr '\\0' x > \"$MOSAIC_RESULT_FILE\"";
    let (exit, cards) = run_json(&db, &[], script);
    assert_eq!((exit, &cards[0]["outcome"]), (10, &json!("failed")));
    let reason = cards[0]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("the result was refused: "), "{reason}");
    assert_eq!(s.status("A"), "ready");
}

#[test]
fn a_result_without_an_end_fails_the_card_and_fills_no_memory() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let script = "truncate -s 4G \"$MOSAIC_RESULT_FILE\"";
    // A quarter of the file.
    let call = run(&["--json"], script).on(&db).with(|command| {
        let mut shell = std::process::Command::new("sh");
        shell
            .args(["-c", "ulimit -v 1048576; exec \"$@\"", "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        *command = shell;
    });
    let (exit, cards) = cards(call.run());
    assert_eq!((exit, &cards[0]["outcome"]), (10, &json!("failed")));
    let reason = cards[0]["reason"].as_str().expect("a reason");
    assert_eq!(
        reason,
        "the result was refused: it has more than 8388608 bytes"
    );
    assert_eq!(s.status("A"), "ready");
}

#[test]
fn what_is_no_file_in_the_place_of_the_result_holds_nothing_up_and_the_work_is_done() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 5);
    let own = folder::create();
    fs::write(own.join("secret"), "\"secret\"").expect("write");
    let linked = format!("ln -s {}/secret \"$MOSAIC_RESULT_FILE\"", own.display());
    for (script, told) in [
        ("mkfifo \"$MOSAIC_RESULT_FILE\"", "is not an ordinary file"),
        ("mkdir \"$MOSAIC_RESULT_FILE\"", "is not an ordinary file"),
        ("ln -s /dev/zero \"$MOSAIC_RESULT_FILE\"", "is a link"),
        ("ln -s gone \"$MOSAIC_RESULT_FILE\"", "is a link"),
        (&linked, "is a link"),
    ] {
        let (exit, cards) = run_json(&db, &[], script);
        assert_eq!(
            (exit, &cards[0]["outcome"]),
            (0, &json!("completed")),
            "{script}: {cards:?}"
        );
        let reason = cards[0]["reason"].as_str().expect("a remark");
        assert!(reason.contains(told), "{script}: {reason}");
        let id = cards[0]["id"].as_str().expect("an id");
        assert!(s.card(id)["result"].is_null(), "{script}");
    }
}

#[test]
fn without_a_place_for_its_files_no_card_is_claimed() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let document = run(&["--json"], "true")
        .on(&db)
        .env("TMPDIR", "/nonexistent")
        .run()
        .json(4);
    let error = &document["error"];
    assert_eq!(error["code"], "resource", "{error}");
    assert_eq!(error["retryable"], false, "{error}");
    let text = error.to_string();
    for part in ["in /nonexistent", "Nothing was claimed.", "TMPDIR"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let claims = s.column("select kind from mosaic.backlog_event");
    assert_eq!(claims, ["created"]);
}

#[test]
fn finished_work_is_kept_whatever_characters_its_result_holds() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 6);
    for (script, kept, told) in [
        (r#"printf 'a\0b'"#, json!("a\u{fffd}b"), "1 NUL"),
        (
            r#"printf '{"log": "\\u0000\\u0000", "n": 1}'"#,
            json!({"log": "\u{fffd}\u{fffd}", "n": 1}),
            "2 NULs",
        ),
        (
            r#"printf '["\\ud83d", "\\ud83d\\ude00"]'"#,
            json!(["\u{fffd}", "😀"]),
            "1 half of a surrogate pair",
        ),
        (r#"printf 'das \303'"#, json!("das \u{fffd}"), "not UTF-8"),
        (
            r#"printf '[1e999999]'"#,
            json!("[1e999999]"),
            "kept as text",
        ),
        (
            "printf '[%.0s' $(seq 120); printf ']%.0s' $(seq 120)",
            json!("[".repeat(120) + &"]".repeat(120)),
            "kept as text",
        ),
    ] {
        let script = format!("({script}) > \"$MOSAIC_RESULT_FILE\"");
        let (exit, cards) = run_json(&db, &[], &script);
        assert_eq!(
            (exit, &cards[0]["outcome"]),
            (0, &json!("completed")),
            "{cards:?}"
        );
        let reason = cards[0]["reason"].as_str().expect("a remark");
        assert!(reason.contains(told), "{script}: {reason}");
        let id = cards[0]["id"].as_str().expect("an id");
        assert_eq!(s.card(id)["result"], kept, "{script}");
    }
}

#[test]
fn a_completion_is_the_worker_s() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 2);
    run_json(&db, &[], "true");
    run_json(&db, &[], "false");
    let actors = s.column(
        "select distinct actor from mosaic.backlog_event where kind in ('claimed', 'completed', 'failed')",
    );
    assert_eq!(actors, ["w"]);
}

#[test]
fn a_command_that_fails_fails_the_card_with_its_last_words() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let script = "echo 'the tests fail' >&2; exit 3";
    let (exit, cards) = run_json(&db, &[], script);
    assert_eq!(exit, 10);
    assert_eq!(cards[0]["outcome"], "failed");
    assert_eq!(cards[0]["exit"], 3);
    assert_eq!(cards[0]["reason"], "exit code 3\nthe tests fail");
    s.run("select from mosaic.backlog_update('A', not_before => now())");
    let failure = s.text("select last_failure from mosaic.backlog_claim('next')");
    assert_eq!(failure, "exit code 3\nthe tests fail");
}

#[test]
fn a_command_that_is_killed_fails_the_card() {
    let db = Database::fresh();
    db.session().create("A");
    let (exit, cards) = run_json(&db, &[], "kill -9 $$");
    assert_eq!(exit, 10);
    assert_eq!(cards[0]["exit"], json!(null));
    assert_eq!(cards[0]["signal"], "SIGKILL");
    assert_eq!(cards[0]["reason"], "signal 9 (SIGKILL)");
}

#[test]
fn exit_code_75_gives_the_card_back_without_blame_and_not_to_us_at_once() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let (exit, cards) = run_json(&db, &["--loop"], "exit 75");
    assert_eq!(exit, 10);
    assert_eq!(cards.len(), 1, "{cards:?}");
    assert_eq!(cards[0]["outcome"], "released");
    let card = s.card("A");
    assert_eq!(
        (&card["status"], &card["attempts"]),
        (&json!("ready"), &json!(0))
    );
}

#[test]
fn what_the_command_did_with_its_card_itself_holds() {
    let db = Database::fresh();
    let mut s = db.session();
    let mosaic = programs::mosaic().display();
    for (id, call, code, exit, outcome, status) in [
        ("A", "complete ID --result 7", 0, 0, "completed", "done"),
        ("B", "complete ID", 1, 0, "completed", "done"),
        ("C", "block ID --reason why", 0, 0, "blocked", "blocked"),
        ("D", "block ID --reason why", 5, 0, "blocked", "blocked"),
        ("E", "fail ID --reason why", 0, 10, "failed", "ready"),
        ("F", "release ID --retry-in 1h", 0, 0, "released", "ready"),
    ] {
        s.create(id);
        let call = call.replace("ID", "\"$MOSAIC_CARD_ID\" --token \"$MOSAIC_CLAIM_TOKEN\"");
        let script = format!("{mosaic} backlog {call} >&2; exit {code}");
        let (real, cards) = run_json(&db, &[], &script);
        assert_eq!(cards[0]["id"], id);
        assert_eq!(
            (real, cards[0]["outcome"].as_str()),
            (exit, Some(outcome)),
            "{call}"
        );
        assert_eq!(cards[0]["exit"], code, "{call}");
        assert_eq!(s.status(id), status, "{call}");
    }
    assert_eq!(s.card("A")["result"], 7);
}

#[test]
fn the_command_s_own_calls_go_to_the_same_backlog() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let script = format!(
        "{} backlog create t --id from-within >&2",
        programs::mosaic().display()
    );
    let url = db.url("worker");
    let outcome = run(&["--database-url", &url], &script).run();
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    let actor = s.text("select actor from mosaic.backlog_event where card_id = 'from-within'");
    assert_eq!(actor, "w");
}

#[test]
fn output_is_the_command_s_own_and_with_json_it_makes_room() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 2);
    let outcome = run(&[], "echo out; echo err >&2").on(&db).run();
    assert_eq!(outcome.stdout, "out\n");
    assert_eq!(
        outcome.stderr,
        "mosaic: c1 claimed: t\nerr\nmosaic: c1 completed\n"
    );
    let outcome = run(&["--json"], "echo out").on(&db).run();
    assert!(outcome.stderr.contains("\nout\n"), "{outcome:?}");
    assert!(outcome.stdout.starts_with("{\"cards\":["), "{outcome:?}");
}

#[test]
fn without_a_card_nothing_runs() {
    let db = Database::fresh();
    let (exit, cards) = run_json(&db, &[], "echo ran >&2");
    assert_eq!((exit, cards.len()), (3, 0));
    let outcome = run(&[], "echo ran").on(&db).run();
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (3, ""));
    assert!(outcome.stderr.contains("nothing to claim"), "{outcome:?}");
}

#[test]
fn without_a_command_that_can_be_run_nothing_is_claimed() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let folder = folder::create();
    let file = folder.join("not-a-program");
    fs::write(&file, "text").expect("write");
    let file = file.to_str().expect("a path");
    for command in [&["no-such-program"][..], &["/no/such"], &[file], &[]] {
        let mut arguments = vec!["backlog", "run", "--json", "--"];
        arguments.extend(command);
        assert_eq!(mosaic(&arguments).on(&db).code(2), "usage", "{command:?}");
    }
    assert_eq!(s.card("A")["attempts"], 0);
    // One that turns out not to run gives the card back, and ends the loop.
    let broken = folder.join("broken");
    fs::write(&broken, "\x7fELF").expect("write");
    fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("chmod");
    let outcome = mosaic(&["backlog", "run", "--loop", "--"])
        .on(&db)
        .with(|command| {
            command.arg(&broken);
        })
        .run();
    assert_eq!(outcome.exit, 2, "{outcome:?}");
    let card = s.card("A");
    assert_eq!(
        (&card["status"], &card["attempts"]),
        (&json!("ready"), &json!(0))
    );
}

#[test]
fn a_database_that_cannot_be_used_is_no_lack_of_work() {
    let nowhere = "postgresql://postgres@127.0.0.1:1/postgres";
    let call = run(&["--json"], "true").env("DATABASE_URL", nowhere);
    assert_eq!(call.code(4), "unreachable");
    let db = Database::fresh();
    let call = run(&["--json", "--wait"], "true").on_as(&db, "reader");
    assert_eq!(call.code(4), "unauthorized");
}
