//! Additions that concern the creation of cards, and what else is left to a statement there.

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::cards::quote;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use serde_json::{Value, json};

use super::{OFF, PASS, with};
use crate::frontier::drain;

/// Additions that have no effect on new cards, but need statements.
const IDLE: [&str; 9] = [
    OFF,
    "create trigger pass before insert on mosaic.backlog for each row execute function pass()",
    "create trigger pass after insert on mosaic.backlog for each statement execute function pass()",
    "create trigger pass after insert on mosaic.backlog referencing new table as n
       for each statement execute function pass()",
    "alter table mosaic.backlog add constraint short check (length(title) < 2000)",
    "alter table mosaic.backlog add extra integer generated always as (priority * 2) stored",
    "alter table mosaic.backlog alter completed_at set default null;
     alter table mosaic.backlog add extra integer default 7",
    // What the functions give is no default.
    "alter table mosaic.backlog alter attempts set default 1, alter linked set default true,
       alter status set default 'cancelled', alter open_dependencies set default 3",
    "alter table mosaic.backlog enable row level security, force row level security;
     create policy everything on mosaic.backlog using (true)",
];

/// Creations of many kinds: their answers, what claims make of them, and what is in the tables.
fn creations(addition: &str) -> Vec<Value> {
    let db = Database::fresh();
    db.fix_clock("2026-01-01 09:00Z");
    let mut s = db.session();
    s.run(PASS);
    s.run(addition);
    let mut s = db.session();
    let mut seen = Vec::new();
    for arguments in [
        "'plain'",
        "'named', id => 'A'",
        "'taken', id => 'A'",
        "'urgent', priority => 1000000",
        "'last', priority => -1000000, actor => 'me'",
        "repeat('t', 1000), body => repeat(md5('x'), 20000), phase => 'p', max_attempts => 3",
        "'tags', labels => array['a', 'null', 'NULL', 'a\"b', 'c\\d', '{e}', 'f,g', 'ü']",
        "'tags', labels => '{a,b}', requires => array['gpu', 'x y']",
        "'json', acceptance => '[{\"done\": true, \"n\": 1.50}]'",
        "'due', not_before => '2026-01-01 08:00Z'",
        "'not due', not_before => '2026-01-01 09:10Z', priority => 9",
        "'keyed', id => 'k', idempotency_key => 'k', labels => '{b,a}', acceptance => '{\"n\": 1.50}'",
        "'keyed', id => 'k', idempotency_key => 'k', labels => '{b,a}', acceptance => '{\"n\": 1.50}'",
        "'other', idempotency_key => 'k'",
        "'both', idempotency_key => 'l', id => 'A'",
        "'both', idempotency_key => 'k', id => 'K'",
    ] {
        let answer = s.attempt(&format!(
            "select to_jsonb(c) as card from mosaic.backlog_create({arguments}) c"
        ));
        let answer = answer.unwrap_or_else(|refused| vec![refused.code.into()]);
        seen.push(json!({"call": arguments, "answer": answer}));
    }
    seen.push(json!({"claimed": drain(&mut db.session())}));
    s.run("set mosaic.clock = '2026-01-01 09:10Z'");
    seen.push(json!({"due": drain(&mut s)}));
    // A creation under a key draws its number anew where a statement takes over.
    seen.extend(s.column(
        "select to_jsonb(b) - 'extra' - case when idempotency_key is null then '' else 'creation_seq' end
           - case when idempotency_key is null then '' else 'claim_order' end
         from mosaic.backlog b order by id",
    ));
    seen.extend(
        s.column("select to_jsonb(e) - 'horizon' from mosaic.backlog_event e order by event_id"),
    );
    seen
}

#[test]
fn with_a_statement_and_without_cards_are_created_alike() {
    let without = creations("");
    assert_eq!(without.len(), 16 + 2 + 11 + 21, "{without:#?}");
    assert_eq!(without[2]["answer"][0], "id_conflict");
    assert_eq!(without[17]["due"].as_array().map(Vec::len), Some(1));
    for addition in IDLE {
        let with = creations(addition);
        for (one, other) in without.iter().zip(&with) {
            assert_eq!(one, other, "{addition}");
        }
        assert_eq!(without.len(), with.len(), "{addition}");
    }
}

