//! `install.sh`, run as users run it. The build is the one that is there already.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use mosaic_backlog_tests::folder;
use mosaic_backlog_tests::home::Home;
use mosaic_backlog_tests::program::program;
use mosaic_backlog_tests::programs;

/// A path on which `cargo` finds nothing to do, where the build is there already: with another
/// pg_config it would build everything anew.
fn path_to_cargo() -> std::ffi::OsString {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| programs::sources().join("target"), PathBuf::from);
    if !target.join("installed/mosaic").exists() {
        return path;
    }
    let folder = FOLDER.get_or_init(|| {
        let folder = target.join("tests/no-build");
        fs::create_dir_all(&folder).expect("a folder");
        let cargo = folder.join("cargo");
        fs::write(&cargo, "#!/bin/sh\nexit 0\n").expect("write");
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("chmod");
        folder
    });
    let mut folders = vec![folder.clone()];
    folders.extend(std::env::split_paths(&path));
    std::env::join_paths(folders).expect("a path")
}

fn install(home: &Path, arguments: &[&str]) -> Output {
    Command::new(programs::sources().join("install.sh"))
        .args(arguments)
        .env("PATH", path_to_cargo())
        .env_remove("DATABASE_URL")
        .env("MOSAIC_HOME", home)
        // The hooks of whoever runs the tests stay.
        .env("CLAUDE_HOME", home.join("claude"))
        .output()
        .expect("install.sh")
}

#[track_caller]
fn install_well(home: &Path, arguments: &[&str]) -> String {
    let output = install(home, arguments);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

/// All files below a folder, with their contents.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                match fs::read(&path) {
                    Ok(content) => drop(found.insert(path, content)),
                    // A running server's files come and go.
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{path:?}"),
                }
            }
        }
    }
    found
}

/// What lies below `share`.
fn shared(prefix: &Path) -> Vec<String> {
    let share = prefix.join("share");
    files(&share)
        .keys()
        .filter_map(|path| path.strip_prefix(&share).ok()?.to_str().map(str::to_owned))
        .collect()
}

/// The completions, and a manual page for each command.
fn expected_shared(mosaic: &Path) -> Vec<String> {
    let folder = folder::create();
    let pages = folder.to_str().expect("UTF-8");
    let document = program(mosaic, &["man", "--output", pages, "--json"]).json();
    let pages = document["pages"].as_array().expect("pages");
    let mut expected: Vec<String> = pages
        .iter()
        .filter_map(|page| Some(format!("man/man1/{}", page.as_str()?)))
        .collect();
    expected.extend(
        [
            "bash-completion/completions/mosaic",
            "zsh/site-functions/_mosaic",
            "fish/vendor_completions.d/mosaic.fish",
        ]
        .map(str::to_owned),
    );
    expected.sort();
    expected
}

#[test]
fn installing_again_over_live_data_keeps_everything_and_the_server_running() {
    let prefix = folder::create();
    let at = prefix.to_str().expect("UTF-8");
    let mosaic = prefix.join("bin/mosaic");
    let home = Home::of(&mosaic, "home with a space");
    let call = |arguments: &[&str]| {
        let mut all = vec!["backlog"];
        all.extend(arguments);
        all.push("--json");
        program(&mosaic, &all).at(&home)
    };
    install_well(home.path(), &["--prefix", at]);
    call(&["create", "t", "--id", "A"]).json();
    let claimed = call(&["claim", "A", "--worker", "w"]).json();
    let token = claimed["cards"][0]["claim_token"].to_string();
    // Files of other parts of Mosaic and of the user's.
    fs::create_dir_all(home.path().join("config")).expect("a folder");
    fs::write(home.path().join("config/settings.toml"), "theme = 'dark'\n").expect("write");
    fs::write(home.path().join("notes"), "mine").expect("write");
    let others = |home: &Home| {
        let mut files = files(home.path());
        files.retain(|path, _| !path.starts_with(home.data()));
        files
    };
    let (before, server) = (others(&home), home.server());
    assert!(server.is_some());

    // A page of a command that is no more.
    let list = prefix.join("lib/mosaic/shared-files");
    let known = fs::read_to_string(&list).expect("a list");
    fs::write(&list, format!("{known}./man/man1/mosaic-gone.1\n")).expect("write");
    fs::write(prefix.join("share/man/man1/mosaic-gone.1"), "").expect("write");
    install_well(home.path(), &["--prefix", at]);
    assert_eq!(others(&home), before);
    let card = &call(&["show", "A", "--token"]).json()["card"];
    assert_eq!(card["claim_token"].to_string(), token);
    call(&["complete", "A", "--token", &token]).json();
    assert_eq!(home.servers().len(), 1);

    assert_eq!(shared(&prefix), expected_shared(&mosaic));
    let receipt = prefix.join("lib/mosaic/receipt.json");
    let mode = fs::metadata(&receipt)
        .expect("a receipt")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
    let receipt: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(receipt).expect("UTF-8")).expect("JSON");
    assert_eq!(receipt["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        receipt["clone"],
        programs::sources().to_string_lossy().as_ref()
    );
    assert_eq!(receipt["prefix"], at);
    assert_eq!(receipt["flags"], serde_json::json!([]));
    assert!(receipt["pg_major"].as_u64() >= Some(15), "{receipt}");

    // Removing keeps the data, and a new installation finds it.
    install_well(home.path(), &["--uninstall", "--prefix", at]);
    assert!(!mosaic.exists());
    assert!(shared(&prefix).is_empty());
    assert!(home.data().join("PG_VERSION").exists());
    assert_eq!(others(&home), before);
    install_well(home.path(), &["--prefix", at]);
    assert_eq!(call(&["show", "A"]).json()["card"]["status"], "done");

    // Purging removes the cards, and nothing else of the user's.
    install_well(home.path(), &["--uninstall", "--purge", "--prefix", at]);
    assert!(!home.data().exists());
    assert_eq!(
        fs::read_to_string(home.path().join("notes")).expect("still there"),
        "mine"
    );
    assert_eq!(
        fs::read_to_string(home.path().join("config/settings.toml")).expect("still there"),
        "theme = 'dark'\n"
    );
    drop(home);
}

