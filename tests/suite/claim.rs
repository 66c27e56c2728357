//! Claiming, one caller at a time.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use serde_json::{Value, json};

fn claimed(s: &mut Session, arguments: &str) -> Vec<String> {
    s.column(&format!("select id from mosaic.backlog_claim({arguments})"))
        .into_iter()
        .map(|id| id.as_str().expect("an id").to_owned())
        .collect()
}

#[test]
fn a_claim_puts_the_card_under_a_lease() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    let card = s.row("select * from mosaic.backlog_claim('w1', '90 seconds')");
    assert_eq!(card["id"], "A");
    assert_eq!(card["status"], "claimed");
    assert_eq!(card["claim_owner"], "w1");
    assert_eq!(card["claim_ttl_seconds"], 90);
    assert_eq!(card["claimed_at"], "2030-01-01T12:00:00+00:00");
    assert_eq!(card["claim_expires_at"], "2030-01-01T12:01:30+00:00");
    assert_eq!(card["updated_at"], "2030-01-01T12:00:00+00:00");
    assert_eq!(card["attempts"], 1);
    assert_eq!(card["dependencies"], json!([]));
    assert_eq!(card["last_failure"], Value::Null);
    let event =
        s.row("select * from mosaic.backlog_event where card_id = 'A' and kind = 'claimed'");
    assert_eq!(event["actor"], "w1");
    assert_eq!(event["claim_token"], card["claim_token"]);
    assert_eq!(event["old_status"], "ready");
    assert_eq!(event["new_status"], "claimed");
}

#[test]
fn the_default_lease_is_fifteen_minutes() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    assert_eq!(
        s.number("select claim_ttl_seconds from mosaic.backlog_claim('w')"),
        900
    );
}

#[test]
fn highest_priority_comes_first_then_the_oldest() {
    let db = Database::fresh();
    let mut s = db.session();
    for (id, priority) in [("b", 0), ("a", 0), ("top", 7), ("last", -7)] {
        s.run(&format!(
            "select from mosaic.backlog_create('t', id => '{id}', priority => {priority})"
        ));
    }
    assert_eq!(claimed(&mut s, "'w', max_cards => 2"), ["top", "b"]);
    assert_eq!(claimed(&mut s, "'w', max_cards => 9"), ["a", "last"]);
    let history =
        "select card_id from mosaic.backlog_event where kind = 'claimed' order by event_id";
    assert_eq!(s.column(history), ["top", "b", "a", "last"]);
    assert_eq!(claimed(&mut s, "'w'"), Vec::<String>::new());
}

#[test]
fn a_changed_priority_changes_the_order() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    s.run("select from mosaic.backlog_update('B', priority => 1)");
    assert_eq!(claimed(&mut s, "'w', max_cards => 2"), ["B", "A"]);
}

#[test]
fn only_claimable_cards_are_handed_out() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('t', id => 'held');
         select from mosaic.backlog_claim('w0');
         select from mosaic.backlog_create('t', id => 'gated', depends_on => '{held}');
         select from mosaic.backlog_create('t', id => 'deferred', not_before => now() + interval '1 day');
         select from mosaic.backlog_create('t', id => 'blocked');
         select from mosaic.backlog_block('blocked', 'why');
         select from mosaic.backlog_create('t', id => 'done');
         select from mosaic.backlog_complete('done');
         select from mosaic.backlog_create('t', id => 'cancelled');
         select from mosaic.backlog_cancel('cancelled', 'why');
         select from mosaic.backlog_create('t', id => 'free', priority => -9)",
    );
    assert_eq!(claimed(&mut s, "'w', max_cards => 100"), ["free"]);
}

#[test]
fn labels_and_phase_narrow_a_claim() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('t', id => 'plain');
         select from mosaic.backlog_create('t', id => 'x', labels => '{x}', phase => 'p');
         select from mosaic.backlog_create('t', id => 'xy', labels => '{x,y}', phase => 'q');
         select from mosaic.backlog_create('t', id => 'xz', labels => '{x,z}', phase => 'q')",
    );
    assert_eq!(
        claimed(&mut s, "'w', labels => '{x,nope}'"),
        Vec::<String>::new()
    );
    assert_eq!(
        claimed(&mut s, "'w', phase => 'nope'"),
        Vec::<String>::new()
    );
    assert_eq!(claimed(&mut s, "'w', labels => '{y}'"), ["xy"]);
    assert_eq!(
        claimed(&mut s, "'w', labels => '{x}', phase => 'q'"),
        ["xz"]
    );
    assert_eq!(claimed(&mut s, "'w', phase => 'p', max_cards => 5"), ["x"]);
    assert_eq!(claimed(&mut s, "'w', max_cards => 5"), ["plain"]);
}

#[test]
fn a_worker_gets_only_what_it_offers_all_requirements_of() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('t', id => 'both', requires => '{gpu,cuda}');
         select from mosaic.backlog_create('t', id => 'gpu', requires => '{gpu}');
         select from mosaic.backlog_create('t', id => 'none')",
    );
    assert_eq!(claimed(&mut s, "'w', max_cards => 5"), ["none"]);
    assert_eq!(
        claimed(&mut s, "'w', max_cards => 5, offers => '{}'"),
        Vec::<String>::new()
    );
    assert_eq!(
        claimed(&mut s, "'w', max_cards => 5, offers => '{gpu,arm}'"),
        ["gpu"]
    );
    assert_eq!(
        claimed(&mut s, "'w', max_cards => 5, offers => '{cuda,arm,gpu}'"),
        ["both"]
    );
}

