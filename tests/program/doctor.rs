//! `mosaic backlog doctor`: each thing that the program looks at is broken for real.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::folder;
use mosaic_backlog_tests::home::Home;
use mosaic_backlog_tests::installation::Installation;
use mosaic_backlog_tests::program::{Mosaic, mosaic};
use mosaic_backlog_tests::programs;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;
use serde_json::Value;

/// What one examination said.
struct Examined {
    exit: i32,
    document: Value,
}

impl Examined {
    #[track_caller]
    fn by(call: Mosaic) -> Self {
        let outcome = call.run();
        let document: Value = serde_json::from_str(&outcome.stdout)
            .unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
        assert_eq!(document["healthy"], outcome.exit == 0, "{outcome:?}");
        for finding in document["findings"].as_array().expect("findings") {
            let ok = finding["state"] == "ok";
            assert_eq!(ok, finding["hint"].is_null(), "{finding}");
            assert!(
                finding["detail"]
                    .as_str()
                    .is_some_and(|text| text.ends_with('.'))
            );
        }
        Self {
            exit: outcome.exit,
            document,
        }
    }

    fn findings(&self) -> &[Value] {
        self.document["findings"].as_array().expect("findings")
    }

    fn names(&self) -> Vec<&str> {
        let names = self.findings().iter().map(|f| f["name"].as_str());
        names.map(|name| name.expect("a name")).collect()
    }

    /// The names of all that is not ok.
    fn open(&self) -> Vec<&str> {
        let open = self.findings().iter().filter(|f| f["state"] != "ok");
        open.map(|f| f["name"].as_str().expect("a name")).collect()
    }

