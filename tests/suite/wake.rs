//! Wake-ups: a hint that cards may have become claimable.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;
use postgres::fallible_iterator::FallibleIterator;

/// Longer than wake-ups are held back after one.
const QUIET: &str = "select pg_sleep(0.11)";

fn listener(db: &Database) -> Session {
    let mut listener = db.session();
    listener.run("listen mosaic_backlog");
    listener
}

/// Wake-ups that have arrived since the last look.
fn heard(listener: &mut Session) -> usize {
    listener.run("select 1");
    listener
        .client()
        .notifications()
        .iter()
        .count()
        .expect("notifications")
}

/// A second wake-up shows that all before it have arrived.
fn settle(db: &Database, listener: &mut Session) -> usize {
    db.session().run("notify mosaic_backlog, 'end'");
    let mut count = 0;
    wait::until("the last wake-up", || {
        count += heard(listener);
        (count > 0).then_some(())
    });
    count - 1
}

#[test]
fn every_way_in_which_a_card_becomes_claimable_wakes_waiters() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('d', id => 'D', requires => '{nobody}')");
    s.run("select from mosaic.backlog_create('g', id => 'G', depends_on => '{D}')");
    s.run("select from mosaic.backlog_create('a', id => 'A')");
    let mut listener = listener(&db);
    let claim = "select claim_token from mosaic.backlog_claim('w', id => 'A')";
    let mut woken_by = |s: &mut Session, call: &str| {
        s.run(QUIET);
        s.run(&format!("select from mosaic.backlog_{call}"));
        settle(&db, &mut listener) > 0
    };
    assert!(woken_by(&mut s, "create('c')"));
    let token = s.number(claim);
    assert!(woken_by(&mut s, &format!("release('A', {token})")));
    let token = s.number(claim);
    assert!(woken_by(
        &mut s,
        &format!("fail('A', {token}, 'x', retry_in => '0')")
    ));
    s.number(claim);
    assert!(woken_by(&mut s, "reclaim('A', force => true)"));
    s.run("select from mosaic.backlog_block('A', 'x')");
    assert!(woken_by(&mut s, "unblock('A')"));
    s.run("select from mosaic.backlog_complete('A')");
    assert!(woken_by(&mut s, "reopen('A', 'again')"));
    assert!(woken_by(&mut s, "update('A', priority => 3)"));
    assert!(woken_by(&mut s, "unlink('G', '{D}')"));
    s.run("select from mosaic.backlog_link('G', '{D}')");
    assert!(woken_by(&mut s, "complete('D')"));
}

#[test]
fn what_makes_nothing_claimable_wakes_nobody() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('a', id => 'A')");
    s.run("select from mosaic.backlog_create('b', id => 'B')");
    let mut listener = listener(&db);
    s.run(QUIET);
    s.run("select from mosaic.backlog_create('g', id => 'G', depends_on => '{A,B}')");
    s.run("select from mosaic.backlog_complete('A')");
    let token = s.number("select claim_token from mosaic.backlog_claim('w')");
    s.run(&format!("select from mosaic.backlog_renew('B', {token})"));
    s.run(&format!(
        "select from mosaic.backlog_release('B', {token}, retry_in => '1 hour')"
    ));
    s.run("begin; select from mosaic.backlog_create('c'); rollback");
    assert_eq!(settle(&db, &mut listener), 0);
}

#[test]
fn wake_ups_that_follow_at_once_are_held_back() {
    let db = Database::fresh();
    let mut s = db.session();
    let mut listener = listener(&db);
    wait::until("a create without a wake-up of its own", || {
        s.run(QUIET);
        s.run("select from mosaic.backlog_create('first'); select from mosaic.backlog_create('second')");
        s.run("select from mosaic.backlog_create('third')");
        (settle(&db, &mut listener) < 3).then_some(())
    });
}

/// Transactions that make a card claimable, and not for long.
const VAIN: [&str; 5] = [
    "begin; select from mosaic.backlog_create('vain'); rollback",
    "begin; savepoint a; select from mosaic.backlog_create('vain'); rollback to a; commit",
    "begin; savepoint a; savepoint b; select from mosaic.backlog_create('vain'); release b;
     rollback to a; commit",
    "do $$ begin perform mosaic.backlog_create('vain'); raise 'no'; exception when others then null; end $$",
    // Refused at its commit, after all else: it lacks the end of an import.
    "begin; select from mosaic.backlog_create('vain');
     select from mosaic.backlog_import('[{\"type\": \"header\", \"format\": \"mosaic-backlog\", \"format_version\": 1,
       \"extension_version\": \"0.1.0\", \"exported_at\": \"2026-01-31T12:00:00+00:00\", \"last_claim_token\": 1,
       \"cards\": 0, \"dependencies\": 0, \"events\": 0}]'); commit",
];

#[test]
fn what_is_rolled_back_silences_nobody() {
    let db = Database::fresh();
    let (mut vain, mut s) = (db.session(), db.session());
    s.create("warm");
    // So that the import is asked first at the commit, and last in another session.
    let _ = vain.attempt_run(VAIN[4]);
    let _ = vain.attempt_run("rollback");
    let mut listener = listener(&db);
    for transaction in VAIN {
        for session in [&mut vain, &mut db.session()] {
            s.run(QUIET);
            let _ = session.attempt_run(transaction);
            let _ = session.attempt_run("rollback");
            assert_eq!(settle(&db, &mut listener), 0, "{transaction}");
            s.run(QUIET);
            let _ = session.attempt_run(transaction);
            let _ = session.attempt_run("rollback");
            s.run("select from mosaic.backlog_create('heard')");
            assert_eq!(settle(&db, &mut listener), 1, "{transaction}");
        }
    }
}

#[test]
fn what_a_savepoint_keeps_wakes_waiters() {
    let db = Database::fresh();
    let mut s = db.session();
    let mut listener = listener(&db);
    s.run(QUIET);
    s.run(
        "begin; savepoint a; select from mosaic.backlog_create('kept'); savepoint b;
         select from mosaic.backlog_create('vain'); rollback to b; release a; commit",
    );
    assert_eq!(settle(&db, &mut listener), 1);
}

#[test]
fn a_transaction_that_made_cards_claimable_can_be_prepared_and_wakes_nobody() {
    let db = Database::fresh();
    let mut s = db.session();
    let mut listener = listener(&db);
    s.run(&format!("{QUIET}; begin; select from mosaic.backlog_create('a', id => 'A'); prepare transaction 'wake_1'"));
    assert_eq!(settle(&db, &mut listener), 0);
    assert_eq!(s.code("select * from mosaic.backlog_get('A')"), "not_found");
    s.run("commit prepared 'wake_1'");
    s.run("begin; select from mosaic.backlog_claim('w1'); prepare transaction 'wake_2'");
    assert!(
        s.column("select id from mosaic.backlog_claim('w2')")
            .is_empty()
    );
    s.run("rollback prepared 'wake_2'");
    assert_eq!(s.text("select id from mosaic.backlog_claim('w2')"), "A");
}
