//! `mosaic update`: to a newer version and back, with live data, and cut off anywhere.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use mosaic_backlog_tests::home::signal;
use mosaic_backlog_tests::program::{Outcome, program};
use mosaic_backlog_tests::{folder, programs, wait};
use serde_json::{Value, json};

use super::site::{OLD, Site, newer};

/// All files below a folder with their contents, but for those of the live data.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(content) = fs::read(&path) {
                found.push((path.to_string_lossy().into_owned(), content));
            }
        }
    }
    found.sort();
    found
}

fn error(outcome: Outcome, exit: i32, code: &str) -> String {
    let document = outcome.json(exit);
    assert_eq!(document["error"]["code"], code, "{document}");
    document["error"].to_string()
}

#[test]
fn a_fleet_is_updated_twice_and_back_while_its_workers_work() {
    let site = Site::installed();
    let first = site.head(&site.clone_folder());
    for number in 0..12 {
        site.backlog(&["create", "t", "--id", &format!("A{number}")]);
    }
    let held = site.backlog(&["claim", "A0", "--worker", "someone", "--ttl", "1h"]);
    fs::create_dir_all(site.home.path().join("gateway")).expect("a folder");
    let gateway = site.home.path().join("gateway/gateway.toml");
    fs::write(&gateway, "gateway_port = 8001\n").expect("write");
    let settings = site.user().join(".claude/settings.json");
    site.call(&["config", "hooks", "enable", "mosaic", "--json"])
        .json();
    let hooks = fs::read(&settings).expect("settings");
    let server = site.home.server();

    // Its commands go on while everything is replaced, and longer than their lease, which is renewed.
    let go = site.folder.join("go");
    let work = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    let mut worker = site
        .call(&[
            "backlog", "run", "--loop", "--wait", "--jobs", "2", "--ttl", "8s", "--worker", "w",
            "--", "sh", "-c", &work,
        ])
        .with(|command| {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        })
        .spawn();
    let count = |what: &str| site.backlog(&["stats"])[what].as_u64().expect("a number");
    let is_held = || wait::until("the worker works", || (count("claimed") == 3).then_some(()));
    is_held();

    let second = site.commit_newer();
    let document = site.update(&[]).json(0);
    assert_eq!(document["updated"], true);
    assert_eq!(document["from"], json!({"version": OLD, "commit": first}));
    assert_eq!(
        document["to"],
        json!({"version": newer(), "commit": second})
    );
    assert_eq!(site.versions(), (newer(), newer()));
    assert_eq!(site.receipt()["commit"], second);
    assert_eq!((count("claimed"), count("done")), (3, 0));
    fs::write(&go, "").expect("write");
    wait::until("the worker goes on", || (count("done") > 3).then_some(()));
    fs::remove_file(&go).expect("it is there");
    is_held();

    site.write("CHANGELOG", "more\n");
    let third = site.commit("a change");
    let document = site.update(&[]).json(0);
    assert_eq!(document["to"], json!({"version": newer(), "commit": third}));
    assert_eq!(document["migrations"], json!([]));
    let document = site.update(&[]).json(0);
    assert_eq!(
        (&document["new"], &document["updated"]),
        (&json!(false), &json!(false))
    );

    // And back, once.
    let document = site.update(&["--rollback"]).json(0);
    assert_eq!(document["to"]["commit"], second);
    assert_eq!(document["extension_kept"], Value::Null);
    assert_eq!(site.receipt()["commit"], second);
    error(site.update(&["--rollback"]), 7, "wrong_state");

    fs::write(&go, "").expect("write");
    wait::until("all are done", || (count("done") == 11).then_some(()));
    signal("TERM", worker.id());
    worker.wait().expect("its end");
    // Nothing was lost, nothing done twice, and what was held is held.
    let cards = site.backlog(&["list", "--status", "done", "--limit", "100"]);
    for card in cards["cards"].as_array().expect("cards") {
        assert_eq!(card["attempts"], 1, "{card}");
    }
    let token = held["cards"][0]["claim_token"].to_string();
    site.backlog(&["complete", "A0", "--token", &token]);
    assert_eq!(site.home.server(), server);
    assert_eq!(fs::read(&settings).expect("settings"), hooks);
    let gateway = fs::read_to_string(gateway).expect("the file");
    assert_eq!(gateway, "gateway_port = 8001\n");
}

