//! A card that no worker survives, among healthy ones: it costs its budget and no more.

use std::sync::atomic::{AtomicBool, Ordering};

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use serde_json::Value;

/// How an attempt at the poison card ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// The worker says so.
    Fail,
    /// The worker hangs; the lease ends.
    Lapse,
    /// The worker is killed while it reports; what it reports is lost, and the lease ends.
    Kill,
    /// An operator takes the card away from a worker that hangs.
    Reclaim,
}

const ENDINGS: [Ending; 4] = [Ending::Fail, Ending::Lapse, Ending::Kill, Ending::Reclaim];
const BUDGET: usize = 3;

/// Ends the lease of a card as if its time had passed.
fn lapse(s: &mut Session, id: &str) {
    s.run(&format!(
        "update mosaic.backlog set claim_expires_at = now() - interval '1 minute' where id = '{id}'"
    ));
}

/// Ends the session of a worker that is about to report a failure.
fn kill(mut worker: Session, killer: &mut Session, id: &str, token: i64) {
    worker.run(&format!(
        "begin; select from mosaic.backlog_fail('{id}', {token}, 'I feel ill', '0')"
    ));
    let pid = worker.pid();
    // With a timeout the function waits until the process is gone.
    assert!(killer.truth(&format!("select pg_terminate_backend({pid}, 60000)")));
}

fn end(db: &Database, s: &mut Session, ending: Ending, id: &str, token: i64) {
    match ending {
        Ending::Fail => {
            s.run(&format!(
                "select from mosaic.backlog_fail('{id}', {token}, 'ouch', '0')"
            ));
        }
        Ending::Lapse => lapse(s, id),
        Ending::Kill => {
            kill(db.session(), s, id, token);
            lapse(s, id);
        }
        Ending::Reclaim => {
            s.run(&format!(
                "select from mosaic.backlog_reclaim('{id}', force => true)"
            ));
        }
    }
}

/// The claims of a card, as the history tells them.
fn claims(s: &mut Session, id: &str) -> i64 {
    s.number(&format!(
        "select count(*) from mosaic.backlog_event where card_id = '{id}' and kind = 'claimed'"
    ))
}

/// All ways in which `BUDGET` attempts can end.
fn mixes() -> Vec<Vec<Ending>> {
    let mut mixes = vec![Vec::new()];
    for _ in 0..BUDGET {
        mixes = mixes
            .iter()
            .flat_map(|mix| {
                ENDINGS.map(|ending| {
                    let mut longer = mix.clone();
                    longer.push(ending);
                    longer
                })
            })
            .collect();
    }
    mixes
}

#[test]
fn every_mix_of_endings_costs_the_budget_and_then_the_card_is_in_quarantine() {
    let db = Database::fresh();
    let mut s = db.session();
    for (number, mix) in mixes().into_iter().enumerate() {
        let (poison, healthy) = (format!("poison{number}"), format!("healthy{number}"));
        s.run(&format!(
            "select from mosaic.backlog_create('p', id => '{poison}', priority => 9, max_attempts => {BUDGET});
             select from mosaic.backlog_create('h', id => '{healthy}')"
        ));
        for ending in &mix {
            let rows = s.rows("select id, claim_token from mosaic.backlog_claim('w')");
            assert_eq!(rows[0]["id"], *poison, "{mix:?}: the attempts ended early");
            let token = rows[0]["claim_token"].as_i64().expect("a token");
            end(&db, &mut s, *ending, &poison, token);
        }
        // The next claim sweeps what lapsed, and goes to the healthy card.
        assert_eq!(
            s.claim_next("w").as_deref(),
            Some(healthy.as_str()),
            "{mix:?}"
        );
        assert_eq!(s.claim_next("w"), None);
        let card = s.card(&poison);
        assert_eq!(card["status"], "blocked", "{mix:?}");
        assert_eq!(card["block_kind"], "attempts", "{mix:?}");
        assert_eq!(claims(&mut s, &poison), BUDGET as i64, "{mix:?}");
        assert_tells_apart(&mut s, &poison, &mix);
    }
}

/// Failures, lapses and forced takings stand apart in the history.
#[track_caller]
fn assert_tells_apart(s: &mut Session, id: &str, mix: &[Ending]) {
    let expected: Vec<&str> = mix
        .iter()
        .map(|ending| match ending {
            Ending::Fail => "failed",
            Ending::Lapse | Ending::Kill => "lapsed",
            Ending::Reclaim => "reclaimed",
        })
        .collect();
    let told = s.column(&format!(
        "select kind from mosaic.backlog_events('{id}') where kind not in ('created', 'claimed')"
    ));
    assert_eq!(told, expected);
}

#[test]
fn unblock_gives_a_fresh_budget_and_no_more_than_that() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(&format!(
        "select from mosaic.backlog_create('p', id => 'P', max_attempts => {BUDGET})"
    ));
    for round in 1..=3 {
        for ending in [Ending::Lapse, Ending::Fail, Ending::Kill] {
            let token = s.claim("P", "w");
            end(&db, &mut s, ending, "P", token);
        }
        assert_eq!(s.claim_next("w"), None);
        assert_eq!(claims(&mut s, "P"), round * BUDGET as i64);
        s.run("select from mosaic.backlog_unblock('P')");
    }
}

#[test]
fn a_fleet_does_all_healthy_cards_and_spends_the_budget_of_each_poison_card() {
    const POISON: i64 = 5;
    let db = Database::fresh();
    let mut s = db.session();
    s.run(&format!(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'priority', n % 3, 'max_attempts', {BUDGET},
             'id', case when n <= {POISON} then 'poison' else 'healthy' end || n) order by n)
           from generate_series(1, 105) n))"
    ));
    let is_over = AtomicBool::new(false);
    together(&db, 6, |number, s| {
        let mut round = number;
        while !is_over.load(Ordering::Relaxed) {
            let claim = format!("select id, claim_token from mosaic.backlog_claim('w{number}')");
            let Some(row) = s.rows(&claim).pop() else {
                // Rivals may still give a card back.
                let open = "select not exists (select from mosaic.backlog where status in ('ready', 'claimed'))";
                is_over.fetch_or(s.truth(open), Ordering::Relaxed);
                continue;
            };
            let id = row["id"].as_str().expect("an id").to_owned();
            let token = row["claim_token"].as_i64().expect("a token");
            if id.starts_with("poison") {
                round += 1;
                end(&db, s, ENDINGS[round % ENDINGS.len()], &id, token);
            } else {
                s.run(&format!(
                    "select from mosaic.backlog_complete('{id}', {token})"
                ));
            }
        }
    });
    for number in 1..=POISON {
        let id = format!("poison{number}");
        assert_eq!(claims(&mut s, &id), BUDGET as i64, "{id}");
        assert_eq!(s.card(&id)["block_kind"], Value::from("attempts"));
    }
    assert_eq!(
        s.number("select count(*) from mosaic.backlog where status = 'done' and attempts = 1"),
        100
    );
}
