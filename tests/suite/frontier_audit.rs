//! The belt: whatever is wrong in the frontier makes a card late by `mosaic.frontier_audit` at the
//! most, and is told. What is wrong here is made so by switching off the triggers that tell the
//! frontier. Also the faults that made the belt needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use mosaic_backlog_tests::cluster::{Cluster, SUPERUSER};
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;
use serde_json::{Value, json};

use crate::frontier::{claims, drain, warm};

const NONE: [&str; 0] = [];

/// Changes cards so that the frontier does not hear of it.
fn in_silence(s: &mut Session, sql: &str) {
    s.run(&format!(
        "begin; alter table mosaic.backlog disable trigger backlog_watch;
         alter table mosaic.backlog disable trigger backlog_watch_hand; {sql};
         alter table mosaic.backlog enable always trigger backlog_watch;
         alter table mosaic.backlog enable always trigger backlog_watch_hand; commit"
    ));
}

/// From now on nothing is audited in the sessions of this database, or all is.
fn audit_after(s: &mut Session, seconds: i32) {
    s.run(&format!("set mosaic.frontier_audit = {seconds}"));
}

fn report(s: &mut Session) -> Value {
    s.row("select lost, last_lost, stuck from mosaic.backlog_frontier()")
}

fn doctor(s: &mut Session) -> (String, String) {
    let row = s.row("select state, detail from mosaic.backlog_doctor() where name = 'frontier'");
    let text = |name: &str| row[name].as_str().expect(name).to_owned();
    (text("state"), text("detail"))
}

#[test]
fn a_card_that_the_frontier_does_not_know_is_handed_out_by_an_audit_and_told() {
    let cluster = Cluster::start(&[]);
    cluster
        .session("postgres")
        .run("create extension mosaic_backlog_ext");
    let mut s = cluster.session("postgres");
    s.create("A");
    s.run("select from mosaic.backlog_block('A', 'why')");
    assert_eq!(drain(&mut s), NONE);
    in_silence(
        &mut s,
        "update mosaic.backlog set status = 'ready', block_kind = null, block_reason = null",
    );
    // The fault is there: nobody is handed the card.
    audit_after(&mut s, 3600);
    assert_eq!(drain(&mut s), NONE);
    assert_eq!(doctor(&mut s).0, "ok");
    audit_after(&mut s, 0);
    assert_eq!(drain(&mut s), ["A"]);
    assert_eq!(
        report(&mut s),
        json!({"lost": 1, "last_lost": "A", "stuck": 0})
    );
    let (state, detail) = doctor(&mut s);
    assert_eq!(state, "error");
    assert!(
        detail.contains("lost 1 card") && detail.contains("\"A\""),
        "{detail}"
    );
    let log = std::fs::read_to_string(cluster.folder().join("log")).expect("the log");
    assert!(log.contains("frontier had lost 1 card"), "{log}");
}

#[test]
fn a_card_in_the_midst_of_others_is_found_in_each_head_of_its_own() {
    let (_db, mut s) = warm();
    s.create_numbered("c", 20);
    s.run("select from mosaic.backlog_update('c7', labels => '{x}')");
    s.run("select from mosaic.backlog_block('c7', 'why')");
    for filter in ["max_cards => 2", "labels => '{x}'", "offers => '{y}'"] {
        claims(&mut s, filter);
    }
    in_silence(
        &mut s,
        "update mosaic.backlog set status = 'ready', block_kind = null, block_reason = null where id = 'c7'",
    );
    audit_after(&mut s, 0);
    s.run("begin");
    assert_eq!(claims(&mut s, "labels => '{x}'"), ["c7"]);
    s.run("rollback; begin");
    assert!(claims(&mut s, "offers => '{y}', max_cards => 20").contains(&"c7".to_owned()));
    s.run("rollback");
    assert!(drain(&mut s).contains(&"c7".to_owned()));
    assert_eq!(report(&mut s)["lost"], 3);
}

#[test]
fn an_end_of_a_lease_that_the_frontier_does_not_know_is_swept() {
    let (db, mut s) = warm();
    s.create("A");
    s.claim("A", "w");
    let mut later = db.session();
    later.run("set mosaic.clock = '2026-01-01 00:05Z'");
    assert_eq!(later.claim_next("w"), None);
    in_silence(
        &mut s,
        "update mosaic.backlog set claim_expires_at = '2026-01-01 00:01Z' where id = 'A'",
    );
    audit_after(&mut later, 3600);
    assert_eq!(later.claim_next("w"), None);
    audit_after(&mut later, 0);
    assert_eq!(later.claim_next("w").as_deref(), Some("A"));
    assert_eq!(report(&mut s)["lost"], 1);
}

