//! `graph`: the links between the cards, in every format.

use std::collections::BTreeSet;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{Outcome, backlog, mosaic};

fn graph(db: &Database, more: &[&str]) -> Outcome {
    let mut all = vec!["backlog", "graph"];
    all.extend(more);
    let outcome = mosaic(&all).on(db).run();
    assert_eq!(
        (outcome.exit, outcome.stderr.as_str()),
        (0, ""),
        "{outcome:?}"
    );
    outcome
}

/// G needs C and D; C needs B, which is claimed and needs what is done; H needs D.
fn project() -> Database {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('Sketch', id => 'S');
         select from mosaic.backlog_create('Plan', id => 'A', depends_on => '{S}');
         select from mosaic.backlog_create('Build', id => 'B', depends_on => '{A}', phase => 'build');
         select from mosaic.backlog_create('Check', id => 'C', depends_on => '{B}', phase => 'check');
         select from mosaic.backlog_create('Draw', id => 'D', phase => 'build', labels => '{art}');
         select from mosaic.backlog_create('Go', id => 'G', depends_on => '{C,D}');
         select from mosaic.backlog_create('Hang', id => 'H', depends_on => '{D}')",
    );
    s.complete("S");
    s.complete("A");
    s.claim("B", "w1");
    s.run("select from mosaic.backlog_block('D', 'which ink?', 'input')");
    db
}

#[test]
fn the_tree_folds_what_is_done_and_marks_the_critical_path() {
    let db = project();
    let text = graph(&db, &[]).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[2].starts_with("│  └─ ◐ B * Build (w1 until "),
        "{text}"
    );
    let mut lines = lines;
    lines.remove(2);
    assert_eq!(
        lines,
        [
            "◌ G * Go",
            "├─ ◌ C * Check",
            "│     └─ … 2 done",
            "└─ ⊘ D Draw (input: which ink?)",
            "◌ H Hang",
            "└─ ↑ D",
            "",
            "◌ gated  ◐ claimed  ⊘ blocked",
            "* critical path, 3 open cards: B → C → G",
        ]
    );
    let all = graph(&db, &["--all"]).stdout;
    assert!(
        all.contains("│     └─ ● A Plan\n│        └─ ● S Sketch\n"),
        "{all}"
    );
    assert!(!all.contains('…'), "{all}");
}

#[test]
fn one_card_is_shown_with_both_sides() {
    let db = project();
    let text = graph(&db, &["D"]).stdout;
    assert_eq!(
        text.lines().take(4).collect::<Vec<_>>(),
        [
            "⊘ D * Draw (input: which ink?)",
            "needed by",
            "├─ ◌ G * Go",
            "└─ ◌ H Hang",
        ]
    );
    let document = backlog(&["graph", "C"]).on(&db).json();
    let ids: BTreeSet<&str> = document["cards"]
        .as_array()
        .expect("cards")
        .iter()
        .map(|card| card["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids, ["A", "B", "C", "G", "S"].into());
    assert_eq!(
        document["critical_path"],
        serde_json::json!(["B", "C", "G"])
    );
}

#[test]
fn filters_keep_what_is_waited_for_elsewhere() {
    let db = project();
    let text = graph(&db, &["--phase", "check"]).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "◌ C Check");
    assert!(lines[1].starts_with("└─ ◐ B Build (w1 until "), "{text}");
    assert!(lines[1].ends_with("; not in the selection)"), "{text}");
    let document = backlog(&["graph", "--phase", "build", "--label", "art"])
        .on(&db)
        .json();
    assert_eq!(document["cards"].as_array().map(Vec::len), Some(1));
    assert_eq!(graph(&db, &["--label", "none"]).stdout, "no cards\n");
}

#[test]
fn the_document_has_every_card_finished_or_not() {
    let db = project();
    let document = backlog(&["graph"]).on(&db).json();
    assert_eq!(document["cards"].as_array().map(Vec::len), Some(7));
    let keys: Vec<&String> = document["cards"][0]
        .as_object()
        .expect("a card")
        .keys()
        .collect();
    assert_eq!(
        keys,
        [
            "id",
            "title",
            "phase",
            "labels",
            "priority",
            "status",
            "not_before",
            "claim_owner",
            "claim_expires_at",
            "block_kind",
            "block_reason",
            "open_dependencies",
            "depends_on"
        ]
    );
    let same = graph(&db, &["--format", "json"]).stdout;
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&same).ok(),
        Some(document)
    );
}

