//! The dependency gate, one caller at a time.

use mosaic_backlog_tests::cards::quote;
use mosaic_backlog_tests::database::Database;
use serde_json::json;

#[test]
fn completing_the_last_dependency_opens_the_gate_and_says_whose() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    s.create_after("C", &["A", "B"]);
    s.create_after("D", &["B"]);
    assert_eq!(
        s.value("select unblocked from mosaic.backlog_complete('A')"),
        json!([])
    );
    assert_eq!(s.open_dependencies("C"), 1);
    assert_eq!(
        s.value("select unblocked from mosaic.backlog_complete('B')"),
        json!(["C", "D"])
    );
    assert_eq!(s.open_dependencies("C"), 0);
    s.assert_counters_are_right();
}

#[test]
fn unblocked_names_only_what_became_claimable() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("ready", &["A"]);
    s.create_after("blocked", &["A"]);
    s.create_after("cancelled", &["A"]);
    s.run("select from mosaic.backlog_block('blocked', 'why'); select from mosaic.backlog_cancel('cancelled', 'why')");
    assert_eq!(
        s.value("select unblocked from mosaic.backlog_complete('A')"),
        json!(["ready"])
    );
    s.assert_counters_are_right();
}

#[test]
fn a_repeated_completion_does_not_count_twice() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    s.create_after("C", &["A", "B"]);
    s.complete("A");
    let events = s.events();
    let again = s.row("select * from mosaic.backlog_complete('A')");
    assert_eq!(again["unblocked"], json!([]));
    assert_eq!(again["result"], json!(null));
    assert_eq!(s.events(), events);
    assert_eq!(s.open_dependencies("C"), 1);
}

#[test]
fn a_claimed_card_may_be_linked_and_still_be_finished() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    let token = s.claim("B", "w");
    s.link("B", &["A"]);
    assert_eq!(s.open_dependencies("B"), 1);
    s.run(&format!("select mosaic.backlog_renew('B', {token})"));
    s.run(&format!(
        "select from mosaic.backlog_complete('B', {token})"
    ));
    assert_eq!(s.status("B"), "done");
    s.complete("A");
    s.assert_counters_are_right();
}

#[test]
fn a_linked_card_that_is_given_back_waits() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    let token = s.claim("B", "w");
    s.link("B", &["A"]);
    s.run(&format!("select from mosaic.backlog_release('B', {token})"));
    assert_eq!(
        s.code("select * from mosaic.backlog_claim('w', id => 'B')"),
        "open_dependencies"
    );
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
    assert_eq!(s.claim_next("w"), None);
}

#[test]
fn a_link_that_exists_already_changes_nothing() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    let events = s.events();
    s.link("B", &["A", "A"]);
    assert_eq!(s.open_dependencies("B"), 1);
    assert_eq!(s.events(), events);
}

#[test]
fn links_count_only_the_dependencies_that_are_open_and_new() {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["A", "B", "C", "done"] {
        s.create(id);
    }
    s.complete("done");
    s.create_after("D", &["A"]);
    let card = s.row("select * from mosaic.backlog_link('D', '{A,B,done}')");
    assert_eq!(card["open_dependencies"], 2);
    assert_eq!(card["depends_on"], json!(["A", "B", "done"]));
    let card = s.row("select * from mosaic.backlog_unlink('D', '{A,C,done}')");
    assert_eq!(card["open_dependencies"], 1);
    assert_eq!(card["depends_on"], json!(["B"]));
    s.assert_counters_are_right();
}

#[test]
fn unlinking_the_last_open_dependency_makes_the_card_claimable() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.claim("A", "w");
    s.create_after("B", &["A"]);
    assert_eq!(s.claim_next("w"), None);
    s.run("select from mosaic.backlog_unlink('B', '{A}')");
    assert_eq!(s.claim_next("w").as_deref(), Some("B"));
}

#[test]
fn unlinking_what_is_not_linked_changes_nothing() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    let events = s.events();
    s.run("select from mosaic.backlog_unlink('B', '{A}')");
    assert_eq!(s.events(), events);
    assert_eq!(s.open_dependencies("B"), 0);
}

#[test]
fn unknown_cards_are_refused_by_link_and_unlink() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for call in [
        "link('A', '{nope}')",
        "link('nope', '{A}')",
        "unlink('A', '{nope}')",
        "unlink('nope', '{A}')",
    ] {
        assert_eq!(
            s.code(&format!("select * from mosaic.backlog_{call}")),
            "not_found",
            "{call}"
        );
    }
}