#[test]
fn an_older_program_comes_back_and_works_with_what_was_migrated() {
    let site = Site::installed();
    site.backlog(&["create", "t", "--id", "A"]);
    let before = fs::read(site.mosaic()).expect("the program");
    let receipt = site.receipt();
    site.commit_newer();
    site.update(&[]).json(0);
    assert_ne!(fs::read(site.mosaic()).expect("the program"), before);
    let document = site.update(&["--rollback"]).json(0);
    assert_eq!(document["from"]["version"], newer());
    assert_eq!(document["to"]["version"], OLD);
    assert_eq!(document["extension_kept"], newer());
    assert_eq!(fs::read(site.mosaic()).expect("the program"), before);
    assert_eq!(site.receipt(), receipt);
    assert_eq!(site.versions(), (OLD.to_owned(), newer()));
    // Also after the server has loaded what lies there now.
    site.call(&["db", "stop", "--json"]).json();
    let token =
        site.backlog(&["claim", "A", "--worker", "w"])["cards"][0]["claim_token"].to_string();
    site.backlog(&["complete", "A", "--token", &token]);
    // And forward again.
    assert_eq!(site.update(&[]).json(0)["updated"], true);
    assert_eq!(site.versions(), (newer(), newer()));
}

#[test]
fn check_says_what_would_change_and_changes_nothing() {
    let site = Site::installed();
    let document = site.update(&["--check"]).json(3);
    assert_eq!(document["new"], false);
    site.backlog(&["create", "t", "--id", "A"]);
    let first = site.head(&site.clone_folder());
    site.commit("one");
    let second = site.commit_newer();
    let before = files(&site.prefix());
    let document = site.update(&["--check"]).json(0);
    let home = site.home.path().to_string_lossy().into_owned();
    let clone = site.clone_folder().canonicalize().expect("a path");
    assert_eq!(
        document,
        json!({"new": true, "updated": false, "cut_off": false, "source": clone.to_string_lossy(),
            "from": {"version": OLD, "commit": first},
            "to": {"version": newer(), "commit": second}, "commits": 2,
            "migrations": [format!("mosaic_backlog_ext--{OLD}--{}.sql", newer())],
            "backlogs": [{"home": home, "from": OLD, "to": newer()}]})
    );
    assert_eq!(site.head(&site.clone_folder()), first);
    assert_eq!(files(&site.prefix()), before);
    let shown = site.call(&["update", "--check"]).run();
    assert_eq!(shown.exit, 0);
    for part in [OLD, &newer(), "2 commits", "--0.", &home] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
}

