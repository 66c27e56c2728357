//! What the catalogue says of the functions and tables that clients see.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    const FUNCTIONS: &str = "pg_proc p where p.pronamespace = 'mosaic'::regnamespace and p.proname like 'backlog\\_%' and p.prorettype not in ('event_trigger'::regtype, 'trigger'::regtype)";

    #[pg_test]
    fn no_function_is_everybodys() {
        begin();
        assert_eq!(
            rows(&format!(
                "select p.proname from {FUNCTIONS} and (p.proacl is null or exists (
                   select from aclexplode(p.proacl) a where a.grantee = 0))"
            )),
            ""
        );
    }

    #[pg_test]
    fn every_function_is_pinned_and_runs_as_the_owner() {
        begin();
        assert_eq!(
            rows(&format!(
                "select distinct p.proconfig, p.prosecdef, p.proowner::regrole::text,
                   p.proisstrict from {FUNCTIONS}"
            )),
            r#"["search_path=pg_catalog, pg_temp"]|true|mosaic_owner|false"#
        );
        assert_eq!(
            rows(
                "select rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb from pg_roles where rolname = 'mosaic_owner'"
            ),
            "false|false|false|false|false"
        );
    }

    #[pg_test]
    fn every_function_and_table_has_a_comment() {
        begin();
        assert_eq!(
            rows(&format!(
                "select p.proname from {FUNCTIONS} and obj_description(p.oid, 'pg_proc') is null"
            )),
            ""
        );
        assert_eq!(
            rows(
                "select relname from pg_class where relnamespace = 'mosaic'::regnamespace and relkind in ('r', 'S')
                 and obj_description(oid, 'pg_class') is null"
            ),
            ""
        );
    }

    #[pg_test]
    fn no_table_or_sequence_is_writable_but_by_the_owner() {
        begin();
        assert_eq!(
            rows(
                "select c.relname, a.grantee::regrole::text, a.privilege_type
                 from pg_class c cross join lateral aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
                 where c.relnamespace = 'mosaic'::regnamespace and c.relkind in ('r', 'S')
                   and a.grantee <> 'mosaic_owner'::regrole"
            ),
            ""
        );
        assert_eq!(
            rows(
                "select distinct relowner::regrole::text from pg_class where relnamespace = 'mosaic'::regnamespace"
            ),
            "mosaic_owner"
        );
    }

    #[pg_test]
    fn roles_build_on_each_other_and_cannot_log_in() {
        begin();
        assert_eq!(
            rows(
                "select pg_has_role('mosaic_worker', 'mosaic_reader', 'usage'),
                   pg_has_role('mosaic_operator', 'mosaic_worker', 'usage'),
                   pg_has_role('mosaic_worker', 'mosaic_operator', 'usage'),
                   pg_has_role('mosaic_operator', 'mosaic_owner', 'member')"
            ),
            "true|true|false|false"
        );
        assert_eq!(
            rows(
                "select rolname from pg_roles where rolname like 'mosaic%' and (rolcanlogin or rolsuper)"
            ),
            ""
        );
    }

    #[pg_test]
    fn every_table_and_sequence_that_holds_data_is_dumped() {
        begin();
        assert_eq!(
            rows(
                "select c.relname from pg_class c where c.relnamespace = 'mosaic'::regnamespace
                   and c.relkind in ('r', 'S') and c.relname <> 'backlog_frontier_seq' and c.oid not in (
                     select unnest(extconfig) from pg_extension where extname = 'mosaic_backlog_ext')"
            ),
            ""
        );
    }

    #[pg_test]
    fn the_token_sequence_belongs_to_no_column_and_has_no_cache() {
        begin();
        assert_eq!(
            rows(
                "select s.seqcache, s.seqcycle, s.seqincrement > 0, s.seqtypid::regtype::text, exists (
                   select from pg_depend d where d.objid = s.seqrelid and d.deptype in ('a', 'i')) as owned
                 from pg_sequence s where s.seqrelid = 'mosaic.backlog_claim_token_seq'::regclass"
            ),
            "1|false|true|bigint|false"
        );
    }

    #[pg_test]
    fn functions_that_return_a_card_return_the_columns_of_the_table() {
        begin();
        let public = rows(
            "select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attnum)
             from pg_attribute where attrelid = 'mosaic.backlog'::regclass and attnum > 0 and not attisdropped
               and coalesce(col_description(attrelid, attnum), '') not like 'internal%'",
        );
        for name in "get list create claim release fail complete block unblock cancel reopen update link unlink"
            .split(' ')
        {
            let columns = rows(&format!(
                "select string_agg(n || ' ' || format_type(t, null), ', ' order by i)
                 from pg_proc p, unnest(p.proargnames, p.proallargtypes, p.proargmodes) with ordinality as a(n, t, m, i)
                 where p.proname = 'backlog_{name}' and m = 't'"
            ));
            let sorted = |list: &str| {
                let mut columns: Vec<String> = list.split(", ").map(str::to_owned).collect();
                columns.sort();
                columns
            };
            let expected = sorted(&format!("{public}, depends_on text[]"));
            let columns = sorted(&columns);
            for column in &expected {
                assert!(columns.contains(column), "backlog_{name}: {column}");
            }
        }
    }

    #[pg_test]
    fn a_backlog_with_cards_cannot_be_dropped() {
        begin();
        cards("A");
        for statement in [
            "drop extension mosaic_backlog_ext",
            "drop extension if exists mosaic_backlog_ext cascade",
        ] {
            refused("bad_transition", statement);
        }
        for statement in ["drop schema mosaic", "drop table mosaic.backlog"] {
            assert_eq!(attempt(statement).expect(statement).sqlstate, "2BP01");
        }
        assert_eq!(card("A", "id"), "A");
    }
}
