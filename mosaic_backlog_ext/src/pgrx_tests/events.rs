use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    #[pg_test]
    fn every_verb_writes_its_event() {
        begin();
        cards("A B");
        let token = claim("A", "w1");
        run(&format!("select backlog_renew('A', {token})"));
        run(&format!("select backlog_release('A', {token})"));
        let token = claim("A", "w1");
        run(&format!("select backlog_fail('A', {token}, 'why', '0')"));
        run("select backlog_block('A', 'why')");
        run("select backlog_unblock('A')");
        run("select backlog_link('A', '{B}')");
        run("select backlog_unlink('A', '{B}')");
        run("select backlog_update('A', title => 'new')");
        claim("A", "w1");
        at("1 hour");
        run("select backlog_reclaim('A')");
        claim("A", "w1");
        run("select backlog_reclaim('A', force => true)");
        run("select backlog_cancel('A', 'why')");
        run("select backlog_reopen('A', 'why')");
        run("select backlog_complete('A')");
        assert_eq!(
            rows(
                "select kind, coalesce(old_status::text, '-'), new_status from backlog_events('A')"
            ),
            "created|-|ready claimed|ready|claimed renewed|claimed|claimed released|claimed|ready \
             claimed|ready|claimed failed|claimed|ready blocked|ready|blocked unblocked|blocked|ready \
             linked|ready|ready unlinked|ready|ready updated|ready|ready claimed|ready|claimed \
             lapsed|claimed|ready claimed|ready|claimed reclaimed|claimed|ready cancelled|ready|cancelled \
             reopened|cancelled|ready completed|ready|done"
        );
    }

    #[pg_test]
    fn an_event_tells_when_who_and_under_which_token() {
        begin();
        cards("A");
        at("5 min");
        let token = claim("A", "w1");
        run(&format!(
            "select backlog_complete('A', {token}, actor => 'alice')"
        ));
        assert_eq!(
            rows(
                "select kind, card_id, at, actor, login_role = session_user as login, claim_token
                 from backlog_event where kind <> 'created' order by event_id"
            ),
            format!(
                "claimed|A|2030-01-01T00:05:00+00:00|w1|true|{token} \
                 completed|A|2030-01-01T00:05:00+00:00|alice|true|{token}"
            )
        );
    }

    #[pg_test]
    fn the_actor_is_by_default_the_login_role() {
        begin();
        run("set local role mosaic_operator");
        cards("A");
        run("select backlog_update('A', title => 'new')");
        run("reset role");
        assert_eq!(
            rows(
                "select distinct actor = session_user and login_role = session_user as told from backlog_events('A')"
            ),
            "true"
        );
    }

    #[pg_test]
    fn a_refused_verb_leaves_no_event() {
        begin();
        cards("A");
        refused("claim_lost", "select backlog_complete('A', 1)");
        refused(
            "bad_transition",
            "select backlog_create('B', 'B'), backlog_cancel('A', 'x'), backlog_block('A', 'x')",
        );
        assert_eq!(number("select count(*) from backlog_event"), 1);
    }

    #[pg_test]
    fn the_events_of_a_card_are_paged_by_cursor() {
        begin();
        cards("A B");
        for n in 0..5 {
            run(&format!("select backlog_update('A', title => 't{n}')"));
        }
        let page = |after: &str| {
            rows(&format!(
                "select cursor from backlog_events('A', after => {after}, max_events => 4)"
            ))
        };
        let first = page("null");
        let cursors: Vec<&str> = first.split(' ').collect();
        assert_eq!(cursors.len(), 4);
        let second = page(&format!("'{}'", cursors[3]));
        assert_eq!(second.split(' ').count(), 2);
        let last = second.split(' ').next_back().unwrap();
        assert_eq!(page(&format!("'{last}'")), "");
        refused("invalid_argument", "select backlog_events(after => 'x')");
        assert_eq!(rows("select kind from backlog_events('nobody')"), "");
    }

    #[pg_test]
    fn events_of_a_running_transaction_are_not_passed_yet() {
        begin();
        cards("A");
        assert_eq!(
            number(
                "select count(*) from backlog_events(max_events => 10000,
                   after => (select (min(event_id) - 1)::text from backlog_event))"
            ),
            0
        );
    }

    #[pg_test]
    fn the_history_outlives_the_card() {
        begin();
        cards("A");
        run("delete from backlog");
        assert_eq!(rows("select kind from backlog_events('A')"), "created");
    }
}
