//! What others wrote into cards drives nobody's terminal, by no way.

use std::fs;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::folder;
use mosaic_backlog_tests::program::mosaic;
use mosaic_backlog_tests::terminal::Terminal;
use serde_json::{Value, json};

/// A sequence that colours, a bell, one letter that begins a sequence, marks that turn a line round.
const EVIL: &str = "\x1b[35mPWN\x07\u{9b}2J\u{202e}\u{2066}\u{2069}\x7f\u{85}\u{200e}\u{200f}\u{61c}\u{2028}\u{2029}end";
/// What an id may hold of that.
const NAME: &str = "e\u{202e}\u{2066}\u{200f}\u{2028}vil";

#[track_caller]
fn assert_harmless(what: &str, written: &[u8]) {
    let text = String::from_utf8_lossy(written);
    assert!(!text.contains("\x1b[35mPWN"), "{what}: {text:?}");
    let bad = text.chars().find(|c| {
        matches!(c, '\x07' | '\x7f' | '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{2028}' | '\u{2029}')
    });
    assert_eq!(bad, None, "{what}: {text:?}");
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn database() -> Database {
    let db = Database::fresh();
    let mut s = db.session();
    let (evil, name) = (quote(EVIL), quote(NAME));
    let document = quote(&json!({ EVIL: [EVIL] }).to_string());
    for (id, more) in [
        (
            name.clone(),
            format!(", body => {evil}, acceptance => {document}, phase => {name}"),
        ),
        ("'free'".to_owned(), String::new()),
        (
            "'after'".to_owned(),
            format!(", depends_on => array[{name}]"),
        ),
        ("'failed'".to_owned(), String::new()),
        ("'done'".to_owned(), String::new()),
        ("'stuck'".to_owned(), String::new()),
    ] {
        s.run(&format!(
            "select from mosaic.backlog_create({evil}, id => {id}, actor => {name}{more})"
        ));
    }
    // As they could be before, or by hand.
    s.run(&format!(
        "update mosaic.backlog set labels = array[{name}], requires = array[{name}] where id = {name}"
    ));
    s.run(&format!(
        "select from mosaic.backlog_complete('done', result => {document}, actor => {name})"
    ));
    s.run(&format!(
        "select from mosaic.backlog_block('stuck', {evil})"
    ));
    s.run(&format!(
        "select mosaic.backlog_fail('failed', claim_token, {evil}) from mosaic.backlog_claim({name}, id => 'failed')"
    ));
    s.run(&format!(
        "select from mosaic.backlog_claim({name}, id => {name}, offers => array[{name}])"
    ));
    db
}

/// The verbs of the backlog, as the manual knows them.
fn verbs() -> Vec<String> {
    let folder = folder::create();
    let name = folder.to_str().expect("a path");
    let pages: Value = mosaic(&["man", "--output", name, "--json"]).json()["pages"].take();
    pages
        .as_array()
        .expect("pages")
        .iter()
        .filter_map(|page| page.as_str()?.strip_prefix("mosaic-backlog-"))
        .map(|page| page.trim_end_matches(".1").to_owned())
        .collect()
}

fn written(mut terminal: Terminal) -> Vec<u8> {
    terminal.exit();
    terminal.written()
}

#[test]
fn no_verb_lets_anything_of_a_card_drive_the_terminal() {
    let db = database();
    let folder = folder::create();
    let lines = folder.join("lines");
    fs::write(&lines, format!("{{\"title\": \"{EVIL}\"}}\n{EVIL}\n")).expect("write");
    let lines = lines.to_str().expect("a path");
    let mut calls: Vec<Vec<&str>> = vec![
        vec!["list"],
        vec![
            "list",
            "--fields",
            "id,title,labels,phase,requires,claim_owner",
        ],
        vec!["list", "--quiet"],
        vec!["list", "--phase", EVIL],
        vec!["list", "--label", EVIL],
        vec!["list", "--after", EVIL],
        vec!["list", EVIL],
        vec!["show", NAME],
        vec!["show", NAME, "--fields", "body,acceptance,title"],
        vec!["show", "done"],
        vec!["show", "stuck"],
        vec!["show", EVIL],
        vec!["show", "e"],
        vec!["why", NAME],
        vec!["why", "after"],
        vec!["why", "stuck"],
        vec!["claim", NAME],
        vec!["claim", "failed"],
        vec!["claim", "--worker", NAME],
        vec!["claim", "--worker", EVIL],
        vec!["renew", NAME, "--token", "1"],
        vec!["complete", NAME, "--token", "1"],
        vec!["complete", "after"],
        vec!["fail", NAME, "--token", "1", "--reason", EVIL],
        vec!["release", NAME, "--token", "1"],
        vec!["block", NAME, "--reason", EVIL],
        vec!["block", "free", "--reason", EVIL],
        vec!["unblock", NAME],
        vec!["unblock", "free"],
        vec!["cancel", NAME, "--reason", EVIL],
        vec!["reopen", NAME, "--reason", EVIL],
        vec!["create", EVIL, "--id", NAME],
        vec!["create", EVIL, "--id", EVIL],
        vec!["create", EVIL, "--needs", EVIL],
        vec!["create", EVIL, "--idempotency-key", NAME],
        vec!["create", "other", "--idempotency-key", NAME],
        vec!["create", "--batch", lines],
        vec!["create", "t", "--acceptance", EVIL],
        vec!["import", lines],
        vec!["update", NAME, "--title", EVIL],
        vec!["link", NAME, "--needs", "after"],
        vec!["link", NAME, "--needs", NAME],
        vec!["unlink", "after", "--needs", EVIL],
        vec!["reclaim", NAME],
        vec!["reclaim", "--force", NAME],
        vec!["stats"],
        vec!["stats", "--format", "prometheus"],
        vec!["events"],
        vec!["events", NAME],
        vec!["graph", "--all"],
        vec!["graph", NAME],
        vec!["graph", EVIL],
        vec!["graph", "--all", "--format", "dot"],
        vec!["graph", "--all", "--format", "mermaid"],
        vec!["graph", "--all", "--format", "svg"],
        vec!["export"],
        vec!["doctor"],
        vec!["prime", "--write", EVIL],
        vec!["run", "--worker", NAME, "--", "true"],
        vec!["run", "--worker", NAME, "--", "false"],
        vec![EVIL],
    ];
    let verbs = verbs();
    for verb in &verbs {
        // Also those that were not there when this was written.
        if !["watch"].contains(&verb.as_str()) {
            calls.push(vec![verb, NAME]);
        }
    }
    for call in &calls {
        for flag in ["--verbose", "--json"] {
            let mut words = vec!["backlog"];
            words.extend(call);
            let at = words
                .iter()
                .position(|word| *word == "--")
                .unwrap_or(words.len());
            if flag == "--json" || !call.contains(&"--quiet") {
                words.insert(at, flag);
            }
            let terminal = mosaic(&words).on(&db).within(&folder).on_terminal(60, 200);
            assert_harmless(&format!("{words:?}"), &written(terminal));
        }
    }
}

#[test]
fn watching_is_as_harmless() {
    let db = database();
    let live = mosaic(&["backlog", "watch"]).on(&db).on_terminal(60, 200);
    live.until("PWN");
    live.press("q");
    assert_harmless("watch", &written(live));
    let stream = mosaic(&["backlog", "watch", "--from-start", "--json"])
        .on(&db)
        .on_terminal(60, 200);
    stream.until("PWN");
    mosaic_backlog_tests::home::signal("INT", stream.pid());
    assert_harmless("watch --json", &written(stream));
}
