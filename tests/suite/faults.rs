//! Every fault once, in a random row, under load. `tests/faults/run` does it for longer.

use std::path::Path;

use mosaic_backlog_tests::faults::{Fault, Round, Server};

#[test]
fn under_faults_nothing_is_lost_doubled_or_passed_over() {
    let seed = fastrand::u64(..);
    let server = Server::start();
    let (mut faults, impossible): (Vec<_>, Vec<_>) =
        (Fault::ALL.into_iter()).partition(|fault| fault.impossible(&server).is_none());
    for fault in impossible {
        let why = fault.impossible(&server).expect("a reason");
        println!("skipped: {}: {why}", fault.name());
    }
    fastrand::Rng::with_seed(seed).shuffle(&mut faults);
    println!("seed {seed}: {faults:?}");
    let round = Round::run(
        &server,
        &faults,
        seed,
        Path::new(env!("CARGO_BIN_EXE_faults")),
    );
    for grade in &round.grades {
        println!("{:?}: {:?}, {:?}", grade.fault, grade.silence, grade.all);
    }
    assert_eq!(round.grades.len(), faults.len());
    println!("{}", round.strain);
    let strain = round.strain;
    assert!(strain.filters > 256, "{strain}");
    assert!(strain.of_one_time > 0 && strain.in_triggers > 0, "{strain}");
    assert!(strain.of_fan_in > 0, "{strain}");
    assert!(
        round.violations.is_empty(),
        "{:?}: {:#?}",
        round.file,
        round.violations
    );
}
