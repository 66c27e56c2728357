use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    fn request(arguments: &str) -> String {
        format!("select id, claim_token from backlog_claim({arguments}, request_id => '{ID}')")
    }

    #[pg_test]
    fn the_same_request_again_gets_the_same_answer() {
        begin();
        cards("A B C:A");
        let claim = request("'w1', '10 min', 2");
        let first = rows(&claim);
        at("5 min");
        assert_eq!(rows(&claim), first);
        // No new attempt, no longer lease, no further event.
        assert_eq!(
            card("A", "attempts, claim_expires_at"),
            "1|2030-01-01T00:10:00+00:00"
        );
        assert_eq!(
            number("select count(*) from backlog_event where kind = 'claimed'"),
            2
        );
        assert_eq!(rows("select id from backlog_claim('w1')"), "");
    }

    #[pg_test]
    fn a_repeat_gives_all_that_the_worker_needs() {
        begin();
        cards("A B:A");
        run("select backlog_complete('A', result => '{\"n\": 1}')");
        let token = claim("B", "w1");
        run(&format!(
            "select backlog_fail('B', {token}, 'no luck', '0')"
        ));
        let claim = format!(
            "select id, claim_owner, dependencies, last_failure, depends_on from backlog_claim('w1', request_id => '{ID}')"
        );
        let first = rows(&claim);
        assert!(first.contains("no luck") && first.contains(r#"{"n": 1}"#));
        assert_eq!(rows(&claim), first);
    }

    #[pg_test]
    fn a_repeat_gives_what_is_still_held() {
        begin();
        cards("A B C");
        let claim = request("'w1', '10 min', 3");
        run(&claim);
        run("select backlog_complete('B', claim_token) from backlog where id = 'B'");
        run("select backlog_release('C', claim_token) from backlog where id = 'C'");
        run("select backlog_claim('w1', id => 'C')");
        assert_eq!(rows(&format!("select id from ({claim}) c")), "A");
    }

    #[pg_test]
    fn a_repeat_follows_a_renewed_lease() {
        begin();
        cards("A");
        let claim = request("'w1', '10 min'");
        let first = rows(&claim);
        at("9 min");
        run("select backlog_renew(id, claim_token, '1 hour') from backlog");
        at("1 hour");
        assert_eq!(rows(&claim), first);
    }

    #[pg_test]
    fn a_request_of_which_nothing_is_held_gets_no_fresh_work() {
        begin();
        cards("A B");
        let claim = request("'w1', '10 min'");
        run(&claim);
        run("select backlog_complete('A', claim_token) from backlog where id = 'A'");
        refused("claim_lost", &claim);
        assert_eq!(card("B", "status"), "ready");
    }

    #[pg_test]
    fn a_request_whose_lease_was_swept_is_lost() {
        begin();
        cards("A");
        let claim = request("'w1', '10 min'");
        run(&claim);
        at("10 min");
        run("select backlog_claim('w2')");
        refused("claim_lost", &claim);
        assert_eq!(card("A", "claim_owner"), "w2");
    }

    #[pg_test]
    fn the_same_request_id_with_other_arguments_is_refused() {
        begin();
        run("select backlog_create('A', 'A', phase => 'p', labels => '{l}')");
        cards("B");
        run(&request("'w1', '10 min', 1"));
        for other in [
            "'w2', '10 min', 1",
            "'w1', '11 min', 1",
            "'w1', '10 min', 2",
            "'w1', '10 min', 1, phase => 'p'",
            "'w1', '10 min', 1, labels => '{l}'",
            "'w1', '10 min', 1, offers => '{o}'",
            "'w1', '10 min', 1, id => 'A'",
        ] {
            refused("key_conflict", &request(other));
        }
        assert_eq!(card("B", "status"), "ready");
    }

    #[pg_test]
    fn the_same_arguments_written_differently_are_the_same_request() {
        begin();
        cards("A B");
        let first = rows(&request(
            "'w1', '10 min', 1, labels => '{}', offers => '{b,a,b}'",
        ));
        assert_eq!(
            rows(&request("'w1', '600 seconds', offers => '{a,b}'")),
            first
        );
    }

    #[pg_test]
    fn an_empty_answer_is_not_remembered() {
        begin();
        let claim = request("'w1'");
        assert_eq!(rows(&claim), "");
        cards("A");
        assert_eq!(rows(&format!("select id from ({claim}) c")), "A");
    }

    #[pg_test]
    fn an_error_is_not_remembered() {
        begin();
        cards("A B:A");
        let claim = request("'w1', id => 'B'");
        refused("open_dependencies", &claim);
        run("select backlog_complete('A')");
        let first = rows(&claim);
        assert!(first.starts_with("B|"));
        assert_eq!(rows(&claim), first);
    }

    #[pg_test]
    fn two_request_ids_are_two_claims() {
        begin();
        cards("A B");
        run(&request("'w1'"));
        assert_eq!(
            rows(
                "select id from backlog_claim('w1', request_id => '00000000-0000-4000-8000-000000000002')"
            ),
            "B"
        );
    }
}