#[test]
fn what_an_update_cannot_come_from_is_refused_and_nothing_changes() {
    let site = Site::installed();
    site.commit("more");
    let clone = site.clone_folder();
    let before = files(&site.prefix());
    let head = site.head(&clone);
    let refused = |arguments: &[&str], parts: &[&str]| {
        for check in [&["--check"][..], &[]] {
            let said = error(site.update(&[arguments, check].concat()), 7, "wrong_state");
            for part in parts {
                assert!(said.contains(part), "{part}: {said}");
            }
        }
        assert_eq!(files(&site.prefix()), before);
    };
    // Changes, whoever made them.
    fs::write(clone.join("install.sh"), "#!/bin/sh\n").expect("write");
    fs::write(clone.join("sql/notes"), "mine").expect("write");
    refused(&[], &["install.sh", "sql/notes", "stash"]);
    site.git(&clone, &["checkout", "--quiet", "install.sh"]);
    fs::remove_file(clone.join("sql/notes")).expect("it is there");
    // No branch, and one that went its own way.
    site.git(&clone, &["checkout", "--quiet", "--detach"]);
    refused(&[], &["branch", "switch"]);
    site.git(&clone, &["checkout", "--quiet", "main"]);
    site.git(
        &clone,
        &["commit", "--quiet", "--allow-empty", "-m", "mine"],
    );
    refused(&[], &["commits of its own", "rebase"]);
    site.git(&clone, &["reset", "--quiet", "--hard", &head]);
    // Another place.
    let elsewhere = folder::create();
    refused(
        &["--source", &elsewhere.to_string_lossy()],
        &["no clone of git"],
    );
    refused(&["--source", "/no/such/folder"], &["/no/such/folder"]);
    refused(
        &["--source", &clone.join("sql").to_string_lossy()],
        &["no clone of Mosaic"],
    );
    // Gone.
    let away = site.folder.join("away");
    fs::rename(&clone, &away).expect("a rename");
    refused(&[], &["is gone", "--source"]);
    // The remote is out of reach.
    fs::rename(&away, &clone).expect("a rename");
    fs::rename(site.origin(), &away).expect("a rename");
    error(site.update(&[]), 4, "unreachable");
    fs::rename(&away, site.origin()).expect("a rename");
    assert_eq!(files(&site.prefix()), before);
    // No receipt, and one that is none.
    let receipt = site.private().join("receipt.json");
    fs::write(&receipt, "{}").expect("write");
    error(site.update(&[]), 7, "wrong_state");
    fs::remove_file(&receipt).expect("it is there");
    let said = error(site.update(&[]), 7, "wrong_state");
    assert!(
        said.contains("no receipt") && said.contains("install.sh"),
        "{said}"
    );
    // What cannot be meant.
    for arguments in [
        &["--check", "--rollback"][..],
        &["--source", ""],
        &["--source", "x", "--rollback"],
    ] {
        error(site.update(arguments), 2, "usage");
    }
}

#[test]
fn what_does_not_build_or_does_not_answer_leaves_the_old_version_at_work() {
    let site = Site::installed();
    site.backlog(&["create", "t", "--id", "A"]);
    let before = fs::read(site.mosaic()).expect("the program");
    let works = |because: &str, extension: &str| {
        assert_eq!(
            fs::read(site.mosaic()).expect("the program"),
            before,
            "{because}"
        );
        assert_eq!(
            site.versions(),
            (OLD.to_owned(), extension.to_owned()),
            "{because}"
        );
        assert_eq!(site.backlog(&["show", "A"])["card"]["id"], "A");
        assert!(!site.private().join("updating").exists(), "{because}");
    };
    for (file, part) in [
        ("fails", "install.sh"),
        ("does-nothing", "version"),
        ("says-nothing", "--version"),
    ] {
        site.write(file, "");
        site.commit(file);
        let said = error(site.update(&[]), 4, "resource");
        assert!(
            said.contains("works again") && said.contains(part),
            "{file}: {said}"
        );
        works(file, OLD);
        site.remove(file);
    }
    // A migration that fails.
    site.commit_newer();
    let script = format!("sql/mosaic_backlog_ext--{OLD}--{}.sql", newer());
    site.write(&script, "select 1/0;\n");
    site.commit("a bad script");
    let said = error(site.update(&[]), 4, "resource");
    assert!(said.contains("division by zero"), "{said}");
    works("migration", OLD);
    site.write(&script, "select 1;\n");
    site.commit("a good script");
    assert_eq!(site.update(&[]).json(0)["updated"], true);
    assert_eq!(site.versions(), (newer(), newer()));
}

