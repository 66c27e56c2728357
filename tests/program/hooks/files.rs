//! Switching hooks: what is not meant stays byte for byte, and what was off comes back as it was.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use mosaic_backlog_tests::folder::{self, Folder};
use mosaic_backlog_tests::program::{Mosaic, Outcome, mosaic};
use serde_json::{Value, json};

use super::settings::SETTINGS;

/// The folder of Claude Code, and mosaicHome.
struct Claude {
    folder: Folder,
}

impl Claude {
    fn new() -> Self {
        let claude = Self {
            folder: folder::create(),
        };
        fs::create_dir(claude.folder.join("claude")).expect("a folder");
        claude
    }

    fn with(settings: impl AsRef<[u8]>) -> Self {
        let claude = Self::new();
        fs::write(claude.settings(), settings).expect("write");
        claude
    }

    fn settings(&self) -> PathBuf {
        self.folder.join("claude/settings.json")
    }

    fn ledger(&self) -> PathBuf {
        self.folder.join("claude/hooks-config.json")
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        fs::read(self.settings()).ok()
    }

    fn call(&self, arguments: &[&str]) -> Mosaic {
        let mut all = vec!["config", "hooks"];
        all.extend(arguments);
        mosaic(&all)
            .env("MOSAIC_HOME", self.folder.join("mosaic"))
            .env("CLAUDE_HOME", self.folder.join("claude"))
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        self.call(&all).json()
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], exit: i32) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let before = (self.bytes(), fs::read(self.ledger()).ok());
        let document = self.call(&all).run().json(exit);
        assert_eq!((self.bytes(), fs::read(self.ledger()).ok()), before);
        document["error"].clone()
    }

    /// The ids of the hooks, and whether they are on.
    #[track_caller]
    fn list(&self) -> Vec<(String, bool)> {
        ids(&self.json(&["list"]))
    }
}

fn ids(document: &Value) -> Vec<(String, bool)> {
    let hooks = document["hooks"].as_array().expect("hooks");
    hooks
        .iter()
        .map(|hook| {
            (
                hook["id"].as_str().expect("an id").to_owned(),
                hook["on"].as_bool().expect("on or off"),
            )
        })
        .collect()
}

