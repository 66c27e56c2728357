//! What each verb does to a card in each state: the table of the contract, cell by cell.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;

/// The states that the table tells apart. In each there is one card "A", and "dep" and "other"
/// beside it. `$t` in a call is the token of A's last claim, `$w` one that never held it.
const STATES: [&str; 9] = [
    "ready",
    "gated",
    "deferred",
    "claimed",
    "expired",
    "blocked",
    "done",
    "done held",
    "cancelled",
];

const NOW: &str = "2030-01-01 12:00+00";

/// Puts the card into the state; the token of its last claim, if it had one.
fn prepare(s: &mut Session, state: &str) -> i64 {
    s.run(&format!(
        "truncate mosaic.backlog, mosaic.backlog_dependency; set mosaic.clock = '{NOW}'"
    ));
    s.create("dep");
    s.create("other");
    let mut token = 0;
    match state {
        "ready" => s.create("A"),
        "gated" => s.create_after("A", &["dep"]),
        "deferred" => {
            s.run("select from mosaic.backlog_create('t', id => 'A', not_before => '2031-01-01')")
        }
        "claimed" | "expired" | "done held" => {
            s.create("A");
            if state == "expired" {
                s.run("set mosaic.clock = '2029-12-31'");
            }
            token = s.claim("A", "holder");
            s.run(&format!("set mosaic.clock = '{NOW}'"));
            if state == "done held" {
                s.run(&format!(
                    "select from mosaic.backlog_complete('A', {token})"
                ));
            }
        }
        "blocked" => {
            s.create("A");
            s.run("select from mosaic.backlog_block('A', 'old reason')");
        }
        "done" => {
            s.create("A");
            s.complete("A");
        }
        "cancelled" => {
            s.create("A");
            s.run("select from mosaic.backlog_cancel('A', 'why')");
        }
        other => panic!("unknown state {other}"),
    }
    token
}

