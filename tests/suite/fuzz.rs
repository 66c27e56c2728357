//! Generated arguments for every function. `tests/fuzz/run` makes a million calls of this kind;
//! here are some, the same in every run.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::fuzz::{Fuzz, spread};

#[test]
fn generated_calls_are_answered_in_order_and_refusals_change_nothing() {
    let tally = spread(8_000, 1, 2, |_| ());
    assert!(tally.faults.is_empty(), "{:#?}", tally.faults);
    assert_eq!(tally.calls.len(), 27, "{tally:?}");
    for (function, (taken, refused)) in &tally.calls {
        // Neither are all arguments wrong nor all right. Export takes what it gets.
        assert!(*taken > 0, "{function}: {taken} taken");
        assert!(
            *refused > 0 || function == "backlog_export",
            "{function}: {refused} refused"
        );
    }
}

/// The judge is not blind: an internal error of one function in some cases is found. Card D is one of those that each
/// round begins with.
#[test]
fn an_internal_error_is_found() {
    let db = Database::fresh();
    let fuzz = Fuzz::new(&db, 1);
    db.session().run(
        "create function fail() returns trigger language plpgsql as $$
         begin raise 'unexpected' using errcode = 'XX000'; end $$;
         create trigger fail after update of status on mosaic.backlog for each row
           when (new.status = 'done' and new.id <> 'D') execute function fail()",
    );
    let faults = fuzz.run(20_000).faults;
    assert!(
        faults
            .iter()
            .any(|fault| fault.starts_with("XX000 unexpected")),
        "{faults:?}"
    );
}

/// And so is the end of a backend.
#[test]
fn the_end_of_a_backend_is_found() {
    let db = Database::fresh();
    let fuzz = Fuzz::new(&db, 1);
    db.session().run(
        "create function leave() returns trigger language plpgsql security definer as $$
         begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$;
         create trigger leave after update of status on mosaic.backlog for each row
           when (new.status = 'done' and new.id <> 'D') execute function leave()",
    );
    let faults = fuzz.run(20_000).faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
}
