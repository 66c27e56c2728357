//! What a superuser may have changed under the extension is found by `backlog_doctor`: each object of
//! it is taken from the catalogue and changed, so that what comes to it later is looked at, too.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::programs;
use mosaic_backlog_tests::session::Session;

use crate::doctor::{assert_found, assert_well, found};

/// Does something, wants it found, and undoes it.
#[track_caller]
fn assert_seen(s: &mut Session, damage: &str, name: &str, part: &str) {
    s.run("begin");
    s.run(damage);
    let (state, detail) = found(s, name);
    assert_eq!(state, "error", "{damage}: {detail}");
    assert!(detail.contains(part), "{damage}: no {part:?} in {detail:?}");
    s.run("rollback");
}

#[track_caller]
fn names(s: &mut Session, query: &str) -> Vec<String> {
    let names = s.column(query);
    assert!(!names.is_empty(), "{query}");
    names
        .iter()
        .map(|name| name.as_str().expect("text").to_owned())
        .collect()
}

const FUNCTIONS: &str = "from pg_proc p join pg_depend d on d.objid = p.oid and d.deptype = 'e'
   join pg_extension e on e.oid = d.refobjid and e.extname = 'mosaic_backlog_ext'
 where d.classid = 'pg_proc'::regclass";

#[test]
fn a_column_that_is_renamed_or_retyped_or_may_be_null_is_found() {
    let db = Database::fresh();
    let mut s = db.session();
    let columns = names(
        &mut s,
        "select c.relname || ' ' || a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid
         where c.relnamespace = 'mosaic'::regnamespace and c.relkind = 'r' and a.attnum > 0
           and not a.attisdropped",
    );
    assert!(columns.len() > 50);
    for column in columns {
        let (table, column) = column.split_once(' ').expect("two words");
        let rename = format!("alter table mosaic.{table} rename {column} to other");
        assert_seen(
            &mut s,
            &rename,
            "tables",
            &format!("{table}.{column} is missing"),
        );
    }
    for column in names(
        &mut s,
        "select c.relname || ' ' || a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid
         where c.relnamespace = 'mosaic'::regnamespace and c.relkind = 'r' and a.attnum > 0
           and a.attnotnull and not exists (
             select from pg_index i where i.indrelid = c.oid and i.indisprimary and a.attnum = any(i.indkey))",
    ) {
        let (table, column) = column.split_once(' ').expect("two words");
        let loosen = format!("alter table mosaic.{table} alter {column} drop not null");
        assert_seen(&mut s, &loosen, "tables", &format!("{table}.{column} may be null"));
    }
    for (damage, part) in [
        (
            "alter table mosaic.backlog alter body type varchar",
            "backlog.body has the type character varying",
        ),
        (
            "alter table mosaic.backlog alter settled_token type numeric",
            "backlog.settled_token has the type numeric",
        ),
        (
            "alter table mosaic.backlog alter opened drop expression",
            "backlog.opened is not generated",
        ),
        (
            "alter table mosaic.backlog_event rename to other",
            "backlog_event.at is missing",
        ),
        (
            "alter type mosaic.backlog_status add value 'lost'",
            "has the labels ready, claimed, blocked, done, cancelled, lost",
        ),
        (
            "alter type mosaic.backlog_status rename value 'done' to 'over'",
            "blocked, over",
        ),
        (
            "alter sequence mosaic.backlog_claim_token_seq cache 10",
            "sequence backlog_claim_token_seq was changed",
        ),
        (
            "alter sequence mosaic.backlog_claim_token_seq cycle",
            "sequence backlog_claim_token_seq was changed",
        ),
        (
            "alter sequence mosaic.backlog_event_id_seq rename to other",
            "sequence backlog_event_id_seq is missing",
        ),
    ] {
        assert_seen(&mut s, damage, "tables", part);
    }
    for constraint in names(
        &mut s,
        "select conrelid::regclass || ' ' || conname from pg_constraint
         where connamespace = 'mosaic'::regnamespace and contype = 'c'",
    ) {
        let (table, constraint) = constraint.split_once(' ').expect("two words");
        let damage = format!("alter table {table} drop constraint {constraint}");
        assert_seen(
            &mut s,
            &damage,
            "tables",
            &format!("constraint {constraint}"),
        );
    }
    assert_well(&mut s, &[]);
}

