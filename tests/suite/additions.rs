//! What somebody adds to our tables: it takes effect, although creations, claims and completions
//! write without a statement where nothing was added. Both ways answer and write the same.

mod creation;
mod locks;

use std::sync::{Arc, Mutex};

use mosaic_backlog_tests::cluster::SUPERUSER;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use postgres::NoTls;
use serde_json::{Value, json};

use crate::frontier::{claims, drain};

const PASS: &str = "create function pass() returns trigger language plpgsql as $$ begin
       return case when tg_level = 'ROW' then new end;
     end $$;";

/// Not an addition, but with the same consequence.
const OFF: &str = "do $$ begin
       execute format('alter database %I set mosaic.direct_writes = off', current_database());
     end $$";

/// Additions that have no effect on cards, but need statements.
const IDLE: [&str; 9] = [
    OFF,
    "create trigger pass before update on mosaic.backlog for each row execute function pass();
     create trigger pass before insert on mosaic.backlog_event for each row execute function pass()",
    "create trigger pass after update on mosaic.backlog for each statement execute function pass();
     create trigger pass after insert on mosaic.backlog_event for each statement execute function pass()",
    "create trigger pass after update on mosaic.backlog referencing new table as n
       for each statement execute function pass();
     create trigger pass after insert on mosaic.backlog_event referencing new table as n
       for each statement execute function pass()",
    "alter table mosaic.backlog add constraint short check (length(title) < 1000);
     alter table mosaic.backlog_event add constraint short check (length(kind) < 1000)",
    "alter table mosaic.backlog add extra integer generated always as (attempts * 2) stored;
     alter table mosaic.backlog_event add extra text default 'x'",
    "alter table mosaic.backlog enable row level security, force row level security;
     create policy everything on mosaic.backlog using (true);
     alter table mosaic.backlog_event enable row level security, force row level security;
     create policy everything on mosaic.backlog_event using (true)",
    "create table lease (card_id text references mosaic.backlog (id), note text);
     insert into lease select id, 'kept' from mosaic.backlog",
    "create rule pass as on update to mosaic.backlog where new.id = 'nobody' do also select 1;
     create rule pass as on insert to mosaic.backlog_event where new.card_id = 'nobody' do also select 1",
];

/// A worker's calls on cards of many kinds: their answers, and what is in the tables afterwards.
fn life(addition: &str) -> Vec<Value> {
    let db = Database::fresh();
    db.fix_clock("2026-01-01 09:00Z");
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('plain', id => 'plain');
         select from mosaic.backlog_create('full', id => 'full', body => repeat(md5('x'), 2000), phase => 'p',
           labels => '{a,b}', requires => '{gpu}', priority => 5, max_attempts => 2,
           acceptance => '[{\"done\": true}]', idempotency_key => 'k', not_before => '2026-01-01 08:00Z')",
    );
    s.create_numbered("c", 6);
    s.create_after("waits", &["plain"]);
    s.run(
        "select from mosaic.backlog_claim('w', '1 minute', id => 'c6');
         select from mosaic.backlog_fail('c6', (select claim_token from mosaic.backlog where id = 'c6'), 'it broke', '5 minutes')",
    );
    s.run(PASS);
    s.run(addition);
    // As the addition may be seen from the next connection on only.
    let mut s = db.session();
    let mut seen = Vec::new();
    let mut call = |s: &mut Session, call: &str| {
        let answer = s.attempt(&format!(
            "select to_jsonb(c) as card from mosaic.backlog_{call} c"
        ));
        let answer = answer.unwrap_or_else(|refused| vec![refused.message.into()]);
        seen.push(json!({"call": call, "answer": answer}));
    };
    for text in [
        "claim('w', '1 hour')",
        "claim('w', '1 hour', labels => '{b}', offers => '{arm}')",
        "claim('w', '1 hour', phase => 'q')",
        "claim('w', '2 hours', phase => 'p', labels => '{a}', offers => '{arm,gpu}')",
        "complete('plain', (select claim_token from mosaic.backlog where id = 'plain'), '{\"n\": 1}')",
        "complete('full', 77)",
        "complete('full', (select claim_token from mosaic.backlog where id = 'full'))",
        "claim('w2', '1 hour', 3)",
        "complete('c4')",
        "claim('w2', '1 hour', 9)",
        "complete('waits', (select claim_token from mosaic.backlog where id = 'waits'))",
        "claim('w2', '1 hour')",
    ] {
        call(&mut s, text);
    }
    s.run("begin; set mosaic.clock = '2026-01-02 09:00Z'");
    // The sweep and the claim of what it requeued, in one transaction.
    call(&mut s, "claim('w3', '1 hour', 2)");
    s.run("commit");
    seen.extend(s.column("select to_jsonb(b) - 'extra' from mosaic.backlog b order by id"));
    seen.extend(s.column(
        "select to_jsonb(e) - 'extra' - 'horizon' from mosaic.backlog_event e order by event_id",
    ));
    seen
}