/// As Claude Code reads it: without comments, the last of equal keys.
fn effective(bytes: &[u8]) -> Value {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    let text = text.trim_start_matches('\u{feff}');
    let mut plain = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if letter == '"' {
            let mut end = 1;
            while !rest[end..].starts_with('"') {
                end += if rest[end..].starts_with('\\') {
                    2
                } else {
                    rest[end..].chars().next().expect("a letter").len_utf8()
                };
            }
            plain.push_str(&rest[..=end]);
            rest = &rest[end + 1..];
        } else if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = &rest[rest.find("*/").expect("its end") + 2..];
        } else {
            if matches!(letter, ']' | '}') {
                let trimmed = plain.trim_end();
                if let Some(before) = trimmed.strip_suffix(',') {
                    plain = before.to_owned();
                }
            }
            plain.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    // Numbers that no machine holds are of no interest here.
    let plain = plain.replace("1.0e+400", "1");
    serde_json::from_str(&plain).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn commands(bytes: &[u8]) -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(
                    fields
                        .get("command")
                        .and_then(Value::as_str)
                        .map(str::to_owned),
                );
                fields.values().for_each(|value| collect(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(&effective(bytes)["hooks"], &mut found);
    found
}

/// How many handlers there are, of any type.
fn count(bytes: &[u8]) -> usize {
    let hooks = effective(bytes)["hooks"].clone();
    let groups = hooks
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(_, event)| event.as_array().cloned().unwrap_or_default());
    groups
        .map(|group| group["hooks"].as_array().map_or(0, Vec::len))
        .sum()
}

#[test]
fn settings_of_every_kind_are_after_it_all_what_they_were_byte_for_byte() {
    for (name, before) in SETTINGS {
        let claude = match before {
            Some(bytes) => Claude::with(bytes),
            None => Claude::new(),
        };
        let shown = || String::from_utf8_lossy(&claude.bytes().unwrap_or_default()).into_owned();
        let own: Vec<String> = claude
            .list()
            .into_iter()
            .filter(|(id, _)| !id.starts_with("mosaic:"))
            .map(|(id, on)| {
                assert!(on, "{name}: {id}");
                id
            })
            .collect();
        let installed = claude.json(&["enable", "mosaic"]);
        assert!(
            ids(&installed).iter().all(|(_, on)| *on),
            "{name}: {installed}"
        );
        let with_ours = claude.bytes().expect("settings");
        let ours = commands(&with_ours)
            .into_iter()
            .filter(|command| command.contains(" hook "));
        assert_eq!(ours.count(), 4, "{name}: {}", shown());
        // Each off and on again, one after the other, then all off, and back in the order they went.
        let mut all = own.clone();
        all.push("mosaic:stop".to_owned());
        for id in &all {
            claude.json(&["disable", id]);
            let off = claude.bytes().expect("settings");
            assert_eq!(
                count(&off) + 1,
                count(&with_ours),
                "{name}: {id}: {}",
                shown()
            );
            claude.json(&["enable", id]);
            assert_eq!(
                claude.bytes().expect("settings"),
                with_ours,
                "{name}: {id}: {}",
                shown()
            );
        }
        for id in &all {
            claude.json(&["disable", id]);
            effective(&claude.bytes().expect("settings"));
        }
        for id in &all {
            claude.json(&["enable", id]);
        }
        assert_eq!(
            claude.bytes().expect("settings"),
            with_ours,
            "{name}: {}",
            shown()
        );
        // Again the same changes nothing.
        assert_eq!(
            claude.json(&["enable", "mosaic"])["changed"],
            false,
            "{name}"
        );
        claude.json(&["disable", "mosaic"]);
        assert_eq!(
            claude.bytes().as_deref().map(String::from_utf8_lossy),
            before.map(String::from_utf8_lossy),
            "{name}"
        );
        assert!(!claude.ledger().exists(), "{name}");
    }
}

#[test]
fn what_is_off_stays_off_while_ours_come_and_go() {
    let claude = Claude::with(
        SETTINGS
            .iter()
            .find(|(name, _)| *name == "many groups")
            .expect("it")
            .1
            .expect("it"),
    );
    let before = claude.bytes();
    claude.json(&["disable", "PostToolUse.2"]);
    let without = claude.bytes();
    claude.json(&["enable", "mosaic"]);
    claude.json(&["disable", "PostToolUse.1"]);
    claude.json(&["enable", "PostToolUse.1"]);
    claude.json(&["disable", "mosaic"]);
    assert_eq!(claude.bytes(), without);
    claude.json(&["enable", "PostToolUse.2"]);
    assert_eq!(claude.bytes(), before);
    // By the event, all of them; nothing empty is left of it.
    claude.json(&["disable", "PostToolUse"]);
    let now = effective(&claude.bytes().expect("settings"));
    assert_eq!(
        now["hooks"]
            .as_object()
            .expect("hooks")
            .keys()
            .collect::<Vec<_>>(),
        ["SessionStart"]
    );
    claude.json(&["disable", "SessionStart"]);
    assert_eq!(
        effective(&claude.bytes().expect("settings"))["hooks"],
        json!({})
    );
    claude.json(&["enable", "PostToolUse", "SessionStart"]);
    assert_eq!(claude.bytes(), before);
}

#[test]
fn a_hook_comes_back_to_the_nearest_place_after_somebody_changed_the_settings() {
    let text = |hooks: &str| {
        format!(
            "{{\n  \"hooks\": {{\n    \"Stop\": [\n      {{\"matcher\": \"x\", \"hooks\": [{hooks}]}}\n    ]\n  }}\n}}\n"
        )
    };
    let hook = |command: &str| format!("{{\"type\": \"command\", \"command\": \"{command}\"}}");
    let claude = Claude::with(text(&[hook("a"), hook("b"), hook("c")].join(", ")));
    claude.json(&["disable", "Stop.2"]);
    fs::write(
        claude.settings(),
        text(&[hook("a"), hook("new"), hook("c")].join(", ")),
    )
    .expect("write");
    claude.json(&["enable", "Stop.2"]);
    assert_eq!(
        commands(&claude.bytes().expect("settings")),
        ["a", "b", "new", "c"]
    );
    // Where its group is gone, too.
    claude.json(&["disable", "Stop.2"]);
    fs::write(claude.settings(), "{\"model\": \"opus\"}").expect("write");
    assert_eq!(claude.list()[0], ("Stop.1".to_owned(), false));
    claude.json(&["enable", "Stop"]);
    let now = effective(&claude.bytes().expect("settings"));
    assert_eq!(now["model"], "opus");
    assert_eq!(
        now["hooks"]["Stop"],
        json!([{"matcher": "x", "hooks": [{"type": "command", "command": "b"}]}])
    );
}

#[test]
fn ours_leave_what_was_changed_beside_them_meanwhile() {
    let claude = Claude::with("{\n  \"model\": \"opus\"\n}\n");
    claude.json(&["enable", "mosaic"]);
    let text = String::from_utf8(claude.bytes().expect("settings")).expect("UTF-8");
    fs::write(claude.settings(), text.replace("opus", "sonnet")).expect("write");
    claude.json(&["disable", "mosaic"]);
    assert_eq!(
        claude.bytes().expect("settings"),
        b"{\n  \"model\": \"sonnet\"\n}\n"
    );
    // A hook of the user's among them, too.
    claude.json(&["enable", "mosaic"]);
    let mut now = effective(&claude.bytes().expect("settings"));
    let own = json!({"hooks": [{"type": "command", "command": "own"}]});
    now["hooks"]["Stop"]
        .as_array_mut()
        .expect("a list")
        .insert(0, own.clone());
    fs::write(claude.settings(), format!("{now:#}\n")).expect("write");
    claude.json(&["disable", "mosaic"]);
    let now = effective(&claude.bytes().expect("settings"));
    assert_eq!(now["hooks"], json!({"Stop": [own]}));
}

#[test]
fn a_file_that_does_not_parse_is_never_touched_and_its_place_is_told() {
    for (text, place) in [
        (&b"{\n  \"hooks\": {,}\n}"[..], "line 2, column 13"),
        (b"{\n  \"a\": 1\n  \"b\": 2\n}", "line 2, column 9"),
        (b"{'a': 1}", "line 1, column 2"),
        (b"", "line 1, column 1"),
        (b"[]", "line 1, column 1"),
        (b"{\n  \"hooks\": []\n}", "line 2, column 12"),
        (b"{\n  \"hooks\": null\n}", "line 2, column 12"),
        (b"{\n  \"a\": \"\xff\"\n}", "line 2, column 9"),
        (b"\xff\xfe{\x00}\x00", "line 1, column 1"),
        (b"{\"a\": 1} x", "line 1, column 10"),
    ] {
        let claude = Claude::with(text);
        let error = claude.refused(&["enable", "mosaic"], 2);
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(place), "{message}");
        claude.refused(&["list"], 2);
    }
    let claude = Claude::with("[".repeat(200_000));
    claude.refused(&["enable", "mosaic"], 2);
    // Nor is what others keep where the ledger goes.
    let claude = Claude::with(
        "{\"hooks\": {\"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"a\"}]}]}}",
    );
    fs::write(claude.ledger(), "{ broken").expect("write");
    claude.refused(&["disable", "Stop.1"], 2);
}

