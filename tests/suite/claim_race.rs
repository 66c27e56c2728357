//! Claims at the same moment: exactly one winner, and nobody goes away empty without need.

use std::collections::BTreeSet;

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use serde_json::Value;

/// Claims until nothing is left; the cards and tokens.
fn claim_all(s: &mut Session, worker: usize, max_cards: usize) -> Vec<(String, i64)> {
    let query = format!(
        "select id, claim_token from mosaic.backlog_claim('w{worker}', max_cards => {max_cards})"
    );
    let mut got = Vec::new();
    loop {
        let rows = s.rows(&query);
        if rows.is_empty() {
            return got;
        }
        assert!(rows.len() <= max_cards, "{} of {max_cards}", rows.len());
        got.extend(rows.iter().map(|row| {
            (
                row["id"].as_str().expect("an id").to_owned(),
                row["claim_token"].as_i64().expect("a token"),
            )
        }));
    }
}

fn assert_each_once(got: &[Vec<(String, i64)>], cards: usize) {
    let all: Vec<&(String, i64)> = got.iter().flatten().collect();
    let ids: BTreeSet<&str> = all.iter().map(|(id, _)| id.as_str()).collect();
    let tokens: BTreeSet<i64> = all.iter().map(|(_, token)| *token).collect();
    assert_eq!(all.len(), cards, "cards handed out");
    assert_eq!(ids.len(), cards, "different cards");
    assert_eq!(tokens.len(), cards, "different tokens");
}

#[test]
fn of_64_claimers_of_one_card_exactly_one_wins() {
    let db = Database::fresh();
    let mut s = db.session();
    for round in 1..=5 {
        let id = format!("c{round}");
        s.create(&id);
        let got = together(&db, 64, |number, s| s.claim_next(&format!("w{number}")));
        let winners = got.iter().flatten().count();
        assert_eq!(winners, 1, "{got:?}");
        assert_eq!(s.card(&id)["attempts"], 1);
    }
    assert_eq!(
        s.number("select count(*) from mosaic.backlog_event where kind = 'claimed'"),
        5
    );
}

#[test]
fn of_32_claimers_of_one_card_by_id_one_wins_and_the_rest_hear_why() {
    let db = Database::fresh();
    db.session().create("A");
    let got = together(&db, 32, |number, s| {
        s.attempt(&format!(
            "select id from mosaic.backlog_claim('w{number}', id => 'A')"
        ))
    });
    assert_eq!(got.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in got.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused.code, "already_claimed", "{refused:?}");
    }
}

#[test]
fn n_claimers_of_n_cards_all_get_one_and_none_gets_anothers() {
    let db = Database::fresh();
    db.session().create_numbered("c", 32);
    let got = together(&db, 32, |number, s| {
        let row = s.rows(&format!(
            "select id, claim_token from mosaic.backlog_claim('w{number}')"
        ));
        row.iter()
            .map(|row| {
                (
                    row["id"].as_str().expect("an id").to_owned(),
                    row["claim_token"].as_i64().expect("a token"),
                )
            })
            .collect::<Vec<_>>()
    });
    assert!(got.iter().all(|cards| cards.len() == 1), "{got:?}");
    assert_each_once(&got, 32);
}

#[test]
fn sixty_four_claimers_empty_a_thousand_cards_without_a_double_claim() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 1000);
    let got = together(&db, 64, |number, s| claim_all(s, number, 1));
    assert_each_once(&got, 1000);
    assert_eq!(
        s.number(
            "select count(*) from mosaic.backlog b join mosaic.backlog_event e
               on e.card_id = b.id and e.kind = 'claimed' and e.claim_token = b.claim_token
             where b.attempts = 1 and e.actor = b.claim_owner"
        ),
        1000
    );
}

#[test]
fn claimers_and_creators_at_the_same_time_hand_out_each_card_once() {
    let db = Database::fresh();
    let done = std::sync::atomic::AtomicUsize::new(0);
    // 32 create 1,000 cards while 32 claim them.
    let got = together(&db, 64, |number, s| {
        if number % 2 == 0 {
            for n in (number / 2..1000).step_by(32) {
                s.create(&format!("c{n}"));
            }
            done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            return Vec::new();
        }
        let mut got = Vec::new();
        loop {
            let finished = done.load(std::sync::atomic::Ordering::SeqCst) == 32;
            got.extend(claim_all(s, number, 3));
            if finished {
                return got;
            }
        }
    });
    let mut rest = Vec::new();
    // A claimer may have found the last cards held by rivals that have finished since.
    rest.extend(claim_all(&mut db.session(), 99, 1000));
    assert!(
        rest.is_empty(),
        "claimers went away before the backlog was empty: {rest:?}"
    );
    assert_each_once(&got, 1000);
}

#[test]
fn a_claim_never_brings_more_than_was_asked_for_while_rivals_interfere() {
    let db = Database::fresh();
    db.session().create_numbered("c", 600);
    // Rivals take, give back and reprioritise, so that rows are locked and change under the scan.
    let most = together(&db, 16, |number, s| {
        let mut most = 0;
        for round in 0..25 {
            let rows = s.rows(&format!(
                "select id, claim_token from mosaic.backlog_claim('w{number}', max_cards => 4)"
            ));
            most = most.max(rows.len());
            for row in &rows {
                let (id, token) = (row["id"].as_str().expect("an id"), &row["claim_token"]);
                let give = if round % 2 == 0 {
                    "release"
                } else {
                    "complete"
                };
                s.run(&format!(
                    "select from mosaic.backlog_{give}('{id}', {token})"
                ));
            }
        }
        most
    });
    assert!(most.iter().all(|n| *n <= 4), "{most:?}");
    assert!(most.contains(&4));
}

