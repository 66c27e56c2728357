//! The same with nothing but real parts: this very repository, its build and its migration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mosaic_backlog_tests::home::signal;
use mosaic_backlog_tests::{programs, wait};

use super::site::{OLD, Site, newer};

/// Makes the repository one of a newer version, as a release does.
fn release(folder: &Path, version: &str) {
    for file in ["Cargo.toml", "Cargo.lock"] {
        let path = folder.join(file);
        let text = fs::read_to_string(&path).expect("a file");
        let mut is_ours = false;
        let lines = text.lines().map(|line| {
            match line.strip_prefix("name = ") {
                Some(name) => is_ours = name.starts_with("\"mosaic"),
                None if line.starts_with('[') => is_ours = line == "[workspace.package]",
                None => {}
            }
            match is_ours && line.starts_with("version = ") {
                true => format!("version = \"{version}\"\n"),
                false => format!("{line}\n"),
            }
        });
        let text: String = lines.collect();
        fs::write(path, text).expect("write");
    }
    let sql = folder.join("sql");
    let script = |versions: &str| sql.join(format!("mosaic_backlog_ext--{versions}.sql"));
    fs::copy(script(OLD), script(version)).expect("a copy");
    fs::write(
        script(&format!("{OLD}--{version}")),
        "create function mosaic.backlog_of_the_newer() returns int language sql as 'select 9';\n",
    )
    .expect("write");
}

/// A folder to build in that stays, and begins with what is built already.
fn target() -> PathBuf {
    let usual = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| programs::sources().join("target"), PathBuf::from);
    let target = usual.join("tests/real-update");
    if !target.exists() && usual.join("release").exists() {
        let beside = target.with_extension("new");
        let _ = fs::remove_dir_all(&beside);
        fs::create_dir_all(&beside).expect("a folder");
        programs::run(
            Command::new("cp")
                .arg("-a")
                .arg(usual.join("release"))
                .arg(&beside),
        );
        fs::rename(beside, &target).expect("a rename");
    }
    target
}

#[test]
#[ignore = "builds the program and the extension: minutes"]
fn a_newer_commit_of_this_repository_is_built_installed_and_rolled_back_while_workers_work() {
    let site = Site::of(|origin, site| {
        let sources = programs::sources();
        let path = sources.to_string_lossy();
        site.git(&site.folder, &["clone", "--quiet", &path, "origin"]);
        // As it is here, committed or not.
        let changed = site.git(
            sources,
            &["ls-files", "--modified", "--others", "--exclude-standard"],
        );
        for file in changed.lines() {
            if let Some(folder) = origin.join(file).parent() {
                fs::create_dir_all(folder).expect("a folder");
            }
            let _ = fs::copy(sources.join(file), origin.join(file));
        }
        site.git(origin, &["checkout", "--quiet", "-B", "main"]);
    });
    // What is built already, as the old version.
    site.install(&[]);
    let old = fs::read(site.mosaic()).expect("the program");
    for number in 0..12 {
        site.backlog(&["create", "t", "--id", &format!("A{number}")]);
    }
    let go = site.folder.join("go");
    let work = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    let mut worker = site
        .call(&[
            "backlog", "run", "--loop", "--wait", "--jobs", "2", "--ttl", "30s", "--", "sh", "-c",
            &work,
        ])
        .with(|command| {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        })
        .spawn();
    let count = |what: &str| site.backlog(&["stats"])[what].as_u64().expect("a number");
    wait::until("the worker works", || (count("claimed") == 2).then_some(()));

    release(&site.origin(), &newer());
    let commit = site.commit("a newer version");
    let update = || {
        let mut call = site.call(&["update", "--json"]);
        // The real build, with the caller's settings of it.
        call = call
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("CARGO_TARGET_DIR", target());
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        for (name, below) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let folder = std::env::var_os(name).map_or_else(|| home.join(below), PathBuf::from);
            call = call.env(name, folder);
        }
        for (name, value) in std::env::vars_os() {
            if let Some(name) = name
                .to_str()
                .filter(|name| name.starts_with("CARGO_PROFILE_"))
            {
                call = call.env(name, value);
            }
        }
        call.json()
    };
    let document = update();
    assert_eq!(document["to"]["commit"], commit);
    assert_eq!(site.versions(), (newer(), newer()));
    // What was held all the while is completed, and work goes on.
    assert_eq!(count("claimed"), 2);
    fs::write(&go, "").expect("write");
    wait::until("all are done", || (count("done") == 12).then_some(()));
    signal("TERM", worker.id());
    worker.wait().expect("its end");
    let cards = site.backlog(&["list", "--status", "done", "--limit", "100"]);
    for card in cards["cards"].as_array().expect("cards") {
        assert_eq!(card["attempts"], 1, "{card}");
    }
    // Again there is nothing to do, then back, and forward once more without much building.
    assert_eq!(update()["new"], false);
    let document = site.update(&["--rollback"]).json(0);
    assert_eq!(document["extension_kept"], newer());
    assert!(fs::read(site.mosaic()).expect("the program") == old);
    site.backlog(&["create", "t", "--id", "B"]);
    assert_eq!(update()["updated"], true);
    assert_eq!(site.versions(), (newer(), newer()));
    assert_eq!(site.backlog(&["show", "B"])["card"]["status"], "ready");
}