#[test]
fn an_event_that_is_no_list_stops_ours_and_changes_nothing() {
    let claude = Claude::with("{\"hooks\": {\"Stop\": null}}");
    let error = claude.refused(&["enable", "mosaic"], 2);
    assert!(
        error["message"]
            .as_str()
            .expect("text")
            .contains("\"Stop\""),
        "{error}"
    );
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest() {
    let claude = Claude::with("{}");
    let error = claude.refused(&["disable", "mosaic:session-strat"], 2);
    assert_eq!(error["hint"], "Did you mean \"mosaic:session-start\"?");
    let error = claude.refused(&["disable", "Notification"], 2);
    assert_eq!(error["hint"], "`mosaic config hooks list` shows them.");
}

#[test]
fn a_dry_run_shows_the_difference_and_changes_nothing() {
    let claude = Claude::with("{\n  \"model\": \"opus\"\n}\n");
    let before = claude.bytes();
    let shown = claude.call(&["enable", "mosaic", "--dry-run"]).run();
    assert_eq!(shown.exit, 0, "{shown:?}");
    assert!(
        shown
            .stdout
            .contains("-  \"model\": \"opus\"\n+  \"model\": \"opus\",\n+  \"hooks\": {\n"),
        "{shown:?}"
    );
    assert_eq!(shown.stdout.matches(" hook ").count(), 4);
    let document = claude.json(&["enable", "mosaic", "--dry-run"]);
    assert_eq!(document["changed"], true);
    assert_eq!(claude.bytes(), before);
    assert!(!claude.ledger().exists() && !claude.folder.join("mosaic").exists());
    let nothing = claude.call(&["disable", "mosaic", "--dry-run"]).run();
    assert_eq!(
        (nothing.exit, nothing.stdout.as_str()),
        (0, "nothing would change\n")
    );
}

#[test]
fn a_link_is_followed_within_the_home_and_not_out_of_it() {
    let claude = Claude::new();
    let home = claude.folder.join("home");
    fs::create_dir_all(home.join(".claude")).expect("a folder");
    fs::create_dir(home.join("dotfiles")).expect("a folder");
    let (real, away) = (
        home.join("dotfiles/settings.json"),
        claude.folder.join("away.json"),
    );
    let link = home.join(".claude/settings.json");
    let call = |on: &str| {
        mosaic(&["config", "hooks", on, "mosaic", "--json"])
            .env("MOSAIC_HOME", claude.folder.join("mosaic"))
            .env("HOME", &home)
    };
    for target in [real.clone(), PathBuf::from("../dotfiles/settings.json")] {
        fs::write(&real, "{}\n").expect("write");
        symlink(target, &link).expect("a link");
        call("enable").json();
        assert!(link.is_symlink());
        assert_eq!(commands(&fs::read(&real).expect("it")).len(), 4);
        call("disable").json();
        assert_eq!(fs::read(&real).expect("it"), b"{}\n");
        fs::remove_file(&link).expect("remove");
    }
    fs::write(&away, "{}\n").expect("write");
    symlink(&away, &link).expect("a link");
    assert_eq!(call("enable").code(4), "unauthorized");
    assert_eq!(fs::read(&away).expect("it"), b"{}\n");
    assert_eq!(
        fs::read_dir(home.join(".claude"))
            .expect("a folder")
            .count(),
        1
    );
}

#[test]
fn what_is_read_only_is_left_alone_with_the_reason() {
    let claude = Claude::with("{}\n");
    fs::set_permissions(claude.settings(), fs::Permissions::from_mode(0o444)).expect("chmod");
    let error = claude.refused(&["enable", "mosaic"], 4);
    assert_eq!(error["code"], "unauthorized");
    assert!(
        error["detail"]
            .as_str()
            .expect("text")
            .contains("home-manager"),
        "{error}"
    );
}

#[test]
fn modes_are_kept_and_the_last_ten_settings_are_too() {
    for mode in [0o600, 0o644, 0o640] {
        let claude = Claude::with("{}\n");
        fs::set_permissions(claude.settings(), fs::Permissions::from_mode(mode)).expect("chmod");
        claude.json(&["enable", "mosaic"]);
        let real = fs::metadata(claude.settings()).expect("it").mode() & 0o7777;
        assert_eq!(real, mode);
        if mode != 0o600 {
            continue;
        }
        for _ in 0..6 {
            claude.json(&["disable", "mosaic:stop"]);
            claude.json(&["enable", "mosaic:stop"]);
        }
        let folder = claude.folder.join("mosaic/gateway/backups/claude");
        assert_eq!(fs::metadata(&folder).expect("it").mode() & 0o777, 0o700);
        let kept: Vec<PathBuf> = fs::read_dir(&folder)
            .expect("it")
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert_eq!(kept.len(), 10);
        for file in kept {
            assert_eq!(fs::metadata(&file).expect("it").mode() & 0o777, 0o600);
            commands(&fs::read(&file).expect("it"));
        }
    }
}

#[test]
fn what_others_keep_beside_the_ledger_stays() {
    let claude = Claude::with(
        "{\"hooks\": {\"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"a\"}]}]}}",
    );
    let theirs = "{\n  // toggles\n  \"hooks\": {\"Stop\": false},\n  \"version\": 2\n}\n";
    fs::write(claude.ledger(), theirs).expect("write");
    claude.json(&["disable", "Stop.1"]);
    let text = fs::read_to_string(claude.ledger()).expect("it");
    assert!(
        text.starts_with(
            "{\n  // toggles\n  \"hooks\": {\"Stop\": false},\n  \"version\": 2,\n  \"mosaic\": {\n"
        ),
        "{text}"
    );
    let disabled = &effective(text.as_bytes())["mosaic"]["disabled"][0];
    assert_eq!(
        (disabled["id"].clone(), disabled["event"].clone()),
        (json!("Stop.1"), json!("Stop"))
    );
    assert_eq!(
        disabled["text"],
        "{\"type\": \"command\", \"command\": \"a\"}"
    );
    claude.json(&["enable", "Stop.1"]);
    assert_eq!(fs::read_to_string(claude.ledger()).expect("it"), theirs);
}

#[test]
fn a_program_that_was_moved_is_called_where_it_is_now() {
    let claude = Claude::new();
    claude.json(&["enable", "mosaic"]);
    let good = claude.bytes().expect("settings");
    let text = String::from_utf8(good.clone()).expect("UTF-8");
    let program = text
        .split("[ -x '")
        .nth(1)
        .and_then(|rest| rest.split('\'').next())
        .expect("a path");
    let moved = text.replace(
        program,
        "/opt/it's old/bin/mosaic".replace('\'', "'\\\\''").as_str(),
    );
    assert_ne!(moved, text);
    fs::write(claude.settings(), &moved).expect("write");
    assert_eq!(
        claude
            .list()
            .iter()
            .filter(|(id, on)| id.starts_with("mosaic:") && *on)
            .count(),
        4
    );
    claude.json(&["enable", "mosaic"]);
    assert_eq!(claude.bytes().expect("settings"), good);
}

#[test]
fn settings_that_claude_code_does_not_read_are_told() {
    for (text, is_read) in [
        ("{}", true),
        ("\u{feff}{\"a\": 1, \"a\": 2}\n", true),
        ("{} // a comment", false),
        ("{\"a\": [1,]}", false),
    ] {
        let outcome = Claude::with(text).call(&["list"]).run();
        let is_told = outcome.stderr.contains("Claude Code takes nothing from");
        assert_eq!(
            (outcome.exit, is_told),
            (0, !is_read),
            "{text}: {outcome:?}"
        );
    }
}

#[test]
fn hooks_of_plugins_are_shown_and_ours_are_not_run_twice() {
    let claude =
        Claude::with("{\n  \"disableAllHooks\": true,\n  \"enabledPlugins\": {\"p@m\": true}\n}\n");
    let plugin = claude.folder.join("claude/plugins/p");
    fs::create_dir_all(plugin.join("hooks")).expect("a folder");
    fs::write(
        claude.folder.join("claude/plugins/installed_plugins.json"),
        json!({"version": 2, "plugins": {"p@m": [{"installPath": plugin}]}}).to_string(),
    )
    .expect("write");
    let hooks = |command: &str| {
        let text =
            json!({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": command}]}]}});
        fs::write(plugin.join("hooks/hooks.json"), text.to_string()).expect("write");
    };
    hooks("theirs");
    let document = claude.json(&["list"]);
    assert_eq!(document["disable_all_hooks"], true);
    let last = document["hooks"]
        .as_array()
        .expect("hooks")
        .last()
        .expect("one")
        .clone();
    assert_eq!(
        (last["source"].clone(), last["switchable"].clone()),
        (json!("plugin p@m"), json!(false))
    );
    assert_eq!(last["command"], "theirs");
    let shown = claude.call(&["list"]).run().stdout;
    assert!(shown.starts_with("disableAllHooks is on"), "{shown}");
    hooks("[ -x '/p/bin/mosaic' ] || exit 0; exec '/p/bin/mosaic' hook stop");
    let error = claude.refused(&["enable", "mosaic"], 2);
    assert!(
        error["message"].as_str().expect("text").contains("p@m"),
        "{error}"
    );
}

/// A rival that writes all the time never loses a whole write of its own, and never gets a broken file.
#[test]
fn a_rival_writer_loses_nothing() {
    let claude = Claude::with("{\"n\": 0}\n");
    let done = AtomicBool::new(false);
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                let text = fs::read_to_string(claude.settings()).expect("it");
                let mut value: Value = serde_json::from_str(&text).expect("whole");
                value["n"] = json!(number);
                let part = claude.settings().with_file_name("rival");
                fs::write(&part, value.to_string()).expect("write");
                fs::rename(&part, claude.settings()).expect("rename");
            }
        });
        let outcomes = (0..10)
            .map(|round| {
                let on = if round % 2 == 0 { "enable" } else { "disable" };
                claude.call(&[on, "mosaic", "--json"]).run()
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        outcomes
    });
    for outcome in outcomes {
        assert!([0, 8].contains(&outcome.exit), "{outcome:?}");
    }
    let value = effective(&claude.bytes().expect("settings"));
    assert!(value["n"].as_u64().expect("a number") > 0, "{value}");
}
