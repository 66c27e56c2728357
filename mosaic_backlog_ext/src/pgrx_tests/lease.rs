use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    const REFUSED_UNLESS_CLAIMED: [(&str, &str); 6] = [
        ("ready", "claim_lost"),
        ("gated", "claim_lost"),
        ("deferred", "claim_lost"),
        ("blocked", "claim_lost"),
        ("done", "claim_lost"),
        ("cancelled", "claim_lost"),
    ];

    fn lease_verb(statement: &str, claimed: &str) {
        let mut expected = REFUSED_UNLESS_CLAIMED.to_vec();
        expected.extend([("claimed", claimed), ("expired", claimed)]);
        state_table(statement, &expected);
    }

    #[pg_test]
    fn renew_follows_the_state_table() {
        begin();
        lease_verb("select backlog_renew('{id}', {token})", "claimed");
        refused("not_found", "select backlog_renew('nobody', 1)");
    }

    #[pg_test]
    fn release_follows_the_state_table() {
        begin();
        lease_verb("select backlog_release('{id}', {token})", "ready");
        refused("not_found", "select backlog_release('nobody', 1)");
    }

    #[pg_test]
    fn fail_follows_the_state_table() {
        begin();
        lease_verb("select backlog_fail('{id}', {token}, 'why')", "ready");
        refused("not_found", "select backlog_fail('nobody', 1, 'why')");
    }

    #[pg_test]
    fn assert_held_follows_the_state_table() {
        begin();
        lease_verb("select backlog_assert_held('{id}', {token})", "repeat");
        refused("not_found", "select backlog_assert_held('nobody', 1)");
    }

    #[pg_test]
    fn a_stale_token_is_refused_by_every_verb_that_takes_one() {
        begin();
        cards("A");
        let stale = claim("A", "w");
        at("16 min");
        // The same owner again: its name is not the fence.
        let token = claim("A", "w");
        assert!(token > stale);
        for verb in [
            "backlog_renew('A', {t})",
            "backlog_release('A', {t})",
            "backlog_fail('A', {t}, 'why')",
            "backlog_assert_held('A', {t})",
            "backlog_complete('A', {t})",
            "backlog_complete('A', {t}, force => true)",
            "backlog_block('A', 'why', claim_token => {t})",
        ] {
            for wrong in [stale, token + 1, 0, -1, i64::MAX, i64::MIN] {
                let verb = verb.replace("{t}", &format!("'{wrong}'"));
                refused("claim_lost", &format!("select {verb}"));
            }
        }
        assert_eq!(
            rows("select status, claim_token, attempts from backlog where id = 'A'"),
            format!("claimed|{token}|2")
        );
    }

    #[pg_test]
    fn renew_extends_from_now_by_the_claims_own_ttl() {
        begin();
        cards("A");
        let token = number("select claim_token from backlog_claim('w', '10 min')");
        at("4 min");
        assert_eq!(
            rows(&format!("select backlog_renew('A', {token})")),
            "2030-01-01T00:14:00+00:00"
        );
        assert_eq!(
            rows(&format!("select backlog_renew('A', {token}, '1 hour')")),
            "2030-01-01T01:04:00+00:00"
        );
        assert_eq!(
            rows(
                "select claim_ttl_seconds, claim_token, attempts, claimed_at from backlog where id = 'A'"
            ),
            format!("3600|{token}|1|2030-01-01T00:00:00+00:00")
        );
    }

    #[pg_test]
    fn a_lease_that_ended_is_good_until_it_is_swept() {
        begin();
        cards("A B");
        let (a, b) = (claim("A", "w1"), claim("B", "w1"));
        at("1 day");
        assert_eq!(
            rows(&format!("select backlog_renew('A', {a})")),
            "2030-01-02T00:15:00+00:00"
        );
        run(&format!("select backlog_complete('B', {b})"));
        assert_eq!(rows("select id from backlog_claim('w2')"), "");
        assert_eq!(card("B", "status"), "done");
    }

    #[pg_test]
    fn release_gives_the_attempt_back_and_can_defer() {
        begin();
        cards("A");
        let token = claim("A", "w1");
        assert_eq!(
            rows(&format!(
                "select status, attempts, not_before, claim_owner, claim_token, claim_expires_at
                 from backlog_release('A', {token}, '5 min', 'lunch')"
            )),
            "ready|0|2030-01-01T00:05:00+00:00|null|null|null"
        );
        refused("bad_transition", "select backlog_claim('w1', id => 'A')");
        at("5 min");
        claim("A", "w1");
        assert_eq!(
            rows("select detail ->> 'reason' from backlog_events('A') where kind = 'released'"),
            "lunch"
        );
        assert_eq!(
            rows("select last_failure from backlog where id = 'A'"),
            "null"
        );
    }

    #[pg_test]
    fn release_never_uses_up_the_budget() {
        begin();
        run("select backlog_create('A', 'A', max_attempts => 1)");
        for _ in 0..3 {
            let token = claim("A", "w1");
            run(&format!("select backlog_release('A', {token})"));
        }
        assert_eq!(card("A", "status, attempts"), "ready|0");
    }

    #[pg_test]
    fn fail_counts_the_attempt_and_keeps_the_reason() {
        begin();
        cards("A");
        let token = claim("A", "w1");
        assert_eq!(
            rows(&format!(
                "select status, attempts, not_before, claim_token from backlog_fail('A', {token}, 'no disk', '10 min')"
            )),
            "ready|1|2030-01-01T00:10:00+00:00|null"
        );
        assert_eq!(
            rows(
                "select actor, claim_token, old_status, new_status, detail ->> 'reason'
                 from backlog_event where kind = 'failed'"
            ),
            format!("w1|{token}|claimed|ready|no disk")
        );
        at("10 min");
        assert_eq!(
            rows("select attempts, last_failure from backlog_claim('w2')"),
            "2|no disk"
        );
        at("1 day");
        assert_eq!(
            rows("select attempts, last_failure from backlog_claim('w3')"),
            "3|no disk"
        );
    }

    #[pg_test]
    fn fail_waits_longer_each_time_within_bounds() {
        begin();
        run("set local mosaic.retry_base = '8s'");
        run("set local mosaic.retry_max = '60s'");
        run("select backlog_create('A', 'A', max_attempts => 100)");
        for (n, full) in [8, 16, 32, 60, 60].into_iter().enumerate() {
            at(&format!("{n} hours"));
            let token = claim("A", "w1");
            let micros = number(&format!(
                "select (extract(epoch from not_before - (timestamptz '2030-01-01' + interval '{n} hours')) * 1000000)::bigint
                 from backlog_fail('A', {token}, 'why')"
            ));
            let full = full * 1_000_000;
            assert!(
                (full / 2..=full).contains(&micros),
                "attempt {}: {micros}",
                n + 1
            );
        }
    }

    #[pg_test]
    fn failed_cards_do_not_come_back_together() {
        begin();
        run(
            "select backlog_create_many((select jsonb_agg(jsonb_build_object('title', n::text))
             from generate_series(1, 20) n))",
        );
        run("select backlog_claim('w', max_cards => 20)");
        run(
            "select f.id from backlog c cross join lateral backlog_fail(c.id, c.claim_token, 'why') f",
        );
        assert!(number("select count(distinct not_before) from backlog") > 10);
    }

    #[pg_test]
    fn assert_held_guards_a_write_of_the_callers_own() {
        begin();
        run("create temp table mine (n int) on commit drop");
        cards("A");
        let stale = claim("A", "w1");
        let write = |token: i64| {
            format!(
                "with held as (select backlog_assert_held('A', {token})) insert into pg_temp.mine select 1 from held"
            )
        };
        assert!(attempt(&write(stale)).is_none());
        run("select backlog_reclaim('A', force => true)");
        refused("claim_lost", &write(stale));
        assert_eq!(number("select count(*) from pg_temp.mine"), 1);
    }
}