#[test]
fn with_a_statement_and_without_cards_and_history_are_written_alike() {
    let without = life("");
    let claims = without
        .iter()
        .filter(|seen| seen["answer"][0]["card"]["claim_owner"] == "w");
    assert_eq!(claims.count(), 2, "{without:#?}");
    for addition in IDLE {
        let with = life(addition);
        for (one, other) in without.iter().zip(&with) {
            assert_eq!(one, other, "{addition}");
        }
        assert_eq!(without.len(), with.len(), "{addition}");
    }
}

#[test]
fn the_doctor_says_whether_statements_write_and_why() {
    let finding =
        "select state || ': ' || detail from mosaic.backlog_doctor() where name = 'direct_writes'";
    for (addition, why) in [
        ("select", "In use."),
        (OFF, "mosaic.direct_writes is off."),
        (IDLE[1], "backlog has the trigger \"pass\"."),
        (
            IDLE[4],
            "backlog has other checks than it was installed with.",
        ),
        (
            "alter table mosaic.backlog_event add constraint short check (length(kind) < 1000)",
            "backlog_event has other checks than it was installed with.",
        ),
        (
            "alter table mosaic.backlog add extra text",
            "backlog has an added column.",
        ),
        (
            "alter table mosaic.backlog_event add extra text",
            "backlog_event has other columns than it was installed with.",
        ),
        (IDLE[6], "backlog has row security."),
        (IDLE[8], "backlog has a rule."),
        (
            "create trigger pass before insert on mosaic.backlog for each row execute function pass()",
            "backlog has the trigger \"pass\".",
        ),
        (
            "revoke update on mosaic.backlog from mosaic_owner",
            "mosaic_owner lacks a right on backlog.",
        ),
    ] {
        let db = Database::fresh();
        let mut s = db.session();
        s.run(PASS);
        s.run(addition);
        let said = db.session().text(finding);
        let expected = match why {
            "In use." => format!("ok: {why}"),
            why => format!("ok: Not in use, so calls cost more: {why}"),
        };
        assert_eq!(said, expected, "{addition}");
    }
}

#[test]
fn an_operator_sets_direct_writes_and_a_worker_does_not() {
    let db = Database::fresh();
    let mut operator = db.session_as("operator");
    operator
        .run("set mosaic.direct_writes = off; select from mosaic.backlog_create('t', id => 'A')");
    let mut worker = db.session_as("worker");
    worker.run("select from mosaic.backlog_claim('w')");
    let refused = worker
        .attempt_run("set mosaic.direct_writes = off")
        .expect_err("a worker");
    assert_eq!(refused.sqlstate, "42501", "{refused:?}");
}

/// A database with card A, to which somebody adds something.
fn with(addition: &str) -> (Database, Session) {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    // What a session knows of a table from before does not count.
    s.create("known");
    s.run("select from mosaic.backlog_claim('w', id => 'known')");
    s.create_numbered("warm", 1);
    s.run("select from mosaic.backlog_claim('w', labels => '{none}')");
    s.run(addition);
    (db, s)
}

const CLAIM: &str = "select title, claim_owner from mosaic.backlog_claim('w')";

