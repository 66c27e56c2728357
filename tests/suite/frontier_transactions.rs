//! Transactions that end without effect, or make cards claimable in the many ways there are.

use mosaic_backlog_tests::cards::quote;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;

use crate::frontier::{claims, drain, warm};

const NONE: [&str; 0] = [];

/// A card that sorts before all others.
fn create_first(s: &mut Session, id: &str) {
    s.run(&format!(
        "select from mosaic.backlog_create('t', id => {}, priority => 9)",
        quote(id)
    ));
}

#[test]
fn a_claim_that_is_rolled_back_gives_the_cards_back_in_order() {
    let (db, mut s) = warm();
    s.create_numbered("c", 400);
    let mut other = db.session();
    for max in [1, 40, 400] {
        s.run("begin");
        assert_eq!(claims(&mut s, &format!("max_cards => {max}")).len(), max);
        other.run("begin");
        assert_eq!(drain(&mut other).len(), 400 - max);
        other.run("rollback");
        s.run("rollback");
        assert_eq!(claims(&mut other, "max_cards => 1").len(), 1);
        other.run("select mosaic.backlog_release(id, claim_token) from mosaic.backlog where status = 'claimed'");
    }
    let ids: Vec<String> = (1..=400).map(|n| format!("c{n}")).collect();
    assert_eq!(drain(&mut other), ids);
}

#[test]
fn several_claims_of_a_transaction_are_given_back() {
    let (db, mut s) = warm();
    s.create_numbered("c", 300);
    s.run("begin");
    assert_eq!(drain(&mut s).len(), 300);
    s.run("rollback");
    assert_eq!(drain(&mut db.session()).len(), 300);
}

#[test]
fn a_claim_rolled_back_to_a_savepoint_is_free_while_the_transaction_goes_on() {
    let (db, mut s) = warm();
    s.create_numbered("c", 3);
    let mut other = db.session();
    s.run("begin; savepoint a");
    assert_eq!(s.claim_next("w").as_deref(), Some("c1"));
    s.run("savepoint b");
    assert_eq!(s.claim_next("w").as_deref(), Some("c2"));
    s.run("release b; rollback to a");
    assert_eq!(other.claim_next("w").as_deref(), Some("c1"));
    assert_eq!(drain(&mut s), ["c2", "c3"]);
    s.run("rollback");
    assert_eq!(drain(&mut other), ["c2", "c3"]);
}

#[test]
fn a_claim_that_an_error_in_its_statement_undoes_is_given_back() {
    let (db, mut s) = warm();
    s.create_numbered("c", 2);
    let mut other = db.session();
    for claim in [
        "select 1 / (claim_token - claim_token) from mosaic.backlog_claim('w')",
        "select id, pg_sleep(100) from mosaic.backlog_claim('w')",
    ] {
        s.run("set statement_timeout = '300ms'");
        assert!(s.attempt(claim).is_err());
        other.run("begin");
        assert_eq!(drain(&mut other), ["c1", "c2"], "{claim}");
        other.run("rollback");
    }
    // Caught in the same transaction.
    s.run(
        "do $$ begin perform mosaic.backlog_claim('w'); raise 'no'; exception when others then null; end $$",
    );
    assert_eq!(drain(&mut other), ["c1", "c2"]);
}

#[test]
fn a_claim_whose_session_ends_is_given_back() {
    let (db, mut s) = warm();
    s.create("A");
    let mut ends = db.session();
    ends.run("begin");
    assert_eq!(drain(&mut ends), ["A"]);
    let pid = ends.pid();
    s.run(&format!("select pg_terminate_backend({pid}, 10000)"));
    assert_eq!(drain(&mut db.session()), ["A"]);
}