#[test]
fn the_type_of_an_added_column_takes_effect_however_a_card_is_created() {
    let other = Database::fresh();
    let mut s = other.session();
    s.create("imported");
    s.create_after("imported too", &["imported"]);
    let lines = s.column("select jsonb_agg(line::jsonb) from mosaic.backlog_export() line");
    let ways = [
        "create('t', id => 'alone')".to_owned(),
        "create('t', id => 'after', depends_on => '{alone}')".to_owned(),
        "create('t', id => 'keyed', idempotency_key => 'k')".to_owned(),
        "create_many('[{\"title\": \"t\", \"id\": \"many\"}]')".to_owned(),
        format!("import({})", quote(&lines[0].to_string())),
    ];
    let db = Database::fresh();
    let mut s = db.session();
    s.create("before");
    s.run(
        "create domain colour as text default 'red';
         create domain known as text not null;
         alter table mosaic.backlog add colour colour;
         alter table mosaic.backlog_event add colour colour;
         alter table mosaic.backlog_dependency add colour colour",
    );
    let mut s = db.session();
    for way in &ways {
        s.run(&format!("select from mosaic.backlog_{way}"));
    }
    s.run("select from mosaic.backlog_claim('w', request_id => gen_random_uuid())");
    for table in ["backlog", "backlog_event", "backlog_dependency"] {
        let without = s.column(&format!(
            "select to_jsonb(t) from mosaic.{table} t where colour is distinct from 'red' and to_jsonb(t) ->> 'id' is distinct from 'before'"
        ));
        assert!(without.is_empty(), "{table}: {without:?}");
    }
    // A column that must be known makes creations fail, and nothing else.
    let db = Database::fresh();
    let mut s = db.session();
    s.run("create domain known as text not null; alter table mosaic.backlog add known known");
    for way in ways.iter().filter(|way| !way.contains("'after'")) {
        let refused = s
            .attempt_run(&format!("select from mosaic.backlog_{way}"))
            .expect_err(way);
        assert_eq!(refused.sqlstate, "23502", "{way}: {refused:?}");
    }
}

const CREATE: &str = "select from mosaic.backlog_create('new', id => 'N')";

fn title(s: &mut Session) -> String {
    s.text("select title from mosaic.backlog where id = 'N'")
}

#[test]
fn a_row_trigger_changes_the_card_that_is_created() {
    let (_db, mut s) = with(
        "create function seen() returns trigger language plpgsql as $$ begin
           new.title := 'seen ' || new.title; return new; end $$;
         create trigger seen before insert on mosaic.backlog for each row execute function seen()",
    );
    s.run(CREATE);
    assert_eq!(title(&mut s), "seen new");
}

#[test]
fn a_trigger_after_it_sees_the_card_that_is_created() {
    let (_db, mut s) = with(
        "create table public.seen (id text);
         grant insert on public.seen to public;
         create function seen() returns trigger language plpgsql as $$ begin
           insert into public.seen values (new.id); return null; end $$;
         create trigger seen after insert on mosaic.backlog for each row execute function seen()",
    );
    s.run(CREATE);
    assert_eq!(s.column("select id from seen"), ["N"]);
}

#[test]
fn a_default_of_a_column_counts_in_the_card_that_is_created() {
    for addition in [
        "alter table mosaic.backlog add extra text default 'given'",
        "alter table mosaic.backlog add extra text generated always as ('giv' || 'en') stored",
        "alter table mosaic.backlog alter last_failure set default 'given'",
        "alter table mosaic.backlog alter priority drop default, alter last_failure set default 'given'",
    ] {
        let (_db, mut s) = with(addition);
        s.run(CREATE);
        let given = "select count(*) from mosaic.backlog b where id = 'N' and 'given' in (to_jsonb(b) ->> 'extra', last_failure)";
        assert_eq!(s.number(given), 1, "{addition}");
    }
}

