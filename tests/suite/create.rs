//! Creating one card.

use mosaic_backlog_tests::database::Database;
use serde_json::json;

#[test]
fn a_card_has_what_it_was_created_with() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A1");
    let card = s.row(
        "select * from mosaic.backlog_create('Write the parser', id => 'A2', body => E'line\\nline',
           phase => '1-parse', priority => -3, depends_on => '{A1}', labels => '{rust,cli}',
           requires => '{gpu}', acceptance => '[{\"test\": 1.50}]', idempotency_key => 'k1',
           not_before => '2031-01-01 00:00+00', max_attempts => 7, actor => 'planner')",
    );
    for (column, value) in [
        ("id", json!("A2")),
        ("title", json!("Write the parser")),
        ("body", json!("line\nline")),
        ("phase", json!("1-parse")),
        ("priority", json!(-3)),
        ("labels", json!(["cli", "rust"])),
        ("requires", json!(["gpu"])),
        ("acceptance", json!([{"test": 1.5}])),
        ("idempotency_key", json!("k1")),
        ("not_before", json!("2031-01-01T00:00:00+00:00")),
        ("max_attempts", json!(7)),
        ("status", json!("ready")),
        ("depends_on", json!(["A1"])),
        ("open_dependencies", json!(1)),
        ("attempts", json!(0)),
        ("claim_owner", json!(null)),
        ("claim_token", json!(null)),
        ("result", json!(null)),
        ("completed_at", json!(null)),
        ("created", json!(true)),
    ] {
        assert_eq!(card[column], value, "{column}");
    }
    assert_eq!(card["created_at"], card["updated_at"]);
    let event = s.row("select * from mosaic.backlog_events('A2')");
    assert_eq!(event["kind"], "created");
    assert_eq!(event["actor"], "planner");
    assert_eq!(event["login_role"], "postgres");
    assert_eq!(event["old_status"], json!(null));
    assert_eq!(event["new_status"], "ready");
}

#[test]
fn only_the_title_is_needed() {
    let db = Database::fresh();
    let card = db
        .session()
        .row("select * from mosaic.backlog_create('Just this')");
    for column in ["body", "phase", "acceptance", "not_before", "max_attempts"] {
        assert_eq!(card[column], json!(null), "{column}");
    }
    for column in ["labels", "requires", "depends_on"] {
        assert_eq!(card[column], json!([]), "{column}");
    }
    assert_eq!(card["priority"], 0);
    assert_eq!(card["created"], true);
}

#[test]
fn null_means_not_given_for_every_optional_argument() {
    let db = Database::fresh();
    let card = db.session().row(
        "select * from mosaic.backlog_create('t', null, null, null, null, null, null, null, null, null, null, null, null)",
    );
    assert_eq!(card["priority"], 0);
    assert_eq!(card["labels"], json!([]));
}

#[test]
fn generated_ids_are_short_typeable_unique_and_in_the_order_of_creation() {
    let db = Database::fresh();
    let mut s = db.session();
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(s.text("select id from mosaic.backlog_create('t')"));
    }
    let mut sorted = ids.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(ids, sorted);
    for id in &ids {
        assert!(id.len() <= 8, "{id}");
        assert!(
            id.chars()
                .all(|c| c.is_ascii_digit() || c.is_ascii_lowercase()),
            "{id}"
        );
    }
}

#[test]
fn a_generated_id_passes_over_one_that_was_given_by_hand() {
    let db = Database::fresh();
    let mut s = db.session();
    // The id that would come next but one, taken before its turn.
    let first = s.text("select id from mosaic.backlog_create('t')");
    s.run("select setval('mosaic.backlog_creation_seq', 1000)");
    let taken = s.text("select id from mosaic.backlog_create('t')");
    s.run("select setval('mosaic.backlog_creation_seq', 1000)");
    let next = s.text("select id from mosaic.backlog_create('t')");
    assert!(first < taken && taken < next, "{first} {taken} {next}");
}