#[test]
fn an_empty_list_of_dependencies_is_refused() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for list in ["'{}'", "null", "array[null]::text[]", "'{\"\"}'"] {
        for verb in ["link", "unlink"] {
            assert_eq!(
                s.code(&format!("select * from mosaic.backlog_{verb}('A', {list})")),
                "invalid_argument",
                "{verb} {list}"
            );
        }
    }
}

#[test]
fn a_cancelled_dependency_keeps_its_dependents_gated() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.run("select from mosaic.backlog_cancel('A', 'not needed')");
    assert_eq!(s.open_dependencies("B"), 1);
    assert_eq!(s.claim_next("w"), None);
    let why = s.row("select * from mosaic.backlog_why('B')");
    assert_eq!(why["kind"], "cancelled_dependency");
    assert_eq!(why["id"], "A");
}

#[test]
fn linking_to_a_cancelled_card_gates() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    s.run("select from mosaic.backlog_cancel('A', 'not needed')");
    s.link("B", &["A"]);
    assert_eq!(s.open_dependencies("B"), 1);
}

#[test]
fn reopening_a_done_card_gates_its_dependents_again() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for id in ["ready", "held", "blocked", "done", "cancelled"] {
        s.create_after(id, &["A"]);
    }
    s.complete("A");
    s.claim("held", "w");
    s.run(
        "select from mosaic.backlog_block('blocked', 'why'); select from mosaic.backlog_complete('done');
         select from mosaic.backlog_cancel('cancelled', 'why')",
    );
    let touched = s.column("select id from mosaic.backlog_reopen('A', 'it broke')");
    assert_eq!(touched, ["A", "blocked", "held", "ready"]);
    s.assert_counters_are_right();
    assert_eq!(s.status("held"), "claimed");
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
    assert_eq!(s.claim_next("w"), None);
}

#[test]
fn reopening_a_cancelled_card_leaves_the_counters_as_they_are() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.run("select from mosaic.backlog_cancel('A', 'why'); select from mosaic.backlog_reopen('A', 'after all')");
    s.assert_counters_are_right();
    s.complete("A");
    assert_eq!(s.claim_next("w").as_deref(), Some("B"));
}

#[test]
fn a_forced_completion_of_a_gated_card_opens_what_waits_for_it() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.create_after("C", &["B"]);
    assert_eq!(
        s.code("select * from mosaic.backlog_complete('B')"),
        "open_dependencies"
    );
    assert_eq!(
        s.value("select unblocked from mosaic.backlog_complete('B', force => true)"),
        json!(["C"])
    );
    s.run("select from mosaic.backlog_reopen('B', 'too early')");
    s.assert_counters_are_right();
    s.complete("A");
    s.assert_counters_are_right();
}

#[test]
fn a_created_card_waits_for_its_dependencies_that_are_not_done() {
    let db = Database::fresh();
    let mut s = db.session();
    let all = ["open", "blocked", "cancelled", "done", "claimed"];
    for id in all {
        s.create(id);
    }
    s.run(
        "select from mosaic.backlog_block('blocked', 'why'); select from mosaic.backlog_cancel('cancelled', 'why');
         select from mosaic.backlog_complete('done')",
    );
    s.claim("claimed", "w");
    s.create_after("X", &all);
    assert_eq!(s.open_dependencies("X"), 4);
    s.assert_counters_are_right();
}

#[test]
fn a_card_with_five_thousand_dependents_completes_and_opens_them_all() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("hub");
    s.run(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'id', 'leaf' || n, 'depends_on', jsonb_build_array('hub')))
           from generate_series(1, 5000) n))",
    );
    let token = s.claim("hub", "w");
    assert_eq!(
        s.number(&format!(
            "select cardinality(unblocked) from mosaic.backlog_complete({}, {token})",
            quote("hub")
        )),
        5000
    );
    s.assert_counters_are_right();
}

#[test]
fn the_history_of_links_tells_what_changed_and_no_more() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    s.create_after("X", &["A"]);
    s.run(
        "select from mosaic.backlog_link('X', '{B,A}', 'alice');
         select from mosaic.backlog_unlink('X', '{A,B}', 'bob')",
    );
    assert_eq!(
        s.rows(
            "select kind, actor, old_status, new_status, (select jsonb_agg(d order by d)
               from jsonb_array_elements(detail -> 'depends_on') d) as cards
             from mosaic.backlog_events('X') where kind <> 'created'"
        ),
        [
            json!({"kind": "linked", "actor": "alice", "old_status": "ready", "new_status": "ready", "cards": ["B"]}),
            json!({"kind": "unlinked", "actor": "bob", "old_status": "ready", "new_status": "ready", "cards": ["A", "B"]}),
        ]
    );
}
