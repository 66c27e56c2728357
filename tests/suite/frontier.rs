//! A claim of another session finds every card that is claimable, whatever made it so. Each test
//! warms the frontier up first: what it does not know of it would look for.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;

/// The ids that one claim hands out.
#[track_caller]
pub fn claims(s: &mut Session, arguments: &str) -> Vec<String> {
    let ids = s.column(&format!(
        "select id from mosaic.backlog_claim('d', {arguments})"
    ));
    ids.iter()
        .map(|id| id.as_str().expect("an id").to_owned())
        .collect()
}

/// Claims one by one until nothing is left.
#[track_caller]
pub fn drain(s: &mut Session) -> Vec<String> {
    std::iter::from_fn(|| s.claim_next("d")).collect()
}

/// A database whose frontier has handed out three cards, done by now, and knows that there are
/// no more. The clock stands at 2026-01-01 00:00.
pub fn warm() -> (Database, Session) {
    let db = Database::fresh();
    db.fix_clock("2026-01-01 00:00Z");
    let mut s = db.session();
    s.create_numbered("warm", 3);
    assert_eq!(drain(&mut s).len(), 3);
    s.run("select mosaic.backlog_complete(id, claim_token) from mosaic.backlog");
    assert_eq!(drain(&mut s), [""; 0]);
    (db, s)
}