#[test]
fn what_refuses_a_card_refuses_its_creation_and_nothing_is_written() {
    for (addition, state) in [
        (
            "alter table mosaic.backlog add check (title <> 'new')",
            "23514",
        ),
        (
            "alter table mosaic.backlog add extra text; update mosaic.backlog set extra = 'x';
             alter table mosaic.backlog alter extra set not null",
            "23502",
        ),
        (
            "alter table mosaic.backlog alter title type varchar(2) using left(title, 2)",
            "22001",
        ),
        (
            "create table phase (name text primary key);
             alter table mosaic.backlog alter phase set default 'none',
               add foreign key (phase) references phase",
            "23503",
        ),
        (
            "create policy few on mosaic.backlog using (true) with check (title <> 'new');
             alter table mosaic.backlog enable row level security, force row level security",
            "42501",
        ),
        ("revoke insert on mosaic.backlog from mosaic_owner", "42501"),
    ] {
        let (_db, mut s) = with(addition);
        let create = "select id from mosaic.backlog_create('new', id => 'N', phase => 'p')";
        assert_eq!(s.refusal(create).sqlstate, state, "{addition}");
        let written = "select count(*) from mosaic.backlog_event where card_id = 'N'";
        assert_eq!(s.number(written), 0, "{addition}");
    }
}

/// What makes titles unique, and what refuses a second one then.
const UNIQUE: [(&str, &str); 4] = [
    (
        "create unique index one_title on mosaic.backlog (title)",
        "23505",
    ),
    (
        "alter table mosaic.backlog add constraint one_title unique (title)",
        "23505",
    ),
    // With and without a statement.
    (
        "create unique index one_title on mosaic.backlog (title);
         create trigger pass before insert on mosaic.backlog for each row execute function pass()",
        "23505",
    ),
    (
        "alter table mosaic.backlog add constraint one_title exclude using btree (title with =)",
        "23P01",
    ),
];

#[test]
fn what_a_unique_index_of_somebody_else_refuses_is_told_as_its_refusal() {
    for (addition, state) in UNIQUE {
        let (_db, mut s) = with(&format!("{PASS} {addition}"));
        // Instead of a test that never ends.
        s.run("set statement_timeout = '20s'");
        s.run(CREATE);
        for call in [
            "create('new', id => 'M')".to_owned(),
            "create('new')".to_owned(),
            "create('new', idempotency_key => 'k')".to_owned(),
            "create('new', id => 'M', idempotency_key => 'k')".to_owned(),
            "create('new', depends_on => '{A}')".to_owned(),
            batch(&json!([{"title": "other"}, {"title": "new"}])),
            batch(
                &json!([{"title": "new", "id": "M"}, {"title": "other", "idempotency_key": "k"}]),
            ),
            batch(&json!([{"title": "twice", "id": "M"}, {"title": "twice", "id": "O"}])),
            batch(&json!([{"title": "twice", "idempotency_key": "k"}, {"title": "twice"}])),
            "update('A', title => 'new')".to_owned(),
        ] {
            let refused = s.refusal(&format!("select 1 as n from mosaic.backlog_{call}"));
            assert_eq!(refused.sqlstate, state, "{addition}: {call}: {refused:?}");
            assert!(
                refused.message.contains("\"one_title\""),
                "{call}: {refused:?}"
            );
            assert_eq!(refused.code, "", "{call}: {refused:?}");
        }
        assert_eq!(
            s.number("select count(*) from mosaic.backlog"),
            4,
            "{addition}"
        );
        // An id that is taken is still that, and a repeat a repeat.
        let taken =
            "select id from mosaic.backlog_create('new', id => 'N', idempotency_key => 'k')";
        assert_eq!(s.refusal(taken).code, "id_conflict", "{addition}");
        let taken = "select id from mosaic.backlog_create('new', id => 'N')";
        assert_eq!(s.refusal(taken).code, "id_conflict", "{addition}");
        let keyed = "select created from mosaic.backlog_create('keyed', idempotency_key => 'k')";
        assert!(s.truth(keyed), "{addition}");
        assert!(!s.truth(keyed), "{addition}");
    }
}

