//! What the catalogue says about the extension's objects.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::programs;

const FUNCTIONS: &str = "pg_proc p join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid
   and d.deptype = 'e' join pg_extension e on e.oid = d.refobjid and e.extname = 'mosaic_backlog_ext'";

#[test]
fn the_public_signatures_are_what_they_were() {
    let db = Database::fresh();
    // The columns of a card stand in the file once.
    let signatures = db.session().column(&format!(
        "with card as (
           select substring(pg_get_function_result('mosaic.backlog_link'::regproc), '\\((.*)\\)') as columns
         )
         select E'card = ' || replace(columns, ', ', E',\n  ') from card
         union all
         (select format(E'%s(\n  %s\n) -> %s', p.proname,
           replace(pg_get_function_arguments(p.oid), ', ', E',\n  '),
           replace(pg_get_function_result(p.oid), columns, 'card'))
         from card, {FUNCTIONS} where p.proname like 'backlog\\_%'
           and p.prorettype not in ('event_trigger'::regtype, 'trigger'::regtype) order by p.proname)"
    ));
    let actual: Vec<&str> = signatures
        .iter()
        .map(|s| s.as_str().expect("text"))
        .collect();
    let actual = format!("{}\n", actual.join("\n\n"));
    let file = programs::sources().join("tests/suite/signatures.txt");
    let expected = std::fs::read_to_string(&file).expect("the expected signatures");
    assert!(
        actual == expected,
        "the public signatures are no longer those of {}; they are:\n{actual}",
        file.display()
    );
}

#[test]
fn every_function_runs_as_the_owner_with_a_pinned_search_path() {
    let db = Database::fresh();
    let wrong = db.session().rows(&format!(
        "select p.proname, p.prosecdef, p.proconfig, p.proowner::regrole, p.proparallel
         from {FUNCTIONS}
         -- What runs for each row that is written runs as whoever writes it, and looks up no name.
         where p.prorettype <> 'trigger'::regtype and p.proname not in ('card_fits', 'card_has_words') and (not p.prosecdef or p.proowner <> 'mosaic_owner'::regrole
           or p.proconfig is distinct from array['search_path=pg_catalog, pg_temp']
           or p.proparallel <> 'u' or p.proleakproof or p.proisstrict)"
    ));
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_function_table_and_sequence_is_explained() {
    let db = Database::fresh();
    let mut s = db.session();
    let silent = s.column(&format!(
        "select p.proname::text from {FUNCTIONS} where obj_description(p.oid, 'pg_proc') is null
         union all
         select c.relname from pg_class c where c.relnamespace = 'mosaic'::regnamespace
           and c.relkind in ('r', 'S', 'v') and obj_description(c.oid, 'pg_class') is null
         union all
         select typname from pg_type where typnamespace = 'mosaic'::regnamespace and typtype = 'e'
           and obj_description(oid, 'pg_type') is null"
    ));
    assert!(silent.is_empty(), "{silent:?}");
    // The comment of every verb that can be refused names the errors; these cannot be.
    let without = s.column(&format!(
        "select p.proname from {FUNCTIONS} where p.proname not in ('backlog_export', 'backlog_doctor', 'backlog_frontier', 'card_fits', 'card_has_words')
           and obj_description(p.oid, 'pg_proc') !~ 'Errors: [a-z_, ]+\\.$'"
    ));
    assert!(without.is_empty(), "{without:?}");
}

#[test]
fn nothing_is_granted_to_public() {
    let db = Database::fresh();
    let mut s = db.session();
    let granted = s.rows(&format!(
        "select p.proname::text as name, p.proacl::text as acl from {FUNCTIONS}
         where p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0)
         union all
         select relname, relacl::text from pg_class where relnamespace = 'mosaic'::regnamespace
           and exists (select from aclexplode(relacl) a where a.grantee = 0)
         union all
         select nspname, nspacl::text from pg_namespace where nspname = 'mosaic'
           and exists (select from aclexplode(nspacl) a where a.grantee = 0)"
    ));
    assert!(granted.is_empty(), "{granted:?}");
}

