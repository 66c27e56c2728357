//! The entries of agents: each in the file and the form that the agent reads, and gone again without a trace.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use mosaic_backlog_tests::program::Outcome;
use mosaic_backlog_tests::programs;
use serde_json::{Value, json};

use crate::person::Person;

const AGENTS: [&str; 8] = [
    "claude", "codex", "gemini", "cursor", "copilot", "vscode", "opencode", "zed",
];

/// The files of the user, with the key of the servers.
const FILES: [(&str, &str, &str); 8] = [
    ("claude", ".claude.json", "mcpServers"),
    ("codex", ".codex/config.toml", "mcp_servers"),
    ("gemini", ".gemini/settings.json", "mcpServers"),
    ("cursor", ".cursor/mcp.json", "mcpServers"),
    ("copilot", ".copilot/mcp-config.json", "mcpServers"),
    ("vscode", ".config/Code/User/mcp.json", "servers"),
    ("opencode", ".config/opencode/opencode.json", "mcp"),
    ("zed", ".config/zed/settings.json", "context_servers"),
];

fn program() -> String {
    let path = programs::mosaic().canonicalize().expect("the program");
    path.to_str().expect("a path").to_owned()
}

fn init(person: &Person, arguments: &[&str]) -> Outcome {
    let mut all = vec!["init"];
    all.extend(arguments);
    person.call(&all).run()
}

/// Into the user's own file.
fn put(person: &Person, agent: &str) -> Outcome {
    init(person, &["--user", "--agents", agent, "--json"])
}

