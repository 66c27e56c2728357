//! The first call on an empty home, by one and by many, finished and killed.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;

use mosaic_backlog_tests::home::{Home, signal};
use mosaic_backlog_tests::program::{Mosaic, Outcome, backlog, mosaic};
use mosaic_backlog_tests::wait;
use serde_json::json;

#[test]
fn the_first_call_sets_everything_up_and_answers() {
    let home = Home::new();
    let outcome = backlog(&["create", "First", "--id", "A1"]).at(&home).run();
    let document = outcome.json(0);
    assert_eq!(document["card"]["id"], "A1");
    assert_eq!(document["created"], true);
    let status = mosaic(&["db", "status", "--json"]).at(&home).json();
    assert_eq!(status["running"], true);
    assert_eq!(status["accepts_connections"], true);
    assert_eq!(status["data"], json!(home.data()));
    assert_eq!(home.servers().len(), 1);
}

#[test]
fn a_first_call_that_only_reads_works_too() {
    let home = Home::new();
    assert_eq!(
        backlog(&["claim"]).at(&home).run().json(3),
        json!({"cards": []})
    );
    assert_eq!(
        backlog(&["list"]).at(&home).json(),
        json!({"cards": [], "next": null})
    );
}

#[test]
fn a_later_call_starts_no_process_and_finds_the_cards() {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    let server = home.server();
    assert!(server.is_some());
    backlog(&["claim", "A", "--worker", "w"]).at(&home).json();
    assert_eq!(home.server(), server);
    let outcome = mosaic(&["backlog", "list"]).at(&home).run();
    assert_eq!(outcome.stderr, "");
    assert!(outcome.stdout.contains('A'), "{outcome:?}");
}

#[test]
fn progress_of_the_first_call_goes_to_stderr_alone() {
    let home = Home::new();
    let outcome = mosaic(&["backlog", "list"]).at(&home).run();
    assert_eq!(outcome.exit, 0);
    assert_eq!(outcome.stdout, "no cards\n");
    assert!(!outcome.stderr.is_empty());
}

#[test]
fn the_folder_is_the_owners_alone() {
    let home = Home::new();
    backlog(&["list"]).at(&home).json();
    let mode = fs::metadata(home.data())
        .expect("the data folder")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    // Nothing in it can be read by others, whatever the umask was.
    let mut folders = vec![home.path().join("fleet")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let mode = metadata.permissions().mode();
            let is_socket = metadata.file_type().is_socket();
            assert!(
                is_socket || mode & 0o077 == 0,
                "{:?}: {mode:o}",
                entry.path()
            );
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
}

#[test]
fn twenty_first_calls_at_the_same_moment_end_with_one_server_and_all_answers() {
    let home = Home::new();
    let calls: Vec<_> = (0..20)
        .map(|number| {
            backlog(&["create", "t", "--id", &format!("c{number}")])
                .at(&home)
                .spawn()
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        let document = Outcome::of(call).json(0);
        assert_eq!(document["card"]["id"], format!("c{number}"));
        assert_eq!(document["created"], true);
    }
    assert_eq!(home.servers().len(), 1);
    let document = backlog(&["list", "--count"]).at(&home).json();
    assert_eq!(document["total"], 20);
}

/// Kills the first call as soon as `reached` says so; the next calls must work.
#[track_caller]
fn kill_when(what: &str, reached: impl Fn(&Path) -> bool) {
    let home = Home::new();
    let mut call = backlog(&["create", "t", "--id", "killed"])
        .at(&home)
        .spawn();
    wait::until(what, || {
        (reached(home.path()) || call.try_wait().expect("a child").is_some()).then_some(())
    });
    let _ = call.kill();
    call.wait().expect("the killed call");
    let next = |number: usize| -> Mosaic {
        backlog(&["create", "t", "--id", &format!("c{number}")]).at(&home)
    };
    // Several at once, as a fleet would.
    let calls: Vec<_> = (0..4).map(|number| next(number).spawn()).collect();
    for call in calls {
        assert_eq!(Outcome::of(call).json(0)["created"], true, "{what}");
    }
    assert_eq!(home.servers().len(), 1, "{what}");
    let total = backlog(&["list", "--count"]).at(&home).json()["total"].clone();
    assert!(total == 4 || total == 5, "{what}: {total}");
    assert_eq!(settings(&home), DURABLE, "{what}");
    let left: Vec<_> = fs::read_dir(home.path().join("fleet"))
        .expect("the folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !["backlog", "backlog.lock"].contains(&name.as_str()))
        .collect();
    assert!(left.is_empty(), "{what} left {left:?}");
}

#[test]
fn killed_before_anything_is_there_the_next_call_works() {
    kill_when("at once", |_| true);
}

#[test]
fn killed_when_the_folder_is_there_the_next_call_works() {
    kill_when("the folder", |home| home.join("fleet").exists());
}

#[test]
fn killed_while_the_data_folder_is_made_the_next_call_works() {
    kill_when("something in the folder", |home| {
        fs::read_dir(home.join("fleet")).is_ok_and(|entries| {
            entries
                .flatten()
                .any(|entry| entry.file_name() != "backlog.lock")
        })
    });
}

#[test]
fn killed_when_the_data_folder_is_complete_the_next_call_works() {
    kill_when("the data", |home| {
        home.join("fleet/backlog/PG_VERSION").exists()
    });
}

#[test]
fn killed_when_the_server_starts_the_next_call_works() {
    kill_when("the server's process", |home| {
        home.join("fleet/backlog/postmaster.pid").exists()
    });
}

#[test]
fn killed_when_the_server_listens_the_next_call_works() {
    kill_when("the socket", |home| {
        home.join("fleet/backlog/.s.PGSQL.5432").exists()
    });
}

#[test]
fn killed_with_everything_it_started_the_next_call_works() {
    let home = Home::new();
    let mut call = backlog(&["create", "t"])
        .at(&home)
        .with(|command| {
            command.process_group(0);
        })
        .spawn();
    wait::until("the folder", || {
        home.path().join("fleet").exists().then_some(())
    });
    // The whole group, as a terminal or a supervisor does.
    let status = std::process::Command::new("kill")
        .args(["-KILL", "--", &format!("-{}", call.id())])
        .status()
        .expect("kill");
    assert!(status.success());
    call.wait().expect("the killed call");
    backlog(&["create", "t"]).at(&home).json();
    assert_eq!(home.servers().len(), 1);
}

#[test]
fn interrupted_the_first_call_says_so_and_the_next_works() {
    let home = Home::new();
    let call = backlog(&["create", "t"]).at(&home).spawn();
    wait::until("the folder", || {
        home.path().join("fleet").exists().then_some(())
    });
    signal("INT", call.id());
    let outcome = Outcome::of(call);
    // It may have been done already.
    if outcome.exit != 0 {
        assert_eq!(outcome.json(130)["error"]["code"], "interrupted");
    }
    backlog(&["create", "t"]).at(&home).json();
    assert_eq!(home.servers().len(), 1);
}

pub const DURABLE: &str = "fsync=on,full_page_writes=on,listen_addresses=,synchronous_commit=on";

/// The settings that a server of record must have, as the server says.
pub fn settings(home: &Home) -> String {
    let query = "select string_agg(name || '=' || setting, ',' order by name) from pg_settings
       where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'listen_addresses')";
    let outcome = mosaic(&["db", "psql", "--", "-AtXc", query]).at(home).run();
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    outcome.stdout.trim().to_owned()
}
