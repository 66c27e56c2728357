//! Calls of every function with generated arguments, in numbers.

use std::process::ExitCode;
use std::time::Instant;

use mosaic_backlog_tests::fuzz::spread;

const CONNECTIONS: usize = 4;

fn main() -> ExitCode {
    let (mut inputs, mut seed) = (1_000_000, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok());
        match (name.as_str(), value) {
            ("--inputs", Some(value)) => inputs = value,
            ("--seed", Some(value)) => seed = value,
            _ => {
                eprintln!("fuzz: {name} is unknown, or lacks its number");
                return ExitCode::from(2);
            }
        }
    }
    let start = Instant::now();
    let tally = spread(inputs, seed as u64, CONNECTIONS, |made| {
        eprintln!(
            "{made} of {} on one connection",
            inputs.div_ceil(CONNECTIONS)
        );
    });
    println!("{:<24} {:>9} {:>9}", "function", "taken", "refused");
    for (function, (taken, refused)) in &tally.calls {
        println!("{function:<24} {taken:>9} {refused:>9}");
    }
    println!(
        "{} inputs with seed {seed} in {} s, {} faults",
        tally.inputs(),
        start.elapsed().as_secs(),
        tally.faults.len()
    );
    for fault in &tally.faults {
        println!("{fault}");
    }
    ExitCode::from(u8::from(!tally.faults.is_empty()))
}
