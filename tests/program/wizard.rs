//! `mosaic wizard`: by flags and by questions on a terminal; nothing is written before the last one, and a run that was
//! cut off goes on.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};

use mosaic_backlog_tests::cluster::SUPERUSER;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::home::{Home, signal};
use mosaic_backlog_tests::program::{Mosaic, Outcome};
use mosaic_backlog_tests::terminal::Terminal;
use mosaic_backlog_tests::wait;
use serde_json::{Value, json};

use crate::person::Person;

const DOWN: &str = "\x1b[B";
const CTRL_C: &str = "\x03";

/// On an external database, as that is there at once.
fn call(person: &Person, db: &Database, arguments: &[&str]) -> Mosaic {
    let mut all = vec!["wizard"];
    all.extend(arguments);
    person.call(&all).on(db)
}

fn run(person: &Person, db: &Database, arguments: &[&str]) -> Outcome {
    call(person, db, arguments).run()
}

/// The states, by what they are about.
fn states(document: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let steps = document["steps"].as_array().expect("steps");
    steps
        .iter()
        .map(|step| (text(&step["what"]), text(&step["state"])))
        .collect()
}

fn settings(person: &Person) -> String {
    fs::read_to_string(person.home().join(".claude/settings.json")).unwrap_or_default()
}

#[test]
fn with_all_defaults_in_an_empty_home_it_sets_up_the_database_and_nothing_else() {
    let person = Person::new();
    fs::remove_dir(person.repository().join(".git")).expect("no repository");
    let home = Home::new();
    let before = person.tree();
    let wizard = || person.call(&["wizard", "--json"]).at(&home);
    // Setting a server up takes programs of the machine, and these may be agents.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let document = wizard().env("PATH", path).json();
    assert_eq!(document["changed"], true);
    let what = format!("a PostgreSQL of your own in {}", home.path().display());
    assert_eq!(states(&document)[0], (what.clone(), "changed".to_owned()));
    assert_eq!(document["profile"], Value::Null);
    assert_eq!(document["next"].as_array().map(Vec::len), Some(3));
    let server = document["doctor"]["findings"].as_array().expect("findings");
    assert!(
        server
            .iter()
            .any(|found| found["name"] == "server" && found["state"] == "ok")
    );
    assert_eq!(person.tree(), before);
    let again = wizard().json();
    assert_eq!(
        (&again["changed"], states(&again)),
        (&json!(false), vec![(what, "done".to_owned())])
    );
    // `--yes` proposes no more in a home without agents.
    let yes = person.call(&["wizard", "--yes", "--json"]).at(&home).json();
    assert_eq!(yes["changed"], false);
    assert_eq!(person.tree(), before);
}

#[test]
fn where_nobody_is_asked_files_of_other_programs_are_left_alone_unless_a_flag_names_them() {
    let db = Database::fresh();
    let person = Person::with(&["claude", "codex"]);
    let before = person.tree();
    for call in [
        call(&person, &db, &["--json"]),
        call(&person, &db, &["--json"]).env("MOSAIC_ASSUME_YES", "1"),
    ] {
        let document = call.json();
        assert_eq!(document["changed"], false);
        let skipped: Vec<_> = states(&document)
            .into_iter()
            .filter(|(_, state)| state == "skipped")
            .map(|(what, _)| what)
            .collect();
        assert_eq!(
            skipped,
            [
                "hooks of Claude Code",
                "primer in AGENTS.md",
                "primer in CLAUDE.md",
                "MCP server for Claude Code",
                "MCP server for Codex CLI"
            ]
        );
        assert_eq!(person.tree(), before);
    }
    let named = [
        "--hooks",
        "yes",
        "--mcp",
        "codex",
        "--primer",
        "AGENTS.md",
        "--json",
    ];
    let document = run(&person, &db, &named).json(0);
    assert_eq!(document["changed"], true);
    assert!(settings(&person).contains("hook session-start"));
    assert!(person.home().join(".codex/config.toml").is_file());
    assert!(person.repository().join("AGENTS.md").is_file());
    assert!(!person.home().join(".claude.json").exists());
}

