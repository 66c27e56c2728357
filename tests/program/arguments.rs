//! What is typed wrong is a usage error, before any server is asked.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::folder;
use mosaic_backlog_tests::program::{backlog, mosaic};

/// A call that never gets as far as a server.
fn nowhere(arguments: &[&str]) -> mosaic_backlog_tests::program::Mosaic {
    backlog(arguments).env("DATABASE_URL", "postgresql://postgres@127.0.0.1:1/postgres")
}

#[test]
fn wrong_arguments_are_usage_errors_in_json() {
    for call in [
        &["nonsense"][..],
        &["create"],
        &["create", "t", "--nonsense"],
        &["create", "t", "--priority", "high"],
        &["create", "t", "--acceptance", "{broken"],
        &["create", "t", "--acceptance", "@/no/such/file"],
        &["create", "t", "--body-file", "/no/such/file"],
        &["create", "t", "--not-before", "tomorrow"],
        &["create", "t", "--batch", "-"],
        &["create", "--batch", "/no/such/file"],
        &["list", "--status", "open"],
        &["list", "--limit", "many"],
        &["claim", "--ttl", "15"],
        &["claim", "--ttl", "soon"],
        &["claim", "--request-id", "7"],
        &["renew", "A"],
        &["renew", "A", "--token", "abc"],
        &["complete", "A", "--result", "not json"],
        &["fail", "A", "--token", "1"],
        &["block", "A"],
        &["block", "A", "--reason", "r", "--kind", "nonsense"],
        &["cancel", "A"],
        &["link", "A"],
        &["show"],
    ] {
        assert_eq!(nowhere(call).code(2), "usage", "{call:?}");
    }
}

#[test]
fn an_empty_value_is_an_error_so_that_an_unset_variable_widens_nothing() {
    for call in [
        &["create", ""][..],
        &["create", "t", "--id", ""],
        &["create", "t", "--phase", ""],
        &["create", "t", "--label", ""],
        &["create", "t", "--needs", ""],
        &["create", "t", "--idempotency-key", ""],
        &["list", "--phase", ""],
        &["list", "--owner", " "],
        &["list", "--label", ""],
        &["list", "--after", ""],
        &["claim", "--worker", ""],
        &["claim", "--phase", ""],
        &["claim", ""],
        &["reclaim", ""],
        &["stats", "--phase", ""],
        &["show", ""],
        &["events", ""],
        &["cancel", "A", "--reason", ""],
        &["list", "--database-url", ""],
    ] {
        assert_eq!(nowhere(call).code(2), "usage", "{call:?}");
    }
    assert_eq!(backlog(&["list"]).env("DATABASE_URL", "").code(2), "usage");
}

#[test]
fn a_batch_with_a_bad_line_names_the_line_and_creates_nothing() {
    let db = Database::fresh();
    for (lines, number) in [
        ("{\"title\":\"a\"}\n\n{broken\n", "line 3"),
        ("{\"title\":\"a\"}\n[1]\n", "line 2"),
        ("{\"title\":\"a\"}\n\n\n{\"titel\":\"b\"}\n", "line 4"),
        ("{\"title\":\"a\"}\n{\"title\":\"\"}\n", "line 2"),
    ] {
        let document = backlog(&["create", "--batch", "-"])
            .on(&db)
            .input(lines)
            .run()
            .json(2);
        assert!(
            document.to_string().contains(number),
            "{lines:?}: {document}"
        );
    }
    assert_eq!(
        db.session().number("select count(*) from mosaic.backlog"),
        0
    );
}

#[test]
fn an_empty_batch_is_refused_or_creates_nothing_but_never_hangs() {
    let db = Database::fresh();
    let outcome = backlog(&["create", "--batch", "-"]).on(&db).input("").run();
    assert!([0, 2].contains(&outcome.exit), "{outcome:?}");
    assert_eq!(
        db.session().number("select count(*) from mosaic.backlog"),
        0
    );
}

#[test]
fn text_comes_from_files_and_standard_input_as_it_is() {
    let db = Database::fresh();
    let folder = folder::create();
    let body = "Ünï\n\n- a \"quoted\" {brace}\n\ttab\n";
    std::fs::write(folder.join("body"), body).expect("write");
    std::fs::write(folder.join("result"), "{\"ok\": true}").expect("write");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let card = &backlog(&["create", "t", "--id", "A", "--body-file", &path("body")])
        .on(&db)
        .json()["card"];
    assert_eq!(card["body"], body);
    let card = &backlog(&["create", "t", "--id", "B", "--body-file", "-"])
        .on(&db)
        .input(body)
        .json()["card"];
    assert_eq!(card["body"], body);
    let file = format!("@{}", path("result"));
    let card = &backlog(&["complete", "A", "--result", &file])
        .on(&db)
        .json()["card"];
    assert_eq!(card["result"], serde_json::json!({"ok": true}));
}

