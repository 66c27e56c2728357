//! What decays elsewhere: long runs, held snapshots, nothing to claim.

use std::thread;

use mosaic_backlog_tests::{folder, wait};

use super::others;
use super::{CLAIM, TEXTBOOK, enough, fill, fill_textbook, fill_with};
use crate::arguments::Arguments;
use crate::peers;
use crate::pgbench::{Load, Run, median};
use crate::plot::Line;
use crate::report::Report;
use crate::server::Server;

/// Cards claimed and the rate at that point, in about fifty steps.
fn points(run: &Run) -> Vec<(f64, f64)> {
    let step = (run.seconds.len() / 50).max(1);
    let mut claimed = 0.0;
    run.seconds
        .chunks(step)
        .map(|seconds| {
            let sum: f64 = seconds.iter().sum();
            claimed += sum;
            (claimed, sum / seconds.len() as f64)
        })
        .collect()
}

/// W2.
pub fn under_a_snapshot(server: &Server, arguments: &Arguments, report: &mut Report) {
    let many = arguments.size.many;
    fill(server, many);
    let snapshot = server.hold_snapshot("mosaic.backlog");
    let load = Load::new(server, 0);
    let load = load.clone().transactions(many / load.number() - 10);
    let ours = load.run(CLAIM);
    drop(snapshot);
    fill_textbook(server, many.min(300_000));
    let snapshot = server.hold_snapshot("textbook");
    // As long as ours took, and no longer than anybody wants to wait.
    let seconds = (ours.seconds.len() as u32).clamp(1, 240);
    let textbook = Load::new(server, seconds).run(TEXTBOOK);
    drop(snapshot);
    report.add(
        &format!("W2 {many} claims, snapshot held: last tenth"),
        "≥ 0.9 × first tenth",
        format!("{:.2} × first", ours.last_over_first(0.1)),
        format!(
            "{:.0} claims/s on average, {:.0} in the last tenth",
            ours.rate,
            ours.last(0.1)
        ),
    );
    report.add(
        "W2 at the end, over textbook",
        "≥ 10 ×",
        format!("{:.1} ×", ours.last(0.1) / textbook.last(0.1)),
        format!("textbook {:.0}/s after {seconds} s", textbook.last(0.1)),
    );
    report.draw(Line {
        name: "mosaic.backlog_claim".to_owned(),
        colour: "#0b6",
        points: points(&ours),
    });
    report.draw(Line {
        name: "textbook".to_owned(),
        colour: "#c33",
        points: points(&textbook),
    });
    let mut best: Option<(String, Run)> = None;
    for peer in peers::prepare_at_length(server, arguments, many.min(150_000)) {
        let Some(script) = peer.script("claim.sql") else {
            continue;
        };
        let snapshot = server.hold_snapshot_of(&peer.database, "pg_class");
        let seconds = (arguments.size.seconds * 4).min(25);
        let load = Load::new(server, seconds).database(&peer.database);
        let run = load.run_file(script, &folder::create());
        drop(snapshot);
        report.add(
            &format!("W2 at the end, over {}", peer.name),
            "> 1",
            format!("{:.1} ×", ours.last(0.1) / run.last(0.1)),
            format!(
                "theirs {:.0}/s on average, {:.0} in the last tenth",
                run.rate,
                run.last(0.1)
            ),
        );
        if best
            .as_ref()
            .is_none_or(|(_, best)| best.last(0.1) < run.last(0.1))
        {
            best = Some((peer.name, run));
        }
    }
    if let Some((name, run)) = best {
        report.draw(Line {
            name,
            colour: "#36c",
            points: points(&run),
        });
    }
}