fn take_out(person: &Person, agent: &str) -> Value {
    init(person, &["--user", "--remove", "--agents", agent, "--json"]).json(0)
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn json_of(file: &Path) -> Value {
    serde_json::from_str(&text(file)).unwrap_or_else(|error| panic!("{error}: {}", text(file)))
}

/// Where the documentation of each says that the user's servers are.
#[test]
fn each_agent_of_the_user_gets_its_entry_in_its_own_form() {
    let person = Person::new();
    let document = init(
        &person,
        &["--user", "--agents", &AGENTS.join(","), "--json"],
    )
    .json(0);
    assert_eq!(document["changed"], true);
    let program = program();
    let home = person.mosaic_home();
    let home = home.to_str().expect("a path");
    let command = json!({"command": program, "args": ["mcp"]});
    for (agent, file, key) in FILES {
        let file = person.home().join(file);
        let mut expected = command.clone();
        // Which backlog is meant is told where an agent does not pass its own environment on.
        match agent {
            "claude" => expected["type"] = json!("stdio"),
            "codex" => {
                let block = format!(
                    "[{key}.mosaic]\ncommand = \"{program}\"\nargs = [\"mcp\"]\nenv_vars = [\"MOSAIC_HOME\"]\n"
                );
                assert_eq!(text(&file), block);
                continue;
            }
            "gemini" => expected["env"] = json!({"MOSAIC_HOME": "$MOSAIC_HOME"}),
            "cursor" | "vscode" => {
                expected["type"] = json!("stdio");
                expected["env"] = json!({"MOSAIC_HOME": "${env:MOSAIC_HOME}"});
            }
            "copilot" => {
                expected["type"] = json!("local");
                expected["tools"] = json!(["*"]);
                expected["env"] = json!({"MOSAIC_HOME": "${MOSAIC_HOME}"});
            }
            "opencode" => {
                expected = json!({"type": "local", "command": [program, "mcp"], "enabled": true});
            }
            _ => expected["env"] = json!({}),
        }
        assert_eq!(
            json_of(&file),
            json!({key: {"mosaic": expected}}),
            "{agent}"
        );
        assert!(!text(&file).contains(home), "{agent}");
        assert_eq!(fs::metadata(&file).expect("a file").mode() & 0o777, 0o600);
    }
}

#[test]
fn a_repository_gets_entries_that_hold_for_everybody() {
    let person = Person::new();
    let before = person.tree();
    let all = AGENTS.join(",");
    init(&person, &["--agents", &all, "--primer", "none", "--json"]).json(0);
    for (file, key) in [
        (".mcp.json", "mcpServers"),
        (".gemini/settings.json", "mcpServers"),
        (".cursor/mcp.json", "mcpServers"),
        (".github/mcp.json", "mcpServers"),
        (".vscode/mcp.json", "servers"),
        ("opencode.json", "mcp"),
        (".zed/settings.json", "context_servers"),
    ] {
        let file = person.repository().join(file);
        let server = &json_of(&file)[key]["mosaic"];
        let command = match &server["command"] {
            Value::Array(words) => &words[0],
            command => command,
        };
        assert_eq!(command, "mosaic", "{server}");
        assert!(!text(&file).contains("MOSAIC_HOME"), "{server}");
        assert_eq!(fs::metadata(&file).expect("a file").mode() & 0o777, 0o644);
    }
    assert_eq!(
        text(&person.repository().join(".codex/config.toml")),
        "[mcp_servers.mosaic]\ncommand = \"mosaic\"\nargs = [\"mcp\"]\n"
    );
    init(&person, &["--remove", "--json"]).json(0);
    let mut after = person.tree();
    after.remove(&person.mosaic_home());
    assert_eq!(after, before);
}

#[test]
fn the_address_of_a_database_is_passed_on_by_name_and_never_written() {
    let person = Person::new();
    let all = AGENTS.join(",");
    person
        .call(&["init", "--user", "--agents", &all, "--json"])
        .env(
            "DATABASE_URL",
            "postgresql://me:s3cret@db.example.com/cards",
        )
        .json();
    for (agent, file, _) in FILES {
        let text = text(&person.home().join(file));
        assert!(
            !text.contains("s3cret") && !text.contains("db.example.com"),
            "{text}"
        );
        // The others inherit it.
        let inherits = ["claude", "opencode", "zed"].contains(&agent);
        assert_eq!(text.contains("DATABASE_URL"), !inherits, "{agent}: {text}");
    }
}

/// Texts as people have them: with servers of their own, comments, other line ends, a mark at the beginning.
fn texts(key: &str) -> Vec<String> {
    let theirs = r#""theirs": {"command": "npx", "args": ["-y", "x"], "env": {"KEY": "k"}}"#;
    vec![
        "{}".to_owned(),
        "{}\n".to_owned(),
        "{\n  \"other\": [1, 2]\n}\n".to_owned(),
        format!("{{\n  // why\n  \"{key}\": {{\n    {theirs}, /* it */\n  }},\n}}\n"),
        format!("{{\r\n\t\"{key}\": {{\r\n\t\t{theirs}\r\n\t}},\r\n\t\"z\": null\r\n}}\r\n"),
        format!("\u{feff}{{\n    \"{key}\": {{}},\n    \"z\": 1\n}}"),
        format!("{{\"{key}\":{{{theirs}}}}}"),
    ]
}

#[test]
fn what_stands_beside_the_entry_stays_to_the_byte_and_it_goes_without_a_trace() {
    for (agent, file, key) in FILES {
        let texts = match agent {
            "codex" => vec![
                "model = \"x\" # mine\n".to_owned(),
                "model = \"x\"".to_owned(),
                "\u{feff}[mcp_servers.theirs]\r\ncommand = \"npx\"\r\n\r\n# end\r\n".to_owned(),
                "[projects.\"/p\"]\ntrust_level = \"trusted\"\n\n".to_owned(),
            ],
            _ => texts(key),
        };
        for before in texts {
            let person = Person::new();
            let file = person.write(file, &before);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("chmod");
            let tree = person.tree();
            put(&person, agent).json(0);
            let with = text(&file);
            assert!(with.contains("mosaic"), "{agent}: {with}");
            for line in before
                .lines()
                .filter(|line| line.contains("theirs") || line.contains('#'))
            {
                assert!(with.contains(line.trim_end_matches('}')), "{agent}: {with}");
            }
            // Again changes nothing.
            let tree_with = person.tree();
            assert_eq!(put(&person, agent).json(0)["changed"], false, "{with}");
            assert_eq!(person.tree(), tree_with);
            assert_eq!(take_out(&person, agent)["changed"], true, "{with}");
            let mut after = person.tree();
            after.remove(&person.mosaic_home());
            assert_eq!(after, tree, "{agent}: {with}");
            assert_eq!(take_out(&person, agent)["changed"], false);
        }
    }
}

#[test]
fn files_and_folders_that_were_made_for_it_go_with_it() {
    let person = Person::new();
    let before = person.tree();
    let all = AGENTS.join(",");
    init(&person, &["--user", "--agents", &all, "--json"]).json(0);
    let removed = init(&person, &["--user", "--remove", "--json"]).json(0);
    assert_eq!(
        removed["removed"].as_array().map(Vec::len),
        Some(AGENTS.len())
    );
    let mut after = person.tree();
    after.remove(&person.mosaic_home());
    assert_eq!(after, before);
}

#[test]
fn it_goes_out_of_every_file_at_once_and_what_fails_at_one_does_not_keep_it_in_the_others() {
    let person = Person::new();
    let before = person.tree();
    init(&person, &["--user", "--agents", "codex,zed", "--json"]).json(0);
    init(
        &person,
        &["--agents", "claude", "--primer", "none", "--json"],
    )
    .json(0);
    let other = person.home().join("other");
    fs::create_dir_all(other.join(".git")).expect("a repository");
    let in_other = ["init", "--agents", "cursor", "--primer", "none", "--json"];
    person.call(&in_other).within(&other).json();
    // Also one that no list of ours has.
    let by_hand = r#"{"mcpServers": {"mosaic": {"command": "mosaic", "args": ["mcp"]}}}"#;
    person.write(".gemini/settings.json", by_hand);
    let codex = person.home().join(".codex/config.toml");
    let with = text(&codex);
    fs::write(&codex, "= 1\n").expect("write");
    let everywhere = || {
        person
            .call(&["init", "--remove", "--everywhere", "--json"])
            .within(&person.home())
            .run()
    };
    let error = everywhere().json(2)["error"].clone();
    assert!(
        error["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("config.toml")),
        "{error}"
    );
    assert!(!person.repository().join(".mcp.json").exists());
    assert!(!other.join(".cursor").exists());
    assert_eq!(
        text(&person.home().join(".gemini/settings.json")),
        r#"{"mcpServers": {}}"#
    );
    fs::write(&codex, with).expect("write");
    assert_eq!(everywhere().json(0)["changed"], true);
    assert_eq!(everywhere().json(0)["changed"], false);
    fs::remove_dir_all(&other).expect("the other repository");
    fs::remove_dir_all(person.home().join(".gemini")).expect("a folder");
    let mut after = person.tree();
    after.remove(&person.mosaic_home());
    assert_eq!(after, before);
}

#[test]
fn keys_of_other_servers_are_not_shown() {
    let person = Person::new();
    let server = r#""theirs": {"command": "npx", "env": {"KEY": "s3cret"}}"#;
    let long = "x".repeat(300);
    for text in [
        format!("{{\n  \"mcpServers\": {{\n    {server}\n  }}\n}}\n"),
        format!("{{\"mcpServers\": {{{server}}}, \"other\": \"{long}\"}}"),
    ] {
        person.write(".cursor/mcp.json", &text);
        let outcome = init(&person, &["--user", "--agents", "cursor", "--dry-run"]);
        assert!(
            outcome.stdout.contains("+\"mosaic\": {"),
            "{}",
            outcome.stdout
        );
        assert!(!outcome.stdout.contains("s3cret"), "{}", outcome.stdout);
    }
}

#[test]
fn what_came_into_the_file_since_stays_when_it_goes() {
    let person = Person::new();
    put(&person, "cursor").json(0);
    put(&person, "codex").json(0);
    let file = person.home().join(".cursor/mcp.json");
    let more = text(&file).replace(
        "\"mosaic\": {",
        "\"theirs\": {\"command\": \"npx\"},\n    \"mosaic\": {",
    );
    fs::write(&file, more).expect("write");
    let codex = person.home().join(".codex/config.toml");
    let more = format!("{}\n[tui]\ntheme = \"x\"\n", text(&codex));
    fs::write(&codex, more).expect("write");
    take_out(&person, "cursor");
    take_out(&person, "codex");
    assert_eq!(
        json_of(&file),
        json!({"mcpServers": {"theirs": {"command": "npx"}}})
    );
    assert_eq!(text(&codex), "\n[tui]\ntheme = \"x\"\n");
}

#[test]
fn a_file_that_does_not_parse_is_not_touched_and_the_place_is_named() {
    for (agent, file, key) in FILES {
        let (broken, place) = match agent {
            "codex" => ("a = 1\nb = \n".to_owned(), "line 2, column "),
            _ => (format!("{{\n  \"{key}\": {{ x }}\n}}\n"), "line 2, column "),
        };
        let person = Person::new();
        person.write(file, &broken);
        let before = person.tree();
        let error = put(&person, agent).json(2)["error"].clone();
        let message = error["message"].as_str().expect("a message");
        assert!(
            message.contains(place) && message.contains(file),
            "{message}"
        );
        assert_eq!(person.tree(), before);
        if agent != "codex" {
            person.write(file, format!("{{\"{key}\": []}}"));
            let error = put(&person, agent).json(2)["error"].clone();
            assert!(
                error["message"]
                    .as_str()
                    .is_some_and(|m| m.contains("is not an object")),
                "{error}"
            );
        }
    }
}

#[test]
fn a_dry_run_shows_the_difference_and_writes_nothing() {
    let person = Person::new();
    person.write(".cursor/mcp.json", "{\n  \"mcpServers\": {}\n}\n");
    let before = person.tree();
    let all = AGENTS.join(",");
    for level in [&["--user"][..], &["--primer", "AGENTS.md"]] {
        let mut arguments = level.to_vec();
        arguments.extend(["--agents", &all, "--dry-run"]);
        let outcome = init(&person, &arguments);
        assert_eq!(outcome.exit, 0, "{outcome:?}");
        assert!(outcome.stdout.contains("planned"), "{}", outcome.stdout);
        assert!(outcome.stdout.contains("+command = "), "{}", outcome.stdout);
        assert!(
            outcome.stdout.contains("\"mosaic\": {\n"),
            "{}",
            outcome.stdout
        );
        assert_eq!(person.tree(), before);
    }
}

#[test]
fn another_server_of_that_name_is_not_replaced_and_ours_under_another_name_is_enough() {
    let person = Person::new();
    let foreign = r#"{"mcpServers": {"mosaic": {"command": "npx", "args": ["mosaic-tiles"]}}}"#;
    let file = person.write(".cursor/mcp.json", foreign);
    let error = put(&person, "cursor").json(2)["error"].clone();
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|m| m.contains("another server")),
        "{error}"
    );
    assert_eq!(take_out(&person, "cursor")["changed"], false);
    assert_eq!(text(&file), foreign);
    let named = r#"{"mcpServers": {"backlog": {"command": "mosaic", "args": ["mcp", "--keep"]}}}"#;
    person.write(".cursor/mcp.json", named);
    let document = put(&person, "cursor").json(0);
    assert_eq!(document["steps"][0]["state"], "done", "{document}");
    assert_eq!(text(&file), named);
}

