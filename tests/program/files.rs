//! The files and folders that the program makes: who may see them, and where they end up.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::folder::{self, Folder};
use mosaic_backlog_tests::home::Home;
use mosaic_backlog_tests::program::{Mosaic, Outcome, backlog, mosaic};
use mosaic_backlog_tests::{account, wait};

/// Somebody else, as root alone can act.
const STRANGER: u32 = 65_534;

/// The call under a umask that takes nothing away.
fn careless(call: Mosaic) -> Mosaic {
    call.with(|command| {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "umask 000; exec \"$@\"", "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        *command = shell;
    })
}

/// Everything below a folder, and the folder itself, with its mode.
fn modes(below: &Path) -> BTreeMap<PathBuf, u32> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![below.to_owned()];
    while let Some(path) = ahead.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let name = path.strip_prefix(below).expect("below").to_owned();
        found.insert(name, metadata.mode() & 0o7777);
        if metadata.is_dir() {
            ahead.extend(
                fs::read_dir(&path)
                    .expect("a folder")
                    .flatten()
                    .map(|entry| entry.path()),
            );
        }
    }
    found
}

/// A folder that everybody may write to, as /tmp is.
fn shared() -> Folder {
    let folder = folder::create();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).expect("chmod");
    folder
}

#[test]
fn every_file_and_folder_that_the_program_makes_has_its_mode_whatever_the_umask_is() {
    let (home, far) = (Home::new(), Home::named(&"far".repeat(35)));
    let (out, temporary) = (folder::create(), shared());
    let at = |name: &str| out.join(name).to_string_lossy().into_owned();
    let call = |arguments: &[&str]| {
        let outcome = careless(mosaic(arguments).at(&home).env("TMPDIR", &*temporary)).run();
        assert_eq!(outcome.exit, 0, "{arguments:?}: {outcome:?}");
    };
    call(&["backlog", "create", "t", "--id", "A"]);
    call(&["backlog", "export", &at("export.jsonl")]);
    call(&["db", "backup", &at("backlog.dump")]);
    call(&["backlog", "prime", "--write", &at("AGENTS.md")]);
    call(&["man", "--output", &at("man")]);
    call(&["config", "set", "gateway_port", "8001"]);
    let key = at("key");
    fs::write(&key, "sk-1").expect("write");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("chmod");
    call(&["config", "set", "anthropic_api_key", "--value-file", &key]);
    let hooks = |arguments: &[&str], input: &str| {
        let call = mosaic(arguments).at(&home).env("CLAUDE_HOME", at("claude"));
        let outcome = careless(call.input(input)).run();
        assert_eq!(outcome.exit, 0, "{arguments:?}: {outcome:?}");
    };
    for _ in 0..2 {
        hooks(&["config", "hooks", "enable", "mosaic"], "");
        hooks(&["config", "hooks", "disable", "mosaic:stop"], "");
    }
    hooks(&["hook", "session-start"], "{\"session_id\": \"s\"}");
    let list = format!(
        ": > \"$MOSAIC_RESULT_FILE\"; find '{}' -mindepth 1 -printf '%P %m\\n' > '{}'",
        temporary.display(),
        at("run")
    );
    call(&["backlog", "run", "--", "sh", "-c", &list]);

    // The store.
    let through = if account::is_root() { 0o711 } else { 0o700 };
    for (name, mode) in modes(home.path()) {
        let text = name.to_str().expect("a name");
        let path = home.path().join(&name);
        let expected = match text {
            "" | "fleet" => through,
            // Who may connect, the server judges.
            "fleet/backlog/.s.PGSQL.5432" => 0o777,
            "fleet/backlog.lock" => 0o600,
            "gateway" | "gateway/backups" | "gateway/backups/claude" | "sessions" => 0o700,
            "sessions/s.json" => 0o600,
            _ if text.starts_with("gateway/backups/claude/") => 0o600,
            "gateway/gateway.toml" => 0o640,
            "gateway/secrets.toml" => 0o600,
            _ if text.starts_with("fleet/backlog") && path.is_dir() => 0o700,
            _ if text.starts_with("fleet/backlog/") => 0o600,
            _ => panic!("{text} is new: {mode:o}"),
        };
        // A file of the server may be gone meanwhile.
        assert!(mode == expected || !path.exists(), "{text}: {mode:o}");
    }

    // What was asked for.
    for (name, mode) in modes(&out) {
        let text = name.to_str().expect("a name");
        let expected = match text {
            "" | "man" => 0o755,
            "claude" => 0o700,
            "claude/settings.json" | "claude/hooks-config.json" => 0o600,
            "export.jsonl" | "backlog.dump" | "AGENTS.md" | "key" => 0o600,
            _ if text.starts_with("man/mosaic") && text.ends_with(".1") => 0o644,
            // The command's own.
            "run" => 0o666,
            _ => panic!("{text} is new: {mode:o}"),
        };
        assert_eq!(mode, expected, "{text}: {mode:o}");
    }

    // A run's own folder, while it lasted.
    let listed = fs::read_to_string(at("run")).expect("the list");
    let mut kinds: Vec<(&str, &str)> = listed
        .lines()
        .map(|line| {
            let (path, mode) = line.rsplit_once(' ').expect("a mode");
            (path.split_once('/').map_or("", |(_, name)| name), mode)
        })
        .collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [("", "700"), ("card.json", "600"), ("result.json", "666")],
        "{listed}"
    );
    wait::until("nothing is left of the run", || {
        (modes(&temporary).len() == 1).then_some(())
    });

    // A socket that lies apart.
    let status = careless(mosaic(&["db", "start", "--json"]).at(&far)).json();
    let socket = Path::new(status["socket"].as_str().expect("a socket")).to_owned();
    let apart: Vec<(String, u32)> = modes(socket.parent().expect("a folder"))
        .into_iter()
        .map(|(name, mode)| (name.to_string_lossy().into_owned(), mode))
        .collect();
    assert_eq!(
        apart,
        [
            (String::new(), 0o700),
            (".s.PGSQL.5432".to_owned(), 0o777),
            (".s.PGSQL.5432.lock".to_owned(), 0o600)
        ]
    );
}