#[test]
fn a_table_that_a_crash_would_empty_and_one_with_a_rule_are_found() {
    let db = Database::fresh();
    let mut s = db.session();
    for (damage, part) in [
        (
            "alter table mosaic.backlog_claim_request set unlogged",
            "table backlog_claim_request is unlogged",
        ),
        (
            "create rule away as on update to mosaic.backlog do instead nothing",
            "table backlog has the rule away",
        ),
    ] {
        assert_seen(&mut s, damage, "tables", part);
    }
}

#[test]
fn the_doctor_answers_also_where_tables_cannot_be_read() {
    let db = Database::fresh();
    let mut s = db.session();
    for damage in [
        "alter table mosaic.backlog rename status to state",
        "alter table mosaic.backlog rename to other",
        "drop table mosaic.backlog_dependency cascade",
        "revoke all on mosaic.backlog from mosaic_owner",
    ] {
        s.run("begin");
        if damage.starts_with("drop") {
            s.run("alter extension mosaic_backlog_ext drop table mosaic.backlog_dependency");
        }
        s.run(damage);
        let (state, detail) = found(&mut s, "orphans");
        assert_eq!(state, "unknown", "{damage}: {detail}");
        s.run("rollback");
    }
    assert_well(&mut s, &[]);
}

#[test]
fn a_function_that_runs_otherwise_or_for_others_is_found() {
    let db = Database::fresh();
    let mut s = db.session();
    let functions = names(&mut s, &format!("select p.proname::text {FUNCTIONS}"));
    for function in &functions {
        let public = format!("grant execute on function mosaic.{function} to public");
        assert_seen(
            &mut s,
            &public,
            "functions",
            &format!("{function} may be called by everybody"),
        );
    }
    for function in names(
        &mut s,
        &format!("select p.proname::text {FUNCTIONS} and p.prosecdef"),
    ) {
        let f = format!("alter function mosaic.{function}");
        for (change, part) in [
            ("security invoker", "runs with the rights of its caller"),
            ("reset search_path", "has no pinned search_path"),
            ("set search_path = public", "has no pinned search_path"),
            ("set work_mem = '1MB'", "has no pinned search_path"),
        ] {
            assert_seen(
                &mut s,
                &format!("{f} {change}"),
                "functions",
                &format!("{function} {part}"),
            );
        }
    }
    for function in names(
        &mut s,
        &format!(
            "select p.proname::text {FUNCTIONS} and p.proname like 'backlog%' and exists (
               select from aclexplode(p.proacl) a where a.grantee <> p.proowner)"
        ),
    ) {
        let revoke = format!(
            "revoke execute on function mosaic.{function} from mosaic_reader, mosaic_worker, mosaic_operator"
        );
        assert_seen(
            &mut s,
            &revoke,
            "functions",
            &format!("{function} may not be called"),
        );
        let rename = format!("alter function mosaic.{function} rename to other");
        if function != "backlog_doctor" {
            assert_seen(
                &mut s,
                &rename,
                "functions",
                &format!("{function} is missing"),
            );
        }
    }
    assert_seen(
        &mut s,
        "create or replace function mosaic.backlog_renew(id text default null, claim_token bigint default null,
           ttl interval default null, note text default null) returns timestamptz language sql security definer
           set search_path to pg_catalog, pg_temp as 'select now()'",
        "functions",
        "backlog_renew does not call the library",
    );
    assert_well(&mut s, &[]);
}