#[test]
fn a_program_that_was_moved_is_called_where_it_is_now_and_what_the_user_changed_stays() {
    let person = Person::new();
    person.write(
        ".cursor/mcp.json",
        r#"{"mcpServers": {"mosaic": {"type": "stdio", "command": "/old/bin/mosaic", "args": ["mcp"]}}}"#,
    );
    person.write(
        ".codex/config.toml",
        "[mcp_servers.mosaic]\ncommand = \"/old/bin/mosaic\"\nargs = [\"mcp\"]\n# mine\n",
    );
    assert_eq!(put(&person, "cursor,codex").json(0)["changed"], true);
    let server = &json_of(&person.home().join(".cursor/mcp.json"))["mcpServers"]["mosaic"];
    assert_eq!(server["command"], json!(program()));
    let codex = text(&person.home().join(".codex/config.toml"));
    assert!(
        codex.contains(&program()) && codex.ends_with("# mine\n"),
        "{codex}"
    );
    let changed = r#"{"mcpServers": {"mosaic": {"command": "/old/bin/mosaic", "args": ["mcp", "--role", "operator"]}}}"#;
    let file = person.write(".cursor/mcp.json", changed);
    assert_eq!(put(&person, "cursor").json(0)["changed"], false);
    assert_eq!(text(&file), changed);
}

