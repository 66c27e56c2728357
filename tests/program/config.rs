//! `mosaic config`: which value holds, where it comes from, and changing it in its file.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use mosaic_backlog_tests::folder::{self, Folder};
use mosaic_backlog_tests::program::{Mosaic, mosaic};
use serde_json::{Value, json};

/// A mosaicHome without a server.
fn home() -> Folder {
    folder::create()
}

fn config(home: &Path, arguments: &[&str]) -> Mosaic {
    let mut all = vec!["config"];
    all.extend(arguments);
    all.push("--json");
    mosaic(&all)
        .env("MOSAIC_HOME", home)
        .env("CLAUDE_HOME", home.join("claude"))
}

fn show(call: Mosaic) -> Value {
    call.json()
}

fn file(home: &Path, name: &str, content: &str, mode: u32) {
    fs::create_dir_all(home.join("gateway")).expect("a folder");
    let path = home.join("gateway").join(name);
    fs::write(&path, content).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
}

fn text(home: &Path, name: &str) -> String {
    fs::read_to_string(home.join("gateway").join(name)).expect("the file")
}

#[test]
fn a_value_comes_from_the_first_place_that_has_it_and_the_place_is_named() {
    let home = home();
    let entry = |call: Mosaic| show(call)["gateway_port"].clone();
    assert_eq!(
        entry(config(&home, &["show"])),
        json!({"value": 14242, "source": "default"})
    );
    file(
        &home,
        "gateway.toml",
        "# ours\n\ngateway_port = 8001\n",
        0o640,
    );
    let from_file = format!("{}/gateway/gateway.toml:3", home.display());
    assert_eq!(
        entry(config(&home, &["show"])),
        json!({"value": 8001, "source": from_file})
    );
    let port = home.join("port");
    fs::write(&port, "8002\n").expect("write");
    let call = || config(&home, &["show"]).env("MOSAIC_GATEWAY_PORT_FILE", &port);
    let source = format!("MOSAIC_GATEWAY_PORT_FILE ({})", port.display());
    assert_eq!(entry(call()), json!({"value": 8002, "source": source}));
    assert_eq!(
        entry(call().env("MOSAIC_GATEWAY_PORT", "8003")),
        json!({"value": 8003, "source": "MOSAIC_GATEWAY_PORT"})
    );
    // What is set but empty, as composed files leave it, is not set.
    assert_eq!(entry(call().env("MOSAIC_GATEWAY_PORT", ""))["value"], 8002);
    let flag = show(config(&home, &["show", "--connect-timeout", "3s"]));
    assert_eq!(
        flag["cli.connect_timeout"],
        json!({"value": "3s", "source": "--connect-timeout"})
    );
    assert_eq!(flag["home"]["value"], json!(home.to_string_lossy()));
    assert_eq!(flag["home"]["source"], "MOSAIC_HOME");
}

#[test]
fn a_secret_is_never_shown_wherever_it_stands() {
    let home = home();
    let url = "postgresql://u:s3cret@db.example.com/cards";
    file(
        &home,
        "secrets.toml",
        &format!("database_url = \"{url}\"\nanthropic_api_key = \"sk-s3cret\"\n"),
        0o600,
    );
    for arguments in [
        &["show"][..],
        &["get", "database_url"],
        &["get", "admin_password"],
    ] {
        for json in [true, false] {
            let mut call = vec!["config"];
            call.extend(arguments);
            call.extend(json.then_some("--json"));
            let outcome = mosaic(&call)
                .env("MOSAIC_HOME", &*home)
                .env("DATABASE_URL", url)
                .env("MOSAIC_ADMIN_PASSWORD", "a s3cret")
                .env("MOSAIC_VALKEY_URL", "redis://:s3cret@h")
                .run();
            assert_eq!(outcome.exit, 0, "{outcome:?}");
            assert!(!format!("{outcome:?}").contains("s3cret"), "{outcome:?}");
            assert!(outcome.stdout.contains("set"), "{outcome:?}");
        }
    }
    // A file that does not parse is told without its line.
    file(&home, "secrets.toml", "\ndatabase_url = s3cret\n", 0o600);
    let outcome = config(&home, &["show"]).run();
    assert_eq!(outcome.exit, 2, "{outcome:?}");
    assert!(outcome.stdout.contains("line 2, column 16"), "{outcome:?}");
    assert!(!format!("{outcome:?}").contains("s3cret"), "{outcome:?}");
}