#[test]
fn rights_that_our_roles_lack_are_found() {
    let db = Database::fresh();
    let mut s = db.session();
    for (damage, part) in [
        (
            "revoke mosaic_reader from mosaic_worker",
            "mosaic_worker has not the rights of mosaic_reader",
        ),
        (
            "revoke mosaic_worker from mosaic_operator",
            "mosaic_operator has not the rights of mosaic_worker",
        ),
        (
            "revoke usage on schema mosaic from mosaic_reader",
            "mosaic_reader may not use the schema",
        ),
        (
            "set mosaic.allow_drop = on; drop owned by mosaic_worker",
            "backlog_claim may not be called by mosaic_worker",
        ),
    ] {
        assert_seen(&mut s, damage, "functions", part);
    }
    s.run("begin; alter event trigger mosaic_backlog_refuse_drop enable");
    assert_found(&mut s, "triggers", "error", &["mosaic_backlog_refuse_drop"]);
    s.run("rollback");
    assert_well(&mut s, &[]);
}

#[test]
fn cards_are_not_dropped_by_a_session_that_applies_a_replicas_changes() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set session_replication_role = replica");
    let dropped = s.attempt_run("drop extension mosaic_backlog_ext");
    assert_eq!(dropped.expect_err("cards exist").code, "bad_transition");
    assert_eq!(s.status("A"), "ready");
}

#[test]
fn another_owner_and_an_owner_with_rights_are_found() {
    let db = Database::fresh();
    let mut s = db.session();
    // Roles are the whole server's, which other tests share: all of it is undone.
    for (damage, part) in [
        (
            "reassign owned by mosaic_owner to postgres",
            "belongs to postgres",
        ),
        (
            "alter function mosaic.backlog_claim owner to postgres",
            "belongs to postgres",
        ),
        (
            "alter table mosaic.backlog owner to postgres",
            "table mosaic.backlog belongs to postgres",
        ),
        (
            "alter sequence mosaic.backlog_claim_token_seq owner to postgres",
            "mosaic.backlog_claim_token_seq belongs",
        ),
        (
            "alter type mosaic.backlog_status owner to postgres",
            "type mosaic.backlog_status belongs",
        ),
        (
            "alter schema mosaic owner to postgres",
            "schema mosaic belongs",
        ),
        ("alter role mosaic_owner superuser", "is a superuser"),
        ("alter role mosaic_owner login", "can log in"),
        (
            "alter role mosaic_owner bypassrls",
            "rights on the whole server",
        ),
        (
            "grant pg_read_server_files to mosaic_owner",
            "has the rights of pg_read_server_files",
        ),
        (
            "grant mosaic_owner to reader",
            "reader has the rights of mosaic_owner",
        ),
    ] {
        assert_seen(&mut s, damage, "ownership", part);
    }
    for (grant, part) in [
        (
            "grant insert on mosaic.backlog to worker",
            "mosaic.backlog is open to worker (insert)",
        ),
        (
            "grant select on mosaic.backlog_event to public",
            "open to everybody (select)",
        ),
        (
            "grant update, usage on sequence mosaic.backlog_claim_token_seq to reader",
            "mosaic.backlog_claim_token_seq is open to reader (update, usage)",
        ),
        (
            "grant execute on function mosaic.backlog_cancel to worker",
            "function mosaic.backlog_cancel is open to worker (execute)",
        ),
        (
            "grant execute on function mosaic.backlog_import to mosaic_worker",
            "function mosaic.backlog_import is open to mosaic_worker (execute)",
        ),
        (
            "grant update (title) on mosaic.backlog to reader",
            "mosaic.backlog is open to reader (update)",
        ),
        (
            "grant usage on schema mosaic to strangers",
            "schema mosaic is open to strangers (usage)",
        ),
        (
            "grant create on schema mosaic to reader",
            "schema mosaic is open to reader (create)",
        ),
    ] {
        s.run("begin; create role strangers");
        s.run(grant);
        assert_found(&mut s, "ownership", "warning", &[part]);
        s.run("rollback");
    }
    s.run("begin; grant select on mosaic.backlog to reader");
    assert_eq!(found(&mut s, "ownership").0, "ok");
    s.run("rollback");
}

#[test]
fn what_was_given_away_is_given_back_by_the_statement_of_the_docs() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("reassign owned by mosaic_owner to postgres");
    assert_eq!(found(&mut s, "ownership").0, "error");
    let docs = std::fs::read_to_string(programs::sources().join("docs/operator.md")).expect("docs");
    let section = docs
        .split_once("### Something belongs to another role")
        .expect("the section")
        .1;
    let statement = section
        .split("```sql\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a statement");
    for change in names(&mut s, statement.trim_end().trim_end_matches(';')) {
        s.run(&change);
    }
    assert_well(&mut s, &[]);
    s.create("A");
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
}

