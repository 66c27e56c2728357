//! Decides from a record whether the backlog kept what it promises.
//!
//! The events of the database are taken as its own claim of what happened, in the order of their
//! numbers. That claim is judged from four sides:
//!
//! - it is a possible history: `replay` goes through it under the rules of leases, tokens and the
//!   gate, and ends at what the tables hold;
//! - callers were told nothing else: `answers` finds the event of each acknowledged call, `trace`
//!   the call of each event. A call without an answer may be in the history or not, a refused one
//!   must not;
//! - it does not contradict time: what was called after another call had been answered comes later;
//! - it is fair: `order` finds cards that a claim passed over, or that were never handed out.
//!
//! What callers saw of leases and tokens is also compared without the events, in `leases`.

mod answers;
mod end;
mod leases;
mod order;
mod replay;
mod trace;
mod violation;

use crate::record::{self, Record};

pub use violation::{Rule, Violation};

/// All that is wrong with a record.
pub fn check(record: &Record) -> Vec<Violation> {
    let mut found = Vec::new();
    let trace = trace::Trace::of(record, &mut found);
    let replay = replay::Replay::of(&trace, &mut found);
    answers::check(&trace, &replay, &mut found);
    leases::check(&trace, &replay, &mut found);
    order::check(&trace, &replay, &mut found);
    end::check(record, &replay, &mut found);
    found
}

/// Fails with what is wrong, and keeps the record in a file.
#[track_caller]
pub fn assert_kept(record: &Record) {
    let found = check(record);
    if found.is_empty() {
        return;
    }
    let file = std::env::temp_dir().join(format!("mosaic-record-{}.jsonl", std::process::id()));
    record::write(record, &file).expect("a file for the record");
    let lines: Vec<String> = found.iter().take(20).map(ToString::to_string).collect();
    panic!(
        "{} violations in {}:\n{}",
        found.len(),
        file.display(),
        lines.join("\n")
    );
}
