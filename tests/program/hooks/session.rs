//! Our hooks as Claude Code runs them: the command of the settings by a shell, an event as JSON on standard
//! input, the session's environment, and a limit of time.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mosaic_backlog_tests::cluster::SUPERUSER;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::folder::{self, Folder};
use mosaic_backlog_tests::program::{Outcome, mosaic};
use mosaic_backlog_tests::programs;
use serde_json::{Value, json};

const ID: &str = "0f3a7a1f-2b3c-4d5e-8f90-a1b2c3d4e5f6";
const SHORT: &str = "0f3a7a1f";

/// Claude Code, as far as a hook can tell.
struct Claude {
    folder: Folder,
    settings: Value,
    database: Option<String>,
    id: String,
}

impl Claude {
    fn new(database: Option<&Database>) -> Self {
        let folder = folder::create();
        mosaic(&["config", "hooks", "enable", "mosaic", "--json"])
            .env("MOSAIC_HOME", folder.join("mosaic"))
            .env("CLAUDE_HOME", folder.join("claude"))
            .json();
        let text = fs::read_to_string(folder.join("claude/settings.json")).expect("settings");
        Self {
            settings: serde_json::from_str(&text).expect("JSON"),
            database: database.map(|database| database.url(SUPERUSER)),
            id: ID.to_owned(),
            folder,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.join(format!("mosaic/sessions/{SHORT}.json"))
    }

    fn environment(&self) -> PathBuf {
        self.folder.join("env.sh")
    }

    /// Runs each hook of an event as the reference says, and gives what the first one printed.
    #[track_caller]
    fn fire(&self, event: &str, more: Value) -> String {
        let mut input = json!({"session_id": self.id, "transcript_path": "/t.jsonl", "cwd": "/",
            "permission_mode": "default", "hook_event_name": event});
        for (key, value) in more.as_object().expect("an object") {
            input[key.as_str()] = value.clone();
        }
        let groups = self.settings["hooks"][event].as_array().expect("groups");
        let hook = &groups[0]["hooks"][0];
        let limit = Duration::from_secs(hook["timeout"].as_u64().expect("a limit"));
        let begun = Instant::now();
        let outcome = self.run(
            hook["command"].as_str().expect("a command"),
            &input.to_string(),
        );
        assert!(begun.elapsed() < limit, "{event}");
        assert_eq!(
            (outcome.exit, outcome.stderr.as_str()),
            (0, ""),
            "{event}: {outcome:?}"
        );
        outcome.stdout
    }

    fn run(&self, command: &str, input: &str) -> Outcome {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", command])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &*self.folder)
            .env("MOSAIC_HOME", self.folder.join("mosaic"))
            .env("MOSAIC_AGENT", "ann's")
            .env("CLAUDE_PROJECT_DIR", "/")
            .env("CLAUDE_ENV_FILE", self.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(database) = &self.database {
            shell.env("DATABASE_URL", database);
        }
        let mut child = shell.spawn().expect("sh");
        let _ = child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(input.as_bytes());
        Outcome::of(child)
    }

    /// What the Bash tool runs: with what the hooks put into the environment.
    #[track_caller]
    fn bash(&self, line: &str) -> Value {
        let program = mosaic(&["--version"])
            .into_command()
            .get_program()
            .to_owned();
        let script = format!(
            ". '{}'; mosaic() {{ '{}' \"$@\"; }}; {line}",
            self.environment().display(),
            program.to_str().expect("a path")
        );
        self.run(&script, "").json(0)
    }

    fn start(&self, source: &str) -> String {
        self.fire("SessionStart", json!({"source": source}))
    }

    fn end(&self, reason: &str) {
        assert_eq!(self.fire("SessionEnd", json!({"reason": reason})), "");
    }

    fn tool(&self) {
        let more =
            json!({"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_response": {}});
        assert_eq!(self.fire("PostToolUse", more), "");
    }

    /// Makes each renewal due.
    fn let_a_third_pass(&self) {
        let mut state: Value =
            serde_json::from_str(&fs::read_to_string(self.file()).expect("it")).expect("JSON");
        for held in state["held"].as_array_mut().expect("a list") {
            held["renew_at"] = json!(0);
        }
        fs::write(self.file(), state.to_string()).expect("write");
    }
}

fn expires(db: &Database, id: &str) -> String {
    db.session().card(id)["claim_expires_at"]
        .as_str()
        .expect("held")
        .to_owned()
}

fn status(db: &Database, id: &str) -> Value {
    db.session().card(id)["status"].clone()
}

#[test]
fn a_session_gets_the_primer_a_name_and_later_the_cards_that_it_holds() {
    let db = Database::fresh();
    db.session().create("A");
    let claude = Claude::new(Some(&db));
    let primer = mosaic(&["backlog", "prime"]).run().stdout;
    assert_eq!(claude.start("startup"), primer);
    let line = fs::read_to_string(claude.environment()).expect("it");
    assert_eq!(line, format!("export MOSAIC_AGENT='ann'\\''s/{SHORT}'\n"));
    let card = claude.bash("mosaic backlog claim --json")["cards"][0].clone();
    assert_eq!(card["claim_owner"], format!("ann's/{SHORT}"));
    let said = claude.start("compact");
    let held = format!(
        "\nThis session holds:\n\n- A, `--token {}`\n",
        card["claim_token"]
    );
    assert_eq!(said, primer + &held);
    assert_eq!(fs::read_to_string(claude.environment()).expect("it"), line);
    // The token is for this user alone.
    let mode = |path: PathBuf| fs::metadata(path).expect("it").mode() & 0o7777;
    assert_eq!(mode(claude.file()), 0o600);
    assert_eq!(mode(claude.folder.join("mosaic/sessions")), 0o700);
    assert_eq!(mode(claude.environment()), 0o600);
    // What is over is no longer told.
    claude.bash(&format!(
        "mosaic backlog complete A --token {} --json",
        card["claim_token"]
    ));
    assert!(!claude.start("resume").contains("This session holds"));
}

#[test]
fn the_environment_s_file_is_its_user_s_alone_whatever_the_umask_and_no_file_holds_nothing_up() {
    let claude = Claude::new(None);
    let file = claude.environment();
    let begin = || {
        let begun = Instant::now();
        let program = programs::mosaic().display();
        let outcome = claude.run(
            &format!("umask 000; exec '{program}' hook session-start"),
            &json!({"session_id": ID}).to_string(),
        );
        assert_eq!(outcome.exit, 0, "{outcome:?}");
        assert!(outcome.stdout.contains("mosaic"), "{outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    };
    begin();
    assert_eq!(fs::metadata(&file).expect("it").mode() & 0o7777, 0o600);
    // That of somebody else's making stays as it is.
    fs::write(&file, "export A=1\n").expect("write");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
    begin();
    assert_eq!(fs::metadata(&file).expect("it").mode() & 0o7777, 0o644);
    assert_eq!(fs::read_to_string(&file).expect("it").lines().count(), 2);
    fs::remove_file(&file).expect("remove");
    programs::run(Command::new("mkfifo").arg(&file));
    begin();
}

#[test]
fn tools_and_stops_renew_when_a_third_of_the_lease_is_over_and_not_before() {
    let db = Database::fresh();
    db.session().create("A");
    let claude = Claude::new(Some(&db));
    claude.start("startup");
    claude.bash("mosaic backlog claim --ttl 1h --json");
    let first = expires(&db, "A");
    claude.tool();
    assert_eq!(claude.fire("Stop", json!({"stop_hook_active": false})), "");
    assert_eq!(expires(&db, "A"), first);
    claude.let_a_third_pass();
    claude.tool();
    let second = expires(&db, "A");
    assert!(second > first);
    claude.let_a_third_pass();
    claude.fire("Stop", json!({"stop_hook_active": true}));
    assert!(expires(&db, "A") > second);
    // Another session's cards are not touched.
    let other = Claude {
        id: "another".into(),
        ..Claude::new(Some(&db))
    };
    let now = expires(&db, "A");
    other.start("startup");
    other.tool();
    other.end("logout");
    assert_eq!(expires(&db, "A"), now);
}

#[test]
fn the_end_of_a_session_gives_its_cards_back_and_clear_or_resume_keeps_them() {
    for (reason, after) in [
        ("clear", "claimed"),
        ("resume", "claimed"),
        ("bypass_permissions_disabled", "claimed"),
        ("logout", "ready"),
        ("prompt_input_exit", "ready"),
        ("other", "ready"),
    ] {
        let db = Database::fresh();
        db.session().create("A");
        let claude = Claude::new(Some(&db));
        claude.start("startup");
        claude.bash("mosaic backlog claim --json");
        claude.end(reason);
        assert_eq!(status(&db, "A"), after, "{reason}");
        assert_eq!(claude.file().exists(), after == "claimed", "{reason}");
        if after == "ready" {
            assert_eq!(db.session().card("A")["attempts"], 0, "{reason}");
        }
    }
}

#[test]
fn what_the_tools_of_mcp_claim_is_learnt_from_their_answer() {
    let db = Database::fresh();
    let claude = Claude::new(Some(&db));
    claude.start("startup");
    for (number, id) in ["A", "B", "D"].into_iter().enumerate() {
        let mut session = db.session();
        session.create(id);
        let token = session.claim(id, "w");
        let answer = json!({"cards": [{"id": id, "claim_token": token, "claim_ttl_seconds": 60}]});
        let response = match number {
            // As version 2.1 tells it, and as the reference shows answers of tools.
            0 => json!(answer.to_string()),
            1 => json!([{"type": "text", "text": answer.to_string()}]),
            _ => json!({"content": [], "structuredContent": answer}),
        };
        let more = json!({"tool_name": "mcp__backlog__claim", "tool_input": {}, "tool_response": response});
        assert_eq!(claude.fire("PostToolUse", more), "");
    }
    // Another tool's answer may say what it likes.
    let forged = json!({"cards": [{"id": "C", "claim_token": 1}]});
    claude.fire(
        "PostToolUse",
        json!({"tool_name": "mcp__x__claims", "tool_response": forged}),
    );
    let said = claude.start("resume");
    assert!(
        said.contains("- A, ") && said.contains("- B, ") && !said.contains("- C, "),
        "{said}"
    );
    claude.end("logout");
    assert_eq!(
        (status(&db, "A"), status(&db, "B")),
        (json!("ready"), json!("ready"))
    );
}

#[test]
fn a_hook_exits_with_0_and_in_silence_whatever_happens() {
    let claude = Claude {
        database: Some("host=127.0.0.1 port=1".into()),
        ..Claude::new(None)
    };
    claude.start("startup");
    fs::write(
        claude.file(),
        json!({"held": [{"id": "A", "token": 1, "ttl": 60, "renew_at": 0}]}).to_string(),
    )
    .expect("write");
    // The database is away: what is held is told from memory, and nothing is lost.
    assert!(claude.start("resume").contains("- A, `--token 1`"));
    claude.tool();
    claude.end("logout");
    assert!(claude.file().exists());
    let program = mosaic(&["--version"])
        .into_command()
        .get_program()
        .to_owned();
    let program = program.to_str().expect("a path");
    for arguments in ["", "bogus", "stop --bogus", "session-end", "post-tool-use"] {
        for input in [
            "",
            "{",
            "null",
            "[]",
            "{\"session_id\": 7}",
            "{\"session_id\": \"../../x\"}",
            "\u{0}",
        ] {
            let outcome = claude.run(&format!("exec '{program}' hook {arguments}"), input);
            assert_eq!(
                (
                    outcome.exit,
                    outcome.stdout.as_str(),
                    outcome.stderr.as_str()
                ),
                (0, "", ""),
                "{arguments} {input}"
            );
        }
    }
    // A program that is gone is no error either.
    let command = claude.settings["hooks"]["Stop"][0]["hooks"][0]["command"]
        .as_str()
        .expect("one");
    let outcome = claude.run(&command.replace(program, "/gone/mosaic"), "{}");
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (0, ""));
}

#[test]
fn no_hook_starts_a_server_and_a_folder_that_cannot_be_written_is_no_error() {
    let claude = Claude::new(None);
    claude.start("startup");
    claude.tool();
    claude.end("logout");
    assert!(!claude.folder.join("mosaic/fleet").exists());
    fs::write(claude.folder.join("file"), "").expect("write");
    fs::set_permissions(
        claude.folder.join("file"),
        fs::Permissions::from_mode(0o400),
    )
    .expect("chmod");
    let command = claude.settings["hooks"]["SessionStart"][0]["hooks"][0]["command"]
        .as_str()
        .expect("one");
    let home = claude.folder.join("file");
    let line = format!("MOSAIC_HOME='{}'; {command}", home.display());
    let outcome = claude.run(
        &line,
        &json!({"session_id": ID, "source": "startup"}).to_string(),
    );
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (0, ""));
    assert!(outcome.stdout.starts_with("## Backlog"), "{outcome:?}");
}

/// The best of some, as other tests run beside this one.
#[test]
fn a_warm_hook_takes_less_than_50_milliseconds() {
    let db = Database::fresh();
    db.session().create("A");
    let claude = Claude::new(Some(&db));
    claude.start("startup");
    claude.bash("mosaic backlog claim --json");
    let best = |fire: &dyn Fn()| {
        (0..20)
            .map(|_| {
                let begun = Instant::now();
                fire();
                begun.elapsed()
            })
            .min()
            .expect("one")
    };
    let limit = Duration::from_millis(50);
    let (idle, start) = (
        best(&|| claude.tool()),
        best(&|| drop(claude.start("compact"))),
    );
    let renewing = best(&|| {
        claude.let_a_third_pass();
        claude.tool();
    });
    assert!(
        idle < limit && start < limit && renewing < limit,
        "{idle:?} {start:?} {renewing:?}"
    );
}
