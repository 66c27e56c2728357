//! The embedded server as a server: settings, roles, addresses.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use mosaic_backlog_tests::home::Home;
use mosaic_backlog_tests::program::{backlog, mosaic, program};
use mosaic_backlog_tests::{account, programs};
use serde_json::json;

use crate::first_start::{DURABLE, settings};

fn psql(home: &Home, admin: bool, query: &str) -> String {
    let mut arguments = vec!["db", "psql"];
    if admin {
        arguments.push("--admin");
    }
    arguments.extend(["--", "-AtXqc", query]);
    let outcome = mosaic(&arguments).at(home).run();
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    outcome.stdout.trim().to_owned()
}

#[test]
fn it_writes_durably_and_listens_on_its_socket_alone() {
    let home = Home::new();
    backlog(&["list"]).at(&home).json();
    assert_eq!(settings(&home), DURABLE);
    mosaic(&["db", "stop"]).at(&home).run();
    backlog(&["list"]).at(&home).json();
    assert_eq!(settings(&home), DURABLE);
}

#[test]
fn its_callers_are_operators_and_no_superusers() {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    assert_eq!(psql(&home, false, "select current_user"), "mosaic");
    let rights = "select rolsuper or rolcreaterole or rolcreatedb, pg_has_role('mosaic', 'mosaic_operator', 'usage')
       from pg_roles where rolname = 'mosaic'";
    assert_eq!(psql(&home, false, rights), "f|t");
    assert_eq!(
        psql(
            &home,
            true,
            "select rolsuper from pg_roles where rolname = current_user"
        ),
        "t"
    );
    // What only operators may do works; what only superusers may do does not.
    backlog(&["cancel", "A", "--reason", "r"]).at(&home).json();
    let outcome = mosaic(&[
        "db",
        "psql",
        "--",
        "-AtXqc",
        "set mosaic.clock = '2100-01-01'; delete from mosaic.backlog",
    ])
    .at(&home)
    .run();
    assert_ne!(outcome.exit, 0);
    assert_eq!(
        psql(&home, true, "select count(*) from mosaic.backlog"),
        "1"
    );
}

#[test]
fn nobody_logs_in_with_a_password_or_by_trust() {
    let home = Home::new();
    backlog(&["list"]).at(&home).json();
    let rules = "select distinct auth_method from pg_hba_file_rules order by 1";
    assert_eq!(psql(&home, true, rules), "peer");
    assert_eq!(
        psql(
            &home,
            true,
            "select count(*) from pg_authid where rolpassword is not null"
        ),
        "0"
    );
}

#[test]
fn another_user_of_the_machine_gets_neither_in_nor_a_server() {
    let home = Home::new();
    backlog(&["list"]).at(&home).json();
    let mode = std::fs::metadata(home.data())
        .expect("the data folder")
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0);
    // Only root can act as somebody else.
    if account::is_root() {
        let outcome = backlog(&["list"])
            .at(&home)
            .with(|command| {
                command.uid(65534);
            })
            .run();
        assert_eq!(outcome.json(4)["error"]["code"], "unauthorized");
    }
    assert_eq!(home.servers().len(), 1);
}

#[test]
fn its_address_works_in_psql_as_it_is() {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    for (flags, user) in [
        (&["db", "url"][..], "mosaic"),
        (&["db", "url", "--admin"], "postgres"),
    ] {
        let outcome = mosaic(flags).at(&home).run();
        assert_eq!(outcome.exit, 0);
        let url = outcome.stdout.trim();
        let answer = programs::run(Command::new(programs::postgresql("psql")).arg(url).args([
            "-AtXqc",
            "select current_user, count(*) from mosaic.backlog_list()",
        ]));
        assert_eq!(answer.trim(), format!("{user}|1"));
        let mut json = flags.to_vec();
        json.push("--json");
        assert_eq!(mosaic(&json).at(&home).json(), json!({"url": url}));
        // The program takes it back as any other address.
        backlog(&["show", "A"]).env("DATABASE_URL", url).json();
    }
}