#[test]
fn a_claim_that_cannot_have_the_best_card_takes_the_next_one() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 3);
    let mut rival = db.session();
    rival.run("begin");
    assert_eq!(rival.claim_next("w1").as_deref(), Some("c1"));
    // No wait, and nothing lost.
    assert_eq!(
        s.column("select id from mosaic.backlog_claim('w2', max_cards => 2)"),
        ["c2", "c3"]
    );
    rival.run("rollback");
    assert_eq!(s.claim_next("w2").as_deref(), Some("c1"));
}

#[test]
fn a_foreign_key_check_of_an_open_transaction_does_not_hide_a_card() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("create table note (card text references mosaic.backlog (id), text text)");
    let mut writer = db.session();
    writer.run("begin; insert into note values ('A', 'a remark')");
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
    writer.run("commit");
}

#[test]
fn a_reader_that_locks_for_key_share_does_not_hide_a_card() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let mut reader = db.session();
    reader.run("begin; select from mosaic.backlog where id = 'A' for key share");
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
}

#[test]
fn a_claim_re_checks_the_card_that_it_waited_for() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for (change, code) in [
        ("select from mosaic.backlog_complete('A')", "bad_transition"),
        (
            "select from mosaic.backlog_block('A', 'why')",
            "bad_transition",
        ),
        (
            "select from mosaic.backlog_cancel('A', 'why')",
            "bad_transition",
        ),
        (
            "select from mosaic.backlog_claim('rival')",
            "already_claimed",
        ),
        (
            "select from mosaic.backlog_update('A', not_before => '2100-01-01')",
            "bad_transition",
        ),
    ] {
        s.run(
            "truncate mosaic.backlog;
             select from mosaic.backlog_create('t', id => 'A')",
        );
        let mut rival = db.session();
        rival.run(&format!("begin; {change}"));
        let call = db
            .session()
            .begin_call("select * from mosaic.backlog_claim('w', id => 'A')")
            .until_it_waits(&db);
        rival.run("commit");
        assert_eq!(call.code(), code, "{change}");
    }
}

#[test]
fn a_claim_does_not_take_a_card_that_is_linked_at_the_same_moment() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    let mut linker = db.session();
    linker.run("begin");
    linker.link("A", &["B"]);
    let call = db
        .session()
        .begin_call("select * from mosaic.backlog_claim('w', id => 'A')")
        .until_it_waits(&db);
    linker.run("commit");
    assert_eq!(call.code(), "open_dependencies");
    assert_eq!(s.claim_next("w").as_deref(), Some("B"));
    assert_eq!(s.claim_next("w"), None);
}

#[test]
fn an_edge_under_way_does_not_hide_the_card_that_it_leads_to() {
    let db = Database::fresh();
    for edge in [
        "select from mosaic.backlog_create('t', depends_on => '{A}')",
        "select from mosaic.backlog_create_many('[{\"title\": \"t\", \"depends_on\": [\"A\"]}]')",
        "select from mosaic.backlog_link('held', '{A}')",
    ] {
        let mut s = db.session();
        s.run("truncate mosaic.backlog, mosaic.backlog_dependency");
        s.create("held");
        s.claim("held", "w0");
        s.create("A");
        let mut other = db.session();
        other.run(&format!("begin; {edge}"));
        assert_eq!(s.claim_next("w").as_deref(), Some("A"), "{edge}");
        other.run("commit");
        s.assert_counters_are_right();
    }
}

#[test]
fn of_two_claimers_of_an_ended_lease_one_gets_the_card() {
    let db = Database::fresh();
    let mut s = db.session();
    for round in 1..=5 {
        let id = format!("c{round}");
        s.create(&id);
        s.run(&format!(
            "select from mosaic.backlog_claim('dead', '1 second', id => '{id}');
             update mosaic.backlog set claim_expires_at = now() - interval '1 minute' where id = '{id}'"
        ));
        let got = together(&db, 16, |number, s| s.claim_next(&format!("w{number}")));
        assert_eq!(got.iter().flatten().count(), 1, "{got:?}");
        assert_eq!(s.card(&id)["attempts"], 2);
    }
}

#[test]
fn of_a_renewal_and_a_claim_of_an_ended_lease_one_wins() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "slow");
    db.fix_clock("2100-01-01");
    // The slow worker comes first: its renewal holds the card.
    let mut slow = db.session();
    slow.run("begin");
    slow.run(&format!("select mosaic.backlog_renew('A', {token})"));
    assert_eq!(db.session().claim_next("w2"), None);
    let by_id = db
        .session()
        .begin_call("select * from mosaic.backlog_claim('w2', id => 'A')")
        .until_it_waits(&db);
    slow.run("commit");
    assert_eq!(by_id.code(), "already_claimed");
    // The claim comes first: the renewal finds the lease lost.
    s.run("update mosaic.backlog set claim_expires_at = '2099-01-01'");
    let mut rival = db.session();
    rival.run("begin");
    assert_eq!(rival.claim_next("w2").as_deref(), Some("A"));
    let renewal = db
        .session()
        .begin_call(&format!("select mosaic.backlog_renew('A', {token})"))
        .until_it_waits(&db);
    rival.run("commit");
    assert_eq!(renewal.code(), "claim_lost");
    assert_eq!(s.card("A")["claim_owner"], Value::from("w2"));
}
