use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    #[pg_test]
    fn cancel_follows_the_state_table() {
        begin();
        state_table(
            "select backlog_cancel('{id}', 'another reason')",
            &[
                ("ready", "cancelled"),
                ("gated", "cancelled"),
                ("deferred", "cancelled"),
                ("claimed", "already_claimed"),
                ("expired", "already_claimed"),
                ("blocked", "cancelled"),
                ("done", "bad_transition"),
                ("cancelled", "repeat"),
            ],
        );
        refused("not_found", "select backlog_cancel('nobody', 'why')");
    }

    #[pg_test]
    fn cancel_with_force_takes_a_claimed_card() {
        begin();
        state_table(
            "select backlog_cancel('{id}', 'why', force => true)",
            &[
                ("ready", "cancelled"),
                ("claimed", "cancelled"),
                ("expired", "cancelled"),
                ("blocked", "cancelled"),
                ("done", "bad_transition"),
                ("cancelled", "repeat"),
            ],
        );
        assert_eq!(
            card("claimed", "claim_owner, claim_token, claim_expires_at"),
            "null|null|null"
        );
    }

    #[pg_test]
    fn reopen_follows_the_state_table() {
        begin();
        state_table(
            "select backlog_reopen('{id}', 'another reason')",
            &[
                ("ready", "repeat"),
                ("gated", "repeat"),
                ("deferred", "repeat"),
                ("claimed", "bad_transition"),
                ("expired", "bad_transition"),
                ("blocked", "bad_transition"),
                ("done", "ready"),
                ("cancelled", "ready"),
            ],
        );
        refused("not_found", "select backlog_reopen('nobody', 'why')");
    }

    #[pg_test]
    fn cancel_leaves_dependents_alone() {
        begin();
        cards("A B:A");
        assert_eq!(rows("select id from backlog_cancel('A', 'why')"), "A");
        assert_eq!(card("B", "status, open_dependencies"), "ready|1");
    }

    #[pg_test]
    fn cascade_cancels_all_that_wait_directly_or_through_others() {
        begin();
        cards("A B:A C:B D:A,C X Y:X done:A");
        run("select backlog_complete('done', force => true)");
        cards("E:done");
        run("select backlog_block('C', 'why')");
        assert_eq!(
            rows(
                "select id, status from backlog_cancel('A', 'dropped', cascade => true, actor => 'op')"
            ),
            "A|cancelled B|cancelled C|cancelled D|cancelled"
        );
        assert_eq!(
            rows("select id, status from backlog where status <> 'cancelled' order by id"),
            "E|ready X|ready Y|ready done|done"
        );
        assert_eq!(
            rows(
                "select card_id, actor, old_status, detail ->> 'reason' from backlog_event
                 where kind = 'cancelled' order by card_id"
            ),
            "A|op|ready|dropped B|op|ready|dropped C|op|blocked|dropped D|op|ready|dropped"
        );
    }

    #[pg_test]
    fn cascade_stops_at_a_held_dependent_unless_forced() {
        begin();
        cards("A B:A C:B");
        run("select backlog_complete('A')");
        let token = claim("B", "w1");
        run("select backlog_reopen('A', 'why')");
        refused(
            "already_claimed",
            "select backlog_cancel('A', 'why', cascade => true)",
        );
        assert_eq!(
            rows("select id, status from backlog order by id"),
            "A|ready B|claimed C|ready"
        );
        assert_eq!(
            rows("select id from backlog_cancel('A', 'why', cascade => true, force => true)"),
            "A B C"
        );
        refused("claim_lost", &format!("select backlog_renew('B', {token})"));
    }

    #[pg_test]
    fn cascade_of_a_cancelled_card_reaches_the_rest() {
        begin();
        cards("A B:A");
        run("select backlog_cancel('A', 'why')");
        run("select backlog_cancel('A', 'why', cascade => true)");
        assert_eq!(card("B", "status"), "cancelled");
    }

    #[pg_test]
    fn cascade_visits_each_card_once() {
        begin();
        run("select backlog_create_many((
               select jsonb_agg(jsonb_build_object('title', 'x', 'id', format('%s-%s', n, s), 'depends_on',
                 case when n = 1 then '[]' else jsonb_build_array(format('%s-a', n - 1), format('%s-b', n - 1)) end))
               from generate_series(1, 40) n, unnest('{a,b}'::text[]) s))");
        assert_eq!(
            number("select count(*) from backlog_cancel('1-a', 'why', cascade => true)"),
            79
        );
        assert_eq!(
            number("select count(*) from backlog_event where kind = 'cancelled'"),
            79
        );
    }

    #[pg_test]
    fn reopen_gives_a_fresh_budget_and_clears_the_end() {
        begin();
        cards("A B");
        finish("A");
        assert_eq!(
            rows("select status, attempts, completed_at from backlog_reopen('A', 'wrong', 'op')"),
            "ready|0|null"
        );
        assert_eq!(
            rows(
                "select actor, old_status, new_status, detail ->> 'reason' from backlog_events('A') where kind = 'reopened'"
            ),
            "op|done|ready|wrong"
        );
        run("select backlog_cancel('B', 'why')");
        run("select backlog_reopen('B', 'after all')");
        assert_eq!(
            rows("select id from backlog_claim('w', max_cards => 9)"),
            "A B"
        );
    }

    #[pg_test]
    fn the_token_of_a_reopened_card_is_stale() {
        begin();
        cards("A");
        let token = claim("A", "w1");
        run(&format!("select backlog_complete('A', {token})"));
        run("select backlog_reopen('A', 'why')");
        refused(
            "claim_lost",
            &format!("select backlog_complete('A', {token})"),
        );
        assert_eq!(card("A", "status"), "ready");
    }
}
