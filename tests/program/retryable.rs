//! Waiting is advised only where the cause can pass: a loop that repeats what is retryable comes to an end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use mosaic_backlog_tests::account;
use mosaic_backlog_tests::home::Home;
use mosaic_backlog_tests::program::{Mosaic, Outcome, backlog, mosaic};
use mosaic_backlog_tests::{folder, programs};
use serde_json::{Value, json};

/// As the owner of the data or a user who may do no more; not even that stops root.
fn as_owner(call: Mosaic) -> Mosaic {
    call.with(|command| {
        account::serve(command);
    })
}

#[track_caller]
fn assert_lasts(outcome: Outcome, code: &str) -> Value {
    let document = outcome.json(4);
    let error = &document["error"];
    assert_eq!(
        (&error["code"], &error["retryable"]),
        (&json!(code), &json!(false)),
        "{error}"
    );
    document
}

fn stopped() -> Home {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    mosaic(&["db", "stop", "--json"]).at(&home).json();
    home
}

#[test]
fn a_place_where_nothing_may_be_made_is_not_waited_for() {
    let folder = folder::create();
    fs::set_permissions(&*folder, fs::Permissions::from_mode(0o755)).expect("chmod");
    let closed = folder.join("closed");
    fs::create_dir(&closed).expect("a folder");
    let mode = if account::is_root() { 0o755 } else { 0o555 };
    fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).expect("chmod");
    let call = backlog(&["list"]).env("MOSAIC_HOME", closed.join("home"));
    assert_lasts(as_owner(call).run(), "resource");
}

#[test]
fn a_file_where_a_folder_should_be_is_not_waited_for() {
    let folder = folder::create();
    let file = folder.join("file");
    fs::write(&file, "").expect("write");
    for home in [file.clone(), file.join("home")] {
        let call = backlog(&["list"]).env("MOSAIC_HOME", home);
        assert_lasts(call.run(), "resource");
    }
    let call = backlog(&["export"]).with(|command| {
        command.arg(file.join("out"));
    });
    let home = Home::new();
    assert_lasts(call.at(&home).run(), "resource");
}

#[test]
fn a_read_only_file_system_is_not_waited_for() {
    if !account::is_root() {
        eprintln!("skipped: only root can mount");
        return;
    }
    let folder = folder::create();
    let call = |script: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", script, "read-only"])
            .arg(programs::mosaic())
            .arg(&*folder)
            .env_remove("DATABASE_URL")
            .env("MOSAIC_HOME", folder.join("home"));
        command.output().expect("unshare")
    };
    let works = call("mount -t tmpfs -o ro none \"$2\"").status.success();
    if !works {
        eprintln!("skipped: this machine lets us mount nothing");
        return;
    }
    let output = call("mount -t tmpfs -o ro none \"$2\" && \"$1\" backlog list --json");
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let error = &document["error"];
    assert_eq!(error["code"], "resource", "{error}");
    assert_eq!(error["retryable"], false, "{error}");
    let detail = error["detail"].as_str().expect("a detail");
    assert!(detail.contains("Read-only file system"), "{detail}");
}

#[test]
fn a_full_disk_may_be_waited_for() {
    if !account::is_root() {
        eprintln!("skipped: only root can mount");
        return;
    }
    let folder = folder::create();
    let output = Command::new("unshare")
        .args([
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs -o size=1m,mode=755 none \"$2\" && \"$1\" backlog list --json",
            "full",
        ])
        .arg(programs::mosaic())
        .arg(&*folder)
        .env_remove("DATABASE_URL")
        .env("MOSAIC_HOME", folder.join("home"))
        .output()
        .expect("unshare");
    if output.stdout.is_empty() {
        eprintln!("skipped: this machine lets us mount nothing");
        return;
    }
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let error = &document["error"];
    assert_eq!(error["code"], "resource", "{error}");
    assert_eq!(error["retryable"], true, "{error}");
}

#[test]
fn a_destroyed_store_is_not_waited_for() {
    for destroy in [
        |home: &Home| fs::write(home.data().join("global/pg_control"), "gone"),
        |home: &Home| fs::remove_dir_all(home.data().join("pg_wal")),
        |home: &Home| fs::remove_dir_all(home.data().join("global")),
        |home: &Home| fs::write(home.data().join("PG_VERSION"), "nonsense\n"),
        |home: &Home| fs::remove_file(home.data().join("PG_VERSION")),
    ] {
        let home = stopped();
        destroy(&home).expect("destruction");
        assert_lasts(backlog(&["list"]).at(&home).run(), "resource");
    }
}

#[test]
fn a_wrong_postgresql_is_not_waited_for() {
    let home = Home::new();
    let call = backlog(&["list"]).env("MOSAIC_POSTGRES", "/nonexistent");
    assert_lasts(call.at(&home).run(), "resource");
}

#[test]
fn a_database_that_does_not_exist_is_not_waited_for() {
    let home = Home::new();
    backlog(&["create", "t"]).at(&home).json();
    let url = mosaic(&["db", "url"]).at(&home).run().stdout;
    let url = url.trim().replacen("/mosaic?", "/nothing?", 1);
    let call = backlog(&["list"]).env("DATABASE_URL", url);
    assert_lasts(call.run(), "unreachable");
}

#[test]
fn a_server_that_is_away_may_be_waited_for() {
    let folder = folder::create();
    for url in [
        "host=127.0.0.1 port=1 user=u dbname=d".to_owned(),
        format!("host={} user=u dbname=d", folder.display()),
    ] {
        let document = backlog(&["list"]).env("DATABASE_URL", &url).run().json(4);
        assert_eq!(document["error"]["code"], "unreachable", "{url}");
        assert_eq!(document["error"]["retryable"], true, "{url}");
    }
}