/// What a cell says.
#[derive(Clone, Copy, Debug)]
enum Cell {
    /// The card ends in this state.
    To(&'static str),
    /// The call succeeds and changes nothing at all.
    Repeat,
    /// The call is refused with this code and changes nothing at all.
    No(&'static str),
}
use Cell::{No, Repeat, To};

const LOST: Cell = No("claim_lost");
const TAKEN: Cell = No("already_claimed");
const BAD: Cell = No("bad_transition");
const OPEN: Cell = No("open_dependencies");

/// A row of the table: a call, and its cells in the order of `STATES`.
type Row = (&'static str, [Cell; 9]);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    //                                                ready           gated           deferred        claimed         expired         blocked         done            done held       cancelled
    ("claim('w', id => 'A')",                        [To("claimed"),  OPEN,           BAD,            TAKEN,          To("claimed"),  BAD,            BAD,            BAD,            BAD]),
    ("renew('A', $t)",                               [LOST,           LOST,           LOST,           To("claimed"),  To("claimed"),  LOST,           LOST,           LOST,           LOST]),
    ("renew('A', $w)",                               [LOST,           LOST,           LOST,           LOST,           LOST,           LOST,           LOST,           LOST,           LOST]),
    ("release('A', $t)",                             [LOST,           LOST,           LOST,           To("ready"),    To("ready"),    LOST,           LOST,           LOST,           LOST]),
    ("release('A', $w)",                             [LOST,           LOST,           LOST,           LOST,           LOST,           LOST,           LOST,           LOST,           LOST]),
    ("fail('A', $t, 'why')",                         [LOST,           LOST,           LOST,           To("ready"),    To("ready"),    LOST,           LOST,           LOST,           LOST]),
    ("fail('A', $w, 'why')",                         [LOST,           LOST,           LOST,           LOST,           LOST,           LOST,           LOST,           LOST,           LOST]),
    ("assert_held('A', $t)",                         [LOST,           LOST,           LOST,           Repeat,         Repeat,         LOST,           LOST,           LOST,           LOST]),
    ("complete('A')",                                [To("done"),     OPEN,           To("done"),     TAKEN,          TAKEN,          BAD,            Repeat,         Repeat,         BAD]),
    ("complete('A', force => true)",                 [To("done"),     To("done"),     To("done"),     To("done"),     To("done"),     To("done"),     Repeat,         Repeat,         BAD]),
    ("complete('A', $t)",                            [LOST,           LOST,           LOST,           To("done"),     To("done"),     BAD,            LOST,           Repeat,         BAD]),
    ("complete('A', $w)",                            [LOST,           LOST,           LOST,           LOST,           LOST,           BAD,            LOST,           LOST,           BAD]),
    ("complete('A', $w, force => true)",             [LOST,           LOST,           LOST,           LOST,           LOST,           LOST,           LOST,           LOST,           BAD]),
    ("block('A', 'new reason')",                     [To("blocked"),  To("blocked"),  To("blocked"),  TAKEN,          TAKEN,          To("blocked"),  BAD,            BAD,            BAD]),
    ("block('A', 'new reason', claim_token => $t)",  [LOST,           LOST,           LOST,           To("blocked"),  To("blocked"),  LOST,           BAD,            BAD,            BAD]),
    ("block('A', 'new reason', claim_token => $w)",  [LOST,           LOST,           LOST,           LOST,           LOST,           LOST,           BAD,            BAD,            BAD]),
    ("unblock('A')",                                 [Repeat,         Repeat,         Repeat,         BAD,            BAD,            To("ready"),    BAD,            BAD,            BAD]),
    ("cancel('A', 'why')",                           [To("cancelled"),To("cancelled"),To("cancelled"),TAKEN,          TAKEN,          To("cancelled"),BAD,            BAD,            Repeat]),
    ("cancel('A', 'why', force => true)",            [To("cancelled"),To("cancelled"),To("cancelled"),To("cancelled"),To("cancelled"),To("cancelled"),BAD,            BAD,            Repeat]),
    ("reopen('A', 'why')",                           [Repeat,         Repeat,         Repeat,         BAD,            BAD,            BAD,            To("ready"),    To("ready"),    To("ready")]),
    ("link('A', '{other}')",                         [To("ready"),    To("ready"),    To("ready"),    To("claimed"),  To("claimed"),  To("blocked"),  BAD,            BAD,            BAD]),
    ("unlink('A', '{dep}')",                         [Repeat,         To("ready"),    Repeat,         Repeat,         Repeat,         Repeat,         BAD,            BAD,            BAD]),
    ("reclaim('A')",                                 [Repeat,         Repeat,         Repeat,         TAKEN,          To("ready"),    Repeat,         Repeat,         Repeat,         Repeat]),
    ("reclaim('A', force => true)",                  [Repeat,         Repeat,         Repeat,         To("ready"),    To("ready"),    Repeat,         Repeat,         Repeat,         Repeat]),
    ("reclaim()",                                    [Repeat,         Repeat,         Repeat,         Repeat,         To("ready"),    Repeat,         Repeat,         Repeat,         Repeat]),
    ("update('A', title => 'new')",                  [To("ready"),    To("ready"),    To("ready"),    To("claimed"),  To("claimed"),  To("blocked"),  To("done"),     To("done"),     To("cancelled")]),
];

fn check(s: &mut Session, state: &str, verb: &str, cell: Cell) -> Result<(), String> {
    let token = prepare(s, state);
    let call = format!(
        "select * from mosaic.backlog_{}",
        verb.replace("$t", &token.to_string())
            .replace("$w", "987654321")
    );
    let before = (s.card("A"), s.events());
    let answer = s.attempt(&call);
    let after = (s.card("A"), s.events());
    let complaint = match (cell, answer) {
        (To(to), Ok(_)) if after.0["status"] != to => format!("it is {}", after.0["status"]),
        (To(_), Ok(_)) if after.1 == before.1 => "it wrote no event".to_owned(),
        (Repeat, Ok(_)) if after != before => format!("it changed {before:?} to {after:?}"),
        (No(_), Err(_)) if after != before => format!("it changed {before:?} to {after:?}"),
        (No(code), Err(refused)) if refused.code != code => format!("{refused:?}"),
        (To(_) | Repeat, Ok(_)) | (No(_), Err(_)) => return Ok(()),
        (_, answer) => format!("it answered {answer:?}"),
    };
    Err(format!("{state}, {verb}, expected {cell:?}: {complaint}"))
}

#[test]
fn every_verb_does_to_every_state_what_the_table_says() {
    let db = Database::fresh();
    let mut s = db.session();
    let mut wrong = Vec::new();
    for (verb, cells) in TABLE {
        for (state, cell) in STATES.iter().zip(cells) {
            wrong.extend(check(&mut s, state, verb, *cell).err());
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cells:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn no_verb_knows_a_card_that_does_not_exist() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("other");
    s.create("dep");
    let mut seen = 0;
    for (verb, _) in TABLE {
        if !verb.contains("'A'") {
            continue;
        }
        let call = verb.replace("$t", "1").replace("$w", "2");
        assert_eq!(
            s.code(&format!("select * from mosaic.backlog_{call}")),
            "not_found",
            "{verb}"
        );
        seen += 1;
    }
    for verb in ["get('A')", "why('A')"] {
        assert_eq!(
            s.code(&format!("select * from mosaic.backlog_{verb}")),
            "not_found",
            "{verb}"
        );
    }
    assert!(seen > 20);
    assert_eq!(s.events(), 2);
}

#[test]
fn the_table_names_every_function_that_changes_a_card() {
    let db = Database::fresh();
    let functions = db.session().column(
        "select substr(proname, 9) from pg_proc where pronamespace = 'mosaic'::regnamespace
           and proname like 'backlog\\_%' and prorettype not in ('event_trigger'::regtype, 'trigger'::regtype)
           and proname not in ('backlog_create', 'backlog_create_many', 'backlog_get', 'backlog_list',
             'backlog_stats', 'backlog_why', 'backlog_doctor', 'backlog_events', 'backlog_export', 'backlog_import',
             'backlog_token', 'backlog_failing_workers', 'backlog_frontier', 'backlog_resume_after_restore')",
    );
    assert!(functions.len() >= 14);
    for function in functions {
        let name = function.as_str().expect("a name");
        assert!(
            TABLE
                .iter()
                .any(|(call, _)| call.starts_with(&format!("{name}("))),
            "{name} is in no row"
        );
    }
}