#[test]
fn a_trigger_that_calls_something_else_is_found() {
    let db = Database::fresh();
    let mut s = db.session();
    assert_seen(
        &mut s,
        "create function public.backlog_watch() returns trigger language plpgsql as 'begin return null; end';
         alter extension mosaic_backlog_ext drop function mosaic.backlog_watch;
         drop trigger backlog_watch on mosaic.backlog;
         create trigger backlog_watch after insert on mosaic.backlog for each row execute function public.backlog_watch();
         alter table mosaic.backlog enable always trigger backlog_watch",
        "triggers",
        "backlog_watch",
    );
}

#[test]
fn claimable_cards_that_no_claim_would_find_are_found_and_counted() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.clock = '2026-01-01 10:00Z'");
    s.create("first");
    assert_eq!(s.claim_next("w").as_deref(), Some("first"));
    assert_eq!(s.claim_next("w"), None);
    s.run("alter table mosaic.backlog disable trigger backlog_watch");
    for id in ["A", "B", "C", "D"] {
        s.run(&format!(
            "select from mosaic.backlog_create_many('[{{\"title\": \"t\", \"id\": \"{id}\"}}]')"
        ));
    }
    s.run("alter table mosaic.backlog enable always trigger backlog_watch");
    assert_eq!(found(&mut s, "unseen_cards").0, "ok", "within the bound");
    s.run("set mosaic.clock = '2026-01-01 10:00:11Z'");
    assert_found(
        &mut s,
        "unseen_cards",
        "error",
        &["4 claimable cards exist that no claim knows of: A, B, C, …."],
    );
    // Also by a session that has never claimed, and which has it no longer than that.
    let mut reader = db.session_as("reader");
    assert_eq!(found(&mut reader, "unseen_cards").0, "error");
    let hint = s.text("select hint from mosaic.backlog_doctor() where name = 'unseen_cards'");
    let statement = hint.split('`').nth(1).expect("a statement");
    s.run(statement);
    assert_eq!(found(&mut s, "unseen_cards").0, "ok");
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
}

#[test]
fn cards_in_somebodys_hands_are_not_taken_for_unseen() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.clock = '2026-01-01 10:00Z'");
    s.create_numbered("c", 300);
    s.run("select count(*) from mosaic.backlog_create_many((
             select jsonb_agg(jsonb_build_object('title', 't', 'not_before', '2026-01-01T10:00:05Z')) from generate_series(1, 50)))");
    s.run("set mosaic.clock = '2026-01-01 11:00Z'");
    assert_eq!(found(&mut s, "unseen_cards").0, "ok");
    let mut other = db.session();
    other.run("set mosaic.clock = '2026-01-01 11:00Z'; begin; select from mosaic.backlog_claim('w', max_cards => 100)");
    let mut locker = db.session();
    locker.run("begin; select from mosaic.backlog where id in ('c150', 'c151') for share");
    let mut second = db.session();
    second.run("begin; select from mosaic.backlog where id in ('c150', 'c151') for key share");
    assert_eq!(s.claim_next("w").as_deref(), Some("c101"));
    assert_eq!(found(&mut s, "unseen_cards").0, "ok");
    s.run("select from mosaic.backlog_claim('w', max_cards => 60)");
    assert_eq!(found(&mut s, "unseen_cards").0, "ok");
    other.run("rollback");
    assert_eq!(found(&mut s, "unseen_cards").0, "ok");
    // Others hear at its commit of what a transaction makes claimable.
    s.run("begin; select from mosaic.backlog_create('t', id => 'own', priority => 9); set local mosaic.clock = '2026-01-01 11:30Z'");
    assert_eq!(found(&mut s, "unseen_cards").0, "ok");
    s.run("commit");
    assert_eq!(found(&mut s, "unseen_cards").0, "ok");
}
