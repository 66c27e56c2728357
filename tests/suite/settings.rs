//! The settings `mosaic.*`.

use mosaic_backlog_tests::database::Database;

#[test]
fn a_setting_with_a_mistyped_name_is_refused() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select mosaic.backlog_stats()");
    let refused = s.attempt_run("set mosaic.max_atempts = 3");
    let refused = refused.expect_err("an error");
    assert_eq!(refused.sqlstate, "42602", "{refused:?}");
    s.run("set mosaic.max_attempts = 3");
}

#[test]
fn a_mistyped_setting_from_before_the_first_call_does_not_stay() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.max_atempts = 3");
    s.run("select mosaic.backlog_stats()");
    assert!(s.truth("select current_setting('mosaic.max_atempts', true) is null"));
}