#[test]
fn a_card_that_was_lost_is_late_by_the_age_of_a_proof_at_the_most() {
    let (db, mut s) = warm();
    s.create("A");
    s.run("select from mosaic.backlog_block('A', 'why')");
    let mut other = db.session();
    audit_after(&mut other, 1);
    assert_eq!(other.claim_next("w"), None);
    in_silence(
        &mut s,
        "update mosaic.backlog set status = 'ready', block_kind = null, block_reason = null where id = 'A'",
    );
    wait::until("the card is handed out", || other.claim_next("w"));
}

#[test]
fn what_others_have_in_hand_is_not_taken_for_lost() {
    let (db, mut s) = warm();
    s.create_numbered("c", 30);
    let mut others: Vec<Session> = (0..4).map(|_| db.session()).collect();
    for other in &mut others {
        other.run("begin");
        assert_eq!(claims(other, "max_cards => 3").len(), 3);
    }
    let mut locker = db.session();
    locker.run("begin; select from mosaic.backlog where id = 'c20' for update");
    let mut creator = db.session();
    creator.run("begin");
    creator.create("uncommitted");
    audit_after(&mut s, 0);
    s.run("begin");
    assert_eq!(drain(&mut s).len(), 17);
    s.run("rollback");
    for mut other in others {
        other.run("rollback");
    }
    creator.run("commit");
    locker.run("rollback");
    assert_eq!(drain(&mut s).len(), 31);
    assert_eq!(report(&mut s)["lost"], 0);
}

#[test]
fn audits_of_every_claim_under_load_take_nothing_for_lost() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("warm", 200);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..6)
            .map(|worker| {
                let (db, over) = (&db, &over);
                scope.spawn(move || {
                    let mut s = db.session();
                    s.run("set mosaic.frontier_audit = 0; set synchronous_commit = off");
                    for round in 0..150 {
                        if over.load(Ordering::SeqCst) {
                            break;
                        }
                        let end = if fastrand::bool() { "commit" } else { "rollback" };
                        s.run("begin");
                        let filter = ["max_cards => 3", "labels => '{x}'", "offers => '{y}'"]
                            [round % 3];
                        let ids = claims(&mut s, filter);
                        s.run(&format!(
                            "select from mosaic.backlog_create('t', priority => {}, labels => '{{x}}',
                               not_before => case when random() < 0.3 then clock_timestamp() end)",
                            fastrand::i32(-3..3)
                        ));
                        s.run(end);
                        if end == "commit" && fastrand::bool() {
                            for id in ids {
                                s.run(&format!(
                                    "select mosaic.backlog_release(id, claim_token)
                                     from mosaic.backlog where id = '{id}' and status = 'claimed'"
                                ));
                            }
                        }
                        if worker == 0 && round % 10 == 0 {
                            let mut locker = db.session();
                            locker.run("begin; select from mosaic.backlog where opened limit 5 for key share");
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            if worker.join().is_err() {
                over.store(true, Ordering::SeqCst);
                panic!("a worker failed");
            }
        }
    });
    assert_eq!(
        report(&mut s),
        json!({"lost": 0, "last_lost": null, "stuck": 0})
    );
    let open = s.number("select count(*) from mosaic.backlog where opened");
    assert_eq!(drain(&mut s).len(), usize::try_from(open).expect("a count"));
}

/// As while the server's clock is set back: for some the time has come, for others not yet.
#[test]
fn a_card_whose_time_had_come_by_another_clock_is_handed_out_when_it_comes_again() {
    let db = Database::fresh();
    let at = |time: &str| {
        let mut s = db.session();
        s.run(&format!(
            "set mosaic.frontier_audit = 3600; set mosaic.clock = '2031-01-01 {time}+00'"
        ));
        s
    };
    let labelled = |s: &mut Session| claims(s, "labels => '{x}'");
    let mut behind = at("12:00");
    assert!(claims(&mut behind, "max_cards => 1").is_empty());
    let mut ahead = at("14:00");
    assert!(claims(&mut ahead, "max_cards => 1").is_empty());
    ahead.run(
        "select from mosaic.backlog_create('t', id => 'A', labels => '{x}', not_before => '2031-01-01 13:00+00')",
    );
    assert!(labelled(&mut behind).is_empty());
    assert_eq!(labelled(&mut at("13:30")), ["A"]);
}

#[test]
fn cards_of_one_time_are_all_handed_out_while_some_are_created_as_others_come_due() {
    const EACH: usize = 400;
    let db = Database::fresh();
    let over = AtomicBool::new(false);
    let claimed = AtomicUsize::new(0);
    let session = |clock: &str| {
        let mut s = db.session();
        s.run(&format!(
            "set mosaic.clock = '{clock}'; set synchronous_commit = off; set mosaic.frontier_audit = 3600;
             set mosaic.durability = inherit"
        ));
        s
    };
    thread::scope(|scope| {
        let creators: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut s = session("2026-01-01 00:00Z");
                    for _ in 0..EACH {
                        s.run("select from mosaic.backlog_create('t', not_before => '2026-01-01 00:01Z')");
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                let mut s = session("2026-01-01 00:02Z");
                while !over.load(Ordering::SeqCst) {
                    claimed.fetch_add(usize::from(s.claim_next("w").is_some()), Ordering::SeqCst);
                }
            });
        }
        for creator in creators {
            let ended = creator.join();
            over.store(true, Ordering::SeqCst);
            ended.expect("a creator");
        }
        over.store(true, Ordering::SeqCst);
    });
    let left = drain(&mut session("2026-01-01 00:02Z")).len();
    assert_eq!(claimed.into_inner() + left, 2 * EACH);
}