#[test]
fn an_id_of_a_card_that_row_security_hides_is_taken() {
    let (_db, mut s) = with(
        "update mosaic.backlog set title = 'hidden' where id = 'A';
         create policy others on mosaic.backlog using (title <> 'hidden');
         alter table mosaic.backlog enable row level security, force row level security;
         set statement_timeout = '20s'",
    );
    for call in [
        "create('t', id => 'A')".to_owned(),
        "create('t', id => 'A', idempotency_key => 'k')".to_owned(),
        batch(&json!([{"title": "t", "id": "A"}])),
    ] {
        let code = s.code(&format!("select 1 as n from mosaic.backlog_{call}"));
        assert_eq!(code, "id_conflict", "{call}");
    }
}

fn batch(cards: &Value) -> String {
    format!("create_many({})", quote(&cards.to_string()))
}

#[test]
fn a_unique_constraint_that_waits_for_the_commit_lets_cards_be_created_until_then() {
    let (_db, mut s) = with(
        "alter table mosaic.backlog add constraint one_title unique (title) deferrable initially deferred",
    );
    s.run(CREATE);
    s.run("begin; select from mosaic.backlog_create('new', id => 'M')");
    s.run(&format!(
        "select from mosaic.backlog_{}",
        batch(&json!([{"title": "new", "id": "O"}]))
    ));
    let refused = s.attempt_run("commit").expect_err("two titles");
    assert_eq!(refused.sqlstate, "23505");
    assert_eq!(s.number("select count(*) from mosaic.backlog"), 4);
}

#[test]
fn where_a_generated_id_was_given_by_hand_meanwhile_another_is_drawn() {
    let db = Database::fresh();
    let mut first = db.session();
    let generated = |s: &mut Session| s.text("select id from mosaic.backlog_create('t')");
    let (one, two) = (generated(&mut first), generated(&mut first));
    // The same numbers again: both ids are taken, one of them by a transaction under way.
    first.run("delete from mosaic.backlog where true");
    first.run("begin");
    first.run(&format!(
        "select from mosaic.backlog_create('t', id => '{two}')"
    ));
    first.run("select setval('mosaic.backlog_creation_seq', 1, false)");
    let mut second = db.session();
    assert_eq!(generated(&mut second), one);
    let third = db
        .session()
        .begin_call("select id from mosaic.backlog_create('t')")
        .until_it_waits(&db);
    first.run("commit");
    let drawn = third.rows()[0]["id"].as_str().map(str::to_owned);
    assert_ne!(drawn.as_deref(), Some(two.as_str()));
    assert_eq!(second.number("select count(*) from mosaic.backlog"), 3);
}

#[test]
fn of_creations_of_one_id_at_the_same_moment_each_time_one_succeeds() {
    let db = Database::fresh();
    let created = together(&db, 4, |_, s| {
        (1..=200)
            .filter(|n| {
                s.attempt(&format!(
                    "select id from mosaic.backlog_create('t', id => 'c{n}')"
                ))
                .map_err(|refused| assert_eq!(refused.code, "id_conflict", "{refused:?}"))
                .is_ok()
            })
            .count()
    });
    assert_eq!(created.into_iter().sum::<usize>(), 200);
    let mut s = db.session();
    assert_eq!(s.number("select count(*) from mosaic.backlog_event"), 200);
    let mut claimed = drain(&mut s);
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len(), 200);
}

#[test]
fn a_creation_that_is_rolled_back_leaves_no_card_to_claim() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("begin");
    s.create("A");
    s.run("savepoint a");
    s.create("B");
    s.run("rollback to a");
    s.run("commit; begin");
    s.create("C");
    s.run("rollback");
    assert_eq!(drain(&mut s), ["A"]);
}