/// Whether what is there when the update is killed.
type Point = (&'static str, fn(&Site) -> bool);

const POINTS: [Point; 6] = [
    ("it keeps the old version", |site| {
        site.private().join("previous.new").exists()
    }),
    ("it begins to build", |site| {
        site.private().join("updating").exists()
    }),
    ("the extension is new", |site| {
        let major = site.receipt()["pg_major"].to_string();
        let control = site.private().join(format!(
            "extension/{major}/share/mosaic_backlog_ext.control"
        ));
        fs::read_to_string(control).is_ok_and(|text| text.contains(&newer()))
    }),
    ("the program is being written", |site| {
        fs::read_dir(site.prefix().join("bin")).is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains(".new."))
            })
        })
    }),
    ("the shared files are being written", |site| {
        site.private().join("shared-files.new").exists()
    }),
    ("the receipt is new", |site| {
        site.receipt()["version"] == newer()
    }),
];

/// Begins an update and kills it when `is_there`; where it was too fast for that, `again` leads back to before.
#[track_caller]
fn killed_when(
    site: &Site,
    arguments: &[&str],
    what: &str,
    is_there: fn(&Site) -> bool,
    again: impl Fn(),
) {
    for _ in 0..20 {
        let mut update = site.begin_update(arguments);
        wait::until(what, || {
            (is_there(site) || update.try_wait().expect("its state").is_some()).then_some(())
        });
        // The build and install.sh as well, as when the machine goes down.
        let group = format!("-{}", update.id());
        let _ = Command::new("kill")
            .args(["-9", "--", &group])
            .stderr(Stdio::null())
            .status();
        if !update.wait().expect("its end").success() {
            return;
        }
        again();
    }
    panic!("it was too fast: {what}");
}

#[test]
fn killed_anywhere_one_of_both_versions_works_and_another_update_completes() {
    let site = Site::installed();
    site.backlog(&["create", "t", "--id", "A"]);
    let old = fs::read(site.mosaic()).expect("the program");
    site.commit_newer();
    for (what, is_there) in POINTS {
        killed_when(&site, &[], what, is_there, || {
            site.update(&["--rollback"]).json(0);
        });
        let (version, _) = site.versions();
        assert!(
            [OLD, &newer()].contains(&version.as_str()),
            "{what}: {version}"
        );
        assert_eq!(site.backlog(&["show", "A"])["card"]["id"], "A", "{what}");
        // What a killed command has left holds the lock no longer than it runs.
        wait::until("another update completes", || {
            let outcome = site.update(&[]);
            (outcome.exit != 8).then(|| outcome.json(0))
        });
        assert_eq!(site.versions(), (newer(), newer()), "{what}");
        let left: Vec<String> = files(&site.prefix())
            .into_iter()
            .map(|(file, _)| file)
            .filter(|file| file.contains(".new") || file.ends_with("/updating"))
            .collect();
        assert_eq!(left, [""; 0], "{what}");
        // What was kept is the old version, whatever was there meanwhile.
        site.update(&["--rollback"]).json(0);
        assert!(
            fs::read(site.mosaic()).expect("the program") == old,
            "{what}"
        );
        assert_eq!(site.receipt()["version"], OLD, "{what}");
    }
}

#[test]
fn a_rollback_that_was_killed_is_completed_by_another_one_or_by_an_update() {
    let site = Site::installed();
    site.backlog(&["create", "t", "--id", "A"]);
    let old = fs::read(site.mosaic()).expect("the program");
    site.commit_newer();
    site.update(&[]).json(0);
    for then in ["--rollback", "--json"] {
        killed_when(
            &site,
            &["--rollback"],
            "a rollback begins",
            |site| site.private().join("updating").exists(),
            || drop(site.update(&[]).json(0)),
        );
        assert_eq!(site.backlog(&["show", "A"])["card"]["id"], "A");
        site.call(&["update", then]).run();
        assert!(!site.private().join("updating").exists());
        let is_old = fs::read(site.mosaic()).expect("the program") == old;
        assert_eq!(is_old, then == "--rollback");
        site.update(&[]).json(0);
        assert_eq!(site.versions(), (newer(), newer()));
    }
}

