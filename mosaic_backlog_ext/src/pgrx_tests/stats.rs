use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    const COUNTS: &str =
        "ready, claimed, blocked, done, cancelled, claimable, gated, deferred, expired_leases";

    fn stats(columns: &str, arguments: &str) -> String {
        rows(&format!("select {columns} from backlog_stats({arguments})"))
    }

    #[pg_test]
    fn an_empty_backlog_counts_nothing() {
        begin();
        assert_eq!(stats(COUNTS, ""), "0|0|0|0|0|0|0|0|0");
        assert_eq!(
            stats(
                "oldest_claimable_seconds, by_owner, created_last_hour, completed_last_hour, failed_last_hour,
                 lapsed_last_hour, wait_p50_seconds, wait_p95_seconds, cycle_p50_seconds, cycle_p95_seconds",
                ""
            ),
            "null|{}|0|0|0|0|null|null|null|null"
        );
    }

    #[pg_test]
    fn every_card_is_counted_by_its_state() {
        begin();
        cards("r1 r2 c1 c2 c3 b1 d1 d2 x1 g1:r1 g2:r1,r2");
        run("select backlog_create('later', 'later', not_before => '2030-01-01 02:00+00')");
        claim("c1", "w1");
        claim("c2", "w1");
        run("select backlog_claim('w2', '1 min', id => 'c3')");
        run("select backlog_block('b1', 'why')");
        finish("d1");
        finish("d2");
        run("select backlog_cancel('x1', 'why')");
        at("5 min");
        assert_eq!(stats(COUNTS, ""), "5|3|1|2|1|2|2|1|1");
        assert_eq!(stats("by_owner", ""), r#"{"w1": 2, "w2": 1}"#);
        at("2 hours");
        assert_eq!(stats(COUNTS, ""), "5|3|1|2|1|3|2|0|3");
    }

    #[pg_test]
    fn a_phase_is_counted_alone() {
        begin();
        run("select backlog_create('A', 'A', phase => 'p')");
        run("select backlog_create('B', 'B', phase => 'p', depends_on => '{A}')");
        run("select backlog_create('C', 'C', phase => 'q')");
        cards("D");
        claim("C", "w1");
        finish("A");
        assert_eq!(stats(COUNTS, "'p'"), "1|0|0|1|0|1|0|0|0");
        assert_eq!(stats(COUNTS, "'q'"), "0|1|0|0|0|0|0|0|0");
        assert_eq!(stats(COUNTS, "'none'"), "0|0|0|0|0|0|0|0|0");
        assert_eq!(
            stats("created_last_hour, completed_last_hour, by_owner", "'p'"),
            "2|1|{}"
        );
        assert_eq!(
            stats("created_last_hour, completed_last_hour, by_owner", "'q'"),
            r#"1|0|{"w1": 1}"#
        );
    }

    #[pg_test]
    fn the_age_of_the_oldest_counts_from_when_it_became_claimable() {
        begin();
        let oldest = || stats("oldest_claimable_seconds", "");
        cards("A B:A");
        at("10 min");
        assert_eq!(oldest(), "600");
        finish("A");
        assert_eq!(oldest(), "0");
        at("11 min");
        assert_eq!(oldest(), "60");
        let token = claim("B", "w1");
        assert_eq!(oldest(), "null");
        run(&format!("select backlog_release('B', {token}, '5 min')"));
        at("18 min");
        assert_eq!(oldest(), "120");
    }

    #[pg_test]
    fn the_last_hour_is_counted_and_nothing_older() {
        begin();
        cards("old");
        finish("old");
        at("30 min");
        cards("A B C D");
        let token = claim("A", "w1");
        run(&format!("select backlog_fail('A', {token}, 'why')"));
        run("select backlog_claim('w1', '1 min', id => 'B')");
        finish("C");
        at("32 min");
        run("select backlog_reclaim()");
        let hour = "created_last_hour, completed_last_hour, failed_last_hour, lapsed_last_hour";
        assert_eq!(stats(hour, ""), "5|2|1|1");
        at("1 hour");
        assert_eq!(stats(hour, ""), "4|1|1|1");
        at("91 min");
        assert_eq!(stats(hour, ""), "0|0|0|1");
        at("92 min");
        assert_eq!(stats(hour, ""), "0|0|0|0");
    }

    #[pg_test]
    fn waits_count_from_claimable_to_claimed() {
        begin();
        cards("A B C:A");
        at("10 s");
        let a = claim("A", "w1");
        at("30 s");
        claim("B", "w1");
        at("60 s");
        run(&format!("select backlog_complete('A', {a})"));
        at("65 s");
        claim("C", "w1");
        // 10, 30 and 5 seconds.
        assert_eq!(stats("wait_p50_seconds, wait_p95_seconds", ""), "10|28");
    }

    #[pg_test]
    fn cycles_count_from_creation_to_done() {
        begin();
        cards("A B C");
        for (id, after) in [("A", "10 s"), ("B", "20 s"), ("C", "60 s")] {
            at(after);
            finish(id);
        }
        assert_eq!(stats("cycle_p50_seconds, cycle_p95_seconds", ""), "20|56");
    }

    #[pg_test]
    fn a_quarantined_card_counts_by_how_its_last_attempt_ended() {
        begin();
        run("set local mosaic.max_attempts = 1");
        cards("A B");
        let token = claim("A", "w1");
        run(&format!("select backlog_fail('A', {token}, 'why')"));
        claim("B", "w1");
        at("15 min");
        run("select backlog_reclaim()");
        assert_eq!(
            stats("blocked, failed_last_hour, lapsed_last_hour", ""),
            "2|1|1"
        );
    }
}
