//! The embedded server is killed, stopped, or left in a state that nobody planned.

use std::fs;

use mosaic_backlog_tests::home::{Home, signal};
use mosaic_backlog_tests::program::{Outcome, backlog, mosaic};
use mosaic_backlog_tests::wait;
use serde_json::json;

use crate::first_start::{DURABLE, settings};

fn with_a_card() -> Home {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    home
}

#[test]
fn after_the_server_was_killed_the_next_call_works_and_nothing_is_lost() {
    let home = with_a_card();
    let mut tokens = Vec::new();
    for round in 0..3 {
        let claimed = backlog(&["claim", "A", "--worker", "w"]).at(&home).json();
        let token = claimed["cards"][0]["claim_token"]
            .as_i64()
            .expect("a token");
        signal("KILL", home.server().expect("a server"));
        let card = &backlog(&["show", "A", "--token"]).at(&home).json()["card"];
        assert_eq!(card["claim_token"], token, "round {round}");
        backlog(&["release", "A", "--token", &token.to_string()])
            .at(&home)
            .json();
        tokens.push(token);
    }
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
    assert_eq!(home.servers().len(), 1);
    assert_eq!(settings(&home), DURABLE);
}

#[test]
fn many_calls_right_after_the_server_was_killed_all_work() {
    let home = with_a_card();
    signal("KILL", home.server().expect("a server"));
    let calls: Vec<_> = (0..12)
        .map(|number| {
            backlog(&["create", "t", "--id", &format!("c{number}")])
                .at(&home)
                .spawn()
        })
        .collect();
    for call in calls {
        assert_eq!(Outcome::of(call).json(0)["created"], true);
    }
    assert_eq!(home.servers().len(), 1);
}

#[test]
fn a_killed_backend_does_not_take_the_backlog_with_it() {
    let home = with_a_card();
    let mut psql = mosaic(&[
        "db",
        "psql",
        "--admin",
        "--",
        "-AtXqc",
        "select pg_backend_pid()",
        "-c",
        "select pg_sleep(600)",
    ])
    .at(&home)
    .spawn();
    let waiting = "select pid from pg_stat_activity where query like '%pg_sleep(600)' and pid <> pg_backend_pid()";
    let pid: u32 = wait::until("the backend sleeps", || {
        let outcome = mosaic(&["db", "psql", "--admin", "--", "-AtXqc", waiting])
            .at(&home)
            .run();
        outcome.stdout.trim().parse().ok()
    });
    signal("KILL", pid);
    psql.wait().expect("psql");
    backlog(&["create", "t", "--id", "B"]).at(&home).json();
    assert_eq!(backlog(&["list", "--count"]).at(&home).json()["total"], 2);
}

#[test]
fn a_stopped_server_starts_again_with_the_next_call() {
    let home = with_a_card();
    let stopped = mosaic(&["db", "stop", "--json"]).at(&home).json();
    assert_eq!(
        stopped,
        json!({"stopped": true, "running": false, "manner": "fast"})
    );
    assert!(home.servers().is_empty());
    assert_eq!(
        mosaic(&["db", "stop", "--json"]).at(&home).json()["stopped"],
        false
    );
    assert_eq!(
        mosaic(&["db", "status", "--json"]).at(&home).json()["running"],
        false
    );
    backlog(&["show", "A"]).at(&home).json();
    assert_eq!(home.servers().len(), 1);
}

#[test]
fn a_process_id_that_belongs_to_somebody_else_now_does_not_fool_the_start() {
    let home = with_a_card();
    let server = home.server().expect("a server");
    let file = home.data().join("postmaster.pid");
    let text = fs::read_to_string(&file).expect("the file");
    signal("KILL", server);
    wait::until("the server is gone", || {
        home.servers().is_empty().then_some(())
    });
    // The number of the killed server now is this very process's.
    let stale = text.replacen(&server.to_string(), &std::process::id().to_string(), 1);
    fs::write(&file, stale).expect("write");
    backlog(&["show", "A"]).at(&home).json();
    assert_eq!(home.servers().len(), 1);
}

#[test]
fn a_removed_socket_comes_back() {
    let home = with_a_card();
    let status = mosaic(&["db", "status", "--json"]).at(&home).json();
    let socket = status["socket"].as_str().expect("a socket");
    fs::remove_file(socket).expect("remove");
    backlog(&["show", "A"]).at(&home).json();
    assert_eq!(home.servers().len(), 1);
}

#[test]
fn data_of_another_major_version_is_refused_and_left_as_it_is() {
    let home = with_a_card();
    mosaic(&["db", "stop", "--json"]).at(&home).json();
    let file = home.data().join("PG_VERSION");
    let version = fs::read_to_string(&file).expect("a version");
    for other in ["14\n", "99\n", "nonsense\n"] {
        fs::write(&file, other).expect("write");
        let document = backlog(&["show", "A"]).at(&home).run().json(4);
        assert_eq!(document["error"]["code"], "resource", "{document}");
        assert_eq!(fs::read_to_string(&file).expect("a version"), other);
    }
    fs::write(&file, version).expect("write");
    backlog(&["show", "A"]).at(&home).json();
}

#[test]
fn a_folder_that_cannot_be_written_is_one_clear_error() {
    let folder = mosaic_backlog_tests::folder::create();
    // Not even root can make a folder below a file.
    let file = folder.join("file");
    fs::write(&file, "").expect("write");
    let outcome = backlog(&["list"])
        .env("MOSAIC_HOME", file.join("home"))
        .run();
    let document = outcome.json(4);
    assert_eq!(document["error"]["code"], "resource", "{document}");
}

#[test]
fn a_data_folder_that_holds_something_else_is_left_alone() {
    let home = Home::new();
    fs::create_dir_all(home.data()).expect("a folder");
    fs::write(home.data().join("thesis.txt"), "important").expect("write");
    let document = backlog(&["list"]).at(&home).run().json(4);
    assert_eq!(document["error"]["code"], "resource", "{document}");
    assert_eq!(
        fs::read_to_string(home.data().join("thesis.txt")).expect("still there"),
        "important"
    );
}

#[test]
fn a_missing_postgresql_is_one_clear_error() {
    let home = Home::new();
    for nowhere in ["/no/such/folder", "/usr"] {
        let document = backlog(&["list"])
            .at(&home)
            .env("MOSAIC_POSTGRES", nowhere)
            .run()
            .json(4);
        assert_eq!(document["error"]["code"], "resource", "{document}");
        assert!(
            document["error"]["hint"]
                .as_str()
                .expect("text")
                .contains("install.sh"),
            "{document}"
        );
    }
    assert!(!home.data().exists());
}

#[test]
fn a_first_start_that_cannot_write_its_files_is_one_clear_error_and_the_next_call_works() {
    let home = Home::new();
    // No file may grow beyond a megabyte, which stands in for a disk that is full.
    let limited = mosaic(&["backlog", "create", "t", "--json"])
        .at(&home)
        .with(|command| {
            let program = command.get_program().to_owned();
            let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let mut shell = std::process::Command::new("bash");
            shell
                .args(["-c", "ulimit -f 1024; trap '' XFSZ; exec \"$@\"", "-"])
                .arg(program)
                .args(arguments)
                .env_clear()
                .envs(
                    command
                        .get_envs()
                        .filter_map(|(name, value)| Some((name, value?))),
                )
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            *command = shell;
        })
        .run();
    let document = limited.json(4);
    assert_eq!(document["error"]["code"], "resource", "{document}");
    assert!(home.servers().is_empty());
    backlog(&["create", "t"]).at(&home).json();
    assert_eq!(settings(&home), DURABLE);
}
