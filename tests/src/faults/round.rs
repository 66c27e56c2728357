//! A round: load, one fault or several in a row, and the checker's verdict.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use super::{Fault, Server, Strain};
use crate::checker::{Rule, Violation, check};
use crate::load::{self, FIRST, Load, Plan};
use crate::record::{self, Entry, Moment, Record};
use crate::{damage, wait};

/// How long calls are counted before and after a fault.
const COUNTED: Duration = Duration::from_secs(1);

/// How a fault was got over.
pub struct Graded {
    pub fault: Fault,
    /// The longest time in which no call succeeded.
    pub silence: Duration,
    /// From the fault until each worker had had a success, after its last call without an answer.
    pub all: Duration,
    /// Successful calls a second after it, over those before.
    pub throughput: f64,
}

pub struct Round {
    pub grades: Vec<Graded>,
    pub calls: usize,
    /// Calls without an answer.
    pub unknown: usize,
    pub strain: Strain,
    pub violations: Vec<Violation>,
    /// Where the record is, if there is something wrong with it.
    pub file: Option<PathBuf>,
}

impl Round {
    /// `worker` is a program that serves as a worker's process.
    #[track_caller]
    pub fn run(server: &Server, faults: &[Fault], seed: u64, worker: &Path) -> Self {
        let database = server.create();
        let target = server.target(&database);
        let mut rng = Rng::with_seed(seed);
        load::prepare(&mut server.cluster.session(&database), rng.bool());
        let plan = Plan {
            connections: 6,
            processes: 2,
            programs: 1,
            worker: Some(worker.to_owned()),
            ..Plan::new(seed)
        };
        let load = Load::start(&target, plan);
        let back = |moment: Moment| {
            wait::until("all workers have a success", || {
                let back = successes(&load, moment);
                (back.len() == load.workers()).then_some(back)
            })
        };
        back(0);
        let grades = faults
            .iter()
            .map(|fault| {
                let before = throughput(&load);
                let moment = fault.happen(server, &database, &load, &mut rng);
                let back = back(moment);
                let back = back.into_values().max().expect("a worker");
                Graded {
                    fault: *fault,
                    silence: silence(&load, moment, back),
                    all: Duration::from_nanos(back - moment),
                    throughput: throughput(&load) / before,
                }
            })
            .collect();
        let mut admin = server.bring_back(&database);
        let record = load.finish(&target, &mut admin);
        let damaged = damage::find(&mut admin);
        drop(admin);
        server.remove(&database);
        let mut violations = check(&record);
        violations.extend(damaged.into_iter().map(|what| Violation {
            rule: Rule::Damaged,
            what,
        }));
        Self {
            grades,
            calls: record.entries.len(),
            strain: Strain::of(&record),
            unknown: (record.entries.iter())
                .filter(|entry| entry.outcome.is_unknown())
                .count(),
            file: (!violations.is_empty()).then(|| keep(&record, seed)),
            violations,
        }
    }
}

fn keep(record: &Record, seed: u64) -> PathBuf {
    let file = std::env::temp_dir().join(format!("mosaic-record-{seed}.jsonl"));
    record::write(record, &file).expect("a file for the record");
    file
}

/// When each worker had its first success of calls made from a moment on, and after its last call
/// without an answer.
fn successes(load: &Load, moment: Moment) -> BTreeMap<String, Moment> {
    load.recorder().look(|entries| {
        let mut ends = BTreeMap::new();
        let after = |entry: &&Entry| entry.start >= moment && entry.caller != FIRST;
        for entry in entries.iter().filter(after) {
            if entry.outcome.is_acknowledged() {
                ends.entry(entry.caller.clone()).or_insert(entry.end);
            } else if entry.outcome.is_unknown() {
                ends.remove(&entry.caller);
            }
        }
        ends
    })
}

fn silence(load: &Load, from: Moment, until: Moment) -> Duration {
    load.recorder().look(|entries| {
        let mut ends: Vec<Moment> = (entries.iter())
            .filter(|entry| entry.outcome.is_acknowledged())
            .map(|entry| entry.end)
            .filter(|end| (from..=until).contains(end))
            .collect();
        ends.insert(0, from);
        ends.sort_unstable();
        let gaps = ends.windows(2).map(|pair| pair[1] - pair[0]);
        Duration::from_nanos(gaps.max().unwrap_or_default())
    })
}

/// Successful calls a second from now on.
fn throughput(load: &Load) -> f64 {
    let from = load.recorder().now();
    thread::sleep(COUNTED);
    load.recorder().look(|entries| {
        let until = load.recorder().now();
        let counted = entries.iter().rev().filter(|entry| entry.end >= from);
        let count = counted
            .filter(|entry| entry.outcome.is_acknowledged())
            .count();
        count as f64 / Duration::from_nanos(until - from).as_secs_f64()
    })
}
