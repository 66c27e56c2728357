//! Several containers with one home: the second server that never starts.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use mosaic_backlog_tests::home::{Home, signal};
use mosaic_backlog_tests::program::{Outcome, backlog, mosaic};
use mosaic_backlog_tests::{account, programs, wait};
use serde_json::{Value, json};

/// Too long for a socket in the data folder, which lies under /tmp then.
fn far_home() -> Home {
    Home::named(&"far".repeat(35))
}

/// A command in process, IPC and mount namespaces of its own; `None` where this machine has none
/// for us.
fn container() -> Option<Command> {
    let command = || {
        let mut command = Command::new("unshare");
        if !account::is_root() {
            command.arg("--map-current-user");
        }
        command.args([
            "--pid",
            "--ipc",
            "--mount",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        command
    };
    // An ordinary user may have namespaces, and still mount nothing.
    let works = command()
        .args(["mount", "--bind", "/mnt", "/mnt"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        eprintln!("skipped: this machine lets us have no namespaces");
    }
    works.then(command)
}

/// Runs a shell's script there, in which `$1` is the program and `$2` the home.
fn in_container(mut container: Command, home: &Home, script: &str) -> Command {
    container
        .args(["sh", "-c", script, "container"])
        .arg(programs::mosaic())
        .arg(home.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("MOSAIC_HOME", home.path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    container
}

/// A /tmp of the container's own, in which the home is where it was.
const OWN_TMP: &str = "
    mount --bind \"$2\" /mnt && mount -t tmpfs -o mode=1777 tmp /tmp &&
    mkdir -p \"$2\" && mount --bind /mnt \"$2\" || exit 99
    ";

/// A container that made a card and keeps the server until it is told to make another one.
struct First {
    shell: Child,
    go_on: ChildStdin,
}

impl First {
    fn start(container: Command, home: &Home) -> First {
        const SCRIPT: &str = "
            \"$1\" backlog create one --id A1 --json || exit 1
            read -r _
            \"$1\" backlog create two --id A2 --json";
        let mut shell = in_container(container, home, SCRIPT)
            .stdin(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        BufReader::new(shell.stdout.as_mut().expect("a pipe"))
            .read_line(&mut line)
            .expect("the first card");
        assert!(line.contains("\"created\":true"), "{line}");
        let go_on = shell.stdin.take().expect("a pipe");
        First { shell, go_on }
    }

    #[track_caller]
    fn finish(mut self) {
        self.go_on.write_all(b"\n").expect("a line");
        let outcome = Outcome::of(self.shell);
        assert_eq!(outcome.json(0)["created"], true);
    }
}

fn call(container: Command, home: &Home, arguments: &str) -> Outcome {
    let script = format!("{OWN_TMP} \"$1\" {arguments} --json");
    Outcome::of(
        in_container(container, home, &script)
            .spawn()
            .expect("unshare"),
    )
}

#[test]
fn a_second_container_is_refused_told_who_has_the_data_and_loses_nothing() {
    let Some(container_1) = container() else {
        return;
    };
    let second = || container().expect("namespaces, as before");
    let home = far_home();
    fs::create_dir_all(home.path()).expect("a folder");
    let first = First::start(container_1, &home);

    let document = call(second(), &home, "backlog create three --id B1").json(4);
    let error = &document["error"];
    assert_eq!(error["code"], "unreachable", "{error}");
    // It runs until somebody stops it: waiting does not help.
    assert_eq!(error["retryable"], false, "{error}");
    let detail = error["detail"].as_str().expect("a detail");
    for part in [
        "process ",
        "another container of this machine",
        ", since 20",
    ] {
        assert!(detail.contains(part), "{part}: {detail}");
    }

    let status = call(second(), &home, "db status").json(0);
    assert_eq!(status["state"], "elsewhere", "{status}");
    assert_eq!(status["running"], true);
    assert_eq!(status["accepts_connections"], false);
    assert!(status["held_by"]["pid"].is_number(), "{status}");
    assert!(
        status["problem"]
            .as_str()
            .is_some_and(|text| text.contains("another container")),
        "{status}"
    );
    let stopped = call(second(), &home, "db stop").json(4);
    assert_eq!(stopped["error"]["code"], "unreachable", "{stopped}");
    assert_eq!(stopped["error"]["retryable"], false, "{stopped}");
    let examined = call(second(), &home, "backlog doctor");
    assert_eq!(examined.exit, 4, "{examined:?}");
    assert!(
        examined.stdout.contains("another container"),
        "{examined:?}"
    );

    // Around the containers all of them are seen.
    let outside = mosaic(&["db", "status", "--json"]).at(&home).json();
    assert_eq!(outside["state"], "running", "{outside}");
    assert_ne!(outside["pid"], outside["held_by"]["pid"], "{outside}");
    first.finish();

    wait::until("the first container is gone", || {
        home.servers().is_empty().then_some(())
    });
    let listed = backlog(&["list", "--count"]).at(&home).json();
    assert_eq!(listed["total"], 2);
}

#[test]
fn from_around_a_container_its_server_can_be_stopped() {
    let Some(container_1) = container() else {
        return;
    };
    let home = far_home();
    fs::create_dir_all(home.path()).expect("a folder");
    let first = First::start(container_1, &home);
    let stopped = mosaic(&["db", "stop", "--json"]).at(&home).json();
    assert_eq!(
        stopped,
        json!({"stopped": true, "running": false, "manner": "fast"})
    );
    // The next call there starts it again.
    first.finish();
}

#[test]
fn a_service_with_a_tmp_of_its_own_does_not_end_the_server_of_the_others() {
    let Some(mut private) = container().map(|_| Command::new("unshare")) else {
        return;
    };
    if !account::is_root() {
        private.arg("--map-current-user");
    }
    private.arg("--mount");
    let home = far_home();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    let server = home.server();
    let document = call(private, &home, "backlog list").json(4);
    assert_eq!(document["error"]["code"], "unreachable", "{document}");
    assert_eq!(home.server(), server);
    backlog(&["show", "A"]).at(&home).json();
}

#[test]
fn helpers_that_outlive_their_server_keep_a_second_one_off() {
    let Some(blind) = container() else {
        return;
    };
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    let helper = "select pid from pg_stat_activity where backend_type = 'checkpointer'";
    let outcome = mosaic(&["db", "psql", "--admin", "--", "-AtXqc", helper])
        .at(&home)
        .run();
    let helper: u32 = outcome.stdout.trim().parse().expect("a process");
    signal("STOP", helper);
    signal("KILL", home.server().expect("a server"));
    wait::until("the server is gone", || {
        let number = home.server().expect("its number");
        (!home.servers().contains(&number)).then_some(())
    });
    // No process is to be seen there; only the lock tells.
    let script = "\"$1\" backlog list --json";
    let outcome = Outcome::of(in_container(blind, &home, script).spawn().expect("unshare"));
    let document = outcome.json(4);
    assert_eq!(document["error"]["code"], "unreachable", "{document}");
    assert!(home.servers().contains(&helper));
    // Who sees it can end it.
    let stopped = mosaic(&["db", "stop", "--json"]).at(&home).json();
    assert_eq!(stopped["manner"], "killed");
    backlog(&["show", "A"]).at(&home).json();
}

fn lock_file(home: &Home) -> std::path::PathBuf {
    home.data().join("mosaic.lock")
}

/// The file that the server's lock is on.
fn store_file(home: &Home) -> std::path::PathBuf {
    home.data().join("PG_VERSION")
}

#[test]
fn a_lock_file_that_somebody_removed_as_a_stale_one_lets_no_second_server_in() {
    let Some(container_1) = container() else {
        return;
    };
    let second = || container().expect("namespaces, as before");
    let home = far_home();
    fs::create_dir_all(home.path()).expect("a folder");
    let first = First::start(container_1, &home);
    fs::remove_file(lock_file(&home)).expect("remove");
    for arguments in ["backlog create three --id B1", "db start", "db stop"] {
        let document = call(second(), &home, arguments).json(4);
        let error = &document["error"];
        assert_eq!(error["code"], "unreachable", "{arguments}: {error}");
        let detail = error["detail"].as_str().expect("a detail");
        assert!(detail.contains("is in use by process "), "{detail}");
    }
    let status = call(second(), &home, "db status").json(0);
    assert_eq!(status["state"], "elsewhere", "{status}");
    first.finish();
    wait::until("the first container is gone", || {
        home.servers().is_empty().then_some(())
    });
    let listed = backlog(&["list", "--count"]).at(&home).json();
    assert_eq!(listed["total"], 2);
    // The next server says again who it is.
    assert!(lock_file(&home).exists());
}

#[test]
fn either_lock_held_out_of_sight_keeps_a_server_from_starting() {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    mosaic(&["db", "stop", "--json"]).at(&home).json();
    // That of a server of before, and that of one whose lock file was removed.
    for held in [lock_file(&home), store_file(&home)] {
        let file = File::open(&held).expect("the file");
        file.try_lock().expect("nobody has it");
        if held == store_file(&home) {
            fs::remove_file(lock_file(&home)).expect("remove");
        }
        let document = backlog(&["list"]).at(&home).run().json(4);
        assert_eq!(document["error"]["code"], "unreachable", "{document}");
        let status = mosaic(&["db", "status", "--json"]).at(&home).json();
        assert_eq!(status["state"], "elsewhere", "{status}");
        assert!(home.servers().is_empty());
        drop(file);
        backlog(&["show", "A"]).at(&home).json();
        mosaic(&["db", "stop", "--json"]).at(&home).json();
    }
}

#[test]
fn data_that_may_only_be_read_by_its_mode_is_locked_all_the_same() {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    mosaic(&["db", "stop", "--json"]).at(&home).json();
    let mode = fs::Permissions::from_mode(0o400);
    fs::set_permissions(store_file(&home), mode).expect("chmod");
    backlog(&["show", "A"]).at(&home).json();
    let status = mosaic(&["db", "status", "--json"]).at(&home).json();
    assert_eq!(status["held_by"]["pid"], status["pid"], "{status}");
}

#[test]
fn whoever_holds_the_lock_out_of_sight_is_respected_and_named() {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    let running: Value =
        serde_json::from_str(&fs::read_to_string(lock_file(&home)).expect("the lock"))
            .expect("JSON");
    assert_eq!(running["pid"], json!(home.server()));
    mosaic(&["db", "stop", "--json"]).at(&home).json();
    // As a host that shares the folder would.
    let file = File::options()
        .read(true)
        .write(true)
        .open(lock_file(&home))
        .expect("the lock");
    file.try_lock().expect("nobody has it");
    let holder = json!({"pid": 7, "host": "far\u{1b}away", "boot_id": "b", "pid_namespace": "n", "started_at": "2026-01-02T03:04:05Z"});
    fs::write(lock_file(&home), holder.to_string()).expect("write");
    let document = backlog(&["list"]).at(&home).run().json(4);
    let detail = document["error"]["detail"].as_str().expect("a detail");
    assert!(
        detail.contains("process 7 on the host far\u{fffd}away, since 2026-01-02T03:04:05Z"),
        "{detail}"
    );
    let status = mosaic(&["db", "status", "--json"]).at(&home).json();
    assert_eq!(status["state"], "elsewhere");
    assert_eq!(status["held_by"]["host"], "far\u{1b}away");
    assert!(home.servers().is_empty());
    drop(file);
    backlog(&["show", "A"]).at(&home).json();
}

#[test]
fn a_server_that_an_older_version_started_is_started_anew_once_to_hold_the_lock() {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    mosaic(&["db", "stop", "--json"]).at(&home).json();
    // As version 0.1.0 did it, and as its successor finds it.
    let unguarded = start_as_before(&home, Command::new(programs::postgresql("pg_ctl")));
    assert!(unguarded["held_by"].is_null(), "{unguarded}");
    is_started_anew_once(&home, &unguarded);
}

#[test]
fn a_server_that_holds_the_lock_file_alone_is_started_anew_once_and_never_doubled() {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    mosaic(&["db", "stop", "--json"]).at(&home).json();
    let mut start = Command::new("flock");
    start
        .arg(lock_file(&home))
        .arg(programs::postgresql("pg_ctl"));
    let before = start_as_before(&home, start);
    assert!(before["held_by"].is_object(), "{before}");
    is_started_anew_once(&home, &before);
    assert_eq!(home.servers().len(), 1);
}

/// Starts the server without this program; gives the status that results.
fn start_as_before(home: &Home, mut start: Command) -> Value {
    start
        .args([
            "start",
            "--wait",
            "-o",
            "-F -p 5432 -c fsync=on -c full_page_writes=on",
            "-l",
            "start.log",
            "-D",
            ".",
        ])
        .current_dir(home.data());
    programs::run(account::serve(&mut start));
    fs::remove_file(home.data().join("mosaic.version")).expect("remove");
    let status = mosaic(&["db", "status", "--json"]).at(home).json();
    assert_eq!(status["state"], "running");
    status
}

fn is_started_anew_once(home: &Home, before: &Value) {
    backlog(&["show", "A"]).at(home).json();
    let guarded = mosaic(&["db", "status", "--json"]).at(home).json();
    assert_eq!(guarded["held_by"]["pid"], guarded["pid"], "{guarded}");
    assert_ne!(guarded["pid"], before["pid"]);
    backlog(&["show", "A"]).at(home).json();
    assert_eq!(json!(home.server()), guarded["pid"]);
}

#[test]
fn every_process_of_the_server_holds_the_lock_and_none_of_the_call() {
    let home = Home::new();
    backlog(&["list"]).at(&home).json();
    let locks = [lock_file(&home), store_file(&home)];
    let locks = locks.map(|file| file.canonicalize().expect("the lock"));
    let holds = |pid: u32| {
        let open: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|link| fs::read_link(link.path()).ok())
            .collect();
        locks.iter().all(|lock| open.contains(lock))
    };
    let server = home.server().expect("a server");
    assert!(holds(server));
    let children =
        fs::read_to_string(format!("/proc/{server}/task/{server}/children")).expect("its children");
    assert!(!children.trim().is_empty());
    for child in children.split_whitespace() {
        let child: u32 = child.parse().expect("a number");
        // A worker of autovacuum may be about to end.
        wait::until("the child holds it, or is gone", || {
            let state = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
            (holds(child) || state.is_empty() || state.contains("(zombie)")).then_some(())
        });
    }
}