#[test]
fn what_is_asked_wrongly_changes_nothing_and_says_why() {
    let folder = folder::create();
    let file = folder.join("file");
    fs::write(&file, "").expect("write");
    let below = format!("{}/prefix", file.display());
    for (arguments, part) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["--prefix"], "--prefix"),
        (&["--pg-config", "/no/such/pg_config"], "pg_config"),
        (&["--purge"], "--uninstall"),
        (&["--prefix", &below], "cannot write"),
    ] {
        let output = install(&folder, arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(part), "{arguments:?}: {text}");
    }
    for value in ["home", "./home", "~anna/home"] {
        let output = install(
            Path::new(value),
            &["--uninstall", "--purge", "--prefix", "/no/such"],
        );
        assert!(!output.status.success(), "{value}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            text.contains("MOSAIC_HOME") && text.contains(value),
            "{text}"
        );
    }
    let help = install_well(&folder, &["--help"]);
    assert!(help.contains("Usage"), "{help}");
}

#[test]
fn what_a_killed_installation_left_is_swept_and_what_one_at_work_writes_is_not() {
    let prefix = folder::create();
    let at = prefix.to_str().expect("UTF-8");
    install_well(&prefix, &["--prefix", at]);
    let mut gone = Command::new("true").spawn().expect("true");
    gone.wait().expect("its end");
    let (dead, alive) = (gone.id(), std::process::id());
    let page = "share/man/man1/mosaic.1";
    for name in ["bin/mosaic", "lib/mosaic/shared", page] {
        for pid in [dead, alive] {
            fs::write(prefix.join(format!("{name}.new.{pid}")), "half").expect("write");
        }
    }
    install_well(&prefix, &["--prefix", at]);
    for name in ["bin/mosaic", "lib/mosaic/shared", page] {
        assert!(
            !prefix.join(format!("{name}.new.{dead}")).exists(),
            "{name}"
        );
        assert!(
            prefix.join(format!("{name}.new.{alive}")).exists(),
            "{name}"
        );
    }
}

#[test]
fn the_receipt_holds_paths_as_they_are_and_the_flags_that_were_given() {
    let above = folder::create();
    let prefix = above.join("a \"b\\c\td");
    fs::create_dir(&prefix).expect("a folder");
    let server = prefix.join("server");
    let config = copy_of_the_machines(&server).join("pg_config");
    let config = config.to_str().expect("UTF-8");
    let at = prefix.to_str().expect("UTF-8");
    install_well(&above, &["--prefix", at, "--pg-config", config]);
    let receipt = fs::read_to_string(prefix.join("lib/mosaic/receipt.json")).expect("a receipt");
    let receipt: serde_json::Value = serde_json::from_str(&receipt).expect("JSON");
    assert_eq!(receipt["prefix"], at);
    assert_eq!(receipt["flags"], serde_json::json!(["--pg-config", config]));
}

#[test]
fn the_copy_of_the_script_uninstalls_and_does_nothing_else() {
    let prefix = folder::create();
    let at = prefix.to_str().expect("UTF-8");
    install_well(&prefix, &["--prefix", at]);
    let copy = |arguments: &[&str]| {
        Command::new(prefix.join("lib/mosaic/install.sh"))
            .args(["--prefix", at])
            .args(arguments)
            .env("MOSAIC_HOME", prefix.join("home"))
            .env("CLAUDE_HOME", prefix.join("claude"))
            .output()
            .expect("install.sh")
    };
    let refused = copy(&[]);
    assert!(!refused.status.success());
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("holds no sources"), "{text}");
    let removed = copy(&["--uninstall"]);
    assert!(removed.status.success(), "{removed:?}");
    assert!(files(&prefix).is_empty(), "{:?}", files(&prefix).keys());
}