#[test]
fn everything_in_the_schema_belongs_to_the_owner_and_to_the_extension() {
    let db = Database::fresh();
    let mut s = db.session();
    let foreign = s.rows(
        "select 'relation' as kind, relname::text as name from pg_class
         where relnamespace = 'mosaic'::regnamespace and relkind in ('r', 'S', 'v')
           and (relowner <> 'mosaic_owner'::regrole or not exists (select from pg_depend
             where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e'))
         union all
         select 'function', proname from pg_proc where pronamespace = 'mosaic'::regnamespace
           and (proowner <> 'mosaic_owner'::regrole or not exists (select from pg_depend
             where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e'))",
    );
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[test]
fn every_name_in_the_statements_of_the_extension_is_qualified() {
    // Unqualified names resolve in pg_catalog alone; a table there would be another one.
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set search_path = pg_catalog, pg_temp");
    s.create("A");
    let token = s.claim("A", "w");
    s.run(&format!(
        "select from mosaic.backlog_complete('A', {token})"
    ));
    assert_eq!(s.status("A"), "done");
}

#[test]
fn the_columns_of_a_card_are_those_of_the_contract() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let card = s.card("A");
    let columns: Vec<&str> = card
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        columns,
        [
            "id",
            "title",
            "body",
            "phase",
            "labels",
            "requires",
            "priority",
            "status",
            "acceptance",
            "idempotency_key",
            "not_before",
            "claim_owner",
            "claim_token",
            "claim_ttl_seconds",
            "claimed_at",
            "claim_expires_at",
            "attempts",
            "max_attempts",
            "block_kind",
            "block_reason",
            "result",
            "open_dependencies",
            "created_at",
            "updated_at",
            "completed_at",
            "depends_on",
            // What its next worker is told.
            "last_failure",
            "notes",
            "notes_total",
            "last_release",
            "last_answer"
        ]
    );
}

#[test]
fn the_table_itself_refuses_states_that_make_no_sense() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("held");
    s.claim("held", "w");
    for change in [
        "status = 'claimed' where id = 'A'",
        "status = 'ready' where id = 'held'",
        "claim_owner = null where id = 'held'",
        "claim_token = null where id = 'held'",
        "claim_expires_at = null where id = 'held'",
        "claim_token = 7 where id = 'A'",
        "claim_owner = 'w' where id = 'A'",
        "status = 'blocked' where id = 'A'",
        "block_kind = 'input' where id = 'A'",
        "status = 'blocked', block_kind = 'bad', block_reason = 'r' where id = 'A'",
        "status = 'done' where id = 'A'",
        "completed_at = now() where id = 'A'",
        "open_dependencies = -1 where id = 'A'",
        "attempts = -1 where id = 'A'",
    ] {
        let refused = s
            .attempt_run(&format!("update mosaic.backlog set {change}"))
            .expect_err(change);
        assert_eq!(refused.sqlstate, "23514", "{change}: {refused:?}");
    }
    let refused = s
        .attempt_run("insert into mosaic.backlog_dependency values ('A', 'A', now())")
        .expect_err("an edge to itself");
    assert_eq!(refused.sqlstate, "23514");
}

#[test]
fn every_table_and_sequence_that_holds_data_is_dumped() {
    let db = Database::fresh();
    let left_out = db.session().column(
        "select c.relname from pg_class c where c.relnamespace = 'mosaic'::regnamespace
           and c.relkind in ('r', 'S') and c.relname <> 'backlog_frontier_seq' and c.oid not in (
             select unnest(extconfig) from pg_extension where extname = 'mosaic_backlog_ext')",
    );
    assert!(left_out.is_empty(), "{left_out:?}");
}

#[test]
fn the_token_sequence_belongs_to_no_column_and_has_no_cache() {
    let db = Database::fresh();
    let sequence = db.session().row(
        "select s.seqcache, s.seqcycle, s.seqincrement > 0 as grows, s.seqtypid::regtype::text as type, exists (
           select from pg_depend d where d.objid = s.seqrelid and d.deptype in ('a', 'i')) as owned
         from pg_sequence s where s.seqrelid = 'mosaic.backlog_claim_token_seq'::regclass",
    );
    assert_eq!(
        sequence,
        serde_json::json!({"seqcache": 1, "seqcycle": false, "grows": true, "type": "bigint", "owned": false})
    );
}