/// What a shell of the stranger's says.
fn as_stranger(script: &str, arguments: &[&Path]) -> bool {
    Command::new("sh")
        .args(["-c", script, "sh"])
        .args(arguments)
        .current_dir("/")
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .uid(STRANGER)
        .gid(STRANGER)
        .status()
        .expect("sh")
        .success()
}

#[test]
fn nobody_else_reads_the_card_of_a_run_or_forges_its_result() {
    if !account::is_root() {
        return;
    }
    let db = Database::fresh();
    db.session().create("A");
    let (temporary, out) = (shared(), folder::create());
    let script = format!(
        "echo \"$MOSAIC_CARD_FILE\" > '{0}/card'; while [ ! -e '{0}/go' ]; do sleep 0.05; done",
        out.display()
    );
    let call = careless(mosaic(&["backlog", "run", "--", "sh", "-c", &script]).on(&db))
        .env("TMPDIR", &*temporary)
        .spawn();
    let card = wait::until("the command runs", || {
        let text = fs::read_to_string(out.join("card")).ok()?;
        text.ends_with('\n').then(|| PathBuf::from(text.trim()))
    });
    assert!(card.is_file());
    assert!(!as_stranger("cat \"$1\"", &[&card]));
    let result = card.with_file_name("result.json");
    assert!(!as_stranger("echo '\"forged\"' > \"$1\"", &[&result]));
    assert!(!as_stranger(
        "ls \"$1\"",
        &[card.parent().expect("a folder")]
    ));
    fs::write(out.join("go"), "").expect("write");
    assert_eq!(Outcome::of(call).exit, 0);
    assert!(db.session().card("A")["result"].is_null());
}