#[test]
fn a_card_that_a_verb_makes_claimable_again_is_the_next() {
    let (db, mut s) = warm();
    create_first(&mut s, "A");
    let mut other = db.session();
    other.create_numbered("c", 50);
    let verbs = [
        ("claim", "release('A', $token)"),
        ("claim", "fail('A', $token, 'why', retry_in => '0')"),
        ("claim", "reclaim('A', force => true)"),
        ("block", "unblock('A')"),
        ("complete", "reopen('A', 'why')"),
        ("cancel", "reopen('A', 'why')"),
        ("link", "unlink('A', '{gate}')"),
        ("link", "complete('gate')"),
        (
            "link",
            "cancel('gate', 'why'); select from mosaic.backlog_unlink('A', '{gate}')",
        ),
    ];
    for (away, back) in verbs {
        let mut token = 0;
        match away {
            "claim" => token = s.claim("A", "w"),
            "link" => s.run(
                "select from mosaic.backlog_create('t', id => 'gate', requires => '{none}');
                 select from mosaic.backlog_link('A', '{gate}')",
            ),
            "complete" => s.complete("A"),
            _ => s.run(&format!("select from mosaic.backlog_{away}('A', 'why')")),
        }
        // The order behind A is examined, and handed out in part.
        assert_ne!(other.claim_next("w").as_deref(), Some("A"), "{away}");
        let back = back.replace("$token", &token.to_string());
        s.run(&format!("begin; select from mosaic.backlog_{back}; commit"));
        other.run("begin");
        assert_eq!(
            other.claim_next("w").as_deref(),
            Some("A"),
            "{away}, {back}"
        );
        other.run("rollback");
        s.run(
            "delete from mosaic.backlog_dependency; delete from mosaic.backlog where id = 'gate'",
        );
    }
}

#[test]
fn all_cards_that_one_completion_opens_are_found_in_order() {
    for count in [1, 300, 5_000] {
        let (db, mut s) = warm();
        s.create("gate");
        for part in 0..usize::div_ceil(count, 1000) {
            let (first, last) = (part * 1000 + 1, count.min((part + 1) * 1000));
            s.run(&format!(
                "select count(*) from mosaic.backlog_create_many((
                   select jsonb_agg(jsonb_build_object('title', 't', 'id', 'd' || n, 'priority', n % 5,
                     'depends_on', array['gate'])) from generate_series({first}, {last}) n))"
            ));
        }
        let mut other = db.session();
        assert_eq!(drain(&mut other), ["gate"]);
        s.run("select mosaic.backlog_complete(id, claim_token) from mosaic.backlog where status = 'claimed'");
        let expected = s.column("select id from mosaic.backlog where opened order by claim_order");
        assert_eq!(expected.len(), count);
        let mut found = claims(&mut other, "max_cards => 1000");
        found.extend(drain(&mut other));
        assert!(
            expected.iter().eq(found.iter()),
            "{} of {count}",
            found.len()
        );
    }
}

#[test]
fn a_card_that_begins_to_match_a_filter_is_found_by_it() {
    let (db, mut s) = warm();
    let mut other = db.session();
    let filters = [
        ("phase => 'p'", "phase => 'q'", "phase => 'p'"),
        (
            "labels => '{x,y}'",
            "labels => '{x}'",
            "labels => '{y,z,x}'",
        ),
        (
            "offers => '{g}'",
            "requires => '{g,h}'",
            "requires => '{g}'",
        ),
        (
            "offers => '{g,h}'",
            "requires => '{i}'",
            "requires => '{h}'",
        ),
        (
            "phase => 'p'",
            "phase => 'q'",
            "phase => 'p', priority => 10",
        ),
    ];
    for (filter, before, after) in filters {
        create_first(&mut s, "A");
        s.run(&format!("select from mosaic.backlog_update('A', {before})"));
        s.run(&format!(
            "select from mosaic.backlog_create('t', id => 'B', {})",
            after.replace(", priority => 10", "")
        ));
        assert_eq!(claims(&mut other, filter), ["B"], "{filter}");
        assert_eq!(claims(&mut other, filter), NONE, "{filter}");
        s.run(&format!("select from mosaic.backlog_update('A', {after})"));
        assert_eq!(claims(&mut other, filter), ["A"], "{filter}");
        s.run("delete from mosaic.backlog");
    }
    s.run("select from mosaic.backlog_create('t', id => 'C', requires => '{g}')");
    assert_eq!(drain(&mut other), NONE);
    s.run("select from mosaic.backlog_update('C', requires => '{}')");
    assert_eq!(drain(&mut other), ["C"]);
}

