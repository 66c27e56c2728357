//! Locked cards, more filters than there is room for, many sessions at once, and what a claim
//! costs beside a snapshot that keeps dead entries.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;

use crate::frontier::{claims, drain, warm};

#[test]
fn locked_cards_are_passed_over_and_handed_out_first_once_they_are_free() {
    for locked in [1, 15, 60, 200] {
        let (db, mut s) = warm();
        s.create_numbered("c", locked + 3);
        let mut bystander = db.session();
        bystander.run(&format!(
            "begin; select from mosaic.backlog where id = any(select 'c' || n from generate_series(1, {locked}) n) for update"
        ));
        let mut other = db.session();
        let rest: Vec<String> = (1..=3).map(|n| format!("c{}", locked + n)).collect();
        assert_eq!(other.claim_next("w").as_ref(), Some(&rest[0]));
        assert_eq!(drain(&mut other), rest[1..]);
        bystander.run("rollback");
        assert_eq!(drain(&mut other).len(), locked, "{locked}");
    }
}

#[test]
fn more_filters_than_there_is_room_for_all_find_their_cards() {
    let (db, mut s) = warm();
    let mut other = db.session();
    for round in 0..3 {
        for n in 0..300 {
            assert_eq!(
                claims(&mut other, &format!("labels => '{{l{n}}}'")),
                [""; 0]
            );
        }
        s.run(&format!(
            "select count(*) from mosaic.backlog_create_many((
               select jsonb_agg(jsonb_build_object('title', 't', 'id', 'c{round}_' || n, 'labels', array['l' || n]))
               from generate_series(0, 299) n))"
        ));
        for n in 0..300 {
            assert_eq!(
                claims(&mut other, &format!("labels => '{{l{n}}}', max_cards => 2")),
                [format!("c{round}_{n}")]
            );
        }
        assert_eq!(drain(&mut other), [""; 0]);
    }
}

#[test]
fn one_session_gets_cards_strictly_in_order() {
    let (db, mut s) = warm();
    for part in 0..3 {
        s.run(&format!(
            "select count(*) from mosaic.backlog_create_many((
               select jsonb_agg(jsonb_build_object('title', 't', 'id', 'c{part}_' || n, 'priority', n * 7919 % 101 - 50))
               from generate_series(1, 1000) n))"
        ));
    }
    let expected = s.column("select id from mosaic.backlog where opened order by claim_order");
    let mut other = db.session();
    let mut found = claims(&mut other, "max_cards => 1000");
    for _ in 0..10 {
        found.extend(claims(&mut other, "max_cards => 37"));
    }
    found.extend(drain(&mut other));
    assert_eq!(found.len(), expected.len());
    assert!(expected.iter().eq(found.iter()));
}

