//! The primer: short, true, and put into files with care.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::folder::{self, Folder};
use mosaic_backlog_tests::program::{Outcome, backlog, mosaic};
use serde_json::{Value, json};
use tiktoken_rs::{cl100k_base_singleton, o200k_base_singleton};

const BEGIN: &str = "<!-- mosaic backlog: begin -->";
const END: &str = "<!-- mosaic backlog: end -->";

/// As the tokenizer counts that takes more of them.
pub fn tokens(text: &str) -> usize {
    let count = |tokenizer: &tiktoken_rs::CoreBPE| tokenizer.encode_ordinary(text).len();
    count(o200k_base_singleton()).max(count(cl100k_base_singleton()))
}

fn primer() -> String {
    let outcome = mosaic(&["backlog", "prime"]).run();
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (0, ""));
    outcome.stdout
}

fn write(file: &Path) -> Outcome {
    mosaic(&[
        "backlog",
        "prime",
        "--json",
        "--write",
        file.to_str().expect("a path"),
    ])
    .run()
}

/// A file in a folder of its own.
fn file(content: &str) -> (Folder, PathBuf) {
    let folder = folder::create();
    let file = folder.join("AGENTS.md");
    fs::write(&file, content).expect("write");
    (folder, file)
}

#[test]
fn it_takes_at_most_400_tokens_and_no_database() {
    let primer = primer();
    let tokens = tokens(&primer);
    assert!((100..=400).contains(&tokens), "{tokens} tokens");
    let json = backlog(&["prime"])
        .env("DATABASE_URL", "host=127.0.0.1 port=1")
        .json();
    assert_eq!(json, json!({"primer": primer}));
}

#[test]
fn its_commands_work_as_they_stand() {
    let db = Database::fresh();
    let primer = primer();
    let commands: Vec<&str> = primer
        .split('`')
        .filter(|words| words.starts_with("mosaic backlog "))
        .collect();
    let verbs: Vec<&str> = commands
        .iter()
        .map(|command| command.split(' ').nth(2).expect("a verb"))
        .collect();
    assert_eq!(
        verbs,
        [
            "claim", "renew", "complete", "block", "fail", "release", "create", "why"
        ]
    );
    let run = |command: &str, id: &str, token: &str| -> Value {
        let command = command
            .replace(" ID", &format!(" {id}"))
            .replace(" N ", &format!(" {token} "))
            .replace("TITLE", "The config is parsed");
        let words = words(&command);
        mosaic(&words[1..]).on(&db).json()
    };
    for (number, command) in commands[1..].iter().enumerate() {
        let id = format!("A{number}");
        backlog(&[
            "create",
            "t",
            "--id",
            &id,
            "--priority",
            &number.to_string(),
        ])
        .on(&db)
        .json();
        let card = run(commands[0], "", "")["cards"][0].take();
        assert_eq!(card["id"], id.as_str());
        for key in [
            "id",
            "claim_token",
            "body",
            "acceptance",
            "dependencies",
            "last_failure",
        ] {
            assert!(
                primer.contains(&format!("`{key}`")) && card.get(key).is_some(),
                "{key}"
            );
        }
        run(command, &id, &card["claim_token"].to_string());
    }
}

/// The words of a command as a shell reads them.
fn words(command: &str) -> Vec<String> {
    let script = format!("printf '%s\\0' {command}");
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .expect("sh");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.trim_end_matches('\0')
        .split('\0')
        .map(str::to_owned)
        .collect()
}