#[test]
fn yes_takes_what_would_have_been_proposed_and_a_second_run_changes_nothing() {
    let db = Database::fresh();
    let person = Person::with(&["claude", "codex", "zed"]);
    person.write(".claude/settings.json", "{\n  \"model\": \"x\"\n}\n");
    let document = run(&person, &db, &["--yes", "--json"]).json(0);
    let states = states(&document);
    let changed: Vec<&str> = states
        .iter()
        .filter(|(_, state)| state == "changed")
        .map(|(what, _)| what.as_str())
        .collect();
    // The hooks print the primer for Claude Code.
    assert_eq!(
        changed,
        [
            "hooks of Claude Code",
            "primer in AGENTS.md",
            "MCP server for Claude Code",
            "MCP server for Codex CLI",
            "MCP server for Zed"
        ]
    );
    let before = person.tree();
    for arguments in [
        &["--yes", "--json"][..],
        &["--hooks", "yes", "--mcp", "all", "--json"],
    ] {
        let document = run(&person, &db, arguments).json(0);
        assert_eq!(document["changed"], false, "{document}");
        assert_eq!(person.tree(), before);
    }
}

#[test]
fn everything_that_is_wrong_is_named_at_once_and_nothing_is_written() {
    let db = Database::fresh();
    let person = Person::with(&["claude", "codex"]);
    person.write(".claude/settings.json", "{ hooks");
    person.write(".codex/config.toml", "= 1\n");
    person.commit("CLAUDE.md", "<!-- mosaic backlog: begin -->\n");
    let before = person.tree();
    let error = run(
        &person,
        &db,
        &[
            "--yes",
            "--database",
            "embedded",
            "--hooks",
            "yes",
            "--mcp",
            "codex",
            "--primer",
            "CLAUDE.md,no/such/AGENTS.md",
            "--json",
        ],
    )
    .json(2)["error"]
        .clone();
    let detail = error["detail"].as_str().expect("a detail");
    for part in [
        "--database embedded",
        ".claude/settings.json",
        "line 1, column 3",
        ".codex/config.toml",
        "line 1, column 1",
        "the primer's place in CLAUDE.md",
        "no/such",
        "Nothing was changed.",
    ] {
        assert!(
            detail.to_lowercase().contains(&part.to_lowercase()),
            "{part}: {detail}"
        );
    }
    assert_eq!(error["message"], "5 things are not as they should be");
    assert_eq!(person.tree(), before);
    for (arguments, part) in [
        (&["--mcp", "codex,curser"][..], "curser"),
        (&["--hooks", "maybe"], "maybe"),
        (
            &["--database", "postgresql://me:secret@h/d"],
            "a password does not go into this address",
        ),
        (&["--database", "postgresql://h:x/d"], "malformed"),
    ] {
        let mut all = vec!["wizard", "--json"];
        all.extend(arguments);
        let error = person.call(&all).run().json(2)["error"].clone();
        let message = format!("{} {}", error["message"], error["detail"]);
        assert!(message.contains(part), "{part}: {message}");
        assert!(!message.contains("secret"), "{message}");
        assert_eq!(person.tree(), before);
    }
    let unknown = call(&person, &db, &["--json"]).env("MOSAIC_ASSUME_YES", "yes");
    assert_eq!(unknown.code(2), "usage");
    let both = call(&person, &db, &["--primer", "none,AGENTS.md", "--json"]);
    assert_eq!(both.code(2), "usage");
    let nowhere = call(&person, &db, &["--mcp", "none", "--json"]).env("MOSAIC_HOME", "here");
    assert_eq!(nowhere.code(2), "usage");
    let away = person.call(&["wizard", "--database", "host=127.0.0.1 port=1", "--json"]);
    assert_eq!(away.code(4), "unreachable");
    assert_eq!(person.tree(), before);
}

#[test]
fn a_list_of_what_was_put_where_that_cannot_be_read_is_told_before_anything_is_written() {
    let db = Database::fresh();
    let person = Person::with(&["codex"]);
    fs::create_dir_all(person.mosaic_home()).expect("a folder");
    fs::write(person.mosaic_home().join("agents.json"), "{").expect("write");
    let before = person.tree();
    let named = ["--mcp", "codex", "--primer", "AGENTS.md", "--json"];
    let error = run(&person, &db, &named).json(2)["error"].clone();
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|m| m.contains("agents.json")),
        "{error}"
    );
    assert_eq!(person.tree(), before);
}