#[test]
fn links_are_followed_within_the_home_and_nowhere_else() {
    let person = Person::new();
    let real = person.write("dotfiles/cursor.json", "{}\n");
    fs::create_dir(person.home().join(".cursor")).expect("a folder");
    let link = person.home().join(".cursor/mcp.json");
    symlink("../dotfiles/cursor.json", &link).expect("a link");
    put(&person, "cursor").json(0);
    assert!(link.is_symlink() && text(&real).contains("mosaic"));
    take_out(&person, "cursor");
    assert!(link.is_symlink());
    assert_eq!(text(&real), "{}\n");
    let outside = person.repository().join("shared.json");
    fs::write(&outside, "{}\n").expect("write");
    fs::remove_file(&link).expect("the link");
    symlink(&outside, &link).expect("a link");
    let error = put(&person, "cursor").json(4)["error"].clone();
    assert_eq!(error["code"], "unauthorized");
    assert_eq!(text(&outside), "{}\n");
}

#[test]
fn a_read_only_file_is_left_alone() {
    let person = Person::new();
    let file = person.write(".cursor/mcp.json", "{}\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).expect("chmod");
    let before = person.tree();
    let error = put(&person, "cursor").json(4)["error"].clone();
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|m| m.contains("read-only")),
        "{error}"
    );
    assert_eq!(person.tree(), before);
}