#[test]
fn what_is_set_stands_in_its_file_and_comments_stay() {
    let home = home();
    let before = "# The fleet's gateway.\n\ngateway_port = 8001 # not 8000\n\n[[worker]]\nname = \"w\"\ncommand = [\"x\"]\n";
    file(&home, "gateway.toml", before, 0o640);
    let changed = show(config(&home, &["set", "gateway_port", "8002"]));
    assert_eq!(changed["gateway_port"]["value"], 8002);
    show(config(
        &home,
        &["set", "cors_origin", "http://a,https://b:2"],
    ));
    let after = text(&home, "gateway.toml");
    assert!(
        after.starts_with("# The fleet's gateway.\n\ngateway_port = 8002 # not 8000\n"),
        "{after}"
    );
    assert!(
        after.contains("cors_origin = [\"http://a\", \"https://b:2\"]\n"),
        "{after}"
    );
    assert!(
        after.ends_with("[[worker]]\nname = \"w\"\ncommand = [\"x\"]\n"),
        "{after}"
    );
    show(config(&home, &["set", "gateway_port", "8001"]));
    let unset = show(config(&home, &["unset", "cors_origin"]));
    assert_eq!(unset["cors_origin"]["source"], "default");
    assert_eq!(text(&home, "gateway.toml"), before);
}

#[test]
fn the_files_have_their_modes_and_one_that_others_read_gets_no_secret() {
    let home = home();
    let mode = |name: &str| fs::metadata(home.join(name)).expect("it is there").mode() & 0o7777;
    show(config(&home, &["set", "gateway_port", "8001"]));
    show(config(&home, &["set", "database_url", "--value-file", "-"]).input("host=h dbname=d\n"));
    assert_eq!(mode("gateway"), 0o700);
    assert_eq!(mode("gateway/gateway.toml") & 0o137, 0);
    assert_eq!(mode("gateway/secrets.toml"), 0o600);
    assert_eq!(
        text(&home, "secrets.toml"),
        "database_url = \"host=h dbname=d\"\n"
    );
    file(&home, "secrets.toml", "", 0o644);
    let call = config(&home, &["set", "valkey_url", "--value-file", "-"]).input("redis://h");
    assert_eq!(call.code(4), "unauthorized");
    assert_eq!(text(&home, "secrets.toml"), "");
    let told = config(&home, &["show"]).run();
    assert!(told.stderr.contains("may be read by others"), "{told:?}");
}

#[test]
fn what_the_gateway_would_refuse_is_refused_and_changes_nothing() {
    let home = home();
    for arguments in [
        &["set", "gateway_prot", "1"][..],
        &["set", "gateway_port", "65536"],
        &["set", "gateway_bind", "localhost"],
        &["set", "storage_tier", "cloud"],
        &["set", "cors_origin", "*"],
        &["set", "public_url", "https://h/path"],
        &["set", "trusted_proxies", "proxy"],
        &["set", "database_url", "host=h"],
        &["set", "admin_password", "long enough"],
        &["set", "cli.agent", "w"],
        &["get", "gateway_prot"],
        &["unset", "nonsense"],
    ] {
        assert_eq!(config(&home, arguments).code(2), "usage", "{arguments:?}");
    }
    assert!(!home.join("gateway").exists());
    let refused = config(&home, &["get", "gateway_prot"]).run().json(2);
    assert_eq!(refused["error"]["hint"], "Did you mean \"gateway_port\"?");
    // In a file, it is told with its line; what is there stays readable.
    file(
        &home,
        "gateway.toml",
        "gateway_prot = 1\ngateway_port = \"many\"\ndatabase_url = \"host=h\"\n",
        0o640,
    );
    let told = config(&home, &["show"]).run();
    assert_eq!(told.exit, 0);
    for line in [
        "gateway.toml:1: there is no setting \"gateway_prot\". Did you mean \"gateway_port\"?",
        "gateway_port is a number from 0 to 65535",
        "gateway.toml:3: database_url does not belong in this file, but into secrets.toml",
    ] {
        assert!(told.stderr.contains(line), "{line}: {told:?}");
    }
}