#[test]
fn its_exit_codes_are_those_of_the_program() {
    let db = Database::fresh();
    let text = primer();
    let said = |code: i32| {
        let line = text
            .lines()
            .filter_map(|line| line.strip_prefix("- ")?.split_once(": "))
            .find(|(codes, _)| codes.split([',', ' ']).any(|word| word == code.to_string()));
        line.unwrap_or_else(|| panic!("{code} is not in the primer"))
            .1
    };
    backlog(&["create", "t", "--id", "A"]).on(&db).json();
    backlog(&["create", "t", "--id", "B", "--needs", "A"])
        .on(&db)
        .json();
    assert!(said(0).contains("go on"));
    backlog(&["claim", "A"]).on(&db).json();
    assert!(said(3).contains("nothing to claim"));
    assert_eq!(
        backlog(&["claim"]).on(&db).run().json(3),
        json!({"cards": []})
    );
    assert!(said(6).contains("no longer yours"));
    assert_eq!(
        backlog(&["renew", "A", "--token", "99"]).on(&db).code(6),
        "claim_lost"
    );
    assert!(said(8).contains("repeat"));
    let away = backlog(&["claim"]).env("DATABASE_URL", "host=127.0.0.1 port=1");
    assert_eq!(away.run().json(4)["error"]["retryable"], true);
    assert!(said(1).contains("stop and report"));
    let forbidden = backlog(&["claim"]).on_as(&db, "reader");
    assert_eq!(forbidden.run().json(4)["error"]["retryable"], false);
    for (code, call) in [
        (2, &["claim", "--ttl", "15"][..]),
        (5, &["show", "nope"]),
        (7, &["claim", "B"]),
    ] {
        assert!(said(code).contains("do not repeat it"));
        assert_eq!(backlog(call).on(&db).run().exit, code);
    }
}

#[test]
fn a_file_gets_it_once_and_is_not_touched_again() {
    let folder = folder::create();
    let new = folder.join("AGENTS.md");
    let name = new.to_str().expect("a path");
    assert_eq!(write(&new).json(0), json!({"file": name, "changed": true}));
    let text = fs::read_to_string(&new).expect("the file");
    assert_eq!(text, format!("{BEGIN}\n{}\n{END}\n", primer().trim_end()));
    let before = fs::metadata(&new)
        .expect("the file")
        .modified()
        .expect("a time");
    assert_eq!(write(&new).json(0), json!({"file": name, "changed": false}));
    assert_eq!(
        fs::metadata(&new)
            .expect("the file")
            .modified()
            .expect("a time"),
        before
    );
}

#[test]
fn the_rest_of_the_file_its_owner_and_mode_and_a_link_to_it_stay_as_they_are() {
    let (_folder, file) = file(&format!(
        "# Rules\r\n\r\n{BEGIN}\r\nold\r\n{END}\r\n\r\nno end"
    ));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("chmod");
    // Only root may give it to somebody else.
    let _ = chown(&file, Some(65_534), None);
    let owner = fs::metadata(&file).expect("the file").uid();
    let link = file.with_file_name("CLAUDE.md");
    symlink("AGENTS.md", &link).expect("a link");
    assert_eq!(write(&link).json(0)["changed"], true);
    assert!(link.is_symlink());
    let text = fs::read_to_string(&file).expect("the file");
    let primer = primer().trim_end().replace('\n', "\r\n");
    let expected = format!("# Rules\r\n\r\n{BEGIN}\r\n{primer}\r\n{END}\r\n\r\nno end");
    assert_eq!(text, expected);
    let metadata = fs::metadata(&file).expect("the file");
    assert_eq!(metadata.mode() & 0o777, 0o640);
    assert_eq!(metadata.uid(), owner);
    let beside = fs::read_dir(file.parent().expect("a folder")).expect("a folder");
    assert_eq!(beside.count(), 2, "nothing else is left there");
}

#[test]
fn what_it_cannot_place_is_refused_and_stays_as_it_is() {
    for content in [
        format!("# Rules\n{BEGIN}\n"),
        format!("# Rules\n{END}\n"),
        format!("{END}\n{BEGIN}\n"),
        format!("{BEGIN}\n{END}\n{BEGIN}\n{END}\n"),
    ] {
        let (_folder, file) = file(&content);
        let error = &write(&file).json(2)["error"];
        assert_eq!(error["code"], "usage");
        assert!(
            error["detail"].as_str().expect("a detail").contains("ine"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&file).expect("the file"), content);
    }
    let folder = folder::create();
    assert_eq!(write(&folder).json(2)["error"]["code"], "usage");
    let link = folder.join("AGENTS.md");
    symlink("nowhere", &link).expect("a link");
    assert_eq!(write(&link).json(2)["error"]["code"], "usage");
    assert!(link.is_symlink());
}