/// A claim inside of a trigger of the user's, of a card of its own phase or of the same.
fn claim_in_a_trigger(phase: &str, body: &str) -> (Database, Session) {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(&format!(
        "create table public.helped (id text);
         create function help() returns trigger language plpgsql security definer as $$
         begin
           if new.status = 'claimed' and old.status = 'ready' and new.claim_owner <> 'helper' then
             {body}
           end if;
           return null;
         end $$;
         create trigger help after update on mosaic.backlog for each row execute function help();
         select from mosaic.backlog_create('t', id => 'A', phase => 'lead', priority => 1);
         select from mosaic.backlog_create('t', id => 'B', phase => '{phase}')"
    ));
    (db, s)
}

/// How often an empty claim waits for what others try.
fn waits(db: &Database, arguments: &str) -> usize {
    let waits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&waits);
    let mut config = db.config(SUPERUSER);
    config.notice_callback(move |notice| {
        let is_wait = notice.message().starts_with("waiting for cards");
        counted.fetch_add(usize::from(is_wait), Ordering::SeqCst);
    });
    let mut s = Session::open(&config);
    s.run("set client_min_messages = debug2");
    assert_eq!(claims(&mut s, arguments), NONE);
    waits.load(Ordering::SeqCst)
}

#[test]
fn a_claim_inside_a_trigger_ends_its_own_flight_and_none_other() {
    for phase in ["helper", "lead"] {
        let (db, mut s) = claim_in_a_trigger(
            phase,
            &format!(
                "insert into public.helped select id from mosaic.backlog_claim('helper', phase => '{phase}');"
            ),
        );
        assert_eq!(claims(&mut s, "phase => 'lead'"), ["A"]);
        assert_eq!(s.column("select id from helped"), ["B"]);
        for filter in ["phase => 'lead'", "phase => 'helper'"] {
            assert_eq!(waits(&db, filter), 0, "{phase}, {filter}");
        }
    }
}

#[test]
fn a_claim_inside_a_trigger_that_is_undone_leaves_the_outer_flight_as_it_is() {
    let (db, mut s) = claim_in_a_trigger(
        "helper",
        "begin
           perform from mosaic.backlog_claim('helper', phase => 'helper');
           raise exception 'no';
         exception when raise_exception then null; end;
         insert into public.helped select id from mosaic.backlog_claim('helper', phase => 'helper', max_cards => 2);",
    );
    assert_eq!(claims(&mut s, "phase => 'lead'"), ["A"]);
    assert_eq!(s.column("select id from helped"), ["B"]);
    for filter in ["phase => 'lead'", "phase => 'helper'"] {
        assert_eq!(waits(&db, filter), 0, "{filter}");
    }
}

#[test]
fn a_claim_that_is_undone_with_the_claim_inside_of_it_gives_both_cards_back() {
    let (db, mut s) = claim_in_a_trigger(
        "helper",
        "insert into public.helped select id from mosaic.backlog_claim('helper', phase => 'helper');",
    );
    s.run("begin");
    assert_eq!(claims(&mut s, "phase => 'lead'"), ["A"]);
    s.run("rollback");
    s.run("drop trigger help on mosaic.backlog");
    assert_eq!(waits(&db, "phase => 'none'"), 0);
    assert_eq!(drain(&mut s), ["A", "B"]);
}