#[test]
fn what_somebody_else_planted_in_a_shared_folder_is_not_followed() {
    if !account::is_root() {
        return;
    }
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    let own = folder::create();
    let precious = own.join("precious");
    for traps in [
        // A link, a link in the way, and a file that others may read.
        &["ln -s \"$1\" \"$2/trap\"", "trap"][..],
        &["ln -s \"${1%/*}\" \"$2/way\"", "way/precious"],
        &["umask 000; echo x > \"$2/trap\"", "trap"],
    ] {
        let shared = shared();
        fs::write(&precious, "precious").expect("write");
        assert!(as_stranger(traps[0], &[&precious, &shared]));
        let trap = shared.join(traps[1]).to_string_lossy().into_owned();
        for call in [
            &["backlog", "export", &trap][..],
            &["db", "backup", &trap],
            &["backlog", "prime", "--write", &trap],
        ] {
            let mut call = call.to_vec();
            call.push("--json");
            let document = mosaic(&call).at(&home).run().json(4);
            let error = &document["error"];
            assert_eq!(error["code"], "unauthorized", "{call:?}: {error}");
            assert_eq!(fs::read_to_string(&precious).expect("the file"), "precious");
        }
        assert_eq!(fs::read_dir(&own).expect("a folder").count(), 1);
    }
    // Pages of the manual, by the folder and by a page.
    for trap in [
        "ln -s \"$1\" \"$2/man\"",
        "mkdir \"$2/man\"; ln -s \"$1/precious\" \"$2/man/mosaic.1\"",
    ] {
        let shared = shared();
        assert!(as_stranger(trap, &[&own, &shared]));
        let folder = shared.join("man").to_string_lossy().into_owned();
        if !trap.starts_with("ln") {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("chmod");
            std::os::unix::fs::chown(&folder, Some(1), Some(1)).expect("chown");
        }
        let document = mosaic(&["man", "--output", &folder, "--json"])
            .run()
            .json(4);
        assert_eq!(document["error"]["code"], "unauthorized", "{document}");
        assert_eq!(fs::read_to_string(&precious).expect("the file"), "precious");
        assert_eq!(fs::read_dir(&own).expect("a folder").count(), 1);
    }
}

#[test]
fn a_link_of_ones_own_is_followed_also_in_a_shared_folder() {
    let db = Database::fresh();
    db.session().create("A");
    let (shared, own) = (shared(), folder::create());
    let (link, file) = (shared.join("link"), own.join("file"));
    symlink(&file, &link).expect("a link");
    let name = link.to_string_lossy().into_owned();
    for _ in 0..2 {
        mosaic(&["backlog", "export", &name, "--json"])
            .on(&db)
            .json();
        assert!(link.is_symlink());
        assert!(
            fs::read_to_string(&file)
                .expect("the export")
                .contains("\"A\"")
        );
    }
}

#[test]
fn a_socket_s_folder_that_somebody_else_made_is_not_trusted() {
    if !account::is_root() {
        return;
    }
    let home = Home::named(&"far".repeat(35));
    let status = mosaic(&["db", "start", "--json"]).at(&home).json();
    let socket = Path::new(status["socket"].as_str().expect("a socket")).to_owned();
    let folder = socket.parent().expect("a folder").to_owned();
    mosaic(&["db", "stop", "--json"]).at(&home).json();
    assert!(!folder.exists());
    fs::DirBuilder::new()
        .mode(0o777)
        .create(&folder)
        .expect("a folder");
    std::os::unix::fs::chown(&folder, Some(STRANGER), None).expect("chown");
    let document = backlog(&["list"]).at(&home).run().json(4);
    fs::remove_dir(&folder).expect("still empty");
    let message = document["error"]["message"].as_str().expect("a message");
    assert!(message.contains("cannot be trusted"), "{document}");
}