#[test]
fn folders_of_agents_may_be_elsewhere() {
    let person = Person::new();
    let elsewhere = person.home().join("elsewhere");
    person
        .call(&[
            "init",
            "--user",
            "--agents",
            "claude,codex,gemini,copilot,zed",
            "--json",
        ])
        .env("CLAUDE_CONFIG_DIR", elsewhere.join("claude"))
        .env("CODEX_HOME", elsewhere.join("codex"))
        .env("GEMINI_CLI_HOME", elsewhere.join("gemini"))
        .env("COPILOT_HOME", elsewhere.join("copilot"))
        .env("XDG_CONFIG_HOME", elsewhere.join("config"))
        .json();
    for file in [
        "claude/.claude.json",
        "codex/config.toml",
        "gemini/.gemini/settings.json",
        "copilot/mcp-config.json",
        "config/zed/settings.json",
    ] {
        assert!(elsewhere.join(file).is_file(), "{file}");
    }
}

#[test]
fn opencode_keeps_the_file_that_it_has() {
    let person = Person::new();
    let file = person.write(".config/opencode/opencode.jsonc", "{\n  // mine\n}\n");
    put(&person, "opencode").json(0);
    assert!(text(&file).contains("// mine") && text(&file).contains("mosaic"));
    assert!(
        !person
            .home()
            .join(".config/opencode/opencode.json")
            .exists()
    );
}

#[test]
fn only_what_is_installed_is_proposed() {
    let person = Person::with(&["codex", "code"]);
    person.write(".gemini/settings.json", "{}\n");
    let document = init(&person, &["--user", "--yes", "--dry-run", "--json"]).json(0);
    let steps = document["steps"].as_array().expect("steps");
    let what: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["what"].as_str())
        .collect();
    assert_eq!(
        what,
        [
            "MCP server for Codex CLI",
            "MCP server for Gemini CLI",
            "MCP server for VS Code with Copilot"
        ]
    );
}

#[test]
fn the_primer_goes_where_the_agents_of_the_repository_look() {
    let person = Person::with(&["claude", "gemini"]);
    let document = init(&person, &["--yes", "--json"]).json(0);
    assert_eq!(document["changed"], true);
    for file in ["AGENTS.md", "CLAUDE.md", "GEMINI.md"] {
        let text = text(&person.repository().join(file));
        assert!(text.contains("mosaic backlog claim"), "{file}");
    }
    let before = person.tree();
    assert_eq!(
        init(&person, &["--yes", "--json"]).json(0)["changed"],
        false
    );
    assert_eq!(person.tree(), before);
    // A file that leads to the common one needs none of its own.
    let person = Person::with(&["claude", "gemini"]);
    person.commit("CLAUDE.md", "# Rules\n\n@AGENTS.md\n");
    symlink("AGENTS.md", person.repository().join("GEMINI.md")).expect("a link");
    init(&person, &["--yes", "--agents", "none", "--json"]).json(0);
    assert_eq!(
        text(&person.repository().join("CLAUDE.md")),
        "# Rules\n\n@AGENTS.md\n"
    );
    assert!(text(&person.repository().join("AGENTS.md")).contains("mosaic backlog claim"));
}

#[test]
fn nothing_is_done_where_nobody_can_be_asked_and_nothing_is_named() {
    let person = Person::with(&["codex"]);
    let before = person.tree();
    assert_eq!(init(&person, &["--json"]).json(2)["error"]["code"], "usage");
    let outside = person
        .call(&["init", "--yes", "--json"])
        .within(&person.home());
    let error = outside.run().json(2)["error"].clone();
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|m| m.contains("no repository")),
        "{error}"
    );
    let error = init(&person, &["--agents", "codx", "--json"]).json(2)["error"].clone();
    assert_eq!(error["hint"], "Did you mean \"codex\"?");
    assert_eq!(person.tree(), before);
}