#[test]
fn a_tilde_that_the_shell_left_is_the_home_folder() {
    let user = folder::create();
    fs::create_dir_all(user.join("prefix/bin")).expect("a folder");
    let data = user.join("cards/fleet/backlog");
    fs::create_dir_all(&data).expect("a folder");
    fs::write(data.join("PG_VERSION"), "15\n").expect("write");
    let program = user.join("prefix/bin/mosaic");
    fs::write(&program, "#!/bin/sh\n").expect("write");
    let output = Command::new(programs::sources().join("install.sh"))
        .args(["--uninstall", "--purge", "--prefix=~/prefix"])
        .current_dir(&*user)
        .env("HOME", &*user)
        .env_remove("CLAUDE_HOME")
        .env_remove("CLAUDE_CONFIG_DIR")
        .env("MOSAIC_HOME", "~/cards")
        .output()
        .expect("install.sh");
    assert!(output.status.success(), "{output:?}");
    assert!(!program.exists() && !data.exists(), "{output:?}");
    assert!(!user.join("~").exists());
}

#[test]
fn the_data_of_a_server_out_of_sight_is_not_purged() {
    let home = Home::new();
    let start = program(programs::mosaic(), &["db", "start", "--json"]).at(&home);
    start.json();
    program(programs::mosaic(), &["db", "stop", "--json"])
        .at(&home)
        .json();
    let prefix = folder::create();
    let arguments = [
        "--uninstall",
        "--purge",
        "--prefix",
        prefix.to_str().expect("a path"),
    ];
    // As a server in another container does, one of before the second.
    let installed = prefix.join("lib/mosaic/receipt.json");
    for name in ["PG_VERSION", "mosaic.lock"] {
        let lock = fs::File::open(home.data().join(name)).expect("the lock");
        lock.try_lock().expect("nobody has it");
        // With the program, which is to stop it, and without.
        fs::create_dir_all(prefix.join("bin")).expect("a folder");
        std::os::unix::fs::symlink(programs::mosaic(), prefix.join("bin/mosaic")).expect("a link");
        fs::create_dir_all(prefix.join("lib/mosaic")).expect("a folder");
        fs::write(&installed, "{}").expect("write");
        for _ in 0..2 {
            let output = install(home.path(), &arguments);
            assert!(!output.status.success(), "{output:?}");
            assert!(home.data().join("PG_VERSION").exists(), "{output:?}");
            assert!(installed.exists(), "{output:?}");
            let _ = fs::remove_file(prefix.join("bin/mosaic"));
        }
    }
    install_well(home.path(), &arguments);
    assert!(!home.data().exists());
}

#[test]
fn it_installs_the_extension_into_the_server_that_pg_config_names() {
    let prefix = folder::create();
    let at = prefix.to_str().expect("UTF-8");
    // A whole PostgreSQL with headers, which the machine's own is not to be touched for.
    let server = prefix.join("server");
    let bin = copy_of_the_machines(&server);
    let config = bin.join("pg_config");
    install_well(
        &prefix,
        &[
            "--prefix",
            at,
            "--pg-config",
            config.to_str().expect("UTF-8"),
        ],
    );
    let cluster = mosaic_backlog_tests::cluster::Cluster::start_from(&bin, &[]);
    let document = mosaic_backlog_tests::program::backlog(&["create", "t"])
        .env("DATABASE_URL", cluster.url("postgres", "postgres"))
        .json();
    assert_eq!(document["created"], true);
    drop(cluster);
    install_well(
        &prefix,
        &[
            "--uninstall",
            "--prefix",
            at,
            "--pg-config",
            config.to_str().expect("UTF-8"),
        ],
    );
    let left = files(&server)
        .into_keys()
        .filter(|path| path.to_string_lossy().contains("mosaic_backlog_ext"))
        .count();
    assert_eq!(left, 0);
}

/// The folder of the programs of a copy of the machine's PostgreSQL with its headers.
fn copy_of_the_machines(to: &Path) -> PathBuf {
    let version = programs::run(Command::new(programs::postgresql("postgres")).arg("--version"));
    let major = version
        .split(|c: char| !c.is_ascii_digit())
        .find(|part| !part.is_empty())
        .expect("a version");
    for (from, below) in [
        (format!("/usr/lib/postgresql/{major}"), "lib/postgresql"),
        (format!("/usr/share/postgresql/{major}"), "share/postgresql"),
        ("/usr/include/postgresql".to_owned(), "include"),
    ] {
        let target = to.join(below);
        fs::create_dir_all(&target).expect("a folder");
        programs::run(Command::new("cp").arg("-a").arg(from).arg(target));
    }
    to.join("lib/postgresql").join(major).join("bin")
}