#[test]
fn a_claim_by_id_names_what_the_card_requires() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', requires => '{gpu,net}')");
    let refused =
        s.refusal("select * from mosaic.backlog_claim('w', id => 'A', offers => '{gpu}')");
    assert_eq!(refused.code, "bad_transition");
    assert!(refused.message.contains("net"), "{refused:?}");
    assert!(!refused.message.contains("gpu"), "{refused:?}");
    assert_eq!(
        claimed(&mut s, "'w', id => 'A', offers => '{net,gpu,disk}'"),
        ["A"]
    );
}

#[test]
fn a_claim_by_id_cannot_also_describe_cards() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for arguments in ["phase => 'p'", "labels => '{x}'"] {
        assert_eq!(
            s.code(&format!(
                "select * from mosaic.backlog_claim('w', id => 'A', {arguments})"
            )),
            "invalid_argument"
        );
    }
    assert_eq!(s.status("A"), "ready");
    assert_eq!(claimed(&mut s, "'w', id => 'A', labels => '{}'"), ["A"]);
}

#[test]
fn a_claim_brings_what_the_dependencies_handed_over() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    s.create_after("C", &["A", "B"]);
    s.run("select from mosaic.backlog_complete('B', result => '{\"commit\": \"abc\"}')");
    s.complete("A");
    let card = s.row("select * from mosaic.backlog_claim('w')");
    assert_eq!(
        card["dependencies"],
        json!([
            {"id": "A", "title": "A", "result": null},
            {"id": "B", "title": "B", "result": {"commit": "abc"}},
        ])
    );
    assert_eq!(card["depends_on"], json!(["A", "B"]));
}

#[test]
fn a_claim_brings_the_reason_of_the_last_failure() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01'");
    let token = s.claim("A", "w");
    s.run(&format!(
        "select from mosaic.backlog_fail('A', {token}, 'the tests hang', '0')"
    ));
    // Also when a lease ended since then.
    for day in 1..=2 {
        s.run(&format!("set mosaic.clock = '2030-01-0{day}'"));
        assert_eq!(
            s.text("select last_failure from mosaic.backlog_claim('w')"),
            "the tests hang"
        );
    }
}

#[test]
fn tokens_grow_and_are_never_used_twice() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 5);
    let mut tokens = Vec::new();
    for id in ["c1", "c2", "c1", "c2", "c1"] {
        let token = s.claim(id, "w");
        tokens.push(token);
        s.run(&format!(
            "select from mosaic.backlog_release('{id}', {token})"
        ));
    }
    tokens.extend(
        s.column("select claim_token from mosaic.backlog_claim('w', max_cards => 5) order by 1")
            .iter()
            .map(|token| token.as_i64().expect("a token")),
    );
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}

#[test]
fn truncating_the_table_with_restart_identity_keeps_the_tokens_growing() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let before = s.claim("A", "w");
    s.run("truncate mosaic.backlog restart identity cascade");
    s.create("A");
    assert!(s.claim("A", "w") > before);
    assert_eq!(
        s.number(
            "select cache_size from pg_sequences where sequencename = 'backlog_claim_token_seq'"
        ),
        1
    );
}

#[test]
fn an_ended_lease_is_swept_by_the_next_claim() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    let old = s.claim("A", "dead");
    s.run("set mosaic.clock = '2030-01-01 12:14:59.999999+00'");
    assert_eq!(s.claim_next("w2"), None);
    s.run("set mosaic.clock = '2030-01-01 12:15:00+00'");
    let card = s.row("select * from mosaic.backlog_claim('w2')");
    assert_eq!(card["claim_owner"], "w2");
    assert_eq!(card["attempts"], 2);
    assert!(card["claim_token"].as_i64().expect("a token") > old);
    assert_eq!(
        s.column("select kind from mosaic.backlog_events('A')"),
        ["created", "claimed", "lapsed", "claimed"]
    );
    assert_eq!(
        s.row("select actor, claim_token, old_status, new_status from mosaic.backlog_event where kind = 'lapsed'"),
        json!({"actor": "w2", "claim_token": old, "old_status": "claimed", "new_status": "ready"})
    );
}

#[test]
fn a_claim_by_id_takes_over_an_ended_lease() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    s.claim("A", "dead");
    s.run("set mosaic.clock = '2030-01-01 13:00+00'");
    s.claim("A", "w2");
    assert_eq!(s.card("A")["claim_owner"], "w2");
}

#[test]
fn one_claim_sweeps_a_bounded_number_and_the_next_ones_sweep_the_rest() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 1000);
    s.run("set mosaic.clock = '2030-01-01 12:00+00'");
    s.run("select from mosaic.backlog_claim('dead', max_cards => 1000)");
    s.run("set mosaic.clock = '2030-01-02 12:00+00'");
    let swept = "select count(*) from mosaic.backlog_event where kind = 'lapsed'";
    s.claim_next("w");
    let first = s.number(swept);
    assert!((1..1000).contains(&first), "{first} in one claim");
    for _ in 0..1000 {
        if s.number(swept) == 1000 {
            break;
        }
        assert!(s.claim_next("w").is_some());
    }
    assert_eq!(s.number(swept), 1000);
}

#[test]
fn a_claim_that_finds_nothing_writes_nothing() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.claim("A", "w");
    let before = s.events();
    assert_eq!(s.claim_next("w"), None);
    assert_eq!(s.events(), before);
}

#[test]
fn a_claim_that_rolls_back_leaves_the_card_ready() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("begin");
    let lost = s.claim("A", "w");
    s.run("rollback");
    assert_eq!(s.status("A"), "ready");
    assert_eq!(s.card("A")["attempts"], 0);
    assert!(s.claim("A", "w") > lost);
}