/// W4: right after all was claimed, and after all leases ended and were swept.
pub fn nothing_to_claim(server: &Server, arguments: &Arguments, report: &mut Report) {
    let cards = arguments.size.cards;
    let load = Load::new(server, arguments.size.seconds.min(5));
    let nothing = "select mosaic.floor_nothing();\n";
    let empty = || {
        let rates = (0..3).map(|_| load.run(CLAIM).rate / load.run(nothing).rate);
        median(rates.collect())
    };
    fill(server, cards);
    let snapshot = server.hold_snapshot("mosaic.backlog");
    server.wait_for_the_disk(false);
    load.clone()
        .transactions(cards / load.number() + 1)
        .run(CLAIM);
    let ratio = empty();
    let ours = load.run(CLAIM).rate;
    drop(snapshot);
    fill_textbook(server, cards);
    let snapshot = server.hold_snapshot("textbook");
    server
        .session()
        .run("update textbook set status = 'claimed'");
    let textbook = load.run(TEXTBOOK).rate;
    drop(snapshot);
    report.add(
        &format!("W4 nothing claimable after {cards} claims, snapshot held"),
        "≥ 0.3 × an empty function",
        format!("{ratio:.2} × empty function"),
        format!("{ours:.0} empty claims/s"),
    );
    report.add(
        "W4 over textbook",
        "≥ 100 ×",
        format!("{:.0} ×", ours / textbook),
        format!("textbook {textbook:.0}/s"),
    );
    for peer in peers::prepare_at_length(server, arguments, cards / 10) {
        if let Some(theirs) = others::empty_claims(server, &peer, arguments.size.seconds.min(5)) {
            report.add(
                &format!("W4 over {}", peer.name),
                "> 1",
                format!("{:.0} ×", ours / theirs),
                format!("theirs {theirs:.0}/s after {} claims", peer.jobs),
            );
        }
    }
    fill_with(server, cards, ", max_attempts", ", 1");
    let snapshot = server.hold_snapshot("mosaic.backlog");
    let short = "select * from mosaic.backlog_claim('bench', '1 second', 100);\n";
    load.clone()
        .transactions(cards / load.number() / 100 + 1)
        .run(short);
    let mut session = server.session();
    wait::until("all leases have ended", || {
        let live = "select exists (select from mosaic.backlog where claim_expires_at > now())";
        (!session.truth(live)).then_some(())
    });
    while session.number("select count(*) from mosaic.backlog_reclaim(max_cards => 10000)") > 0 {}
    let ratio = empty();
    drop(snapshot);
    server.wait_for_the_disk(true);
    report.add(
        &format!("W4 after {cards} leases ended and were swept"),
        "≥ 0.3 × an empty function",
        format!("{ratio:.2} × empty function"),
        "snapshot held".to_owned(),
    );
}

/// W6: cards are created, claimed and completed all the time; one in ten is abandoned.
pub fn the_whole_life(server: &Server, arguments: &Arguments, report: &mut Report) {
    fill(server, 1_000);
    let snapshot = server.hold_snapshot("mosaic.backlog");
    let life = "\\set lost random(1, 10)\n\
        select id from mosaic.backlog_create('a card');\n\
        \\if :lost = 1\n\
        select id from mosaic.backlog_claim('bench', '2 seconds');\n\
        \\else\n\
        select id, claim_token from mosaic.backlog_claim('bench', '1 hour')\n\\gset\n\
        select id from mosaic.backlog_complete(:id, :claim_token);\n\
        \\endif\n";
    let cards = arguments.size.many / 4;
    let load = Load::new(server, 0).clients(4);
    let run = load.clone().transactions(cards / load.number()).run(life);
    report.add(
        &format!("W6 {cards} cards through create, claim, complete, snapshot held"),
        "flat within 10 %",
        format!("last tenth {:.2} × first", run.last_over_first(0.1)),
        format!("{:.0} cards/s", run.rate),
    );
    drop(snapshot);
    let claim = p99_beside(server, arguments, life, CLAIM);
    let floor = p99_beside(
        server,
        arguments,
        life,
        &floor_from_the_end(enough(arguments)),
    );
    report.add(
        "W6 p99 of a claim in the midst of it",
        "≤ 2 × floor's",
        format!("{:.2} × floor's", claim / floor),
        format!("{claim:.1} ms, floor {floor:.1} ms, one client beside three"),
    );
}

/// The milliseconds that 99 of 100 runs of a script stay below while three others run `life`.
fn p99_beside(server: &Server, arguments: &Arguments, life: &str, script: &str) -> f64 {
    fill(server, enough(arguments));
    let snapshot = server.hold_snapshot("mosaic.backlog");
    let seconds = arguments.size.seconds;
    let p99 = thread::scope(|scope| {
        let others = scope.spawn(|| Load::new(server, seconds + 1).clients(3).run(life));
        let p99 = Load::new(server, seconds).clients(1).run(script).p99;
        others.join().expect("the others");
        p99
    });
    drop(snapshot);
    p99
}

/// Claims known cards, those last that the others would claim first.
fn floor_from_the_end(cards: u32) -> String {
    format!(
        "\\set n :n + 1\n\\set k {cards} - 1 - :n\n\
         select * from mosaic.floor_claim(array['c' || :k], 'bench', '1 hour');\n"
    )
}