#[test]
fn a_title_that_looks_like_a_flag_goes_behind_a_double_dash() {
    let db = Database::fresh();
    let outcome = mosaic(&["backlog", "create", "--json", "--", "--json"])
        .on(&db)
        .json();
    assert_eq!(outcome["card"]["title"], "--json");
}

#[test]
fn help_of_every_command_shows_an_example_and_exits_with_0() {
    for verb in [
        "create", "list", "show", "claim", "renew", "release", "fail", "complete", "block",
        "unblock", "note", "cancel", "reopen", "update", "link", "unlink", "reclaim", "stats",
        "why", "doctor", "events",
    ] {
        let outcome = mosaic(&["fleet", "backlog", verb, "--help"]).run();
        assert_eq!(outcome.exit, 0, "{verb}");
        assert!(
            outcome.stdout.contains("Example"),
            "{verb}: {}",
            outcome.stdout
        );
        assert!(outcome.stdout.contains("Usage:"), "{verb}");
    }
    for verb in ["start", "stop", "status", "url", "psql", "migrate"] {
        let outcome = mosaic(&["db", verb, "--help"]).run();
        assert_eq!(outcome.exit, 0, "{verb}");
        assert!(outcome.stdout.contains("Example"), "{verb}");
    }
}

#[test]
fn every_argument_of_a_function_has_a_flag() {
    // The function's argument, and the verb and flag that carry it.
    let help = |verb: &str| mosaic(&["backlog", verb, "--help"]).run().stdout;
    for (verb, flags) in [
        (
            "create",
            &[
                "--id",
                "--body",
                "--phase",
                "--priority",
                "--needs",
                "--label",
                "--requires",
                "--acceptance",
                "--idempotency-key",
                "--not-before",
                "--max-attempts",
                "--actor",
                "--batch",
                "--body-file",
            ][..],
        ),
        (
            "list",
            &[
                "--ready", "--status", "--phase", "--label", "--owner", "--limit", "--after",
                "--count", "--search",
            ],
        ),
        (
            "claim",
            &[
                "--worker",
                "--ttl",
                "--max",
                "--phase",
                "--label",
                "--offers",
                "--request-id",
            ],
        ),
        ("renew", &["--token", "--ttl", "--note", "--note-file"]),
        ("release", &["--token", "--retry-in", "--reason"]),
        ("fail", &["--token", "--retry-in", "--reason"]),
        ("complete", &["--token", "--result", "--force", "--actor"]),
        ("block", &["--reason", "--kind", "--token", "--actor"]),
        ("unblock", &["--actor", "--answer", "--answer-file"]),
        ("note", &["--token", "--actor", "--note-file"]),
        ("cancel", &["--reason", "--cascade", "--force", "--actor"]),
        ("reopen", &["--reason", "--actor"]),
        (
            "update",
            &[
                "--title",
                "--body",
                "--phase",
                "--priority",
                "--label",
                "--requires",
                "--acceptance",
                "--not-before",
                "--max-attempts",
                "--clear",
                "--actor",
            ],
        ),
        ("link", &["--needs", "--actor"]),
        ("unlink", &["--needs", "--actor"]),
        ("reclaim", &["--force", "--grace", "--max", "--actor"]),
        ("stats", &["--phase", "--format"]),
        ("doctor", &["--max-age"]),
        ("events", &["--after", "--limit"]),
    ] {
        let help = help(verb);
        for flag in flags {
            assert!(
                help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
                "{verb} {flag}: {help}"
            );
        }
    }
}

#[test]
fn an_id_is_read_from_no_file_and_handles_are_names() {
    let db = Database::fresh();
    for id in ["@ids.txt", "-", "@card"] {
        let id = format!("--id={id}");
        assert_eq!(
            backlog(&["create", "t", &id]).on(&db).code(2),
            "usage",
            "{id}"
        );
    }
    assert_eq!(mosaic(&["mcp", "--worker=-"]).on(&db).run().exit, 2);
    let card = &backlog(&["create", "t", "--label", "@home", "--phase", "@scope/x"])
        .on(&db)
        .json()["card"];
    assert_eq!(
        (&card["labels"][0], &card["phase"]),
        (&"@home".into(), &"@scope/x".into())
    );
    let claimed = backlog(&["claim", "--worker", "@alice"]).on(&db).json();
    assert_eq!(claimed["cards"][0]["claim_owner"], "@alice");
}