#[test]
fn a_row_trigger_on_cards_changes_what_a_claim_and_a_completion_write() {
    let (_db, mut s) = with(
        "create function seen() returns trigger language plpgsql as $$ begin
           new.title := new.status || ' seen'; return new; end $$;
         create trigger seen before update on mosaic.backlog for each row execute function seen()",
    );
    assert_eq!(s.row(CLAIM)["title"], "claimed seen");
    s.run("select from mosaic.backlog_complete('A', (select claim_token from mosaic.backlog where id = 'A'))");
    let title = "select title from mosaic.backlog where id = 'A'";
    assert_eq!(s.text(title), "done seen");
}

#[test]
fn a_statement_trigger_sees_the_cards_and_the_events_of_each_call() {
    let (_db, mut s) = with(
        "create table public.seen (what text);
         grant insert on public.seen to public;
         create function seen() returns trigger language plpgsql as $$ begin
           insert into public.seen select tg_relid::regclass || ' ' || count(*) from n; return null; end $$;
         create trigger seen after update on mosaic.backlog referencing new table as n
           for each statement execute function seen();
         create trigger seen after insert on mosaic.backlog_event referencing new table as n
           for each statement execute function seen()",
    );
    s.run("select from mosaic.backlog_claim('w', max_cards => 2)");
    s.run("select from mosaic.backlog_complete('A', (select claim_token from mosaic.backlog where id = 'A'))");
    let seen = s.column("select what from seen");
    assert_eq!(
        seen,
        [
            "mosaic.backlog 2",
            "mosaic.backlog_event 2",
            "mosaic.backlog 1",
            "mosaic.backlog_event 1"
        ]
    );
}

#[test]
fn a_check_on_cards_or_events_refuses_the_call_and_nothing_is_changed() {
    for addition in [
        "alter table mosaic.backlog add check (claim_owner is distinct from 'nobody')",
        "alter table mosaic.backlog_event add check (actor <> 'nobody')",
    ] {
        let (_db, mut s) = with(addition);
        let refused = s.refusal("select id from mosaic.backlog_claim('nobody', id => 'A')");
        assert_eq!(refused.sqlstate, "23514", "{addition}");
        let refused = s.refusal("select id from mosaic.backlog_claim('nobody')");
        assert_eq!(refused.sqlstate, "23514", "{addition}");
        let held = "select count(*) from mosaic.backlog where claim_owner = 'nobody'";
        assert_eq!(s.number(held), 0, "{addition}");
        assert_eq!(claims(&mut s, "'1 hour'"), ["A"], "{addition}");
    }
}

#[test]
fn a_generated_column_is_computed_by_a_claim_and_a_completion() {
    let (_db, mut s) = with(
        "alter table mosaic.backlog add extra text generated always as (coalesce(claim_owner, 'nobody')) stored",
    );
    let extra = "select extra from mosaic.backlog where id = 'A'";
    s.run(CLAIM);
    assert_eq!(s.text(extra), "w");
    s.run("select from mosaic.backlog_complete('A', (select claim_token from mosaic.backlog where id = 'A'))");
    assert_eq!(s.text(extra), "nobody");
}

#[test]
fn columns_that_come_and_go_while_a_session_lives_keep_their_values() {
    let (_db, mut s) = with("alter table mosaic.backlog add extra text default 'kept'");
    assert_eq!(claims(&mut s, "'1 hour'"), ["A"]);
    s.run("alter table mosaic.backlog_event add extra text default 'kept'");
    assert_eq!(claims(&mut s, "'1 hour'"), ["warm1"]);
    let kept = "select count(*) from mosaic.backlog where extra = 'kept'";
    assert_eq!(s.number(kept), 3);
    let kept = "select count(*) from mosaic.backlog_event where extra = 'kept'";
    assert_eq!(s.number(kept), 6);
    s.run(
        "alter table mosaic.backlog drop extra, add another integer default 7;
         alter table mosaic.backlog_event drop extra",
    );
    s.create("B");
    assert_eq!(claims(&mut s, "'1 hour'"), ["B"]);
    s.run("select from mosaic.backlog_complete('B', (select claim_token from mosaic.backlog where id = 'B'))");
    assert_eq!(
        s.number("select another from mosaic.backlog where id = 'B'"),
        7
    );
}

#[test]
fn a_card_that_row_security_hides_is_not_claimed() {
    let (_db, mut s) = with(
        "create policy others on mosaic.backlog using (id <> 'A');
         alter table mosaic.backlog enable row level security, force row level security",
    );
    assert_eq!(drain(&mut s), ["warm1"]);
}

