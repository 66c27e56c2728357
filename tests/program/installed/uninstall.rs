//! `mosaic uninstall` and `install.sh --uninstall`: nothing of ours is left but the data, and files of others are as
//! they were.

use std::fs;
use std::path::{Path, PathBuf};

use mosaic_backlog_tests::home::Home;
use serde_json::{Value, json};

use super::site::Site;

const SERVERS: &str = "{\n  \"mcpServers\": {\n    \"mine\": {\"command\": \"mine\"}\n  }\n}\n";
const SETTINGS: &str = "{\n  // mine\n  \"model\": \"opus\",\n  \"hooks\": {\"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"say done\"}]}]}\n}\n";

/// The files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => found.push(path),
            }
        }
    }
    found.sort();
    found
}

/// An installation in use: cards, hooks, a session of an agent, settings of the gateway.
fn in_use() -> Site {
    let site = Site::installed();
    let claude = site.user().join(".claude");
    fs::create_dir_all(&claude).expect("a folder");
    fs::write(claude.join("settings.json"), SETTINGS).expect("write");
    let cursor = site.user().join(".cursor");
    fs::create_dir_all(&cursor).expect("a folder");
    fs::write(cursor.join("mcp.json"), SERVERS).expect("write");
    use_it(&site);
    site
}

fn use_it(site: &Site) {
    site.backlog(&["create", "t"]);
    site.call(&["config", "hooks", "enable", "mosaic", "--json"])
        .json();
    let session = json!({"session_id": "6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c"});
    site.call(&["hook", "session-start"])
        .input(&session.to_string())
        .run();
    site.call(&["config", "set", "gateway_port", "8001", "--json"])
        .json();
    let init = ["init", "--user", "--agents", "cursor", "--yes", "--json"];
    site.call(&init).json();
    assert_ne!(settings(site), SETTINGS);
    assert_ne!(servers(site), SERVERS);
}

/// What was there before us, and is as it was.
fn assert_only_the_users_own_is_left(site: &Site) {
    let own = [".claude/settings.json", ".cursor/mcp.json"];
    let own: Vec<PathBuf> = own.iter().map(|file| site.user().join(file)).collect();
    assert_eq!(left(site), own);
    assert_eq!(settings(site), SETTINGS);
    assert_eq!(servers(site), SERVERS);
}

fn servers(site: &Site) -> String {
    fs::read_to_string(site.user().join(".cursor/mcp.json")).expect("servers")
}

fn settings(site: &Site) -> String {
    fs::read_to_string(site.user().join(".claude/settings.json")).expect("settings")
}

/// What is left below the prefix and the home folder.
fn left(site: &Site) -> Vec<PathBuf> {
    [files(&site.prefix()), files(&site.user())].concat()
}

fn is_data(home: &Home, file: &Path) -> bool {
    let fleet = home.path().join("fleet");
    [
        home.data(),
        fleet.join("backlog.lock"),
        home.path().join("gateway"),
    ]
    .iter()
    .any(|data| file.starts_with(data))
}

fn names(document: &Value, key: &str) -> Vec<String> {
    let items = document[key].as_array().expect("a list").iter();
    items
        .map(|item| item.as_str().expect("text").to_owned())
        .collect()
}

#[test]
fn uninstalling_leaves_the_data_alone_and_purging_leaves_nothing() {
    let site = in_use();
    // The clone is not needed for it.
    fs::remove_dir_all(site.clone_folder()).expect("it is there");
    let document = site.call(&["uninstall", "--yes", "--json"]).json();
    assert_eq!(names(&document, "left"), [""; 0]);
    assert_eq!(
        names(&document, "taken_out"),
        ["the hooks of Claude Code", "the MCP entries of agents"]
    );
    assert!(names(&document, "kept").contains(&site.home.data().to_string_lossy().into_owned()));
    assert_only_the_users_own_is_left(&site);
    assert_eq!(site.home.servers(), [0; 0]);
    let kept = files(site.home.path());
    assert!(kept.contains(&site.home.data().join("PG_VERSION")));
    assert!(kept.contains(&site.home.path().join("gateway/gateway.toml")));
    let other: Vec<&PathBuf> = kept
        .iter()
        .filter(|file| !is_data(&site.home, file))
        .collect();
    assert!(other.is_empty(), "{other:?}");

    // A new installation finds it all.
    site.git(
        &site.folder,
        &[
            "clone",
            "--quiet",
            "origin",
            &site.clone_folder().to_string_lossy(),
        ],
    );
    site.install(&[]);
    assert_eq!(site.backlog(&["stats"])["ready"], 1);
    use_it(&site);
    let document = site
        .call(&["uninstall", "--yes", "--purge", "--json"])
        .json();
    assert_eq!(names(&document, "kept"), [""; 0]);
    assert_only_the_users_own_is_left(&site);
    assert!(!site.home.path().exists(), "{:?}", files(site.home.path()));
}

