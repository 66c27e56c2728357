use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    fn list(arguments: &str) -> String {
        rows(&format!("select id from backlog_list({arguments})"))
    }

    #[pg_test]
    fn get_gives_a_card_with_its_dependencies() {
        begin();
        cards("A B C:B,A");
        assert_eq!(card("C", "id, depends_on"), r#"C|["A","B"]"#);
        refused("not_found", "select backlog_get('nobody')");
    }

    #[pg_test]
    fn list_goes_in_claim_order_over_all_states() {
        begin();
        cards("A B C D E");
        run("select backlog_create('F', 'F', priority => 1)");
        claim("B", "w1");
        run("select backlog_block('C', 'why')");
        finish("D");
        run("select backlog_cancel('E', 'why')");
        assert_eq!(list(""), "F A B C");
        assert_eq!(
            list("statuses => '{ready,claimed,blocked,done,cancelled}'"),
            "F A B C D E"
        );
        assert_eq!(list("statuses => '{ready,claimed}'"), "F A B");
        assert_eq!(list("statuses => '{done}'"), "D");
        assert_eq!(list("statuses => '{}'"), "");
        assert_eq!(list("owner => 'w1'"), "B");
    }

    #[pg_test]
    fn a_status_that_is_named_twice_lists_its_cards_once() {
        begin();
        cards("A");
        assert_eq!(list("statuses => '{ready,ready}'"), "A");
    }

    #[pg_test]
    fn list_filters_by_phase_and_by_all_labels() {
        begin();
        run("select backlog_create('A', 'A', phase => 'p', labels => '{x,y}')");
        run("select backlog_create('B', 'B', phase => 'p', labels => '{x}')");
        run("select backlog_create('C', 'C', phase => 'q', labels => '{x}')");
        assert_eq!(list("phase => 'p'"), "A B");
        assert_eq!(list("labels => '{x}'"), "A B C");
        assert_eq!(list("labels => '{y,x}'"), "A");
        assert_eq!(list("phase => 'p', labels => '{x}', max_cards => 1"), "A");
        assert_eq!(list("labels => '{}'"), "A B C");
        assert_eq!(list("phase => 'none'"), "");
    }

    #[pg_test]
    fn ready_only_keeps_what_could_be_claimed_now() {
        begin();
        cards("A B:A C");
        run("select backlog_create('D', 'D', not_before => '2030-01-01 01:00+00')");
        claim("C", "w1");
        assert_eq!(list("ready_only => true"), "A");
        at("1 hour");
        assert_eq!(list("ready_only => true"), "A D");
        assert_eq!(list("ready_only => true, statuses => '{done}'"), "");
    }

    #[pg_test]
    fn following_the_cursor_gives_every_card_once() {
        begin();
        for n in 0..23 {
            run(&format!(
                "select backlog_create('t', 'c{n:02}', priority => {})",
                n % 3
            ));
        }
        finish("c05");
        let all = list("max_cards => 10000");
        let mut pages = Vec::new();
        let mut after = "null".to_owned();
        while after != "done" {
            let page = format!("backlog_list(max_cards => 5, after => {after})");
            pages.push(rows(&format!("select id from {page}")));
            let cursor = rows(&format!(
                "select coalesce((array_agg(quote_literal(cursor)))[count(*)], 'done') from {page}"
            ));
            assert_ne!(cursor, after);
            after = cursor;
        }
        assert_eq!(pages.len(), 5);
        assert_eq!(pages.join(" "), all);
    }

    #[pg_test]
    fn the_cursor_is_null_where_nothing_follows() {
        begin();
        cards("A B C D");
        let cursors = |max: i32| {
            rows(&format!(
                "select cursor is null from backlog_list(max_cards => {max})"
            ))
        };
        assert_eq!(cursors(2), "false false");
        assert_eq!(cursors(4), "false false false true");
        assert_eq!(cursors(9), "false false false true");
    }

    #[pg_test]
    fn a_page_is_not_disturbed_by_what_is_inserted_before_it() {
        begin();
        cards("A B C");
        let cursor = rows("select cursor from backlog_list(max_cards => 1)");
        run("select backlog_create('new', 'new', priority => 5)");
        assert_eq!(list(&format!("after => '{cursor}'")), "B C");
    }

    #[pg_test]
    fn the_total_is_counted_on_request_alone() {
        begin();
        cards("A B C");
        run("select backlog_create('D', 'D', phase => 'p')");
        assert_eq!(
            rows("select total from backlog_list(max_cards => 1)"),
            "null"
        );
        assert_eq!(
            rows("select total from backlog_list(max_cards => 1, with_total => true)"),
            "4"
        );
        let cursor = rows("select cursor from backlog_list(max_cards => 1)");
        assert_eq!(
            rows(&format!(
                "select distinct total from backlog_list(after => '{cursor}', with_total => true)"
            )),
            "4"
        );
        assert_eq!(
            rows("select total from backlog_list(phase => 'p', with_total => true)"),
            "1"
        );
    }

    #[pg_test]
    fn a_foreign_cursor_is_refused() {
        begin();
        refused("invalid_argument", "select backlog_list(after => 'A4')");
        refused("invalid_argument", "select backlog_list(after => '')");
        refused(
            "invalid_argument",
            "select backlog_list(after => '99999999999999999999')",
        );
    }
}
