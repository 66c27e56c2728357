//! Why nobody can claim a card.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use serde_json::{Value, json};

fn kinds(s: &mut Session, id: &str) -> Vec<(String, String)> {
    s.rows(&format!("select kind, id from mosaic.backlog_why('{id}')"))
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().expect("text").to_owned();
            (text("kind"), text("id"))
        })
        .collect()
}

fn pair(kind: &str, id: &str) -> (String, String) {
    (kind.to_owned(), id.to_owned())
}

#[test]
fn a_claimable_card_has_no_reason() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    assert_eq!(kinds(&mut s, "A"), []);
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
}

#[test]
fn each_state_is_a_reason_of_its_own() {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["held", "blocked", "done", "cancelled"] {
        s.create(id);
    }
    s.run("select from mosaic.backlog_create('t', id => 'later', not_before => '2100-01-01')");
    s.claim("held", "w7");
    s.run(
        "select from mosaic.backlog_block('blocked', 'need a key', 'input');
         select from mosaic.backlog_complete('done');
         select from mosaic.backlog_cancel('cancelled', 'why')",
    );
    for (id, kind) in [
        ("held", "held"),
        ("blocked", "blocked"),
        ("done", "done"),
        ("cancelled", "cancelled"),
        ("later", "deferred"),
    ] {
        assert_eq!(kinds(&mut s, id), [pair(kind, id)]);
    }
    let held = s.row("select * from mosaic.backlog_why('held')");
    assert_eq!(held["owner"], "w7");
    assert_ne!(held["until"], Value::Null);
    assert_eq!(held["depth"], 0);
    let blocked = s.row("select * from mosaic.backlog_why('blocked')");
    assert_eq!(blocked["block_kind"], "input");
    assert_eq!(blocked["reason"], "need a key");
    let later = s.row("select * from mosaic.backlog_why('later')");
    assert_eq!(later["until"], "2100-01-01T00:00:00+00:00");
    s.run("set mosaic.clock = '2100-01-01'");
    assert_eq!(kinds(&mut s, "later"), []);
}

#[test]
fn a_gated_card_is_explained_by_the_open_cards_at_the_bottom() {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["root", "held", "cancelled", "done"] {
        s.create(id);
    }
    s.complete("done");
    s.claim("held", "w");
    s.run("select from mosaic.backlog_cancel('cancelled', 'why')");
    s.create_after("middle", &["root", "done"]);
    s.create_after("A", &["middle", "held", "cancelled", "done"]);
    assert_eq!(
        s.rows("select kind, id, status, depth from mosaic.backlog_why('A')"),
        [
            json!({"kind": "cancelled_dependency", "id": "cancelled", "status": "cancelled", "depth": 1}),
            json!({"kind": "open_dependency", "id": "held", "status": "claimed", "depth": 1}),
            json!({"kind": "open_dependency", "id": "root", "status": "ready", "depth": 2}),
        ]
    );
}

#[test]
fn the_bottom_of_a_long_chain_is_found() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'id', 'c' || n,
             'depends_on', case when n > 1 then jsonb_build_array('c' || n - 1) else '[]' end))
           from generate_series(1, 500) n))",
    );
    assert_eq!(
        s.rows("select id, depth from mosaic.backlog_why('c500')"),
        [json!({"id": "c1", "depth": 499})]
    );
}

#[test]
fn a_card_has_no_reason_exactly_when_a_claim_would_hand_it_out() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('t', id => 'a');
         select from mosaic.backlog_create('t', id => 'b', depends_on => '{a}');
         select from mosaic.backlog_create('t', id => 'c', not_before => '2100-01-01');
         select from mosaic.backlog_create('t', id => 'd', depends_on => '{c}', not_before => '2100-01-01');
         select from mosaic.backlog_create('t', id => 'e');
         select from mosaic.backlog_block('e', 'why');
         select from mosaic.backlog_create('t', id => 'f', depends_on => '{e}');
         select from mosaic.backlog_block('f', 'why')",
    );
    for id in ["a", "b", "c", "d", "e", "f"] {
        let explained = !kinds(&mut s, id).is_empty();
        s.run("begin");
        let claimable = s
            .attempt(&format!(
                "select * from mosaic.backlog_claim('w', id => '{id}')"
            ))
            .is_ok();
        s.run("rollback");
        assert_ne!(explained, claimable, "{id}");
    }
}

#[test]
fn a_quarantined_card_is_called_so() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', max_attempts => 1)");
    let token = s.claim("A", "w");
    s.run(&format!(
        "select from mosaic.backlog_fail('A', {token}, 'no luck')"
    ));
    assert_eq!(
        s.rows(
            "select kind, block_kind, reason like '%no luck%' as told from mosaic.backlog_why('A')"
        ),
        [json!({"kind": "quarantined", "block_kind": "attempts", "told": true})]
    );
}

#[test]
fn a_card_in_the_middle_that_is_stuck_itself_is_named() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("root");
    s.create_after("mid", &["root"]);
    s.create_after("A", &["mid"]);
    s.run("select from mosaic.backlog_block('mid', 'which colour?', 'input')");
    assert_eq!(
        s.rows("select kind, block_kind, reason from mosaic.backlog_why('A') where id = 'mid'"),
        [json!({"kind": "open_dependency", "block_kind": "input", "reason": "which colour?"})]
    );
}

#[test]
fn a_deferred_dependency_tells_until_when() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('t', id => 'root', not_before => '2100-01-02 00:00+00')",
    );
    s.create_after("A", &["root"]);
    assert_eq!(
        s.rows("select kind, id, until from mosaic.backlog_why('A')"),
        [json!({"kind": "open_dependency", "id": "root", "until": "2100-01-02T00:00:00+00:00"})]
    );
}

#[test]
fn a_card_with_several_reasons_names_them_all() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("root");
    s.run(
        "select from mosaic.backlog_create('A', id => 'A', depends_on => '{root}', not_before => '2100-01-02')",
    );
    let root = pair("open_dependency", "root");
    assert_eq!(kinds(&mut s, "A"), [pair("deferred", "A"), root.clone()]);
    s.run("select from mosaic.backlog_block('A', 'why')");
    assert_eq!(kinds(&mut s, "A"), [pair("blocked", "A"), root]);
}