#[test]
fn hooks_that_are_there_in_a_file_of_another_tool_are_done_and_what_stops_them_is_told() {
    let db = Database::fresh();
    let person = Person::with(&["claude"]);
    run(&person, &db, &["--hooks", "yes", "--json"]).json(0);
    let file = person.home().join(".claude/settings.json");
    let off = settings(&person).replacen('{', "{\n  \"disableAllHooks\": true,", 1);
    fs::write(&file, off).expect("write");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).expect("chmod");
    let document = run(&person, &db, &["--hooks", "yes", "--json"]).json(0);
    let hooks = &document["steps"][1];
    assert_eq!(hooks["state"], "done", "{document}");
    assert!(
        hooks["note"]
            .as_str()
            .is_some_and(|note| note.contains("disableAllHooks")),
        "{hooks}"
    );
}

#[test]
fn what_is_broken_and_was_not_named_is_passed_over_and_told() {
    let db = Database::fresh();
    let person = Person::with(&["codex", "cursor"]);
    person.write(".codex/config.toml", "= 1\n");
    let document = run(&person, &db, &["--yes", "--primer", "none", "--json"]).json(0);
    let steps = document["steps"].as_array().expect("steps");
    let codex = steps
        .iter()
        .find(|step| step["what"] == "MCP server for Codex CLI");
    let codex = codex.expect("Codex");
    assert_eq!(codex["state"], "skipped");
    assert!(
        codex["note"]
            .as_str()
            .is_some_and(|note| note.contains("line 1, column 1")),
        "{codex}"
    );
    assert!(person.home().join(".cursor/mcp.json").is_file());
}

#[test]
fn a_dry_run_shows_every_difference_and_writes_nothing() {
    let db = Database::fresh();
    let person = Person::with(&["claude", "codex"]);
    let before = person.tree();
    let outcome = run(&person, &db, &["--yes", "--dry-run"]);
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    for part in [
        "done    the database",
        "planned hooks of Claude Code",
        "+[mcp_servers.mosaic]",
        "hook session-end",
        "+<!-- mosaic backlog: begin -->",
        ".claude.json",
    ] {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
    }
    let document = run(&person, &db, &["--yes", "--dry-run", "--json"]).json(0);
    assert_eq!(
        (&document["changed"], &document["doctor"]),
        (&json!(false), &Value::Null)
    );
    // An embedded server is not set up either.
    let embedded = person.call(&["wizard", "--dry-run", "--json"]).json();
    assert_eq!(embedded["steps"][0]["state"], "planned");
    assert!(!person.mosaic_home().exists());
    assert_eq!(person.tree(), before);
}

#[test]
fn an_address_is_tried_and_the_line_for_the_shell_is_told() {
    let db = Database::fresh();
    let person = Person::with(&["codex"]);
    let url = db.url(SUPERUSER);
    let arguments = ["wizard", "--database", &url, "--mcp", "codex", "--json"];
    let document = person.call(&arguments).env("SHELL", "/bin/bash").json();
    assert_eq!(
        document["profile"],
        json!(format!("export DATABASE_URL='{url}'"))
    );
    assert_eq!(document["steps"][0]["state"], "done");
    assert!(
        document["doctor"]["findings"]
            .as_array()
            .is_some_and(|found| found.len() > 3)
    );
    // Codex has to hand it to the server.
    let codex = fs::read_to_string(person.home().join(".codex/config.toml")).expect("its file");
    assert!(
        codex.contains("env_vars = [\"DATABASE_URL\", \"MOSAIC_HOME\"]"),
        "{codex}"
    );
    let fish = person.call(&arguments).env("SHELL", "/usr/bin/fish").json();
    assert_eq!(
        fish["profile"],
        json!(format!("set -gx DATABASE_URL '{url}'"))
    );
    // No server of one's own came up beside it.
    assert!(!person.mosaic_home().join("fleet").exists());
}

#[test]
fn an_extension_that_is_missing_is_created_there() {
    let db = Database::bare();
    let person = Person::new();
    let dry = run(&person, &db, &["--dry-run", "--json"]).json(0);
    assert_eq!(dry["steps"][0]["state"], "planned");
    let document = run(&person, &db, &["--json"]).json(0);
    assert_eq!(document["steps"][0]["state"], "changed");
    assert_eq!(
        run(&person, &db, &["--json"]).json(0)["steps"][0]["state"],
        "done"
    );
}