/// Eight sessions claim one card at a time until all are gone; none may be told before that
/// there is nothing. `filter` says what each of them asks for.
fn assert_none_is_empty_handed(db: &Database, cards: i64, filter: impl Fn(usize) -> String + Sync) {
    let handed_out = AtomicI64::new(0);
    let started = AtomicI64::new(0);
    let early: i64 = together(db, 8, |number, s| {
        let claim = format!(
            "select id from mosaic.backlog_claim('w', {})",
            filter(number)
        );
        let mut early = 0;
        loop {
            // Enough cards for all claims that have begun, this one among them.
            let before = started.fetch_add(1, Ordering::SeqCst);
            if before >= cards {
                return early;
            }
            if s.rows(&claim).is_empty() {
                early += 1;
                started.fetch_sub(1, Ordering::SeqCst);
            } else {
                handed_out.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .into_iter()
    .sum();
    assert_eq!(handed_out.into_inner(), cards);
    assert_eq!(early, 0, "claims came back empty while there were cards");
}

#[test]
fn no_claim_is_empty_while_cards_are_left_beside_locked_ones() {
    for _ in 0..3 {
        let (db, mut s) = warm();
        s.create_numbered("locked", 10);
        s.create_numbered("c", 600);
        let mut bystander = db.session();
        bystander.run("begin; select from mosaic.backlog where id like 'locked%' for update");
        assert_none_is_empty_handed(&db, 600, |_| "max_cards => 1".into());
    }
}

#[test]
fn no_claim_is_empty_while_cards_are_left_and_others_claim_them_with_filters() {
    for _ in 0..3 {
        let (db, mut s) = warm();
        s.create_numbered("c", 600);
        assert_none_is_empty_handed(&db, 600, |number| {
            format!("offers => '{{o{}}}'", number % 3)
        });
    }
}

/// A step of the mixture; errors are part of it.
fn step(s: &mut Session, number: usize, kinds: u64, random: &mut u64) {
    *random = random
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    let (choice, n) = ((*random >> 33) % kinds, (*random >> 40) % 60);
    let held = format!(
        "(select id, claim_token from mosaic.backlog where claim_owner = 'w{number}' order by claim_token limit 1) h"
    );
    let sql = match choice {
        0..=3 => format!(
            "select from mosaic.backlog_create('t', priority => {}, labels => '{{l{}}}', phase => 'p{}')",
            n % 5, n % 3, n % 2
        ),
        4 => format!("select from mosaic.backlog_create('t', not_before => clock_timestamp() + interval '{n} ms')"),
        5..=7 => format!("select from mosaic.backlog_claim('w{number}')"),
        8 => format!("select from mosaic.backlog_claim('w{number}', labels => '{{l{}}}')", n % 3),
        9 => format!("select from mosaic.backlog_claim('w{number}', phase => 'p{}', max_cards => {})", n % 2, n % 7 + 1),
        10 => format!("begin; select from mosaic.backlog_claim('w{number}', max_cards => {}); rollback", n % 9 + 1),
        11 => format!("begin; select from mosaic.backlog_claim('w{number}', labels => '{{l1}}'); savepoint a;
            select from mosaic.backlog_claim('w{number}', max_cards => 3); rollback to a; commit"),
        12..=13 => format!("select from {held}, mosaic.backlog_complete(h.id, h.claim_token)"),
        14 => format!("select from {held}, mosaic.backlog_release(h.id, h.claim_token)"),
        15 => format!("select from {held}, mosaic.backlog_fail(h.id, h.claim_token, 'why', retry_in => '{n} ms')"),
        16 => format!("select from {held}, mosaic.backlog_block(h.id, 'why', claim_token => h.claim_token)"),
        17 => "select from (select id from mosaic.backlog where status = 'blocked' limit 1) b, mosaic.backlog_unblock(b.id)".into(),
        18 => format!("select from (select id from mosaic.backlog where status = 'done' limit 1 offset {n}) b, mosaic.backlog_reopen(b.id, 'why')"),
        19 => format!("select from (select id from mosaic.backlog where status = 'ready' limit 1 offset {n}) b,
            mosaic.backlog_update(b.id, priority => {}, labels => '{{l{}}}', phase => 'p{}')", n % 9, n % 3, n % 2),
        20 => format!("select from mosaic.backlog_claim('w{number}', ttl => '1 second')"),
        21 => format!("select from (select array_agg(id) as ids from (select id from mosaic.backlog where opened limit 2 offset {n}) x) b,
            mosaic.backlog_create('t', depends_on => b.ids)"),
        22 => format!("update mosaic.backlog set priority = {n}, not_before = null where ctid = (
            select ctid from mosaic.backlog where opened limit 1 offset {n} for update skip locked)"),
        _ => format!("begin; select from (select id from mosaic.backlog where opened limit 1 offset {n}) b,
            mosaic.backlog_claim('w{number}', id => b.id); select from mosaic.backlog_claim('w{number}'); rollback"),
    };
    if s.attempt_run(&sql).is_err() {
        let _ = s.attempt_run("rollback");
    }
}

#[test]
fn after_a_mixture_of_all_verbs_every_claimable_card_is_handed_out_once() {
    assert_mixture_loses_none(23);
}

#[test]
fn the_same_with_transactions_that_claim_by_name_claim_again_and_are_rolled_back() {
    assert_mixture_loses_none(24);
}

fn assert_mixture_loses_none(kinds: u64) {
    let db = Database::fresh();
    db.session().run(&format!(
        "alter database {} set mosaic.max_attempts = 1000000",
        db.name()
    ));
    for round in 0..3_u64 {
        let end = Instant::now() + Duration::from_secs(4);
        together(&db, 8, |number, s| {
            s.run("set synchronous_commit = off; set mosaic.durability = 'inherit'");
            let mut random = round * 100 + number as u64 + 1;
            while Instant::now() < end {
                step(s, number, kinds, &mut random);
            }
        });
        let mut s = db.session();
        // A time at which all that waits has come, and leases have ended.
        s.run("set mosaic.clock = '2100-01-01'");
        for filter in ["labels => '{l1}'", "phase => 'p1'", "max_cards => 1"] {
            let column = match filter {
                "labels => '{l1}'" => "labels @> '{l1}'",
                "phase => 'p1'" => "phase = 'p1'",
                _ => "true",
            };
            let mut found = Vec::new();
            loop {
                let more = claims(&mut s, filter);
                if more.is_empty() {
                    break;
                }
                found.extend(more);
            }
            let once: HashSet<String> = found.iter().cloned().collect();
            assert_eq!(once.len(), found.len(), "round {round}, {filter}: twice");
            let left = s.column(&format!(
                "select id from mosaic.backlog
                 where {column} and (opened or status = 'claimed' and claim_expires_at < '2099-01-01')"
            ));
            assert!(
                left.is_empty(),
                "round {round}, {filter}: {} of {} are not found: {:?}",
                left.len(),
                found.len() + left.len(),
                left.first()
            );
        }
        s.run("truncate mosaic.backlog, mosaic.backlog_dependency, mosaic.backlog_event");
    }
}

/// Buffers that a statement reads.
fn buffers(s: &mut Session, query: &str) -> i64 {
    let plan = s.value(&format!(
        "select (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::int + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::int as n
         from pg_temp.explained({})",
        mosaic_backlog_tests::cards::quote(query)
    ));
    plan.as_i64().expect("a number")
}

fn explainer(db: &Database) -> Session {
    let mut s = db.session();
    s.run(
        "create function pg_temp.explained(query text) returns table (plan json) language plpgsql as $$
         begin return query execute 'explain (analyze, buffers, format json) ' || query; end $$;
         set synchronous_commit = off; set mosaic.durability = 'inherit'",
    );
    s
}

/// The median of nine claims.
fn cost(s: &mut Session, query: &str) -> i64 {
    let mut costs: Vec<i64> = (0..9).map(|_| buffers(s, query)).collect();
    costs.sort_unstable();
    costs[4]
}

#[test]
fn claims_beside_an_old_snapshot_cost_the_same_after_five_thousand() {
    let (db, mut s) = warm();
    for part in 0..7 {
        s.create_numbered(&format!("c{part}_"), 1000);
    }
    let mut old = db.session();
    old.run("begin isolation level repeatable read; select count(*) from mosaic.backlog");
    let mut e = explainer(&db);
    let claim = "select id from mosaic.backlog_claim('w', ttl => '1 day')";
    let filtered = "select id from mosaic.backlog_claim('w', ttl => '1 day', offers => '{x}')";
    drop(claims(&mut e, "max_cards => 20"));
    let before = (cost(&mut e, claim), cost(&mut e, filtered));
    for _ in 0..5000 {
        e.run("select from mosaic.backlog_claim('w', ttl => '1 day')");
    }
    let after = (cost(&mut e, claim), cost(&mut e, filtered));
    assert!(after.0 <= before.0 * 2 + 50, "{before:?}, {after:?}");
    // The other filter has all these candidates behind it, and finds out bit by bit.
    assert!(after.1 <= before.1 * 2 + 2000, "{before:?}, {after:?}");
    drain(&mut e);
    let empty = cost(&mut e, claim);
    assert!(
        empty <= before.0 + 50,
        "an empty claim: {empty}, {before:?}"
    );
    s.run("select mosaic.backlog_complete(id, claim_token) from mosaic.backlog where status = 'claimed'");
    // All these leases are over, and their ends have passed.
    e.run("set mosaic.clock = '2026-01-03'");
    drain(&mut e);
    let sweep = cost(&mut e, claim);
    assert!(sweep <= before.0 + 50, "a sweep: {sweep}, {before:?}");
    e.run("select from mosaic.backlog_reclaim()");
    let reclaim = cost(&mut e, "select id from mosaic.backlog_reclaim()");
    assert!(reclaim <= before.0 + 50, "reclaim: {reclaim}, {before:?}");
}

/// What it looks through is slow to read, as a large batch is under way in it, and new in each moment.
#[test]
fn a_claim_that_nothing_is_for_ends_while_others_create_without_pause() {
    let (db, mut s) = warm();
    s.run(
        "begin; select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'priority', n * 7919 % 1999 - 1000))
           from generate_series(1, 60000) n))",
    );
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            let mut creator = db.session();
            creator.run("set mosaic.durability = 'inherit'; set synchronous_commit = off");
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    creator.run("select from mosaic.backlog_create('t')");
                }
            });
        }
        let claim = db
            .session()
            .begin_call("select id from mosaic.backlog_claim('w', labels => '{nosuch}')");
        let ends = catch_unwind(AssertUnwindSafe(|| {
            wait::until("the claim ends", || claim.is_finished().then_some(()));
        }));
        is_over.store(true, Ordering::Relaxed);
        assert!(ends.is_ok(), "it goes on as long as others create");
        assert_eq!(claim.rows().len(), 0);
    });
    s.run("rollback");
}
