//! `stats --format prometheus`, read by Prometheus' own Python client.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{backlog, mosaic};
use mosaic_backlog_tests::programs;
use serde_json::{Value, json};

/// Prints what the parser understood, as JSON.
const READ: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families
families = text_string_to_metric_families(sys.stdin.read())
print(json.dumps([[f.name, f.type, f.documentation, [[s.name, s.labels, s.value] for s in f.samples]] for f in families]))";

/// The Python that has the package prometheus_client: `tests/run` makes one.
fn python() -> PathBuf {
    std::env::var_os("MOSAIC_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

fn metrics(db: &Database, arguments: &[&str]) -> String {
    let mut all = vec!["backlog", "stats", "--format", "prometheus"];
    all.extend(arguments);
    let outcome = mosaic(&all).on_as(db, "reader").run();
    assert_eq!(
        (outcome.exit, outcome.stderr.as_str()),
        (0, ""),
        "{outcome:?}"
    );
    outcome.stdout
}

/// What the parser makes of it.
#[track_caller]
fn parsed(text: &str) -> Value {
    let mut child = Command::new(python())
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(text.as_bytes()).expect("write");
    drop(input);
    let output = child.wait_with_output().expect("its output");
    assert!(
        output.status.success(),
        "not understood, or {} has no prometheus_client: {text}",
        python().display()
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The samples of a metric: labels and value.
#[track_caller]
fn samples(families: &Value, name: &str) -> Vec<(Value, f64)> {
    let families = families.as_array().expect("families");
    let family = families
        .iter()
        .find(|family| family[0] == name)
        .unwrap_or_else(|| panic!("no {name} in {families:?}"));
    let samples = family[3].as_array().expect("samples");
    samples
        .iter()
        .map(|sample| (sample[1].clone(), sample[2].as_f64().expect("a number")))
        .collect()
}

/// Names that no verb takes, but that a label has to survive.
const AWKWARD: [&str; 4] = ["w\"1", "back\\slash\\n", "two\nlines", "a,b={}"];

#[test]
fn every_figure_of_stats_is_a_metric_that_prometheus_understands() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 8);
    s.create_after("gated", &["c1"]);
    s.run("select from mosaic.backlog_create('t', id => 'later', not_before => '2100-01-01')");
    s.complete("c2");
    s.run("select from mosaic.backlog_cancel('c3', 'why'); select from mosaic.backlog_block('c4', 'why')");
    for (card, owner) in ["c5", "c6", "c7", "c8"].iter().zip(AWKWARD) {
        s.claim(card, "w");
        s.client()
            .execute(
                "update mosaic.backlog set claim_owner = $1 where id = $2",
                &[&owner, card],
            )
            .expect("an update");
    }
    let families = parsed(&metrics(&db, &[]));
    let stats = backlog(&["stats"]).on(&db).json();
    let number = |column: &str| stats[column].as_f64().expect("a number");

    for (metric, label, columns) in [
        (
            "mosaic_backlog_cards",
            "status",
            &["ready", "claimed", "blocked", "done", "cancelled"][..],
        ),
        (
            "mosaic_backlog_ready_cards",
            "state",
            &["claimable", "gated", "deferred"],
        ),
    ] {
        let expected: Vec<(Value, f64)> = columns
            .iter()
            .map(|column| (json!({label: column}), number(column)))
            .collect();
        assert_eq!(samples(&families, metric), expected);
    }
    let kinds: Vec<(Value, f64)> = ["created", "completed", "failed", "lapsed"]
        .iter()
        .map(|kind| (json!({"kind": kind}), number(&format!("{kind}_last_hour"))))
        .collect();
    assert_eq!(samples(&families, "mosaic_backlog_last_hour_events"), kinds);
    assert_eq!(
        samples(&families, "mosaic_backlog_expired_leases"),
        [(json!({}), 0.0)]
    );
    let mut owners: Vec<String> = samples(&families, "mosaic_backlog_claimed_cards")
        .into_iter()
        .map(|(labels, cards)| {
            assert_eq!(cards, 1.0);
            labels["owner"].as_str().expect("an owner").to_owned()
        })
        .collect();
    owners.sort();
    let mut expected = AWKWARD.map(str::to_owned);
    expected.sort();
    assert_eq!(owners, expected);
    for metric in ["wait", "cycle"] {
        let samples = samples(&families, &format!("mosaic_backlog_{metric}_seconds"));
        let percentiles: Vec<&Value> = samples.iter().map(|(l, _)| &l["percentile"]).collect();
        assert_eq!(percentiles, ["50", "95"]);
    }
    assert_eq!(
        samples(&families, "mosaic_backlog_oldest_claimable_seconds").len(),
        1
    );
}

#[test]
fn every_metric_is_documented_and_a_gauge_or_a_counter_of_its_own() {
    let db = Database::fresh();
    let text = metrics(&db, &[]);
    assert!(text.ends_with('\n') && !text.ends_with("\n\n"));
    let families = parsed(&text);
    let page = std::fs::read_to_string(programs::sources().join("docs/cli-reference.md"))
        .expect("the reference");
    let mut names = Vec::new();
    for family in families.as_array().expect("families") {
        let mut name = family[0].as_str().expect("a name").to_owned();
        let is_counter = name.contains("_frontier_");
        let kind = if is_counter { "counter" } else { "gauge" };
        assert_eq!(family[1], kind, "{name}");
        assert!(
            !name.ends_with("_total") && !name.ends_with("_count"),
            "{name}"
        );
        if is_counter {
            name.push_str("_total");
        }
        assert!(family[2].as_str().is_some_and(|help| help.ends_with('.')));
        assert!(
            page.contains(&format!("| `{name}` |")),
            "{name} is not documented"
        );
        names.push(name);
    }
    let found = names.len();
    names.dedup();
    assert_eq!((names.len(), found), (10, 10));
    // Of an empty backlog there are counts and no times.
    assert_eq!(samples(&families, "mosaic_backlog_wait_seconds"), []);
    assert_eq!(samples(&families, "mosaic_backlog_cards").len(), 5);
}

#[test]
fn the_phase_is_a_label_of_every_sample() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', phase => 'B \"build\"')");
    s.create("other");
    let families = parsed(&metrics(&db, &["--phase", "B \"build\""]));
    for family in families.as_array().expect("families") {
        for sample in family[3].as_array().expect("samples") {
            assert_eq!(sample[1]["phase"], "B \"build\"", "{sample}");
        }
    }
    assert_eq!(samples(&families, "mosaic_backlog_cards")[0].1, 1.0);
}

#[test]
fn without_an_answer_there_is_nothing_that_looks_like_metrics() {
    let outcome = mosaic(&["backlog", "stats", "--format", "prometheus"])
        .env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        .run();
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (4, ""));
    assert_eq!(
        backlog(&["stats", "--format", "prometheus"]).code(2),
        "usage"
    );
}

#[test]
fn what_audits_have_found_is_a_counter_of_the_whole_backlog() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
    let text = metrics(&db, &[]);
    assert!(text.contains("# TYPE mosaic_backlog_frontier_lost_total counter\n"));
    let families = parsed(&text);
    for name in ["frontier_lost", "frontier_stuck"] {
        let found = samples(&families, &format!("mosaic_backlog_{name}"));
        assert_eq!(found, [(json!({}), 0.0)], "{name}");
    }
    assert!(!metrics(&db, &["--phase", "p"]).contains("frontier"));
}
