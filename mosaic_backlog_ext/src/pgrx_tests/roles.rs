use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    /// The code with which `role` is refused, or `ok`, or the SQLSTATE of PostgreSQL's own refusal.
    fn of_role(role: &str, statement: &str) -> String {
        let path = rows("select current_setting('search_path')");
        run(&format!("set local role {role}"));
        run("set local search_path = mosaic, pg_catalog");
        let outcome = match attempt(statement) {
            None => "ok".to_owned(),
            Some(refused) if refused.code.is_empty() => refused.sqlstate,
            Some(refused) => refused.code,
        };
        run("reset role");
        run(&format!("set local search_path = {path}"));
        outcome
    }

    const READING: [&str; 6] = [
        "backlog_get('A')",
        "backlog_list(with_total => true)",
        "backlog_stats()",
        "backlog_why('A')",
        "backlog_doctor()",
        "backlog_events('A')",
    ];

    const WORKING: [&str; 14] = [
        "backlog_create('t')",
        "backlog_create_many('[{\"title\": \"t\"}]')",
        "backlog_claim('w')",
        "backlog_renew('H', {token})",
        "backlog_assert_held('H', {token})",
        "backlog_link('A', '{H}')",
        "backlog_unlink('A', '{H}')",
        "backlog_block('A', 'why')",
        "backlog_unblock('A')",
        "backlog_note('A', 'so')",
        "backlog_release('H', {token})",
        "backlog_fail('H', {token}, 'why')",
        "backlog_complete('H', {token})",
        "backlog_reclaim()",
    ];

    const OPERATING: [&str; 6] = [
        "backlog_update('A', title => 'new')",
        "backlog_cancel('A', 'why')",
        "backlog_reopen('A', 'why')",
        "backlog_cancel('A', 'why', force => true)",
        "backlog_complete('A', force => true)",
        "backlog_reclaim('A', force => true)",
    ];

    /// Calls each verb as `role`, on fresh cards.
    fn calls(role: &str, verbs: &[&str]) -> Vec<String> {
        verbs
            .iter()
            .map(|verb| {
                forget();
                cards("A H");
                let token = claim("H", "w");
                of_role(
                    role,
                    &format!("select {}", verb.replace("{token}", &token.to_string())),
                )
            })
            .collect()
    }

    #[pg_test]
    fn a_reader_reads_and_no_more() {
        begin();
        assert_eq!(calls("mosaic_reader", &READING), ["ok"; 6]);
        assert_eq!(calls("mosaic_reader", &WORKING), ["42501"; 14]);
        assert_eq!(calls("mosaic_reader", &OPERATING), ["42501"; 6]);
    }

    #[pg_test]
    fn a_worker_works_and_forces_nothing() {
        begin();
        assert_eq!(calls("mosaic_worker", &READING), ["ok"; 6]);
        assert_eq!(calls("mosaic_worker", &WORKING), ["ok"; 14]);
        assert_eq!(
            calls("mosaic_worker", &OPERATING),
            [
                "42501",
                "42501",
                "42501",
                "42501",
                "unauthorized",
                "unauthorized"
            ]
        );
    }

    #[pg_test]
    fn an_operator_does_everything() {
        begin();
        assert_eq!(calls("mosaic_operator", &READING), ["ok"; 6]);
        assert_eq!(calls("mosaic_operator", &WORKING), ["ok"; 14]);
        assert_eq!(calls("mosaic_operator", &OPERATING), ["ok"; 6]);
    }

    #[pg_test]
    fn anybody_else_can_do_nothing() {
        begin();
        cards("A");
        run("create role nobody_of_mosaic");
        for verb in READING.iter().chain(&OPERATING) {
            assert_eq!(
                of_role("nobody_of_mosaic", &format!("select mosaic.{verb}")),
                "42501",
                "{verb}"
            );
        }
    }

    #[pg_test]
    fn nobody_writes_the_tables_directly() {
        begin();
        cards("A B:A");
        for role in ["mosaic_reader", "mosaic_worker", "mosaic_operator"] {
            for statement in [
                "update backlog set title = 'x'",
                "delete from backlog",
                "insert into backlog_dependency values ('A', 'B', now())",
                "delete from backlog_event",
                "truncate backlog",
                "delete from backlog_claim_request",
                "select nextval('backlog_claim_token_seq')",
                "select setval('backlog_claim_token_seq', 1)",
                "create table mosaic.mine (n int)",
                "create function mosaic.mine() returns int language sql as 'select 1'",
            ] {
                assert_eq!(of_role(role, statement), "42501", "{role}: {statement}");
            }
        }
    }

    #[pg_test]
    fn settings_that_weaken_a_guarantee_are_no_workers() {
        begin();
        for setting in [
            "mosaic.clock = '2030-01-01'",
            "mosaic.durability = 'inherit'",
            "mosaic.max_attempts = 1000",
            "mosaic.retry_base = 1",
            "mosaic.retry_max = 1",
        ] {
            assert_eq!(
                of_role("mosaic_worker", &format!("set local {setting}")),
                "42501",
                "{setting}"
            );
        }
        assert_eq!(
            of_role("mosaic_operator", "set local mosaic.clock = '2030-01-01'"),
            "42501"
        );
        assert_eq!(
            of_role("mosaic_operator", "set local mosaic.durability = 'inherit'"),
            "ok"
        );
    }

    #[pg_test]
    fn what_shadows_the_catalogue_in_the_callers_path_is_not_called() {
        begin();
        cards("A B:A");
        run("create schema trap");
        run(
            "create function trap.coalesce(text) returns text language plpgsql as 'begin raise exception ''trapped''; end'",
        );
        run(
            "create function trap.trapped(int, int) returns int language plpgsql as 'begin raise exception ''trapped''; end'",
        );
        run(
            "create function trap.same(text, text) returns boolean language plpgsql as 'begin raise exception ''trapped''; end'",
        );
        run("create operator trap.+ (leftarg = int, rightarg = int, function = trap.trapped)");
        run("create operator trap.- (leftarg = int, rightarg = int, function = trap.trapped)");
        run("create operator trap.= (leftarg = text, rightarg = text, function = trap.same)");
        run("create temp table backlog (id text) on commit drop");
        run("set local search_path = trap, pg_temp, mosaic, pg_catalog");
        assert!(attempt("select 1 + 1").is_some());
        let token = number("select claim_token from mosaic.backlog_claim('w')");
        run(&format!("select mosaic.backlog_complete('A', {token})"));
        assert_eq!(rows("select id from mosaic.backlog_claim('w')"), "B");
    }

    #[pg_test]
    fn what_a_caller_may_is_not_judged_by_the_owner_of_a_function() {
        begin();
        cards("A");
        // A security definer function of a worker's gives its callers no operator's rights.
        run("grant create on schema public to mosaic_worker");
        run(
            "create function public.through() returns void language sql security definer
             as $$ select mosaic.backlog_complete('A', force => true) $$",
        );
        run("alter function public.through() owner to mosaic_worker");
        assert_eq!(
            of_role("mosaic_worker", "select public.through()"),
            "unauthorized"
        );
        assert_eq!(card("A", "status"), "ready");
    }
}
