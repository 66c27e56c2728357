//! Completing, reopening and cancelling come to an end while cards are linked all the time, and
//! looking for a cycle costs no more for many dependencies than for one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;

/// Sessions that create cards which depend on `victim`, one after the other without a pause.
const LINKERS: usize = 6;

/// Runs `query` in the midst of that.
#[track_caller]
fn amid_links(db: &Database, query: &str) {
    let (over, linked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..LINKERS {
            let (over, linked) = (&over, &linked);
            scope.spawn(move || {
                let mut s = db.session();
                s.run("set mosaic.durability = 'inherit'; set synchronous_commit = off");
                while !over.load(Ordering::SeqCst) {
                    let made = s.attempt_run(
                        "select from mosaic.backlog_create('t', depends_on => '{victim}')",
                    );
                    if let Err(refused) = made {
                        panic!("{refused:?}");
                    }
                    linked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let stop = Stop(&over);
        wait::until("the linkers are at work", || {
            (linked.load(Ordering::SeqCst) > 300).then_some(())
        });
        let mut s = db.session();
        s.run("set statement_timeout = '20s'");
        s.rows(query);
        drop(stop);
    });
    db.session().assert_counters_are_right();
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_card_is_completed_and_reopened_while_others_are_linked_to_it_all_the_time() {
    let db = Database::fresh();
    db.session().create("victim");
    amid_links(
        &db,
        "select cardinality(unblocked) from mosaic.backlog_complete('victim')",
    );
    amid_links(
        &db,
        "select count(*) from mosaic.backlog_reopen('victim', 'why')",
    );
}

#[test]
fn a_cascade_ends_while_cards_are_linked_below_it_all_the_time() {
    let db = Database::fresh();
    db.session().create("victim");
    amid_links(
        &db,
        "select count(*) from mosaic.backlog_cancel('victim', 'why', cascade => true)",
    );
}

/// Index entries and rows that the server read in the tables of the backlog during a statement
/// that fails.
fn read(s: &mut Session, query: &str) -> (String, i64) {
    let count = "select sum(pg_stat_get_xact_tuples_returned(c.oid))::bigint
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'mosaic' and c.relkind in ('r', 'i')";
    s.run("begin; savepoint before");
    let before = s.value(count).as_i64().unwrap_or(0);
    let refused = s.refusal(query);
    s.run("rollback to before");
    let after = s.number(count);
    s.run("rollback");
    (refused.message, after - before)
}

#[test]
fn which_of_many_dependencies_closes_a_cycle_is_found_by_one_search() {
    const MANY: i64 = 400;
    let db = Database::fresh();
    let mut s = db.session();
    // Each dependency has cards of its own below it; the last one leads back.
    s.run(&format!(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'id', id, 'depends_on', below)) from (
             select 'top' as id, '[]'::jsonb as below
             union all select 'leaf' || n || '-' || m, '[]' from generate_series(1, {MANY}) n, generate_series(1, 10) m
             union all select 'd' || lpad(n::text, 4, '0'), (select jsonb_agg('leaf' || n || '-' || m) from generate_series(1, 10) m)
               || case when n = {MANY} then '[\"top\"]' else '[]' end::jsonb from generate_series(1, {MANY}) n
             union all select 'above' || n, '[\"top\"]' from generate_series(1, 2000) n) cards))"
    ));
    let (message, read) = read(
        &mut s,
        &format!(
            "select id from mosaic.backlog_link('top', array(select 'd' || lpad(n::text, 4, '0') from generate_series(1, {MANY}) n))"
        ),
    );
    assert!(message.contains("\"d0400\""), "{message}");
    let all = s.number("select (select count(*) from mosaic.backlog) + (select count(*) from mosaic.backlog_dependency)");
    assert!(read <= 4 * all, "{read} for {all} cards and links");
}

#[test]
fn ten_thousand_dependencies_are_linked_by_reading_each_a_few_times() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("d", 10_000);
    s.create("top");
    s.run("begin");
    let count = "select coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid)), 0)::bigint
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'mosaic' and c.relkind in ('r', 'i')";
    let before = s.number(count);
    s.run("select from mosaic.backlog_link('top', array(select 'd' || n from generate_series(1, 10000) n))");
    let read = s.number(count) - before;
    s.run("commit");
    assert!(read <= 100_000, "{read}");
    assert_eq!(s.open_dependencies("top"), 10_000);
}
