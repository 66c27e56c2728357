//! What was asked for.

use std::path::PathBuf;
use std::time::Duration;

use mosaic_backlog_tests::faults::Fault;

pub enum Task {
    Run(Arguments),
    /// Check a record again.
    Check(PathBuf),
    /// Be a worker's process, on the database of this URL.
    Serve(String),
}

/// How long it goes on.
#[derive(Clone, Copy)]
pub enum Length {
    Rounds(usize),
    Time(Duration),
}

pub struct Arguments {
    pub length: Length,
    pub seed: u64,
    pub faults: Vec<Fault>,
    /// Whether the table goes into the docs.
    pub write: bool,
}

pub fn parse() -> Task {
    let mut parsed = Arguments {
        length: Length::Rounds(100),
        seed: fastrand::u64(..),
        faults: Vec::new(),
        write: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .unwrap_or_else(|| refuse(&format!("{argument} needs a value")))
        };
        match argument.as_str() {
            "worker" => return Task::Serve(value()),
            "--check" => return Task::Check(value().into()),
            "--rounds" => parsed.length = Length::Rounds(number(&value())),
            "--minutes" => {
                let minutes: u64 = number(&value());
                parsed.length = Length::Time(Duration::from_secs(minutes * 60));
            }
            "--seed" => parsed.seed = number(&value()),
            "--only" => parsed.faults.push(fault(&value())),
            "--write" => parsed.write = true,
            other => refuse(&format!("unknown argument '{other}'")),
        }
    }
    if parsed.faults.is_empty() {
        parsed.faults = Fault::ALL.to_vec();
    }
    Task::Run(parsed)
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| refuse(&format!("'{text}' is no number")))
}

fn fault(name: &str) -> Fault {
    let mut all = Fault::ALL.into_iter();
    all.find(|fault| fault.name() == name).unwrap_or_else(|| {
        let names = Fault::ALL.map(Fault::name).join(", ");
        refuse(&format!("no fault is called '{name}'; there are: {names}"))
    })
}

fn refuse(what: &str) -> ! {
    eprintln!("tests/faults/run: {what}; --help shows what there is");
    std::process::exit(2);
}