#[test]
fn a_raised_priority_puts_a_card_before_all_others() {
    let (db, mut s) = warm();
    s.create_numbered("c", 500);
    let mut other = db.session();
    for n in (300..500).rev() {
        s.run(&format!(
            "select from mosaic.backlog_update('c{n}', priority => {})",
            1000 - n
        ));
        assert_eq!(other.claim_next("w"), Some(format!("c{n}")));
    }
    s.run("select from mosaic.backlog_update('c1', priority => -1)");
    let rest = drain(&mut other);
    assert_eq!(
        (rest.len(), rest[0].as_str(), rest[299].as_str()),
        (300, "c2", "c1")
    );
}

#[test]
fn own_cards_are_claimable_before_the_commit_and_merged_into_the_order() {
    for count in [10, 1_200] {
        let (db, mut s) = warm();
        s.create_numbered("c", 3);
        s.run("begin; select from mosaic.backlog_update('c2', priority => -5)");
        create_first(&mut s, "A");
        for part in 0..count / 10 {
            s.create_numbered(&format!("o{part}_"), 10);
        }
        assert_eq!(claims(&mut s, "max_cards => 3"), ["A", "c1", "c3"]);
        assert_eq!(drain(&mut s).len(), count + 1, "{count}");
        assert_eq!(drain(&mut db.session()), NONE);
        s.run("rollback");
        assert_eq!(drain(&mut db.session()), ["c1", "c2", "c3"]);
    }
}

/// Makes a card named A claimable by hand, in every way that SQL has.
const BY_HAND: [&str; 8] = [
    "insert into mosaic.backlog (id, title, priority, created_at, updated_at, claimable_since)
     values ('A', 't', 9, now(), now(), now())",
    "update mosaic.backlog set id = 'A', status = 'ready', completed_at = null where id = 'warm1'",
    "update mosaic.backlog set id = 'A', priority = 9 where id = 'low'",
    "update mosaic.backlog set id = 'A', open_dependencies = 0 where id = 'gated'",
    "update mosaic.backlog set id = 'A', not_before = null where id = 'late'",
    "with x as (update mosaic.backlog set id = 'A', claim_owner = null, claim_token = null, claim_ttl_seconds = null,
       claimed_at = null, claim_expires_at = null, status = 'ready' where id = 'held' returning 1) select * from x",
    "insert into mosaic.backlog (id, title, created_at, updated_at, claimable_since) values ('warm2', 't', now(), now(), now())
     on conflict (id) do update set id = 'A', status = 'ready', completed_at = null",
    "merge into mosaic.backlog b using (values ('warm2')) v(id) on b.id = v.id
     when matched then update set id = 'A', status = 'ready', completed_at = null",
];

fn by_hand(wrap: impl Fn(&str) -> String) {
    for change in BY_HAND {
        let (db, mut s) = warm();
        s.run(
            "select from mosaic.backlog_create('t', id => 'low', priority => -5, requires => '{low}');
             select from mosaic.backlog_create('t', id => 'gated', depends_on => '{low}', priority => 5);
             select from mosaic.backlog_create('t', id => 'late', not_before => '2100-01-01', priority => 5)",
        );
        create_first(&mut s, "held");
        let mut other = db.session();
        assert_eq!(drain(&mut other), ["held"]);
        let mut hand = db.session();
        hand.run(&wrap(change));
        let found = claims(&mut other, "offers => '{low}'");
        assert_eq!(found, ["A"], "{change}");
    }
}

#[test]
fn what_a_superuser_changes_by_hand_is_found() {
    by_hand(|change| change.to_owned());
}

#[test]
fn what_a_superuser_changes_by_hand_as_a_replica_is_found() {
    by_hand(|change| format!("set session_replication_role = replica; {change}"));
}