#[test]
fn a_right_that_was_taken_from_the_owner_of_the_functions_is_missing() {
    for right in ["update on mosaic.backlog", "insert on mosaic.backlog_event"] {
        let (_db, mut s) = with(&format!("revoke {right} from mosaic_owner"));
        assert_eq!(s.refusal(CLAIM).sqlstate, "42501", "{right}");
    }
}

#[test]
fn a_rule_on_cards_sees_a_claim() {
    let (_db, mut s) = with(
        "create table public.seen (id text);
         grant insert on public.seen to public;
         create rule seen as on update to mosaic.backlog do also insert into seen values (new.id)",
    );
    s.run(CLAIM);
    assert_eq!(s.number("select count(*) from seen where id = 'A'"), 1);
}

#[test]
fn a_published_table_without_a_replica_identity_refuses_the_claim() {
    let (_db, mut s) = with(
        "alter table mosaic.backlog replica identity nothing;
         create publication cards for table mosaic.backlog",
    );
    assert_eq!(s.refusal(CLAIM).sqlstate, "55000");
    s.run("drop publication cards");
    assert_eq!(s.row(CLAIM)["claim_owner"], "w");
}

#[test]
fn a_claim_in_a_read_only_transaction_is_refused() {
    let (_db, mut s) = with("");
    s.run("begin read only");
    assert_eq!(s.refusal(CLAIM).sqlstate, "25006");
}

#[test]
fn without_the_index_of_claims_all_cards_are_handed_out() {
    let (_db, mut s) = with("drop index mosaic.backlog_claimable");
    assert_eq!(drain(&mut s), ["A", "warm1"]);
}

#[test]
fn two_cards_with_one_place_in_the_order_are_both_handed_out_once() {
    let (db, mut s) = with("");
    s.create_numbered("c", 3);
    s.run("update mosaic.backlog set creation_seq = 1000 where id in ('c1', 'c3')");
    let mut other = db.session();
    let mut all = Vec::new();
    loop {
        let some = claims(&mut other, "'1 hour'");
        if some.is_empty() {
            break;
        }
        all.extend(some);
    }
    all.sort();
    assert_eq!(all, ["A", "c1", "c2", "c3", "warm1"]);
}

/// Completes card A, which is claimed.
const COMPLETE: &str = "select from mosaic.backlog_complete('A',
    (select claim_token from mosaic.backlog where id = 'A'))";

#[test]
fn a_narrower_type_of_a_column_of_cards_refuses_what_does_not_fit() {
    let (_db, mut s) = with("alter table mosaic.backlog alter claim_owner type varchar(3)");
    let refused = s.refusal("select id from mosaic.backlog_claim('worker')");
    assert_eq!(refused.sqlstate, "22001");
    assert_eq!(claims(&mut s, "'1 hour'"), ["A"]);
}

#[test]
fn another_type_of_a_column_of_events_gets_the_same_values() {
    let (_db, mut s) = with(
        "alter table mosaic.backlog_event alter claim_token type numeric, alter kind type varchar(20)",
    );
    s.run(CLAIM);
    s.run(COMPLETE);
    let same = "select count(*) from mosaic.backlog_event where card_id = 'A' and claim_token = 2";
    assert_eq!(s.number(same), 2);
}

#[test]
fn a_column_that_must_not_be_null_refuses_a_completion_that_makes_it_so() {
    let (_db, mut s) = with(
        "alter table mosaic.backlog alter result set default '{}';
         update mosaic.backlog set result = '{}';
         alter table mosaic.backlog alter result set not null",
    );
    s.run(CLAIM);
    assert_eq!(s.refusal(&format!("{COMPLETE} as x")).sqlstate, "23502");
    let held = "select count(*) from mosaic.backlog where id = 'A' and status = 'claimed'";
    assert_eq!(s.number(held), 1);
}

