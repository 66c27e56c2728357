//! Locking a card takes no more than a statement would take, and sees no less.

use mosaic_backlog_tests::database::Database;

use super::{CLAIM, COMPLETE, with};

const HOLD: &str = "select from mosaic.backlog_assert_held('A',
    (select claim_token from mosaic.backlog where id = 'A'))";

#[test]
fn while_an_index_is_built_a_claim_can_be_asserted() {
    let (db, mut s) = with("");
    s.run(CLAIM);
    let mut builder = db.session();
    builder.run("begin; create index on mosaic.backlog (title)");
    s.run("set lock_timeout = '10s'");
    s.run(HOLD);
    builder.run("commit");
}

#[test]
fn while_a_claim_is_asserted_an_index_can_be_built() {
    let (db, mut s) = with("");
    s.run(CLAIM);
    s.run("begin");
    s.run(HOLD);
    db.session()
        .run("set lock_timeout = '10s'; create index on mosaic.backlog (title)");
    s.run("commit");
}

#[test]
fn a_published_table_without_a_replica_identity_tells_what_it_would_tell() {
    let (_db, mut s) = with("");
    s.run(CLAIM);
    s.run(COMPLETE);
    s.run(
        "create publication cards for table mosaic.backlog;
         alter table mosaic.backlog replica identity nothing",
    );
    s.run("select from mosaic.backlog_complete('A', 2)");
    let code = s.code("select * from mosaic.backlog_complete('none')");
    assert_eq!(code, "not_found");
}

#[test]
fn a_completion_waits_for_a_table_of_cards_without_holding_that_of_dependencies() {
    let (db, mut s) = with("");
    let mut other = db.session();
    other.run("begin; truncate mosaic.backlog");
    s.run("set deadlock_timeout = '10ms'");
    let waiting = s
        .begin_call("select id from mosaic.backlog_complete('A')")
        .until_it_waits(&db);
    other.run("truncate mosaic.backlog_dependency");
    other.run("rollback");
    assert_eq!(waiting.rows()[0]["id"], "A");
}

#[test]
fn an_index_of_the_same_name_over_other_dependencies_hides_no_dependent() {
    let (_db, mut s) = with(
        "drop index mosaic.backlog_dependency_dependents;
         create index backlog_dependency_dependents on mosaic.backlog_dependency (depends_on)
           where created_at > '2100-01-01'",
    );
    s.create_after("B", &["A"]);
    let unblocked = "select unblocked from mosaic.backlog_complete('A')";
    assert_eq!(s.row(unblocked)["unblocked"][0], "B");
}

#[test]
fn a_completion_answers_what_it_wrote_though_a_trigger_analyzes_and_creates_meanwhile() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run(
        "create function follow() returns trigger language plpgsql as $$ begin
           if new.kind in ('completed', 'claimed') then
             analyze mosaic.backlog;
             perform mosaic.backlog_create('follow-up');
           end if;
           return null;
         end $$;
         create trigger follow after insert on mosaic.backlog_event for each row execute function follow()",
    );
    let mut s = db.session();
    let claimed = s.row("select to_jsonb(c) as card from mosaic.backlog_claim('w', '1 hour') c");
    assert_eq!(claimed["card"]["title"], "A");
    let done =
        s.row("select to_jsonb(c) - 'unblocked' as card from mosaic.backlog_complete('A', 1) c");
    let stored = s.row("select to_jsonb(c) as card from mosaic.backlog_get('A') c");
    assert_eq!(done["card"]["status"], "done");
    for (column, value) in done["card"].as_object().expect("a card") {
        assert_eq!(*value, stored["card"][column], "{column}");
    }
    assert_eq!(s.number("select count(*) from mosaic.backlog"), 3);
}