#[test]
fn killed_while_it_migrates_it_is_completed_later() {
    let site = Site::installed();
    site.backlog(&["create", "t", "--id", "A"]);
    let newer = newer();
    site.commit_newer();
    site.write(
        &format!("sql/mosaic_backlog_ext--{OLD}--{newer}.sql"),
        "lock table mosaic.backlog in access exclusive mode;\n",
    );
    site.commit("it waits for everybody");
    let url = site.call(&["db", "url", "--admin", "--json"]).json()["url"].clone();
    let connect = || postgres::Client::connect(url.as_str().expect("a URL"), postgres::NoTls);
    let (mut holder, mut watcher) = (connect().expect("a session"), connect().expect("a session"));
    holder
        .batch_execute("begin; lock table mosaic.backlog in access share mode")
        .expect("a lock");
    let mut update = site.begin_update(&[]);
    wait::until("the migration waits", || {
        let sql = "select from pg_locks where not granted and mode = 'AccessExclusiveLock'";
        (watcher.query(sql, &[]).expect("locks").len() == 1).then_some(())
    });
    let group = format!("-{}", update.id());
    Command::new("kill")
        .args(["-9", "--", &group])
        .status()
        .expect("kill");
    update.wait().expect("its end");
    // Somebody's next call would wait as well, and do what was left to do.
    holder.batch_execute("rollback").expect("the end");
    assert_eq!(site.update(&["--check"]).json(0)["cut_off"], true);
    assert_eq!(site.update(&[]).json(0)["updated"], true);
    assert_eq!(site.versions(), (newer.clone(), newer));
    assert_eq!(site.backlog(&["show", "A"])["card"]["id"], "A");
}

#[test]
fn of_two_updates_at_once_the_second_refuses() {
    let site = Site::installed();
    let gate = site.folder.join("gate");
    site.write("wait-for", &gate.to_string_lossy());
    site.commit("slow");
    let mut first = site.begin_update(&[]);
    let waits = site.folder.join("gate.waits");
    wait::until("it builds", || waits.exists().then_some(()));
    for arguments in [&[][..], &["--rollback"]] {
        error(site.update(arguments), 8, "busy");
    }
    // The program of before answers meanwhile. A killed update's build is waited for as well.
    assert_eq!(site.versions().0, OLD);
    signal("KILL", first.id());
    first.wait().expect("its end");
    error(site.update(&[]), 8, "busy");
    fs::write(&gate, "").expect("write");
    wait::until("another update completes", || {
        let outcome = site.update(&[]);
        (outcome.exit != 8).then(|| outcome.json(0))
    });
    assert!(!site.private().join("updating").exists());
}

#[test]
fn another_clone_is_the_source_from_then_on() {
    let site = Site::installed();
    let other = site.folder.join("other");
    let path = other.to_string_lossy().into_owned();
    site.git(&site.folder, &["clone", "--quiet", "origin", &path]);
    fs::remove_dir_all(site.clone_folder()).expect("it is there");
    let document = site.update(&["--source", &path]).json(0);
    assert_eq!(document["updated"], true);
    assert_eq!(site.receipt()["clone"], path);
    assert_eq!(site.update(&[]).json(0)["new"], false);
}

#[test]
fn a_stopped_server_is_migrated_and_stopped_again() {
    let site = Site::installed();
    site.backlog(&["create", "t", "--id", "A"]);
    site.call(&["db", "stop", "--json"]).json();
    site.commit_newer();
    let document = site.update(&[]).json(0);
    assert_eq!(document["backlogs"][0]["from"], OLD);
    assert_eq!(site.home.servers(), [0; 0]);
    site.backlog(&["show", "A"]);
    assert_eq!(site.versions().1, newer());
}

#[test]
fn a_program_that_nothing_installed_is_not_updated() {
    let folder = folder::create();
    let copy = folder.join("mosaic");
    fs::copy(programs::mosaic(), &copy).expect("a copy");
    for command in ["update", "uninstall"] {
        let outcome = program(&copy, &[command, "--json"])
            .env("MOSAIC_HOME", folder.join("home"))
            .run();
        error(outcome, 7, "wrong_state");
    }
}