#[test]
fn a_column_that_was_rolled_back_does_not_hide_another() {
    let (_db, mut s) = with("begin; alter table mosaic.backlog add extra integer");
    s.run("select from mosaic.backlog_claim('w', id => 'warm1'); savepoint a");
    s.run(CLAIM);
    s.run("rollback");
    s.run(
        "alter table mosaic.backlog add extra text generated always as (coalesce(claim_owner, 'nobody')) stored",
    );
    s.run(CLAIM);
    let extra = "select extra from mosaic.backlog where id = 'A'";
    assert_eq!(s.text(extra), "w");
}

#[test]
fn a_foreign_key_that_points_at_a_token_follows_it() {
    let (_db, mut s) = with(
        "alter table mosaic.backlog add unique (claim_token);
         create table note (token bigint references mosaic.backlog (claim_token) on update cascade, text text);
         grant all on note to public",
    );
    s.run(CLAIM);
    s.run("insert into note select claim_token, 'a note' from mosaic.backlog where id = 'A'");
    s.run(COMPLETE);
    assert_eq!(s.number("select count(*) from note where token is null"), 1);
}

#[test]
fn a_null_among_the_requirements_keeps_a_card_from_claims_and_nothing_else() {
    let (db, mut s) = with("update mosaic.backlog set requires = '{NULL}' where id = 'A'");
    assert_eq!(drain(&mut s), ["warm1"]);
    s.run("update mosaic.backlog set requires = '{}', labels = '{NULL,x}' where id = 'A'");
    assert_eq!(claims(&mut db.session(), "labels => '{x}'"), ["A"]);
}

#[test]
fn an_index_of_the_same_name_over_other_rows_does_not_hand_out_a_held_card() {
    let (db, mut s) = with("");
    s.run("update mosaic.backlog set labels = '{x}'");
    let mut other = db.session();
    // Both heads know the cards; one hands them out.
    assert_eq!(claims(&mut other, "labels => '{x}'"), ["A"]);
    assert_eq!(drain(&mut s), ["warm1"]);
    s.run(
        "drop index mosaic.backlog_claimable;
         create index backlog_claimable on mosaic.backlog (claim_order)",
    );
    assert_eq!(claims(&mut other, "labels => '{x}'"), [""; 0]);
    s.run(
        "drop index mosaic.backlog_claimable;
         create index backlog_claimable on mosaic.backlog (attempts, claim_order)",
    );
    s.create("B");
    assert_eq!(drain(&mut s), ["B"]);
}

#[test]
fn an_index_of_ranges_over_what_a_completion_writes_leads_to_the_card() {
    let (_db, mut s) = with(
        "drop index mosaic.backlog_listing, mosaic.backlog_finished, mosaic.backlog_lease_end;
         create index ranges on mosaic.backlog using brin (updated_at)",
    );
    s.run(CLAIM);
    s.run(COMPLETE);
    s.run("set enable_seqscan = off; set enable_bitmapscan = off");
    let by_id = "select count(*) from mosaic.backlog where id = 'A' and status = 'done'";
    assert_eq!(s.number(by_id), 1);
    s.run("set enable_bitmapscan = on; set enable_indexscan = off");
    let by_time = "select count(*) from mosaic.backlog where updated_at > '2000-01-01'";
    assert_eq!(s.number(by_time), 3);
}

/// Notices of the server while a call runs.
fn notices(db: &Database, run: &[&str]) -> Vec<String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let mut config = db.config(SUPERUSER);
    config.notice_callback(move |notice| {
        sink.lock()
            .expect("a lock")
            .push(notice.message().to_owned());
    });
    let mut client = config.connect(NoTls).expect("a connection");
    for sql in run {
        client.batch_execute(sql).expect(sql);
    }
    let seen = seen.lock().expect("a lock");
    seen.clone()
}

#[test]
fn no_call_leaves_anything_open() {
    let more = [
        "",
        "drop index mosaic.backlog_claimable",
        "alter table mosaic.backlog alter claim_owner type varchar(30)",
        "alter table mosaic.backlog_event alter kind type varchar(30)",
    ];
    for addition in IDLE.into_iter().chain(more) {
        let (db, mut s) = with("");
        s.run(PASS);
        s.run(addition);
        let said = notices(
            &db,
            &["set client_min_messages = warning", CLAIM, CLAIM, COMPLETE],
        );
        assert_eq!(said, [""; 0], "{addition}");
    }
}