#[test]
fn an_id_that_is_taken_is_refused_and_nothing_changes() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A1");
    let before = s.card("A1");
    assert_eq!(
        s.code("select * from mosaic.backlog_create('other', id => 'A1', priority => 5)"),
        "id_conflict"
    );
    assert_eq!(s.card("A1"), before);
    assert_eq!(s.events(), 1);
}

#[test]
fn a_dependency_that_is_done_does_not_gate() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("done");
    s.create("open");
    s.complete("done");
    s.create_after("A", &["open", "done"]);
    assert_eq!(s.open_dependencies("A"), 1);
    assert_eq!(s.card("A")["depends_on"], json!(["done", "open"]));
}

#[test]
fn an_unknown_dependency_is_refused() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    assert_eq!(
        s.code("select * from mosaic.backlog_create('t', id => 'B', depends_on => '{A,nope}')"),
        "not_found"
    );
    assert_eq!(s.code("select * from mosaic.backlog_get('B')"), "not_found");
}

#[test]
fn a_card_cannot_depend_on_itself() {
    let db = Database::fresh();
    let mut s = db.session();
    assert_eq!(
        s.code("select * from mosaic.backlog_create('t', id => 'A', depends_on => '{A}')"),
        "cycle"
    );
}

#[test]
fn labels_and_dependencies_that_repeat_count_once() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let card = s.row(
        "select * from mosaic.backlog_create('t', depends_on => '{A,A}', labels => '{x,x,y}')",
    );
    assert_eq!(card["depends_on"], json!(["A"]));
    assert_eq!(card["open_dependencies"], 1);
    assert_eq!(card["labels"], json!(["x", "y"]));
}

#[test]
fn text_of_any_script_comes_back_as_it_was() {
    let db = Database::fresh();
    let mut s = db.session();
    let text = "Grüße, 世界 🌍 \"quoted\" {braces} \\ back, ' and \u{200f}עברית";
    let quoted = text.replace('\'', "''");
    // Names are read from one line: no marks that turn it.
    let label = text.replace('\u{200f}', "");
    let tag = label.replace('\'', "''");
    let card = s.row(&format!(
        "select * from mosaic.backlog_create('{quoted}', id => 'ключ-世界', body => '{quoted}', phase => '{quoted}',
           labels => array['{tag}'], requires => array['{tag}'])"
    ));
    assert_eq!(card["id"], "ключ-世界");
    assert_eq!(card["title"], text);
    assert_eq!(card["body"], text);
    assert_eq!(card["phase"], text);
    assert_eq!(card["labels"], json!([label]));
    assert_eq!(card["requires"], json!([label]));
    assert_eq!(s.card("ключ-世界")["title"], text);
}

#[test]
fn numbers_in_json_keep_their_digits() {
    let db = Database::fresh();
    let mut s = db.session();
    let text = s.text(
        "select acceptance::text from mosaic.backlog_create('t',
           acceptance => '{\"n\": 12345678901234567890.123456789000}')",
    );
    assert_eq!(text, "{\"n\": 12345678901234567890.123456789000}");
}

#[test]
fn the_actor_is_the_login_role_unless_the_caller_says_otherwise() {
    let db = Database::fresh();
    let mut s = db.session_as("worker");
    s.create("A");
    let event = s.row("select * from mosaic.backlog_events('A')");
    assert_eq!(event["actor"], "worker");
    assert_eq!(event["login_role"], "worker");
}

#[test]
fn words_that_mean_something_in_an_array_are_only_text() {
    let db = Database::fresh();
    let mut s = db.session();
    let card = s.row(
        r#"select * from mosaic.backlog_create('t', labels => array['NULL', '{}', 'a"b\c,'], requires => array['\', '"'])"#,
    );
    assert_eq!(card["labels"], json!(["NULL", r#"a"b\c,"#, "{}"]));
    assert_eq!(card["requires"], json!(["\"", "\\"]));
    assert_eq!(card["created"], true);
}