#[test]
fn what_a_superuser_changes_by_hand_after_claims_in_the_transaction_is_found() {
    by_hand(|change| {
        format!(
            "begin; savepoint a; select from mosaic.backlog_claim('w'); {change}; release a; commit"
        )
    });
}

#[test]
fn what_a_superuser_changes_by_hand_is_claimable_in_the_same_transaction() {
    for change in BY_HAND {
        let (_db, mut s) = warm();
        s.run(
            "select from mosaic.backlog_create('t', id => 'low', priority => -5, requires => '{low}');
             select from mosaic.backlog_create('t', id => 'gated', depends_on => '{low}', priority => 5);
             select from mosaic.backlog_create('t', id => 'late', not_before => '2100-01-01', priority => 5)",
        );
        create_first(&mut s, "held");
        assert_eq!(drain(&mut s), ["held"]);
        assert_eq!(claims(&mut s, "offers => '{low2}'"), NONE);
        s.run(&format!("begin; {change}"));
        assert_eq!(claims(&mut s, "offers => '{low}'"), ["A"], "{change}");
        s.run("rollback");
    }
}

#[test]
fn copied_cards_are_found() {
    let (db, mut s) = warm();
    for role in ["origin", "replica"] {
        s.run(&format!("set session_replication_role = {role}"));
        let mut copy = s
            .client()
            .copy_in("copy mosaic.backlog (id, title, created_at, updated_at, claimable_since) from stdin")
            .expect("copy");
        for n in 0..300 {
            use std::io::Write;
            writeln!(copy, "{role}{n}\tt\t2026-01-01\t2026-01-01\t2026-01-01").expect("write");
        }
        copy.finish().expect("copied");
        assert_eq!(drain(&mut db.session()).len(), 300);
    }
}

#[test]
fn cards_are_found_after_a_truncate_that_was_rolled_back() {
    let (db, mut s) = warm();
    s.create_numbered("c", 300);
    let mut other = db.session();
    assert_eq!(claims(&mut other, "max_cards => 2").len(), 2);
    s.run("begin; truncate mosaic.backlog, mosaic.backlog_dependency");
    s.create("new");
    assert_eq!(drain(&mut s), ["new"]);
    s.run("rollback");
    assert_eq!(drain(&mut other).len(), 298);
    s.run("truncate mosaic.backlog, mosaic.backlog_dependency");
    s.create("A");
    assert_eq!(drain(&mut other), ["A"]);
}

/// Found by the model of the frontier in tests/protocol.
#[test]
fn a_rollback_after_a_look_that_found_nothing_does_not_leave_the_rest_unseen() {
    let db = Database::fresh();
    let mut s = db.session();
    // As many as one look reads, and one more.
    s.create_numbered("c", 65);
    for _ in 0..64 {
        s.claim_next("w");
    }
    s.run("begin; select from mosaic.backlog_block('c65', 'why')");
    assert_eq!(s.claim_next("w"), None);
    s.run("rollback");
    assert_eq!(db.session().claim_next("w"), Some("c65".to_owned()));
}

/// Found by the model of the frontier in tests/protocol.
#[test]
fn a_claim_that_waited_in_vain_for_what_another_tries_finds_it_by_a_scan() {
    let (db, mut s) = warm();
    s.create("A");
    // As CREATE INDEX does: rows can be locked, and not be written.
    let mut locker = db.session();
    locker.run("begin; lock table mosaic.backlog in share mode");
    let call = "select id from mosaic.backlog_claim('w')";
    let mut trying = db.session();
    let pid = trying.pid();
    let trying = trying.begin_call(call).until_it_waits(&db);
    let scanning = db.session().begin_call(call).until_it_waits(&db);
    s.run(&format!("select pg_cancel_backend({pid})"));
    assert_eq!(trying.answer().expect_err("cancelled").sqlstate, "57014");
    locker.run("rollback");
    assert_eq!(scanning.rows().len(), 1);
}