#[test]
fn install_sh_takes_the_hooks_out_as_well() {
    let site = in_use();
    site.install(&["--uninstall"]);
    assert_only_the_users_own_is_left(&site);
    // And where there is nothing of ours, nothing is made.
    site.install(&[]);
    fs::remove_dir_all(site.user().join(".claude")).expect("it is there");
    site.install(&["--uninstall", "--purge"]);
    assert!(!site.user().join(".claude").exists());
    assert!(!site.home.path().exists(), "{:?}", files(site.home.path()));
}

#[test]
fn nobody_is_asked_where_nobody_answers_and_a_dry_run_changes_nothing() {
    let site = in_use();
    let before = left(&site);
    let outcome = site.call(&["uninstall", "--json"]).run();
    let document = outcome.json(2);
    assert_eq!(document["error"]["code"], "usage");
    let said = document.to_string();
    assert!(
        said.contains("--yes") && said.contains("MOSAIC_ASSUME_YES"),
        "{said}"
    );
    let dry = site
        .call(&["uninstall", "--dry-run", "--purge", "--json"])
        .json();
    assert_eq!(dry["dry_run"], true);
    let removed = names(&dry, "removed");
    for path in [
        site.mosaic(),
        site.private(),
        site.home.data(),
        site.home.path().join("gateway"),
    ] {
        assert!(
            removed.contains(&path.to_string_lossy().into_owned()),
            "{path:?}: {dry}"
        );
    }
    assert_eq!(left(&site), before);
    assert_ne!(settings(&site), SETTINGS);
    site.call(&["uninstall", "--json"])
        .env("MOSAIC_ASSUME_YES", "1")
        .json();
    assert!(!site.mosaic().exists());
}

#[test]
fn on_a_terminal_it_asks_and_no_is_no() {
    let site = in_use();
    let answered = |answer: &str| {
        let mut terminal = site.call(&["uninstall"]).on_terminal(60, 200);
        terminal.until("(y/N)");
        terminal.press(answer);
        (terminal.exit(), terminal.text())
    };
    let (exit, text) = answered("\r");
    assert_eq!(exit, 2, "{text}");
    assert!(
        site.mosaic().exists() && text.contains(&*site.private().to_string_lossy()),
        "{text}"
    );
    let (exit, text) = answered("y\r");
    assert_eq!(exit, 0, "{text}");
    assert!(!site.mosaic().exists());
    assert_eq!(settings(&site), SETTINGS);
}

#[test]
fn what_cannot_be_taken_away_is_named() {
    let site = in_use();
    let file = site.user().join(".claude/settings.json");
    fs::write(&file, "{ \"hooks\": ").expect("write");
    let outcome = site.call(&["uninstall", "--yes", "--json"]).run();
    assert_eq!(outcome.exit, 7, "{outcome:?}");
    let document: Value = serde_json::from_str(&outcome.stdout).expect("a document");
    let problems = document["problems"].to_string();
    assert!(
        problems.contains("settings.json") && problems.contains("hooks"),
        "{document}"
    );
    // The rest is gone.
    let left = files(&site.prefix());
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(settings(&site), "{ \"hooks\": ");
}

#[test]
fn hooks_of_the_user_s_own_that_are_off_are_kept_for_them() {
    let site = in_use();
    site.call(&["config", "hooks", "disable", "Stop.1", "--json"])
        .json();
    let document = site.call(&["uninstall", "--yes", "--json"]).json();
    let ledger = site.user().join(".claude/hooks-config.json");
    assert!(
        names(&document, "kept").contains(&ledger.to_string_lossy().into_owned()),
        "{document}"
    );
    assert!(
        fs::read_to_string(ledger)
            .expect("the ledger")
            .contains("say done")
    );
}
