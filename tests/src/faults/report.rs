//! The table of a run.

use std::fmt;
use std::time::Duration;

use super::{Fault, Graded, Round, Strain};

/// What a line of the table is about.
#[derive(Default)]
struct Line {
    rounds: usize,
    calls: usize,
    unknown: usize,
    violations: usize,
    grades: Vec<Graded>,
}

#[derive(Default)]
pub struct Report {
    lines: Vec<(String, Line)>,
    rounds: usize,
    calls: usize,
    faults: usize,
    strain: Option<Strain>,
    skipped: Vec<String>,
}

impl Report {
    pub fn skip(&mut self, fault: Fault, why: &str) {
        self.skipped.push(format!("{}: {why}", fault.name()));
    }

    pub fn add(&mut self, round: Round) {
        self.rounds += 1;
        self.calls += round.calls;
        self.faults += round.grades.len();
        let strain = round.strain;
        self.strain = Some(self.strain.map_or(strain, |before| before.join(strain)));
        let name = match round.grades.as_slice() {
            [one] => one.fault.name().to_owned(),
            several => format!("{} of them in a random row", several.len()),
        };
        let place = self.lines.iter().position(|(other, _)| *other == name);
        let place = place.unwrap_or_else(|| {
            self.lines.push((name, Line::default()));
            self.lines.len() - 1
        });
        let line = &mut self.lines[place].1;
        line.rounds += 1;
        line.calls += round.calls;
        line.unknown += round.unknown;
        line.violations += round.violations.len();
        line.grades.extend(round.grades);
    }

    pub fn rounds(&self) -> usize {
        self.rounds
    }

    pub fn violations(&self) -> usize {
        self.lines.iter().map(|(_, line)| line.violations).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| Fault | Rounds | Calls | Without answer | Violations | No call succeeded for | All workers back after | Throughput after / before |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for (name, line) in &self.lines {
            let times = |of: fn(&Graded) -> Duration| {
                let mut all: Vec<f64> = line.grades.iter().map(|g| of(g).as_secs_f64()).collect();
                let (median, largest) = (median(&mut all), all[all.len() - 1]);
                format!("{median:.2} s ({largest:.2} s)")
            };
            let mut after: Vec<f64> = line.grades.iter().map(|g| g.throughput).collect();
            let throughput = median(&mut after);
            writeln!(
                f,
                "| {name} | {} | {} | {} | {} | {} | {} | {throughput:.2} ({:.2}) |",
                line.rounds,
                line.calls,
                line.unknown,
                line.violations,
                times(|grade| grade.silence),
                times(|grade| grade.all),
                after[0],
            )?;
        }
        writeln!(
            f,
            "\nTogether: {} rounds, {} faults, {} calls, {} violations. Fewest filters in a round, the rest of all: \
             {}. After each round amcheck went over all tables and indexes.",
            self.rounds,
            self.faults,
            self.calls,
            self.violations(),
            self.strain.unwrap_or_default()
        )?;
        for skipped in &self.skipped {
            writeln!(f, "\nSkipped: {skipped}.")?;
        }
        Ok(())
    }
}

/// Sorts, and gives the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