#[test]
fn it_is_said_when_the_command_line_and_the_gateway_look_at_different_databases() {
    let home = home();
    let same = |call: Mosaic| {
        let outcome = call.run();
        let warned = outcome.stderr.contains("different databases");
        let value = outcome.json(0)["same_database"]["value"].clone();
        assert_eq!(warned, value == false, "{value}");
        value
    };
    let show = || config(&home, &["show"]);
    assert_eq!(same(show()), true);
    assert_eq!(same(show().env("DATABASE_URL", "host=h dbname=d")), false);
    let both = show()
        .env("DATABASE_URL", "postgresql://u@h/d")
        .env("MOSAIC_DATABASE_URL", "host=h dbname=d user=other");
    assert_eq!(same(both), true);
    let other = show()
        .env("DATABASE_URL", "postgresql://u@h/d")
        .env("MOSAIC_DATABASE_URL", "host=h dbname=e user=u");
    assert_eq!(same(other), false);
    let none = show().env("MOSAIC_STORAGE_TIER", "team");
    assert_eq!(same(none), json!(null));
}

#[test]
fn a_value_that_the_environment_overrules_is_written_and_that_is_said() {
    let home = home();
    let outcome = config(&home, &["set", "gateway_port", "8001"])
        .env("MOSAIC_GATEWAY_PORT", "8002")
        .run();
    assert!(
        outcome
            .stderr
            .contains("MOSAIC_GATEWAY_PORT wins over the file"),
        "{outcome:?}"
    );
    assert_eq!(outcome.json(0)["gateway_port"]["value"], 8002);
    assert_eq!(text(&home, "gateway.toml"), "gateway_port = 8001\n");
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let home = home();
    let keys = ["storage_tier", "gateway_port", "gateway_bind", "public_url"];
    let values = ["team", "8001", "::1", "https://h"];
    let calls: Vec<_> = keys
        .iter()
        .zip(values)
        .map(|(key, value)| config(&home, &["set", key, value]).spawn())
        .collect();
    for call in calls {
        assert!(call.wait_with_output().expect("its end").status.success());
    }
    let document = show(config(&home, &["show"]));
    for key in keys {
        assert_ne!(document[key]["source"], "default", "{key}");
    }
}

#[test]
fn files_that_nobody_named_are_not_waited_for() {
    let home = home();
    let fifo = |path: &Path| {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        mosaic_backlog_tests::programs::run(std::process::Command::new("mkfifo").arg(path));
    };
    for (place, arguments) in [
        ("gateway/gateway.toml", &["show"][..]),
        ("gateway/gateway.toml", &["set", "gateway_port", "8080"]),
        ("gateway/secrets.toml", &["show"]),
        ("claude/settings.json", &["hooks", "list"]),
        ("claude/settings.json", &["hooks", "enable", "mosaic"]),
    ] {
        let path = home.join(place);
        fifo(&path);
        let error = config(&home, arguments).run();
        let document: Value = serde_json::from_str(&error.stdout).expect("JSON");
        let text = document["error"].to_string();
        assert!(
            text.contains("not an ordinary file"),
            "{arguments:?}: {error:?}"
        );
        assert!(
            text.contains(&*path.to_string_lossy()),
            "{arguments:?}: {text}"
        );
        fs::remove_file(&path).expect("it is still there");
    }
    let services = home.join("services");
    fifo(&services);
    let failed = mosaic(&["backlog", "list", "--json"])
        .env("DATABASE_URL", "service=s")
        .env("PGSERVICEFILE", &services)
        .run();
    assert_eq!(failed.json(2)["error"]["code"], "usage");
}