#[test]
fn a_thousand_cards_stay_readable() {
    let db = Database::fresh();
    let mut s = db.session();
    // Layers of 50, of which all but the last four are done; every card needs three of the layer before.
    s.run(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 'Card number ' || n, 'id', 'c' || n, 'depends_on',
             case when n < 50 then '[]'::jsonb else jsonb_build_array(
               'c' || (n - 50), 'c' || (n / 50 * 50 - 50 + n * 7 % 50), 'c' || (n / 50 * 50 - 50 + n * 11 % 50))
             end) order by n)
           from generate_series(0, 999) n))",
    );
    s.run("do $$ begin for n in 0..799 loop perform mosaic.backlog_complete('c' || n); end loop; end $$");
    let text = graph(&db, &[]).stdout;
    // 200 open cards with a line each, and one for what is folded or stands further up.
    let lines = text.lines().count();
    assert!((200..600).contains(&lines), "{lines} lines");
    for n in 800..1_000 {
        let own = text
            .lines()
            .filter(|line| line.contains(&format!("Card number {n}")))
            .count();
        assert_eq!(own, 1, "c{n}");
    }
    let folded: usize = text
        .lines()
        .filter_map(|line| {
            line.split("… ")
                .nth(1)?
                .split(' ')
                .next()?
                .parse::<usize>()
                .ok()
        })
        .sum();
    assert_eq!(folded, 800);
    assert!(text.contains("* critical path, 4 open cards: "), "{text}");
    let everything = backlog(&["graph"]).on(&db).json();
    assert_eq!(everything["cards"].as_array().map(Vec::len), Some(1_000));
    let svg = graph(&db, &["--format", "svg", "--all"]).stdout;
    assert_eq!(svg.matches("<rect ").count(), 1_000);
}

#[test]
fn on_a_terminal_no_line_is_wider_than_it() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', repeat('世界 long ', 20), 'id', 'c' || n, 'depends_on',
             case n when 0 then '[]'::jsonb else jsonb_build_array('c' || (n - 1)) end) order by n)
           from generate_series(0, 30) n))",
    );
    let mut terminal = mosaic(&["backlog", "graph"]).on(&db).on_terminal(60, 40);
    assert_eq!(terminal.exit(), 0);
    let text = terminal.until("* critical path");
    // A line that is too wide would go on in the next one.
    for line in text.lines().filter(|line| !line.is_empty()) {
        let begins = ["○", "◌", "└", " ", "↓", "*"];
        assert!(
            begins.iter().any(|begin| line.starts_with(begin)),
            "{line:?} in\n{text}"
        );
    }
    let written = String::from_utf8_lossy(&terminal.written()).into_owned();
    assert!(written.contains("\x1b[32m○"), "{written}");
}

const HOSTILE: [&str; 6] = [
    r#"a "quoted" <b>title</b> & more"#,
    "]; end [ --> x[\"y\"]",
    "back\\slash\\",
    "two\nlines",
    "\x1b[31mred\x07",
    "#quot; `x` %% ]]> <!--",
];

/// Cards with hostile titles, ids, phases and reasons.
fn hostile() -> Database {
    let db = Database::fresh();
    let long = "x".repeat(1_000);
    for (number, title) in HOSTILE.into_iter().chain([long.as_str()]).enumerate() {
        let id = format!(
            "{}{number}",
            title
                .replace(|c: char| c.is_control(), " ")
                .chars()
                .take(50)
                .collect::<String>()
                .trim()
        );
        let before = number.checked_sub(1).map(|_| "first");
        let mut call = vec![
            "create",
            title,
            "--id",
            if number == 0 { "first" } else { &id },
        ];
        call.extend(before.iter().flat_map(|id| ["--needs", *id]));
        let outcome = backlog(&call).on(&db).run();
        assert_eq!(outcome.exit, 0, "{outcome:?}");
    }
    db
}

#[test]
fn hostile_titles_break_no_format() {
    let db = hostile();
    let cards = HOSTILE.len() + 1;
    for format in ["tree", "dot", "mermaid", "svg", "json"] {
        let text = graph(&db, &["--format", format]).stdout;
        assert!(!text.contains(['\x1b', '\x07']), "{format}: {text}");
        match format {
            // Its own line, the others' references, and the critical path.
            "tree" => {
                let lines = text.lines().filter(|line| line.contains("first")).count();
                assert_eq!(lines, cards, "{text}");
            }
            "dot" => {
                assert_eq!(
                    text.lines().filter(|line| line.contains(" -> n")).count(),
                    cards - 1
                );
                assert!(text.contains(r#"a \"quoted\" <b>"#), "{text}");
            }
            "mermaid" => {
                assert_eq!(
                    text.matches(" --> n").count() + text.matches(" ==> n").count(),
                    cards - 1
                );
                assert!(text.contains("#34;quoted#34; #60;b#62;"), "{text}");
            }
            "svg" => {
                assert_eq!(text.matches("<rect ").count(), cards);
                assert!(
                    text.contains("a &quot;quoted&quot; &lt;b&gt;") && !text.contains("<b>"),
                    "{text}"
                );
            }
            _ => {
                let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                let titles: BTreeSet<&str> = document["cards"]
                    .as_array()
                    .expect("cards")
                    .iter()
                    .filter_map(|card| card["title"].as_str())
                    .collect();
                assert!(
                    HOSTILE.iter().all(|title| titles.contains(title)),
                    "{titles:?}"
                );
            }
        }
    }
}

#[test]
fn what_is_wrong_is_said() {
    let db = Database::fresh();
    assert_eq!(backlog(&["graph", "A7"]).on(&db).code(5), "not_found");
    for more in [
        &["--format", "png"][..],
        &["--format", "dot"],
        &["A7", "--phase", "p"],
        &["--phase", ""],
    ] {
        let mut all = vec!["graph"];
        all.extend(more);
        assert_eq!(backlog(&all).on(&db).code(2), "usage", "{more:?}");
    }
    assert_eq!(graph(&db, &[]).stdout, "no cards\n");
    let empty = backlog(&["graph"]).on(&db).json();
    assert_eq!(empty, serde_json::json!({"cards": [], "critical_path": []}));
}
