//! Of each limit, the largest that is allowed passes, and one more is refused.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    /// `{}` in the statement is `allowed` and passes, is `refused` and changes nothing.
    fn limit(statement: &str, allowed: &str, one_more: &str) {
        let count = || {
            number("select (select count(*) from backlog) + (select count(*) from backlog_event)")
        };
        let before = count();
        refused("invalid_argument", &statement.replace("{}", one_more));
        assert_eq!(count(), before, "{statement}");
        // Undone, so that the next limit finds the same cards.
        let sql = statement.replace("{}", allowed);
        let undone = attempt(&format!(
            "do $do$ begin execute $sql${sql}$sql$; raise exception 'passed'; end $do$"
        ));
        assert_eq!(
            undone.expect("an exception").message,
            "passed",
            "{allowed}: {statement}"
        );
    }

    /// A string of `allowed` characters passes and of one more does not, in ASCII and beyond.
    fn characters(statement: &str, allowed: usize) {
        for character in ["x", "é", "🦀"] {
            let of = |n: usize| format!("repeat('{character}', {n})");
            limit(statement, &of(allowed), &of(allowed + 1));
        }
        limit(statement, "'x'", "''");
    }

    #[pg_test]
    fn an_id_has_1_to_200_characters() {
        begin();
        cards("A");
        characters("select backlog_create('t', {})", 200);
        characters(
            "select backlog_create_many(jsonb_build_array(jsonb_build_object('title', 't', 'id', {})))",
            200,
        );
    }

    #[pg_test]
    fn a_title_has_1_to_1000_characters() {
        begin();
        cards("A");
        characters("select backlog_create({})", 1000);
        characters("select backlog_update('A', title => {})", 1000);
    }

    #[pg_test]
    fn names_have_1_to_200_characters() {
        begin();
        cards("A");
        for statement in [
            "select backlog_create('t', phase => {})",
            "select backlog_create('t', idempotency_key => {})",
            "select backlog_create('t', actor => {})",
            "select backlog_claim({})",
            "select backlog_claim('w', phase => {})",
            "select backlog_list(phase => {})",
            "select backlog_list(owner => {})",
            "select backlog_stats({})",
            "select backlog_update('A', phase => {})",
            "select backlog_update('A', title => 't', actor => {})",
        ] {
            characters(statement, 200);
        }
    }

    #[pg_test]
    fn a_reason_has_1_to_10000_characters() {
        begin();
        cards("A");
        characters("select backlog_block('A', {})", 10_000);
        characters("select backlog_cancel('A', {})", 10_000);
        characters("select backlog_reopen('A', {})", 10_000);
    }

    #[pg_test]
    fn a_label_has_1_to_100_characters_and_a_card_64_of_them() {
        begin();
        cards("A");
        let array = |n: i32| format!("(select array_agg(n::text) from generate_series(1, {n}) n)");
        for field in ["labels", "requires"] {
            for verb in ["backlog_create('t'", "backlog_update('A'"] {
                characters(&format!("select {verb}, {field} => array['l', {{}}])"), 100);
                limit(
                    &format!("select {verb}, {field} => {{}})"),
                    &array(64),
                    &array(65),
                );
            }
        }
        // A repeat does not count.
        limit(
            "select backlog_create('t', labels => {})",
            &format!("{} || '64'::text", array(64)),
            &array(65),
        );
    }

    #[pg_test]
    fn a_body_has_at_most_1_mib() {
        begin();
        cards("A");
        for statement in [
            "select backlog_create('t', body => {})",
            "select backlog_update('A', body => {})",
            "select backlog_create_many(jsonb_build_array(jsonb_build_object('title', 't', 'body', {})))",
        ] {
            limit(statement, "repeat('x', 1048576)", "repeat('x', 1048577)");
            limit(statement, "repeat('é', 524288)", "repeat('é', 524289)");
        }
    }

    #[pg_test]
    fn a_json_document_has_at_most_1_mib_as_text() {
        begin();
        cards("A");
        for statement in [
            "select backlog_create('t', acceptance => {})",
            "select backlog_update('A', acceptance => {})",
            "select backlog_create_many(jsonb_build_array(jsonb_build_object('title', 't', 'acceptance', {})))",
            "select backlog_complete('A', result => {})",
        ] {
            // With its quotes.
            limit(
                statement,
                "to_jsonb(repeat('x', 1048574))",
                "to_jsonb(repeat('x', 1048575))",
            );
        }
    }

    #[pg_test]
    fn a_lease_lasts_1_second_to_30_days() {
        begin();
        cards("A");
        for (least, too_short) in [
            ("'1 s'", "'0.999999 s'"),
            ("'1 s'", "'0'"),
            ("'1 s'", "'-1 s'"),
        ] {
            limit("select backlog_claim('w', {})", least, too_short);
        }
        limit(
            "select backlog_claim('w', {})",
            "'30 days'",
            "'30 days 0.000001 s'",
        );
        limit(
            "select backlog_claim('w', {})",
            "'1 month'",
            "'178000000 years'",
        );
        limit("select backlog_claim('w', {})", "'1 s'", "null");
        let renew = "with c as (select id, claim_token from backlog_claim('w'))
                     select backlog_renew(id, claim_token, {}) from c";
        limit(renew, "'30 days'", "'30 days 1 s'");
        limit(renew, "'1 s'", "'0'");
    }

    #[pg_test]
    fn a_delay_lasts_0_to_30_days() {
        begin();
        cards("A");
        let claimed = "with c as (select id, claim_token from backlog_claim('w')) select ";
        for verb in [
            "backlog_release(id, claim_token, {}) from c",
            "backlog_fail(id, claim_token, 'why', {}) from c",
        ] {
            let statement = format!("{claimed}{verb}");
            limit(&statement, "'30 days'", "'30 days 1 s'");
            limit(&statement, "'0'", "'-0.000001 s'");
        }
        limit(
            "select backlog_reclaim(grace => {})",
            "'30 days'",
            "'30 days 1 s'",
        );
        limit("select backlog_reclaim(grace => {})", "'0'", "'-1 s'");
    }

    #[pg_test]
    fn counts_lie_between_1_and_10000() {
        begin();
        cards("A");
        for statement in [
            "select backlog_claim('w', max_cards => {})",
            "select backlog_list(max_cards => {})",
            "select backlog_reclaim(max_cards => {})",
            "select backlog_events(max_events => {})",
        ] {
            limit(statement, "10000", "10001");
            limit(statement, "1", "0");
            limit(statement, "1", "-2147483648");
        }
    }

    #[pg_test]
    fn priorities_and_attempts_are_bounded() {
        begin();
        cards("A");
        for verb in ["backlog_create('t'", "backlog_update('A'"] {
            let priority = format!("select {verb}, priority => {{}})");
            limit(&priority, "1000000", "1000001");
            limit(&priority, "-1000000", "-1000001");
            limit(&priority, "0", "-2147483648");
            let attempts = format!("select {verb}, max_attempts => {{}})");
            limit(&attempts, "1", "0");
            limit(&attempts, "1", "-2147483648");
        }
    }

    #[pg_test]
    fn a_batch_has_at_most_100000_cards() {
        begin();
        let batch = |n: i32| {
            format!(
                "select backlog_create_many((select jsonb_agg(0) from generate_series(1, {n})))"
            )
        };
        // What the cards are is looked at only if they are not too many.
        let message = refused("invalid_argument", &batch(100_000));
        assert!(message.contains("card 1 "), "{message}");
        let message = refused("invalid_argument", &batch(100_001));
        assert!(message.contains("100000"), "{message}");
    }

    #[pg_test]
    fn a_call_names_at_most_100000_dependencies() {
        begin();
        cards("A");
        let link = |n: i32| {
            format!(
                "select backlog_link('A', array(select 'x' || n from generate_series(1, {n}) n))"
            )
        };
        refused("not_found", &link(100_000));
        refused("invalid_argument", &link(100_001));
    }
}
