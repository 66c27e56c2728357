//! Faults under load, round after round; `run` calls it.

mod arguments;

use std::path::Path;
use std::time::Instant;

use mosaic_backlog_tests::checker;
use mosaic_backlog_tests::faults::{Fault, Report, Round, Server};
use mosaic_backlog_tests::{load, programs, record};

use arguments::{Arguments, Length, Task};

/// Every so many rounds it is several faults in one.
const ROW_EVERY: usize = 10;
const ROW: usize = 10;

fn main() {
    let failed = match arguments::parse() {
        Task::Serve(url) => {
            load::serve(&url);
            false
        }
        Task::Check(file) => check(&file),
        Task::Run(arguments) => run(&arguments),
    };
    std::process::exit(i32::from(failed));
}

/// Checks a record again.
fn check(file: &Path) -> bool {
    let record = record::read(file).unwrap_or_else(|error| {
        eprintln!("{}: {error}", file.display());
        std::process::exit(1);
    });
    let found = checker::check(&record);
    for violation in &found {
        println!("{violation}");
    }
    println!("{} calls, {} violations", record.entries.len(), found.len());
    !found.is_empty()
}

fn run(arguments: &Arguments) -> bool {
    let worker = std::env::current_exe().expect("this program");
    let server = Server::start();
    let mut report = Report::default();
    let possible: Vec<Fault> = (arguments.faults.iter().copied())
        .filter(|fault| match fault.impossible(&server) {
            Some(why) => {
                report.skip(*fault, why);
                false
            }
            None => true,
        })
        .collect();
    let mut rng = fastrand::Rng::with_seed(arguments.seed);
    println!("seed {}", arguments.seed);
    let mut singles = possible.iter().cycle();
    let began = Instant::now();
    for number in 1.. {
        let over = match arguments.length {
            Length::Rounds(rounds) => number > rounds,
            Length::Time(time) => began.elapsed() >= time,
        };
        if over {
            break;
        }
        let seed = rng.u64(..);
        let faults: Vec<Fault> = if number % ROW_EVERY == 0 {
            (0..ROW)
                .filter_map(|_| rng.choice(&possible))
                .copied()
                .collect()
        } else {
            singles.next().into_iter().copied().collect()
        };
        let round = Round::run(&server, &faults, seed, &worker);
        let names: Vec<&str> = faults.iter().map(|fault| fault.name()).collect();
        eprintln!(
            "round {number}: {}: {} calls, {} violations; {}",
            names.join(", "),
            round.calls,
            round.violations.len(),
            round.strain
        );
        for violation in &round.violations {
            eprintln!("  {violation}");
        }
        if let Some(file) = &round.file {
            eprintln!("  the record is in {}", file.display());
        }
        report.add(round);
        summarise(&report, arguments, began);
    }
    println!("{report}");
    if arguments.write {
        write(&report, arguments);
    }
    report.violations() > 0
}

/// Keeps what is known so far in a file beside the build, so that a run that is ended has it.
fn summarise(report: &Report, arguments: &Arguments, began: Instant) {
    let folder = programs::sources().join("target/faults");
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let text = format!("seed {}, {minutes:.1} minutes\n\n{report}", arguments.seed);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("summary.md"), text).expect("write");
}

/// Puts the table into the page, between its marks.
fn write(report: &Report, arguments: &Arguments) {
    const FROM: &str = "<!-- tests/faults/run writes from here -->";
    const TO: &str = "<!-- to here -->";
    let page = programs::sources().join("docs/reliability.md");
    let text = std::fs::read_to_string(&page).expect("the page");
    let (before, rest) = text.split_once(FROM).expect("the mark");
    let (_, after) = rest.split_once(TO).expect("the second mark");
    let date = programs::run(std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]));
    let server = programs::run(
        std::process::Command::new(programs::postgresql("postgres")).arg("--version"),
    );
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let table = format!(
        "\n\nMeasured on {}, {}, {cores} cores: {} rounds, seed {}.\n\n{report}\n",
        date.trim(),
        server.trim(),
        report.rounds(),
        arguments.seed
    );
    std::fs::write(&page, format!("{before}{FROM}{table}{TO}{after}")).expect("write");
}
