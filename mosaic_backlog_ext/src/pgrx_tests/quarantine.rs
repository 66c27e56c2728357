use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    const STATE: &str = "status, attempts, block_kind, claim_token";

    fn fail(id: &str) {
        let token = claim(id, "w");
        run(&format!("select backlog_fail('{id}', {token}, 'why', '0')"));
    }

    fn lapse(id: &str) {
        claim(id, "w");
        run(
            "select set_config('mosaic.clock', (current_setting('mosaic.clock')::timestamptz + interval '1 hour')::text, true)",
        );
    }

    #[pg_test]
    fn failing_at_the_maximum_quarantines() {
        begin();
        run("select backlog_create('A', 'A', max_attempts => 2)");
        fail("A");
        assert_eq!(card("A", STATE), "ready|1|null|null");
        let token = claim("A", "w");
        assert_eq!(
            rows(&format!(
                "select status, attempts, block_kind, block_reason like '%no luck%' from backlog_fail('A', {token}, 'no luck')"
            )),
            "blocked|2|attempts|true"
        );
        assert_eq!(
            rows(
                "select actor, claim_token, old_status, new_status, detail ->> 'reason'
                 from backlog_event where card_id = 'A' and new_status = 'blocked'"
            ),
            format!("w|{token}|claimed|blocked|no luck")
        );
        refused("bad_transition", "select backlog_claim('w', id => 'A')");
        assert_eq!(rows("select id from backlog_claim('w')"), "");
    }

    #[pg_test]
    fn lapsing_at_the_maximum_quarantines() {
        begin();
        run("select backlog_create('A', 'A', max_attempts => 2)");
        lapse("A");
        lapse("A");
        assert_eq!(rows("select * from backlog_reclaim()"), "A|w|2|quarantined");
        assert_eq!(card("A", STATE), "blocked|2|attempts|null");
        assert_eq!(
            rows("select kind, new_status from backlog_events('A') where kind = 'lapsed'"),
            "lapsed|ready lapsed|blocked"
        );
    }

    #[pg_test]
    fn failing_and_lapsing_share_one_budget() {
        begin();
        run("select backlog_create('A', 'A', max_attempts => 4)");
        fail("A");
        lapse("A");
        fail("A");
        assert_eq!(card("A", STATE), "ready|3|null|null");
        lapse("A");
        assert_eq!(rows("select id from backlog_claim('w')"), "");
        assert_eq!(card("A", STATE), "blocked|4|attempts|null");
    }

    #[pg_test]
    fn a_forced_reclaim_at_the_maximum_quarantines() {
        begin();
        run("select backlog_create('A', 'A', max_attempts => 1)");
        claim("A", "w");
        assert_eq!(
            rows("select action from backlog_reclaim('A', force => true)"),
            "quarantined"
        );
    }

    #[pg_test]
    fn a_poison_card_costs_at_most_its_budget() {
        begin();
        run("select backlog_create('poison', 'poison', priority => 9, max_attempts => 3)");
        run(
            "select backlog_create_many((select jsonb_agg(jsonb_build_object('title', n::text))
             from generate_series(1, 10) n))",
        );
        let mut poisoned = 0;
        for hour in 0.. {
            at(&format!("{hour} hours"));
            let claimed = rows("select id, claim_token from backlog_claim('w')");
            let Some((id, token)) = claimed.split_once('|') else {
                break;
            };
            match (id, hour % 2) {
                ("poison", 0) => poisoned += 1,
                ("poison", _) => {
                    poisoned += 1;
                    run(&format!(
                        "select backlog_fail('poison', {token}, 'why', '0')"
                    ));
                }
                _ => run(&format!("select backlog_complete('{id}', {token})")),
            }
        }
        assert_eq!(poisoned, 3);
        assert_eq!(
            rows("select blocked, done, ready, claimed from backlog_stats()"),
            "1|10|0|0"
        );
    }

    #[pg_test]
    fn the_setting_is_the_maximum_of_cards_without_their_own() {
        begin();
        run("set local mosaic.max_attempts = 1");
        cards("A");
        run("select backlog_create('B', 'B', max_attempts => 2)");
        fail("A");
        fail("B");
        assert_eq!(card("A", "status, max_attempts"), "blocked|null");
        assert_eq!(card("B", "status"), "ready");
    }

    #[pg_test]
    fn by_default_a_card_has_five_attempts() {
        begin();
        cards("A");
        for _ in 0..4 {
            fail("A");
        }
        assert_eq!(card("A", "status"), "ready");
        fail("A");
        assert_eq!(card("A", STATE), "blocked|5|attempts|null");
    }

    #[pg_test]
    fn a_card_that_used_up_a_lowered_setting_is_not_handed_out() {
        begin();
        cards("A B");
        fail("A");
        fail("A");
        run("set local mosaic.max_attempts = 2");
        assert_eq!(
            rows("select id from backlog_claim('w', max_cards => 9)"),
            "B"
        );
        assert!(attempt("select backlog_claim('w', id => 'A')").is_some());
    }

    #[pg_test]
    fn a_card_released_beyond_a_lowered_maximum_is_not_handed_out() {
        begin();
        cards("A");
        fail("A");
        fail("A");
        let token = claim("A", "w");
        run("select backlog_update('A', max_attempts => 1)");
        run(&format!("select backlog_release('A', {token})"));
        assert_eq!(rows("select id from backlog_claim('w')"), "");
        assert_eq!(card("A", "status, block_kind"), "blocked|attempts");
    }

    #[pg_test]
    fn a_raised_maximum_gives_more_attempts() {
        begin();
        run("select backlog_create('A', 'A', max_attempts => 1)");
        claim("A", "w");
        run("select backlog_update('A', max_attempts => 2)");
        at("1 hour");
        assert_eq!(rows("select attempts from backlog_claim('w')"), "2");
    }

    #[pg_test]
    fn completing_the_last_attempt_is_no_failure() {
        begin();
        run("select backlog_create('A', 'A', max_attempts => 1)");
        let token = claim("A", "w");
        at("1 hour");
        assert_eq!(
            rows(&format!(
                "select status from backlog_complete('A', {token})"
            )),
            "done"
        );
    }
}
