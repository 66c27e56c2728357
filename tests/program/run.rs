//! `run`: a command for each card, under a lease that is kept, ended with it.

mod broken;
mod endings;
mod leases;
mod many;
mod signals;

use std::fs;
use std::path::Path;
use std::process::Child;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{Mosaic, Outcome, mosaic};
use mosaic_backlog_tests::wait;
use serde_json::Value;

/// `mosaic backlog run … -- sh -c SCRIPT`
fn run(flags: &[&str], script: &str) -> Mosaic {
    let mut arguments = vec!["backlog", "run", "--worker", "w"];
    arguments.extend(flags);
    arguments.extend(["--", "sh", "-c", script]);
    mosaic(&arguments)
}

/// The same on a database, with `--json`: the exit code, and what it says of each card.
fn run_json(db: &Database, flags: &[&str], script: &str) -> (i32, Vec<Value>) {
    let flags: Vec<&str> = flags.iter().copied().chain(["--json"]).collect();
    cards(run(&flags, script).on(db).run())
}

fn cards(outcome: Outcome) -> (i32, Vec<Value>) {
    let document: Value = serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|error| panic!("no single document: {error}: {outcome:?}"));
    assert_eq!(outcome.stdout.lines().count(), 1, "{outcome:?}");
    let cards = document["cards"].as_array().expect("cards").clone();
    (outcome.exit, cards)
}

fn the_end_of(call: Child) -> (i32, Vec<Value>) {
    cards(Outcome::of(call))
}

/// What a script has written to a file.
fn written(file: &Path) -> String {
    wait::until(&format!("{} is written", file.display()), || {
        let text = fs::read_to_string(file).ok()?;
        text.ends_with('\n').then(|| text.trim().to_owned())
    })
}

/// A process that a script has told the number of.
fn process(file: &Path) -> u32 {
    written(file).parse().expect("a process")
}

fn is_alive(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

fn until_gone(process: u32) {
    wait::until("the process is gone", || (!is_alive(process)).then_some(()));
}
