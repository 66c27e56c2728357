use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    #[pg_test]
    fn create_stores_what_it_was_given() {
        begin();
        cards("D");
        assert_eq!(
            rows(
                "select id, title, body, phase, priority, labels, requires, acceptance, idempotency_key, not_before,
                   max_attempts, depends_on, created
                 from backlog_create('A title', 'A', 'the body', 'one', 3, '{D}', '{b,a,b}', '{gpu}', '{\"ok\": true}',
                   'key', '2030-01-02', 7)"
            ),
            r#"A|A title|the body|one|3|["a","b"]|["gpu"]|{"ok": true}|key|2030-01-02T00:00:00+00:00|7|["D"]|true"#
        );
    }

    #[pg_test]
    fn a_new_card_is_ready_and_unclaimed() {
        begin();
        assert_eq!(
            rows(
                "select body, phase, labels, requires, priority, status, claim_owner, claim_token, attempts, max_attempts,
                   result, open_dependencies, created_at, updated_at, completed_at, depends_on, created
                 from backlog_create('A', 'A')"
            ),
            "null|null|[]|[]|0|ready|null|null|0|null|null|0|2030-01-01T00:00:00+00:00|2030-01-01T00:00:00+00:00|null|[]|true"
        );
    }

    #[pg_test]
    fn generated_ids_are_short_and_sort_by_creation() {
        begin();
        let ids: Vec<String> = (0..40)
            .map(|n| rows(&format!("select id from backlog_create('{n}')")))
            .collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        for id in &ids {
            assert!(
                id.len() <= 8 && id.chars().all(|c| c.is_ascii_alphanumeric()),
                "{id}"
            );
        }
    }

    #[pg_test]
    fn a_generated_id_that_is_taken_is_drawn_again() {
        begin();
        let taken = rows("select id from backlog_create('first')");
        run("select setval('backlog_creation_seq', creation_seq - 1) from backlog");
        assert_eq!(
            rows(&format!(
                "select created, id > '{taken}' from backlog_create('second')"
            )),
            "true|true"
        );
        assert_eq!(number("select count(*) from backlog"), 2);
    }

    #[pg_test]
    fn the_same_id_again_is_refused() {
        begin();
        run("select backlog_create('A', 'A', idempotency_key => 'k')");
        refused("id_conflict", "select backlog_create('A', 'A')");
        refused(
            "id_conflict",
            "select backlog_create('A', 'A', idempotency_key => 'other')",
        );
        assert_eq!(number("select count(*) from backlog"), 1);
    }

    #[pg_test]
    fn the_same_request_again_finds_the_first_card() {
        begin();
        let create = "select id, created from backlog_create('T', body => 'b', labels => '{x,y}', priority => 2,
                        acceptance => '{\"a\": [1, 2.50]}', idempotency_key => 'k', not_before => '2030-01-01 00:00+00')";
        let id = rows(&format!("select id from ({create}) c"));
        assert_eq!(rows(create), format!("{id}|false"));
        // Whatever became of it since, and however the same values are written.
        run(&format!(
            "select backlog_update('{id}', title => 'other', labels => '{{z}}', phase => 'p')"
        ));
        run(&format!("select backlog_complete('{id}')"));
        assert_eq!(
            rows(
                "select id, created, title, status from backlog_create('T', body => 'b', labels => '{y,x,y}', priority => 2,
                   acceptance => '{ \"a\":[1,2.50] }', idempotency_key => 'k',
                   not_before => '2030-01-01 02:00+02')"
            ),
            format!("{id}|false|other|done")
        );
        assert_eq!(
            number("select count(*) from backlog_event where kind = 'created'"),
            1
        );
    }

    #[pg_test]
    fn a_batch_and_a_single_create_are_the_same_request() {
        begin();
        run("select backlog_create('T', 'A', acceptance => '{\"b\": 1, \"a\": [true, null]}', idempotency_key => 'k',
               not_before => '2030-01-02 00:00:00.5+00', max_attempts => 2)");
        assert_eq!(
            rows(
                r#"select * from backlog_create_many('[{"title": "T", "id": "A", "acceptance": {"a": [true, null], "b": 1},
                     "idempotency_key": "k", "not_before": "2030-01-02T01:00:00.5+01:00", "max_attempts": 2}]')"#
            ),
            "A|false"
        );
    }

    #[pg_test]
    fn another_request_under_the_same_key_is_told_what_differs() {
        begin();
        cards("D");
        run("select backlog_create('T', 'A', idempotency_key => 'k')");
        for (field, arguments) in [
            ("title", "'U', 'A'"),
            ("id", "'T', 'B'"),
            ("id", "'T'"),
            ("body", "'T', 'A', body => 'b'"),
            ("phase", "'T', 'A', phase => 'p'"),
            ("priority", "'T', 'A', priority => 1"),
            ("depends_on", "'T', 'A', depends_on => '{D}'"),
            ("labels", "'T', 'A', labels => '{l}'"),
            ("requires", "'T', 'A', requires => '{r}'"),
            ("acceptance", "'T', 'A', acceptance => '1'"),
            ("not_before", "'T', 'A', not_before => '2030-01-01'"),
            ("max_attempts", "'T', 'A', max_attempts => 1"),
        ] {
            let message = refused(
                "key_conflict",
                &format!("select backlog_create({arguments}, idempotency_key => 'k')"),
            );
            assert!(message.contains(field), "{field}: {message}");
        }
        let message = refused(
            "key_conflict",
            "select backlog_create('U', 'A', priority => 1, idempotency_key => 'k')",
        );
        assert!(
            message.contains("title") && message.contains("priority") && !message.contains("body"),
            "{message}"
        );
        assert_eq!(number("select count(*) from backlog"), 2);
    }

    #[pg_test]
    fn the_actor_is_no_part_of_the_request() {
        begin();
        run("select backlog_create('T', idempotency_key => 'k', actor => 'one')");
        assert_eq!(
            rows("select created from backlog_create('T', idempotency_key => 'k', actor => 'two')"),
            "false"
        );
        assert_eq!(rows("select actor from backlog_event"), "one");
    }

    #[pg_test]
    fn unicode_and_quotes_come_back_as_they_went_in() {
        begin();
        let odd = r#"a"b\c,{} 'é' 漢字 🦀 NULL"#;
        let quoted = odd.replace('\'', "''");
        run(&format!(
            "select backlog_create('{quoted}', '{quoted}', '{quoted}', '{quoted}',
               labels => array['{quoted}', 'NULL', '{{}}'], requires => array['\\', '\"'],
               idempotency_key => '{quoted}')"
        ));
        assert_eq!(
            number(&format!(
                "select count(*) from backlog_get('{quoted}') where title = id and body = id and phase = id
                   and idempotency_key = id and id = any(labels) and labels @> '{{\"NULL\",\"{{}}\"}}'
                   and array_length(labels, 1) = 3 and requires @> array['\\', '\"']"
            )),
            1
        );
    }

    #[pg_test]
    fn a_batch_creates_cards_that_depend_on_each_other_in_any_order() {
        begin();
        cards("open done");
        finish("done");
        assert_eq!(
            rows(
                r#"select * from backlog_create_many('[
                     {"title": "C", "id": "C", "depends_on": ["B", "A", "open"]},
                     {"title": "B", "id": "B", "depends_on": ["A", "done"]},
                     {"title": "A", "id": "A", "priority": 4, "labels": ["x"]}]')"#
            ),
            "C|true B|true A|true"
        );
        assert_eq!(
            rows("select id, open_dependencies, priority from backlog where id < 'a' order by id"),
            "A|0|4 B|1|0 C|3|0"
        );
        assert_eq!(rows("select * from backlog_create_many('[]')"), "");
    }

    #[pg_test]
    fn a_batch_is_created_as_a_whole_or_not_at_all() {
        begin();
        cards("taken");
        run("select backlog_create('K', 'K', idempotency_key => 'k')");
        for (code, bad) in [
            ("id_conflict", r#"{"title": "x", "id": "taken"}"#),
            ("not_found", r#"{"title": "x", "depends_on": ["nobody"]}"#),
            ("cycle", r#"{"title": "x", "id": "X", "depends_on": ["X"]}"#),
            ("invalid_argument", r#"{"title": " "}"#),
            ("invalid_argument", r#"{"title": "x", "colour": "red"}"#),
            ("invalid_argument", r#"{"title": "x", "id": "first"}"#),
            ("key_conflict", r#"{"title": "x", "idempotency_key": "k"}"#),
        ] {
            let batch = format!(r#"[{{"title": "f", "id": "first"}}, {bad}]"#);
            refused(code, &format!("select backlog_create_many('{batch}')"));
        }
        assert_eq!(number("select count(*) from backlog"), 2);
        assert_eq!(number("select count(*) from backlog_event"), 2);
    }

    #[pg_test]
    fn a_batch_that_closes_a_cycle_is_refused() {
        begin();
        cards("D");
        refused(
            "cycle",
            r#"select backlog_create_many('[{"title": "A", "id": "A", "depends_on": ["B", "D"]},
                 {"title": "B", "id": "B", "depends_on": ["C"]}, {"title": "C", "id": "C", "depends_on": ["A"]}]')"#,
        );
    }

    #[pg_test]
    fn a_batch_names_the_card_that_is_at_fault() {
        begin();
        let message = refused(
            "invalid_argument",
            r#"select backlog_create_many('[{"title": "A"}, {"title": ""}]')"#,
        );
        assert!(message.contains("card 2"), "{message}");
    }

    #[pg_test]
    fn a_batch_again_finds_its_cards_by_their_keys() {
        begin();
        let batch = r#"select * from backlog_create_many('[
            {"title": "A", "id": "A", "idempotency_key": "a", "depends_on": ["B"]},
            {"title": "B", "id": "B", "idempotency_key": "b"}]')"#;
        assert_eq!(rows(batch), "A|true B|true");
        run("select backlog_complete('B')");
        assert_eq!(rows(batch), "A|false B|false");
        assert_eq!(card("A", "open_dependencies"), "0");
    }

    #[pg_test]
    fn deeply_nested_acceptance_is_kept_up_to_100_levels() {
        begin();
        run("select backlog_create_many(format('[{\"title\": \"A\", \"id\": \"A\", \"acceptance\": %s1%s}]',
               repeat('[', 100), repeat(']', 100))::jsonb)");
        assert_eq!(
            number("select length(acceptance::text) from backlog_get('A')"),
            201
        );
    }
}