    /// The finding is in this state, and all `parts` are in its text.
    #[track_caller]
    fn assert(&self, name: &str, state: &str, parts: &[&str]) {
        let finding = self
            .findings()
            .iter()
            .find(|finding| finding["name"] == name)
            .unwrap_or_else(|| panic!("no {name}: {}", self.document));
        assert_eq!(finding["state"], state, "{finding}");
        let text = format!("{} {}", finding["detail"], finding["hint"]);
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
}

/// A server of its own, on which nothing is wrong, with a role of each kind.
fn sound() -> Cluster {
    let cluster = Cluster::start(&["fsync = on"]);
    cluster.session("postgres").run(
        "create extension mosaic_backlog_ext;
         create role reader login; grant mosaic_reader, pg_read_all_stats to reader;
         create role worker login; grant mosaic_worker to worker;
         create role stranger login",
    );
    cluster
}

#[track_caller]
fn doctor(cluster: &Cluster, role: &str, arguments: &[&str]) -> Examined {
    let mut all = vec!["backlog", "doctor", "--json"];
    all.extend(arguments);
    Examined::by(mosaic(&all).env("DATABASE_URL", cluster.url("postgres", role)))
}

fn admin(cluster: &Cluster) -> Session {
    cluster.session("postgres")
}

#[test]
fn on_a_sound_server_all_is_well_for_every_role_of_the_backlog() {
    let cluster = sound();
    admin(&cluster).run("grant pg_read_all_stats to worker");
    for role in ["postgres", "worker", "reader"] {
        let examined = doctor(&cluster, role, &[]);
        assert_eq!(
            (examined.exit, examined.open().len()),
            (0, 0),
            "{}",
            examined.document
        );
        examined.assert("privileges", "ok", &[role]);
        examined.assert("server", "ok", &["PostgreSQL"]);
        examined.assert("extension", "ok", &[env!("CARGO_PKG_VERSION")]);
    }
    let shown = mosaic(&["backlog", "doctor"])
        .env("DATABASE_URL", cluster.url("postgres", "reader"))
        .run();
    assert!(shown.stdout.ends_with("\nall is well\n"), "{shown:?}");
}

#[test]
fn every_finding_is_explained_in_the_documentation() {
    let page = std::fs::read_to_string(programs::sources().join("docs/operator.md"));
    let page = page.expect("the page for operators");
    let home = Home::new();
    mosaic(&["db", "start"]).at(&home).run();
    let examined = Examined::by(mosaic(&["backlog", "doctor", "--json"]).at(&home));
    let mut names = examined.names();
    assert_eq!(names.len(), 27, "{names:?}");
    // Only where the extension cannot be asked, where somebody has set them up, and where it is not well.
    names.extend(["backlog", "databases", "folder", "hooks"]);
    for name in &names {
        assert!(
            page.contains(&format!("\n| `{name}` |")),
            "{name} is not explained"
        );
    }
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| `") && line.matches('|').count() == 4);
    assert_eq!(rows.count(), names.len());
}

#[test]
fn a_server_that_forgets_is_found() {
    let cluster = Cluster::start(&["full_page_writes = off", "synchronous_commit = off"]);
    admin(&cluster).run("create extension mosaic_backlog_ext");
    let examined = doctor(&cluster, "postgres", &[]);
    assert_eq!((examined.exit, examined.open()), (7, vec!["durability"]));
    examined.assert("durability", "error", &["fsync and full_page_writes"]);
    for change in [
        "alter system set fsync = on",
        "alter system set full_page_writes = on",
        "select pg_reload_conf()",
    ] {
        admin(&cluster).run(change);
    }
    wait::until("the settings hold", || {
        (doctor(&cluster, "postgres", &[]).exit == 0).then_some(())
    });
    // Harmless, since the extension raises it; but said.
    let examined = doctor(&cluster, "postgres", &[]);
    examined.assert("durability", "ok", &["synchronous_commit is off"]);
}

#[test]
fn what_keeps_dead_rows_is_found_and_named() {
    let cluster = sound();
    let mut holder = admin(&cluster);
    holder.run(
        "set application_name = 'nightly report'; begin isolation level repeatable read; select",
    );
    let pid = holder.pid();
    assert_eq!(
        doctor(&cluster, "postgres", &[]).exit,
        0,
        "not for long yet"
    );
    let now = ["--max-age", "0s"];
    let examined = doctor(&cluster, "postgres", &now);
    assert_eq!((examined.exit, examined.open()), (7, vec!["transactions"]));
    let parts = [
        &*format!("process {pid} "),
        "nightly report",
        "idle in transaction",
        "since 20",
    ];
    examined.assert("transactions", "warning", &parts);
    holder.run("rollback");
    assert_eq!(doctor(&cluster, "postgres", &now).exit, 0);

    // One that writes in another database holds back the readers of the history.
    admin(&cluster).run("create database other");
    let mut elsewhere = cluster.session("other");
    elsewhere.run("begin isolation level repeatable read; select");
    assert_eq!(doctor(&cluster, "postgres", &now).exit, 0);
    elsewhere.run("create table t ()");
    let examined = doctor(&cluster, "postgres", &now);
    examined.assert("transactions", "warning", &["database other"]);
    elsewhere.run("prepare transaction 'left over'");
    let examined = doctor(&cluster, "postgres", &now);
    assert_eq!(examined.open(), ["prepared_transactions"]);
    examined.assert(
        "prepared_transactions",
        "warning",
        &["'left over' (role postgres"],
    );
    elsewhere.run("commit prepared 'left over'");

    admin(&cluster).run("select pg_create_physical_replication_slot('gone', true)");
    let examined = doctor(&cluster, "postgres", &now);
    assert_eq!(
        (examined.exit, examined.open()),
        (7, vec!["replication_slots"])
    );
    examined.assert("replication_slots", "warning", &["'gone' keeps"]);
}

#[test]
fn what_a_role_may_not_see_is_unknown_and_not_well() {
    let cluster = sound();
    let mut hidden = admin(&cluster);
    hidden.run("begin isolation level repeatable read; select");
    let now = ["--max-age", "0s"];
    let examined = doctor(&cluster, "worker", &now);
    assert_eq!((examined.exit, examined.open()), (7, vec!["transactions"]));
    examined.assert(
        "transactions",
        "unknown",
        &["`grant pg_read_all_stats to worker`"],
    );
    admin(&cluster).run("grant pg_read_all_stats to worker");
    doctor(&cluster, "worker", &now).assert("transactions", "warning", &["process"]);
    hidden.run("rollback; set track_activities = off");
    let examined = doctor(&cluster, "worker", &now);
    examined.assert("transactions", "unknown", &["track_activities"]);
}

#[test]
fn without_rights_or_extension_it_says_what_to_grant_and_changes_nothing() {
    let cluster = sound();
    let examined = doctor(&cluster, "stranger", &[]);
    assert_eq!(examined.exit, 4);
    examined.assert(
        "privileges",
        "error",
        &["`grant mosaic_worker to stranger`"],
    );
    examined.assert("backlog", "unknown", &["`grant mosaic_reader to stranger`"]);

    admin(&cluster).run("create database bare");
    let url = cluster.url("bare", "postgres");
    let call = mosaic(&["backlog", "doctor", "--json"]).env("DATABASE_URL", url);
    let examined = Examined::by(call);
    assert_eq!((examined.exit, examined.open()), (4, vec!["extension"]));
    examined.assert(
        "extension",
        "error",
        &["`create extension mosaic_backlog_ext`"],
    );
    let schemas = "select count(*) from pg_namespace where nspname = 'mosaic'";
    assert_eq!(cluster.session("bare").number(schemas), 0);
}

#[test]
fn versions_that_do_not_fit_each_other_are_found() {
    let cluster = sound();
    let installed = |version: &str| {
        admin(&cluster).run(&format!(
            "update pg_extension set extversion = '{version}' where extname = 'mosaic_backlog_ext'"
        ));
        doctor(&cluster, "reader", &[])
    };
    let examined = installed("0.0.9");
    assert_eq!(
        (examined.exit, examined.open()),
        (
            7,
            vec![
                "extension",
                "extension_files",
                "indexes",
                "tables",
                "functions"
            ]
        )
    );
    examined.assert(
        "extension",
        "warning",
        &["0.0.9 is older", "mosaic db migrate"],
    );
    examined.assert("extension_files", "warning", &["newer"]);
    // What is right there, the library does not know.
    examined.assert("tables", "unknown", &["version 0.0.9"]);
    let examined = installed("9.0.0");
    assert_eq!(
        examined.open(),
        ["extension_files", "indexes", "tables", "functions"]
    );
    examined.assert(
        "extension_files",
        "error",
        &["older", "install.sh --pg-config"],
    );
    // A function that an older version does not have.
    installed(env!("CARGO_PKG_VERSION"));
    admin(&cluster).run("alter function mosaic.backlog_doctor rename to backlog_later");
    let examined = doctor(&cluster, "reader", &[]);
    assert_eq!((examined.exit, examined.open()), (4, vec!["backlog"]));
    examined.assert("backlog", "unknown", &["mosaic db migrate"]);
}

#[test]
fn missing_files_of_the_extension_are_found() {
    let installation = Installation::copy();
    installation.remove_extension();
    let cluster = Cluster::start_from(installation.bin(), &["fsync = on"]);
    let examined = doctor(&cluster, "postgres", &[]);
    assert_eq!(
        (examined.exit, examined.open()),
        (4, vec!["extension", "extension_files"])
    );
    examined.assert("extension_files", "error", &["install.sh --pg-config"]);
    drop(cluster);
}

#[test]
fn cards_that_are_locked_are_not_waited_for_long() {
    let cluster = sound();
    let mut holder = admin(&cluster);
    holder.run("begin; lock table mosaic.backlog in access exclusive mode");
    let examined = doctor(&cluster, "postgres", &[]);
    assert_eq!((examined.exit, examined.open()), (4, vec!["backlog"]));
    examined.assert("backlog", "unknown", &["lock timeout"]);
}

#[test]
fn what_the_extension_finds_is_told_with_what_to_do() {
    let cluster = sound();
    let mut s = admin(&cluster);
    s.create("A");
    s.create_after("B", &["A"]);
    s.run("select from mosaic.backlog_cancel('A', 'why')");
    let examined = doctor(&cluster, "reader", &[]);
    assert_eq!(
        (examined.exit, examined.open()),
        (7, vec!["cancelled_dependencies"])
    );
    examined.assert(
        "cancelled_dependencies",
        "warning",
        &["B waits for A", "`mosaic backlog unlink`"],
    );
}

#[test]
fn a_server_that_cannot_be_reached_is_a_finding() {
    let call = mosaic(&["backlog", "doctor", "--json"])
        .env("DATABASE_URL", "postgresql://me:s3cret@127.0.0.1:1/none");
    let examined = Examined::by(call);
    assert_eq!((examined.exit, examined.names()), (4, vec!["server"]));
    examined.assert("server", "error", &["127.0.0.1:1"]);
    assert!(!examined.document.to_string().contains("s3cret"));
}

#[test]
fn the_embedded_server_is_neither_set_up_nor_started() {
    let home = Home::new();
    let look = || Examined::by(mosaic(&["backlog", "doctor", "--json"]).at(&home));
    let examined = look();
    assert_eq!(
        (examined.exit, examined.names()),
        (4, vec!["installation", "disk", "server"])
    );
    examined.assert("server", "unknown", &["not set up", "mosaic db start"]);
    assert!(!home.path().exists());

    mosaic(&["db", "start"]).at(&home).run();
    let examined = look();
    assert_eq!(
        (examined.exit, examined.open().len()),
        (0, 0),
        "{}",
        examined.document
    );
    examined.assert("installation", "ok", &["PostgreSQL"]);
    examined.assert("privileges", "ok", &["mosaic_operator"]);

    mosaic(&["db", "stop"]).at(&home).run();
    let examined = look();
    assert_eq!((examined.exit, examined.open()), (4, vec!["server"]));
    examined.assert("server", "unknown", &["stopped", "mosaic db start"]);
    assert_eq!(home.servers(), Vec::<u32>::new());
}

#[test]
fn two_databases_are_told_once_the_gateway_has_one() {
    let cluster = sound();
    let folder = folder::create();
    let url = cluster.url("postgres", "postgres");
    let examined = |gateway: Option<&str>| {
        let call = mosaic(&["backlog", "doctor", "--json"])
            .env("DATABASE_URL", &url)
            .env("MOSAIC_HOME", &*folder);
        Examined::by(match gateway {
            Some(gateway) => call.env("MOSAIC_DATABASE_URL", gateway),
            None => call,
        })
    };
    assert!(!examined(None).names().contains(&"databases"));
    examined(Some(&url)).assert("databases", "ok", &["the same"]);
    let other = cluster.url("other", "postgres");
    let found = examined(Some(&other));
    found.assert(
        "databases",
        "warning",
        &["different", "\\\"other\\\"", "config set"],
    );
    assert_eq!(found.exit, 7);
    // By its file, and with the embedded server.
    let gateway = folder.join("gateway");
    std::fs::create_dir(&gateway).expect("a folder");
    std::fs::write(gateway.join("gateway.toml"), "").expect("write");
    examined(None).assert("databases", "warning", &["the embedded server"]);
    std::fs::write(gateway.join("gateway.toml"), "gateway_port =").expect("write");
    examined(None).assert("databases", "unknown", &["TOML"]);
}

#[test]
fn our_hooks_are_tried_and_a_program_that_is_gone_or_fails_is_named() {
    let cluster = sound();
    let folder = folder::create();
    let claude = folder.join("claude");
    let call = |program: &std::path::Path, arguments: &[&str]| {
        mosaic_backlog_tests::program::program(program, arguments)
            .env("DATABASE_URL", cluster.url("postgres", "postgres"))
            .env("MOSAIC_HOME", folder.join("home"))
            .env("CLAUDE_HOME", &claude)
    };
    let doctor = || Examined::by(call(programs::mosaic(), &["backlog", "doctor", "--json"]));
    let enable = |program: &std::path::Path| {
        call(program, &["config", "hooks", "enable", "mosaic", "--json"]).json();
    };
    assert!(!doctor().names().contains(&"hooks"));
    enable(programs::mosaic());
    doctor().assert("hooks", "ok", &["4 hooks"]);
    // Trying them out leaves no session behind.
    assert!(!folder.join("home/sessions").exists());

    let moved = folder.join("mosaic");
    std::fs::copy(programs::mosaic(), &moved).expect("a copy");
    enable(&moved);
    doctor().assert("hooks", "ok", &[]);
    std::fs::write(&moved, "#!/bin/sh\nexit 3\n").expect("write");
    doctor().assert("hooks", "warning", &["mosaic:stop fails: exit status: 3"]);
    std::fs::remove_file(&moved).expect("it is there");
    let gone = format!(
        "mosaic:session-start runs {}, which is gone",
        moved.display()
    );
    let found = doctor();
    found.assert("hooks", "warning", &[&gone, "config hooks enable mosaic"]);
    assert_eq!(found.exit, 7);
    // The repair is the one that was named.
    enable(programs::mosaic());
    doctor().assert("hooks", "ok", &[]);

    let settings = claude.join("settings.json");
    let text = std::fs::read_to_string(&settings).expect("settings");
    let off = text.replacen('{', "{\"disableAllHooks\": true,", 1);
    std::fs::write(&settings, off).expect("write");
    doctor().assert("hooks", "warning", &["disableAllHooks"]);
    std::fs::write(&settings, "{").expect("write");
    doctor().assert("hooks", "unknown", &["settings.json"]);
}

#[test]
fn a_folder_in_which_others_may_put_another_backlog_is_found() {
    let above = folder::create();
    let home = above.join("home");
    let look = |mode: u32| {
        fs::set_permissions(&*above, fs::Permissions::from_mode(mode)).expect("chmod");
        Examined::by(mosaic(&["backlog", "doctor", "--json"]).env("MOSAIC_HOME", &home))
    };
    let found = look(0o777);
    found.assert("folder", "warning", &["Every user", "chmod +t"]);
    for mode in [0o1777, 0o755] {
        assert!(!look(mode).names().contains(&"folder"), "{mode:o}");
    }
}
