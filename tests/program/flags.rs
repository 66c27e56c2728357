//! The flags that all commands take, and the variables: none is accepted and then ignored.

use std::net::TcpListener;
use std::process::Command;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::home::Home;
use mosaic_backlog_tests::program::{Outcome, backlog, mosaic};
use mosaic_backlog_tests::programs;

#[track_caller]
fn refused(outcome: Outcome, part: &str) {
    assert_eq!(outcome.exit, 2, "{outcome:?}");
    assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
}

#[test]
fn colour_is_used_where_it_was_asked_for() {
    let db = Database::fresh();
    db.session().create("A");
    let run = |arguments: &[&str]| {
        let mut all = vec!["backlog"];
        all.extend(arguments);
        mosaic(&all).on(&db).env("TERM", "xterm")
    };
    let coloured = |text: &str| text.contains("\x1b[");
    assert!(!coloured(&run(&["list"]).run().stdout));
    assert!(coloured(&run(&["list", "--color", "always"]).run().stdout));
    let forced = run(&["list", "--color=always"]).env("NO_COLOR", "1").run();
    assert!(coloured(&forced.stdout));
    assert!(coloured(
        &run(&["list", "--color=always", "--help"]).run().stdout
    ));
    // JSON is for programs.
    let json = run(&["list", "--color", "always", "--json"]).run();
    assert!(!coloured(&json.stdout), "{json:?}");
    // Errors too, also those that come before the flags are parsed.
    let error = run(&["show", "none", "--color", "always"]).run().stderr;
    assert!(error.contains("\x1b[31merror\x1b[0m: "), "{error:?}");
    assert!(
        error
            .lines()
            .any(|line| line.starts_with("\x1b[36mhint\x1b[0m: ")),
        "{error:?}"
    );
    let usage = run(&["nonsense", "--color", "always"]).run().stderr;
    assert!(coloured(&usage), "{usage:?}");
    assert!(!coloured(&run(&["nonsense"]).run().stderr));
}

#[test]
fn json_is_indented_on_a_terminal_alone() {
    let db = Database::fresh();
    db.session().create("A");
    let program = programs::mosaic().display().to_string();
    let output = Command::new("script")
        .args([
            "-qec",
            &format!("'{program}' backlog show A --json"),
            "/dev/null",
        ])
        .env("DATABASE_URL", db.url("postgres"))
        .stdin(std::process::Stdio::null())
        .output()
        .expect("script");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("\n    \"id\": \"A\","), "{text:?}");
    let piped = mosaic(&["backlog", "show", "A", "--json"]).on(&db).run();
    assert!(
        piped.stdout.starts_with("{\"card\":{\"id\":\"A\","),
        "{piped:?}"
    );
}

#[test]
fn verbose_says_on_stderr_where_what_and_how_long_and_no_secret() {
    let db = Database::fresh();
    let secret = "open-sesame";
    let address = db.url("postgres");
    let url = format!(
        "{address}{}password={secret}",
        if address.contains('?') { "&" } else { "?" }
    );
    let outcome = mosaic(&["backlog", "create", secret, "--json", "--verbose"])
        .env("DATABASE_URL", &url)
        .run();
    let said = outcome.stderr.clone();
    outcome.json(0);
    for part in [
        &format!("database {}, as postgres", db.name()),
        "mosaic.backlog_create(title, actor)",
        " ms)",
        "exit code 0",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains(secret), "{said}");
    let silent = mosaic(&["backlog", "list", "--json"]).on(&db).run();
    assert_eq!(silent.stderr, "");
}

#[test]
fn commands_without_a_use_for_a_flag_refuse_it() {
    let home = Home::new();
    for call in [
        &["db", "status", "--fields", "pid"][..],
        &["db", "status", "-q"],
        &["completions", "bash", "-q"],
        &["man", "-q"],
        &["man", "--output", "/nonexistent/x", "--fields", "id"],
        &["--version", "-q"],
        &["--version", "backlog", "list"],
    ] {
        refused(mosaic(call).at(&home).run(), "error: ");
    }
    for call in [
        &["db", "status"][..],
        &["db", "stop"],
        &["db", "url"],
        &["completions", "bash"],
        &["man"],
    ] {
        let mut all = call.to_vec();
        all.extend(["--database-url", "host=h"]);
        refused(
            mosaic(&all).at(&home).run(),
            "--database-url does not go with this command",
        );
    }
    assert_eq!(mosaic(&["db", "stop", "-q"]).at(&home).run().stdout, "");
    assert!(!home.data().exists());
}

#[test]
fn the_version_names_the_extension_where_a_database_is_at_hand() {
    let db = Database::fresh();
    let own = env!("CARGO_PKG_VERSION");
    let version = |call: &[&str]| mosaic(call).on(&db).run().stdout;
    assert_eq!(
        version(&["--version"]),
        format!("mosaic {own} (extension {own})\n")
    );
    let document = mosaic(&["--json", "-V"]).on(&db).json();
    assert_eq!(
        document,
        serde_json::json!({"version": own, "extension_version": own})
    );
    let bare = Database::bare();
    let document = mosaic(&["--version", "--json"]).on(&bare).json();
    assert_eq!(document["extension_version"], serde_json::Value::Null);
}

#[test]
fn the_version_waits_for_nobody_and_starts_nothing() {
    // Takes connections and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = mute.local_addr().expect("an address").port();
    let start = std::time::Instant::now();
    for url in [
        format!("postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"),
        "postgresql://postgres@127.0.0.1:1/postgres".to_owned(),
        "nonsense".to_owned(),
    ] {
        let outcome = mosaic(&["--version"]).env("DATABASE_URL", &url).run();
        assert_eq!(outcome.exit, 0, "{url}: {outcome:?}");
        assert!(!outcome.stdout.contains("extension"), "{url}: {outcome:?}");
    }
    assert!(start.elapsed().as_secs() < 8, "{:?}", start.elapsed());
    let home = Home::new();
    assert_eq!(mosaic(&["--version"]).at(&home).run().exit, 0);
    assert!(!home.data().exists());
}

#[test]
fn a_variable_that_looks_like_a_slip_is_warned_about() {
    let db = Database::fresh();
    let call =
        |name: &str, value: &str| mosaic(&["backlog", "list"]).on(&db).env(name, value).run();
    let outcome = call("MOSAIC_AGNT", "w1");
    assert_eq!(outcome.exit, 0);
    assert!(
        outcome
            .stderr
            .starts_with("warning: MOSAIC_AGNT is not used"),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("\"MOSAIC_AGENT\""), "{outcome:?}");
    // Other products have variables too.
    assert_eq!(call("MOSAIC_GATEWAY_PORT", "80").stderr, "");
    refused(call("MOSAIC_AUTO_MIGRATE", "yes"), "MOSAIC_AUTO_MIGRATE");
    assert_eq!(call("MOSAIC_AUTO_MIGRATE", "0").exit, 0);
}

#[test]
fn an_unknown_key_of_a_connection_string_is_refused() {
    for url in [
        "host=127.0.0.1 port=1 nonsense=1",
        "postgresql://127.0.0.1:1/d?ssl_mode=require",
        "host=127.0.0.1 port=1 gssencmode=require",
        "host=127.0.0.1 port=1 sslcert=/c",
    ] {
        let code = backlog(&["list"]).env("DATABASE_URL", url).code(2);
        assert_eq!(code, "usage", "{url}");
    }
}