#[test]
fn hooks_that_the_user_switched_off_stay_off() {
    let db = Database::fresh();
    let person = Person::with(&["claude"]);
    run(&person, &db, &["--hooks", "yes", "--json"]).json(0);
    person
        .call(&["config", "hooks", "disable", "mosaic:stop", "--json"])
        .json();
    let before = person.tree();
    let document = run(
        &person,
        &db,
        &["--yes", "--mcp", "none", "--primer", "none", "--json"],
    )
    .json(0);
    assert_eq!(document["changed"], false);
    let note = document["steps"][1]["note"].as_str().unwrap_or_default();
    assert!(note.starts_with("3 of 4 are on"), "{document}");
    assert_eq!(person.tree(), before);
}

fn on_terminal(person: &Person, db: &Database, arguments: &[&str]) -> Terminal {
    call(person, db, arguments).on_terminal(200, 160)
}

const HOOKS: &str = "Put these hooks into Claude Code's settings?";
const PRIMER: &str = "Which files of this repository";
const MCP: &str = "Which agents should have";
const GO: &str = "Go ahead?";

#[test]
fn on_a_terminal_it_asks_with_arrow_keys_and_shows_what_it_would_do() {
    let db = Database::fresh();
    let person = Person::with(&["claude", "codex", "zed"]);
    let before = person.tree();
    let mut terminal = on_terminal(&person, &db, &[]);
    let screen = terminal.until(HOOKS);
    assert!(screen.contains("hook session-start"), "{screen}");
    terminal.press("y\r");
    terminal.until(PRIMER);
    terminal.press("\r");
    // The second of three is switched off.
    terminal.until(MCP);
    terminal.press(&format!("{DOWN} \r"));
    let screen = terminal.until(GO);
    assert!(screen.contains("planned MCP server for Zed"), "{screen}");
    assert!(
        screen.contains("skipped MCP server for Codex CLI"),
        "{screen}"
    );
    assert_eq!(person.tree(), before);
    terminal.press("\r");
    assert_eq!(terminal.exit(), 0);
    let screen = terminal.text();
    for part in [
        "changed hooks of Claude Code",
        "changed MCP server for Zed",
        "Next:",
        "mosaic backlog watch",
    ] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
    assert!(settings(&person).contains("hook stop"));
    assert!(person.home().join(".config/zed/settings.json").is_file());
    assert!(!person.home().join(".codex").exists());
    // What is done is not asked again.
    let mut again = on_terminal(&person, &db, &["--mcp", "all"]);
    let screen = again.until(GO);
    assert!(screen.contains("done    hooks of Claude Code"), "{screen}");
    again.press("n\r");
    assert_eq!(again.exit(), 0);
    assert!(!person.home().join(".codex").exists());
}

#[test]
fn ctrl_c_at_any_question_leaves_nothing_behind() {
    let db = Database::fresh();
    let person = Person::with(&["claude", "codex"]);
    let before = person.tree();
    let questions = [HOOKS, PRIMER, MCP, GO];
    for (at, last) in questions.iter().enumerate() {
        for json in [false, true] {
            let arguments: &[&str] = if json { &["--json"] } else { &[] };
            let mut terminal = on_terminal(&person, &db, arguments);
            for question in &questions[..at] {
                terminal.until(question);
                terminal.press("\r");
            }
            terminal.until(last);
            terminal.press(CTRL_C);
            assert_eq!(terminal.exit(), 130, "{last}");
            assert!(
                terminal.text().contains("Nothing was changed."),
                "{}",
                terminal.text()
            );
            assert!(
                terminal.is_usual() && !terminal.hides_the_cursor(),
                "{last}"
            );
            assert_eq!(person.tree(), before, "{last}");
        }
    }
}

#[test]
fn the_database_is_asked_for_and_a_wrong_address_is_asked_again() {
    let db = Database::fresh();
    let person = Person::new();
    let before = person.tree();
    let question = "Where should the backlog live?";
    let mut terminal = person.call(&["wizard"]).on_terminal(60, 160);
    terminal.until(question);
    terminal.press(CTRL_C);
    assert_eq!(terminal.exit(), 130);
    let mut terminal = person
        .call(&["wizard", "--primer", "none"])
        .on_terminal(60, 160);
    terminal.until(question);
    terminal.press(&format!("{DOWN}\r"));
    terminal.until("Its address:");
    terminal.press("postgresql://me:secret@h/d\r");
    terminal.until("password does not go");
    terminal.press("host=127.0.0.1 port=1\r");
    terminal.until("annot connect");
    terminal.press(&format!("{}\r", db.url(SUPERUSER)));
    terminal.until("export DATABASE_URL=");
    assert_eq!(terminal.exit(), 0);
    assert_eq!(person.tree(), before);
}

