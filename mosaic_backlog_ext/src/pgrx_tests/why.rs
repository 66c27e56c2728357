use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    fn why(id: &str) -> String {
        rows(&format!(
            "select kind, id, status, depth from backlog_why('{id}')"
        ))
    }

    #[pg_test]
    fn a_claimable_card_has_no_reason() {
        begin();
        cards("A");
        assert_eq!(why("A"), "");
        refused("not_found", "select backlog_why('nobody')");
    }

    #[pg_test]
    fn a_held_card_tells_by_whom_and_until_when() {
        begin();
        cards("A");
        claim("A", "w1");
        assert_eq!(
            rows("select kind, id, title, status, owner, until from backlog_why('A')"),
            "held|A|A|claimed|w1|2030-01-01T00:15:00+00:00"
        );
    }

    #[pg_test]
    fn a_deferred_card_tells_until_when() {
        begin();
        run("select backlog_create('A', 'A', not_before => '2030-01-01 01:00+00')");
        assert_eq!(
            rows("select kind, until from backlog_why('A')"),
            "deferred|2030-01-01T01:00:00+00:00"
        );
        at("1 hour");
        assert_eq!(why("A"), "");
    }

    #[pg_test]
    fn a_blocked_card_tells_kind_and_reason() {
        begin();
        cards("A");
        run("select backlog_block('A', 'which colour?', 'input')");
        assert_eq!(
            rows("select kind, block_kind, reason from backlog_why('A')"),
            "blocked|input|which colour?"
        );
    }

    #[pg_test]
    fn a_quarantined_card_is_called_so() {
        begin();
        run("select backlog_create('A', 'A', max_attempts => 1)");
        let token = claim("A", "w1");
        run(&format!("select backlog_fail('A', {token}, 'no luck')"));
        assert_eq!(
            rows("select kind, block_kind, reason like '%no luck%' from backlog_why('A')"),
            "quarantined|attempts|true"
        );
    }

    #[pg_test]
    fn finished_cards_say_so() {
        begin();
        cards("A B");
        run("select backlog_complete('A')");
        run("select backlog_cancel('B', 'why')");
        assert_eq!(why("A"), "done|A|done|0");
        assert_eq!(why("B"), "cancelled|B|cancelled|0");
    }

    #[pg_test]
    fn a_gated_card_is_explained_by_the_cards_at_the_bottom() {
        begin();
        cards("root1 root2 done mid1:root1,done mid2:mid1,root2 A:mid2");
        run("select backlog_complete('done')");
        claim("root1", "w1");
        assert_eq!(
            rows("select kind, id, status, owner, until, depth from backlog_why('A')"),
            "open_dependency|root2|ready|null|null|2 \
             open_dependency|root1|claimed|w1|2030-01-01T00:15:00+00:00|3"
        );
    }

    #[pg_test]
    fn a_card_in_the_middle_that_is_stuck_itself_is_named() {
        begin();
        cards("root mid:root A:mid");
        run("select backlog_block('mid', 'which colour?', 'input')");
        assert_eq!(
            rows("select kind, id, block_kind, reason from backlog_why('A') where id = 'mid'"),
            "open_dependency|mid|input|which colour?"
        );
    }

    #[pg_test]
    fn a_cancelled_dependency_is_called_so() {
        begin();
        cards("root mid:root A:mid");
        run("select backlog_cancel('root', 'why')");
        assert_eq!(why("A"), "cancelled_dependency|root|cancelled|2");
    }

    #[pg_test]
    fn a_deferred_dependency_tells_until_when() {
        begin();
        run("select backlog_create('root', 'root', not_before => '2030-01-02')");
        cards("A:root");
        assert_eq!(
            rows("select kind, id, until from backlog_why('A')"),
            "open_dependency|root|2030-01-02T00:00:00+00:00"
        );
    }

    #[pg_test]
    fn a_card_with_several_reasons_names_them_all() {
        begin();
        cards("root");
        run("select backlog_create('A', 'A', depends_on => '{root}', not_before => '2030-01-02')");
        assert_eq!(why("A"), "deferred|A|ready|0 open_dependency|root|ready|1");
        run("select backlog_block('A', 'why')");
        assert_eq!(why("A"), "blocked|A|blocked|0 open_dependency|root|ready|1");
    }

    #[pg_test]
    fn a_root_that_is_reached_on_many_paths_is_named_once() {
        begin();
        run("select backlog_create_many((
               select jsonb_agg(jsonb_build_object('title', 'x', 'id', format('%s-%s', n, s), 'depends_on',
                 case when n = 1 then '[]' else jsonb_build_array(format('%s-a', n - 1), format('%s-b', n - 1)) end))
               from generate_series(1, 40) n, unnest('{a,b}'::text[]) s))");
        assert_eq!(
            why("40-a"),
            "open_dependency|1-a|ready|39 open_dependency|1-b|ready|39"
        );
    }

    #[pg_test]
    fn no_reason_exactly_when_claimable() {
        begin();
        cards("A B:A C D E");
        run("select backlog_create('F', 'F', not_before => '2030-01-02')");
        claim("C", "w1");
        run("select backlog_block('D', 'why')");
        run("select backlog_cancel('E', 'why')");
        assert_eq!(
            rows(
                "select id from backlog c where not exists (select from backlog_why(c.id)) order by id"
            ),
            rows("select id from backlog_list(ready_only => true)")
        );
    }
}