/// `flock FILE mosaic …`, as in a crontab, holds the lock for the call, and not for the server that it
/// starts.
#[test]
fn it_keeps_no_file_of_its_caller_open() {
    let home = Home::new();
    let path = home.path().with_file_name("lock");
    let file = File::create(&path).expect("a file");
    let arguments = [path.as_os_str(), programs::mosaic().as_os_str()];
    let arguments = arguments.into_iter().chain(["db", "start"].map(OsStr::new));
    let arguments: Vec<&OsStr> = arguments.collect();
    let outcome = program(Path::new("flock"), &arguments).at(&home).run();
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    assert_eq!(home.servers().len(), 1);
    file.try_lock().expect("the lock is free");
}

/// A program that the server was told to run, and that left the data folder, is seen by the lock alone.
#[test]
fn a_stop_gives_the_lock_of_the_server_back() {
    let home = Home::new();
    mosaic(&["db", "start", "--json"]).at(&home).json();
    let copy = "copy (select 1) to program 'cd / && (exec sleep 1 >/dev/null 2>&1 &)'";
    let outcome = mosaic(&["db", "psql", "--admin", "--", "-qc", copy])
        .at(&home)
        .run();
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    mosaic(&["db", "stop", "--json"]).at(&home).json();
    for name in ["PG_VERSION", "mosaic.lock"] {
        let lock = File::open(home.data().join(name)).expect("the lock");
        lock.try_lock().expect("nobody has it");
    }
}

#[test]
fn its_status_tells_where_everything_is() {
    let home = Home::new();
    let before = mosaic(&["db", "status", "--json"]).at(&home).json();
    assert_eq!(before["initialized"], false);
    assert_eq!(before["running"], false);
    assert!(
        !home.path().join("fleet").exists(),
        "looking changes nothing"
    );
    let started = mosaic(&["db", "start", "--json"]).at(&home).json();
    assert_eq!(started["started"], true);
    assert_eq!(
        mosaic(&["db", "start", "--json"]).at(&home).json()["started"],
        false
    );
    let after = mosaic(&["db", "status", "--json"]).at(&home).json();
    assert_eq!(after["initialized"], true);
    assert_eq!(after["running"], true);
    assert_eq!(after["pid"], json!(home.server()));
    assert_eq!(after["extension_version"], after["cli_version"]);
    for key in [
        "data",
        "log",
        "socket",
        "url",
        "installation",
        "server_version",
    ] {
        assert!(after[key].is_string(), "{key}: {after}");
    }
}

#[test]
fn settings_of_other_servers_in_the_environment_do_not_lead_astray() {
    let home = Home::new();
    let call = |arguments: &[&str]| {
        mosaic(arguments)
            .at(&home)
            .env("PGHOST", "nowhere.invalid")
            .env("PGPORT", "1")
            .env("PGUSER", "nobody")
            .env("PGDATABASE", "none")
            .env(
                "PGOPTIONS",
                "-c fsync=off -c default_transaction_isolation=serializable",
            )
            .env("PGDATA", "/nonexistent")
            .env("PGSSLMODE", "require")
            .run()
    };
    call(&["backlog", "create", "t", "--json"]).json(0);
    call(&["db", "stop", "--json"]).json(0);
    call(&["backlog", "list", "--json"]).json(0);
    let outcome = call(&["db", "psql", "--", "-AtXqc", "show fsync"]);
    assert_eq!(outcome.stdout.trim(), "on", "{outcome:?}");
}

#[test]
fn the_server_survives_its_caller_and_the_callers_terminal() {
    let home = Home::new();
    let mut call = backlog(&["create", "t"])
        .at(&home)
        .with(|command| {
            command.process_group(0);
        })
        .spawn();
    let group = call.id();
    call.wait().expect("the call");
    let server = home.server().expect("a server");
    // A terminal that closes hangs up the group; the server is in none of its groups.
    let status = Command::new("kill")
        .args(["-HUP", "--", &format!("-{group}")])
        .stderr(std::process::Stdio::null())
        .status()
        .expect("kill");
    assert!(!status.success(), "a process of the call's group is left");
    assert_eq!(home.server(), Some(server));
    backlog(&["list"]).at(&home).json();
}