/// Whoever has the folder's lock keeps the program from writing there.
fn held(person: &Person) -> File {
    let folder = person.home().join(".codex");
    fs::create_dir_all(&folder).expect("a folder");
    let file = File::open(folder).expect("the folder");
    file.lock().expect("its lock");
    file
}

/// A run that has written the hooks and Claude Code's entry, and waits before that of Codex.
fn half_way(person: &Person, db: &Database) -> std::process::Child {
    let child = call(person, db, &["--yes", "--primer", "none", "--json"]).spawn();
    wait::until("the entry before the last", || {
        let text = fs::read_to_string(person.home().join(".claude.json")).ok()?;
        let ledger = fs::read_to_string(person.mosaic_home().join("agents.json")).ok()?;
        (text.contains("mosaic") && ledger.contains("codex")).then_some(())
    });
    child
}

#[test]
fn a_run_that_was_killed_in_the_middle_is_completed_by_the_next() {
    let db = Database::fresh();
    let person = Person::with(&["claude", "codex"]);
    let lock = held(&person);
    let mut child = half_way(&person, &db);
    child.kill().expect("SIGKILL");
    child.wait().expect("its end");
    drop(lock);
    assert!(!person.home().join(".codex/config.toml").exists());
    let document = run(&person, &db, &["--yes", "--primer", "none", "--json"]).json(0);
    let states = states(&document);
    let of = |what: &str| {
        states
            .iter()
            .find(|(known, _)| known == what)
            .map(|(_, s)| s.as_str())
    };
    assert_eq!(of("hooks of Claude Code"), Some("done"));
    assert_eq!(of("MCP server for Claude Code"), Some("done"));
    assert_eq!(of("MCP server for Codex CLI"), Some("changed"));
    // And all of it can be taken out again.
    person
        .call(&["init", "--user", "--remove", "--json"])
        .json();
    assert!(!person.home().join(".claude.json").exists());
    assert!(!person.home().join(".codex/config.toml").exists());
}

#[test]
fn an_interrupt_waits_for_the_file_that_is_being_written() {
    let db = Database::fresh();
    let person = Person::with(&["claude", "codex", "zed"]);
    let lock = held(&person);
    let child = half_way(&person, &db);
    signal("INT", child.id());
    drop(lock);
    assert_eq!(Outcome::of(child).exit, 130);
    let codex = fs::read_to_string(person.home().join(".codex/config.toml")).expect("its file");
    assert!(codex.contains("[mcp_servers.mosaic]"), "{codex}");
    assert!(!person.home().join(".config/zed").exists());
    let document = run(&person, &db, &["--yes", "--primer", "none", "--json"]).json(0);
    assert_eq!(document["changed"], true);
    assert!(person.home().join(".config/zed/settings.json").is_file());
}

#[test]
fn a_step_that_fails_says_what_stands_and_what_is_left() {
    let db = Database::fresh();
    let person = Person::with(&["claude", "codex", "zed"]);
    let lock = held(&person);
    let child = half_way(&person, &db);
    person.write(".codex/config.toml", "= 1\n");
    drop(lock);
    let error = Outcome::of(child).json(2)["error"].clone();
    let detail = error["detail"].as_str().expect("a detail");
    for part in [
        "This came up at: MCP server for Codex CLI.",
        "Done: hooks of Claude Code, MCP server for Claude Code.",
        "Not done: MCP server for Zed.",
        "The same command goes on from here.",
    ] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
}

#[test]
fn settings_behind_a_link_stay_behind_it() {
    let db = Database::fresh();
    let person = Person::with(&["claude"]);
    let real = person.write("dotfiles/claude.json", "{\n  \"numStartups\": 3\n}\n");
    symlink("dotfiles/claude.json", person.home().join(".claude.json")).expect("a link");
    run(&person, &db, &["--mcp", "claude", "--json"]).json(0);
    assert!(person.home().join(".claude.json").is_symlink());
    let text = fs::read_to_string(real).expect("the file");
    assert!(
        text.starts_with("{\n  \"numStartups\": 3,\n  \"mcpServers\": {"),
        "{text}"
    );
}
