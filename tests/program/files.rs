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
use mosaic_backlog_tests::{account, programs, wait};

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
fn what_somebody_else_planted_in_his_own_folder_is_not_followed_either() {
    if !account::is_root() {
        return;
    }
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    let own = folder::create();
    let precious = own.join("precious");
    fs::write(&precious, "precious").expect("write");
    for mode in [0o700, 0o755, 0o775, 0o777, 0o1777] {
        let shared = shared();
        let traps = "mkdir \"$2/d\" && ln -s \"$1\" \"$2/d/link\" && ln -s \"${1%/*}\" \"$2/d/way\" \
            && ln -s \"$1\" \"$2/link\" && umask 000 && echo x > \"$2/d/theirs\"";
        assert!(as_stranger(traps, &[&precious, &shared]));
        let folder = shared.join("d");
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("chmod");
        let before = modes(&folder);
        for name in ["d/link", "d/way/precious", "d/theirs", "d/new", "link"] {
            let trap = shared.join(name).to_string_lossy().into_owned();
            for call in [
                &["backlog", "export", &trap][..],
                &["db", "backup", &trap],
                &["backlog", "prime", "--write", &trap],
                &["man", "--output", &trap],
            ] {
                let mut call = call.to_vec();
                call.push("--json");
                let document = mosaic(&call).at(&home).run().json(4);
                let error = &document["error"];
                assert_eq!(error["code"], "unauthorized", "{mode:o} {call:?}: {error}");
                assert!(error["hint"].is_string(), "{error}");
            }
        }
        assert_eq!(fs::read_to_string(&precious).expect("the file"), "precious");
        assert_eq!(fs::read_dir(&own).expect("a folder").count(), 1);
        assert_eq!(modes(&folder), before);
    }
    // Root's own file there is root's to replace, but the folder is not to be trusted.
    let shared = shared();
    let mine = shared.join("mine");
    fs::write(&mine, "x").expect("write");
    let name = mine.to_string_lossy().into_owned();
    mosaic(&["backlog", "prime", "--write", &name, "--json"]).json();
    std::os::unix::fs::chown(&*shared, Some(STRANGER), None).expect("chown");
    let document = mosaic(&["backlog", "prime", "--write", &name, "--json"])
        .run()
        .json(4);
    let message = document["error"]["message"].as_str().expect("a message");
    assert!(message.ends_with("is another user's folder"), "{document}");
    // An export is for its owner alone, wherever a file of another owner lies.
    let theirs = own.join("theirs");
    fs::write(&theirs, "x").expect("write");
    std::os::unix::fs::chown(&theirs, Some(STRANGER), None).expect("chown");
    let name = theirs.to_string_lossy().into_owned();
    for call in [["backlog", "export", &name], ["db", "backup", &name]] {
        let document = mosaic(&[&call[..], &["--json"]].concat())
            .at(&home)
            .run()
            .json(4);
        assert_eq!(document["error"]["code"], "unauthorized", "{document}");
    }
    assert_eq!(fs::read_to_string(&theirs).expect("the file"), "x");
}

/// An ordinary user is in folders of others often; what he writes there is to be his.
#[test]
fn an_ordinary_user_writes_his_own_files_wherever_he_may_and_follows_his_own_links_and_root_s() {
    if !account::is_root() {
        return;
    }
    const COLLEAGUE: u32 = 1;
    let (theirs, roots) = (shared(), shared());
    std::os::unix::fs::chown(&*theirs, Some(COLLEAGUE), None).expect("chown");
    let writes = |place: &Path| {
        as_stranger(
            "HOME=/nonexistent \"$1\" backlog prime --write \"$2\"",
            &[programs::mosaic(), place],
        )
    };
    let file = theirs.join("mine");
    assert!(writes(&file), "a new one");
    assert!(as_stranger("echo changed > \"$1\"", &[&file]));
    assert!(writes(&file), "his own");
    assert!(as_stranger("ln -s \"$1\" \"$2/link\"", &[&file, &theirs]));
    assert!(writes(&theirs.join("link")), "his link");
    symlink(&*theirs, roots.join("way")).expect("a link");
    assert!(writes(&roots.join("way/mine")), "root's link");
    symlink(&file, theirs.join("trap")).expect("a link");
    std::os::unix::fs::lchown(theirs.join("trap"), Some(COLLEAGUE), None).expect("chown");
    assert!(!writes(&theirs.join("trap")), "the colleague's link");
    let other = theirs.join("other");
    fs::write(&other, "other").expect("write");
    for owner in [COLLEAGUE, 0] {
        std::os::unix::fs::chown(&other, Some(owner), None).expect("chown");
        assert!(!writes(&other), "a file of {owner}'s");
    }
    assert_eq!(fs::read_to_string(&other).expect("the file"), "other");
}

/// Root changes the settings of another user's home, but through no link of his.
#[test]
fn settings_of_another_user_stay_his_and_lead_nowhere_else() {
    if !account::is_root() {
        return;
    }
    let (home, own) = (folder::create(), folder::create());
    let gateway = home.join("gateway");
    fs::create_dir(&gateway).expect("a folder");
    for folder in [&*home, &gateway] {
        std::os::unix::fs::chown(folder, Some(STRANGER), Some(STRANGER)).expect("chown");
    }
    let settings = gateway.join("gateway.toml");
    assert!(as_stranger("umask 077; : > \"$1\"", &[&settings]));
    let set =
        || mosaic(&["config", "set", "gateway_port", "8001", "--json"]).env("MOSAIC_HOME", &*home);
    set().json();
    let metadata = fs::metadata(&settings).expect("it");
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (STRANGER, 0o600));
    let precious = own.join("precious");
    fs::write(&precious, "").expect("write");
    assert!(as_stranger("ln -sf \"$1\" \"$2\"", &[&precious, &settings]));
    let document = set().run().json(4);
    assert_eq!(document["error"]["code"], "unauthorized", "{document}");
    assert_eq!(fs::read_to_string(&precious).expect("the file"), "");
}

/// Whoever made the FIFO may never read from it.
#[test]
fn what_is_no_ordinary_file_is_refused_at_once() {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    let folder = folder::create();
    let fifo = folder.join("fifo").to_string_lossy().into_owned();
    programs::run(Command::new("mkfifo").arg(&fifo));
    for call in [
        &["backlog", "export", &fifo][..],
        &["db", "backup", &fifo],
        &["backlog", "prime", "--write", &fifo],
        &["backlog", "prime", "--write", "/dev/null"],
    ] {
        let mut call = call.to_vec();
        call.push("--json");
        let document = mosaic(&call).at(&home).run().json(2);
        let message = document["error"]["message"].as_str().expect("a message");
        assert!(
            message.ends_with("is not an ordinary file"),
            "{call:?}: {document}"
        );
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
