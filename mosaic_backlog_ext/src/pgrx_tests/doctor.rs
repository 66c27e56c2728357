use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    /// The findings that are not ok; the clock is that of the tests.
    fn open() -> String {
        rows("select name, state from backlog_doctor() where state <> 'ok' and name <> 'settings'")
    }

    fn detail(name: &str) -> String {
        rows(&format!(
            "select detail from backlog_doctor() where name = '{name}'"
        ))
    }

    #[pg_test]
    fn a_sound_backlog_is_well() {
        begin();
        cards("A B:A C:A,B");
        finish("A");
        assert_eq!(open(), "");
        assert_eq!(
            rows("select state from backlog_doctor() where name = 'settings'"),
            "error"
        );
    }

    #[pg_test]
    fn what_is_ok_needs_no_hint_and_all_else_has_one() {
        begin();
        cards("A B:A");
        run("delete from backlog where id = 'A'");
        assert_eq!(
            rows("select name from backlog_doctor() where (state = 'ok') <> (hint is null)"),
            ""
        );
    }

    #[pg_test]
    fn an_ended_lease_is_found_from_its_end_on() {
        begin();
        cards("A");
        claim("A", "w");
        at("15 min");
        assert_eq!(open(), "expired_leases|warning");
        assert!(detail("expired_leases").contains("1 lease has ended"));
        at("14 min");
        assert_eq!(open(), "");
    }

    #[pg_test]
    fn torn_links_are_orphans_and_no_wrong_counters() {
        begin();
        cards("A B:A");
        run("delete from backlog where id = 'A'");
        assert_eq!(open(), "orphans|error");
        cards("A");
        assert_eq!(open(), "");
    }

    #[pg_test]
    fn a_wrong_counter_is_told_with_both_numbers() {
        begin();
        cards("A B:A");
        run("update backlog set open_dependencies = 3 where id = 'B'");
        assert_eq!(open(), "counters|error");
        assert!(detail("counters").contains("B counts 3 and has 1"));
    }

    #[pg_test]
    fn a_cycle_is_written_out() {
        begin();
        cards("A B:A");
        run("insert into backlog_dependency values ('A', 'B', now())");
        run("update backlog set open_dependencies = 1, linked = true where id = 'A'");
        assert_eq!(open(), "cycles|error");
        assert!(detail("cycles").starts_with("2 cards wait"));
    }

    #[pg_test]
    fn what_waits_for_a_cancelled_card_is_found_until_it_is_unlinked() {
        begin();
        cards("A B:A C:B");
        run("select backlog_cancel('A', 'why')");
        assert_eq!(open(), "cancelled_dependencies|warning");
        assert!(detail("cancelled_dependencies").starts_with("2 open cards"));
        run("select backlog_unlink('B', '{A}')");
        assert_eq!(open(), "");
    }
}
