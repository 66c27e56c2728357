//! What a caller defines in its own schemas does not reach into the functions.

use mosaic_backlog_tests::database::Database;

/// Everything that the statements of the extension use, defined anew in the caller's schema:
/// each would raise an error or give the wrong answer.
/// The functions' owner may use the schema, as otherwise it would be passed over.
const TRAPS: &str = "
  grant usage on schema own to public;
  create function own.boom() returns text language plpgsql as $$ begin raise exception 'shadowed'; end $$;
  create function own.nextval(text) returns bigint language sql as 'select 7::bigint';
  create function own.nextval(regclass) returns bigint language sql as 'select 7::bigint';
  create function own.clock_timestamp() returns timestamptz language sql as $$ select '2100-01-01'::timestamptz $$;
  create function own.now() returns timestamptz language sql as $$ select '2100-01-01'::timestamptz $$;
  create function own.set_config(text, text, boolean) returns text language sql as 'select own.boom()';
  create function own.count(anyelement) returns bigint language sql as 'select 0::bigint';
  create function own.\"coalesce\"(text, text) returns text language sql as 'select own.boom()';
  create function own.jsonb_build_object(variadic \"any\") returns jsonb language internal as 'jsonb_build_object';
  create function own.texteq_(text, text) returns boolean language sql as 'select true';
  create operator own.= (leftarg = text, rightarg = text, function = own.texteq_);
  create function own.tstzle_(timestamptz, timestamptz) returns boolean language sql as 'select true';
  create operator own.<= (leftarg = timestamptz, rightarg = timestamptz, function = own.tstzle_);
  create function own.int4plus_(int, int) returns int language sql as 'select 0';
  create operator own.+ (leftarg = int, rightarg = int, function = own.int4plus_);
  create type own.backlog_status as enum ('nonsense');
  create domain own.text as pg_catalog.text check (false);
  create domain own.bigint as pg_catalog.int8 check (false);
  create table own.backlog (id pg_catalog.text);
  create table own.backlog_event (id pg_catalog.text);
  create temp table backlog (id pg_catalog.text);
  create temp table backlog_dependency (id pg_catalog.text);
  create temp table pg_class (id pg_catalog.text);
  create temp table pg_proc (id pg_catalog.text);
  create function pg_temp.nextval(regclass) returns pg_catalog.int8 language sql as 'select 7::pg_catalog.int8';
  create function pg_temp.unnest(anyarray) returns setof anyelement language sql as 'select null limit 0'";

#[test]
fn functions_operators_types_and_temporary_tables_of_the_caller_do_not_matter() {
    let db = Database::fresh();
    let mut admin = db.session();
    admin.run("create schema own authorization worker");
    let mut s = db.session_as("worker");
    for trap in TRAPS.split(";\n") {
        // Some are beyond a worker's rights, which is as well.
        let _ = s.attempt_run(trap);
    }
    s.run("set search_path = own, pg_temp, pg_catalog");
    let text = "'A'::pg_catalog.text";
    let calls = [
        format!("select from mosaic.backlog_create({text}, id => {text})"),
        "select from mosaic.backlog_create('B'::pg_catalog.text, id => 'B'::pg_catalog.text, depends_on => '{A}')".into(),
        "select from mosaic.backlog_claim('w'::pg_catalog.text)".into(),
        "select from mosaic.backlog_list()".into(),
        "select from mosaic.backlog_stats()".into(),
        "select from mosaic.backlog_doctor()".into(),
        "select from mosaic.backlog_events()".into(),
        "select from mosaic.backlog_why('B'::pg_catalog.text)".into(),
        "select from mosaic.backlog_reclaim()".into(),
    ];
    for call in &calls {
        s.run(call);
    }
    let held = admin.row("select id, claim_owner, claim_token, claim_expires_at < now() + interval '1 hour' as soon from mosaic.backlog where status = 'claimed'");
    assert_eq!(held["id"], "A");
    assert_eq!(held["soon"], true);
    let token = held["claim_token"].as_i64().expect("a token");
    s.run(&format!(
        "select from mosaic.backlog_complete('A'::pg_catalog.text, {token}::pg_catalog.int8)"
    ));
    assert_eq!(admin.open_dependencies("B"), 0);
    admin.assert_counters_are_right();
    assert_eq!(admin.number("select count(*) from own.backlog"), 0);
}

#[test]
fn the_traps_are_set_and_would_spring() {
    let db = Database::fresh();
    db.session().run("create schema own authorization worker");
    let mut s = db.session_as("worker");
    let refused = TRAPS
        .split(";\n")
        .filter(|trap| s.attempt_run(trap).is_err())
        .count();
    assert!(refused <= 2, "{refused} traps could not be set");
    s.run("set search_path = own, pg_temp, pg_catalog");
    assert!(s.truth("select 'a'::pg_catalog.text = 'b'::pg_catalog.text"));
    assert!(s.truth("select now() operator(pg_catalog.=) '2100-01-01'::timestamptz"));
}

#[test]
fn a_shadowed_name_that_was_used_before_the_first_call_does_not_end_up_in_a_kept_plan() {
    let db = Database::fresh();
    let mut s = db.session_as("worker");
    s.create("A");
    s.run(
        "create temp table backlog (id text, status text);
         create function pg_temp.now() returns timestamptz language sql as $$ select '2100-01-01'::timestamptz $$;
         set search_path = pg_temp, pg_catalog",
    );
    s.create("B");
    let rows = s.rows("select id from mosaic.backlog_claim('w', max_cards => 5)");
    assert_eq!(rows.len(), 2);
}
