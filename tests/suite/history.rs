//! The history alone suffices to rebuild what became of each card.

use std::collections::BTreeMap;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::model::replay::{Compare, Replay};
use mosaic_backlog_tests::model::strategy::{Space, step};
use mosaic_backlog_tests::wait;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

const OPERATIONS: usize = 10_000;

/// What can happen to a card.
const KINDS: [&str; 15] = [
    "created",
    "claimed",
    "renewed",
    "released",
    "failed",
    "lapsed",
    "reclaimed",
    "completed",
    "blocked",
    "unblocked",
    "cancelled",
    "reopened",
    "updated",
    "linked",
    "unlinked",
];

/// The status and the claim columns of a card.
#[derive(Debug, Default)]
struct Rebuilt {
    status: Value,
    claim: Option<Value>,
    attempts: i64,
}

impl Rebuilt {
    /// Takes up one event. A claim lasts until an event says that the card is claimed no more.
    fn follow(&mut self, event: &Value) {
        assert_eq!(self.status, event["old_status"], "a gap before {event}");
        self.status = event["new_status"].clone();
        let detail = &event["detail"];
        if self.status != "claimed" {
            self.claim = None;
        }
        match event["kind"].as_str().expect("a kind") {
            "claimed" => {
                self.claim = Some(json!({
                    "claim_owner": event["actor"], "claim_token": event["claim_token"],
                    "claim_ttl_seconds": detail["claim_ttl_seconds"],
                    "claimed_at": event["at"], "claim_expires_at": event["lease_end"],
                }));
            }
            "renewed" => {
                let claim = self.claim.as_mut().expect("a claim to renew");
                claim["claim_ttl_seconds"] = detail["claim_ttl_seconds"].clone();
                claim["claim_expires_at"] = event["lease_end"].clone();
            }
            _ => {}
        }
        if let Some(attempts) = detail["attempts"].as_i64() {
            self.attempts = attempts;
        }
    }

    fn row(&self, id: &str) -> Value {
        let claim = self.claim.as_ref().unwrap_or(&Value::Null);
        json!({
            "id": id, "status": self.status, "attempts": self.attempts,
            "claim_owner": claim["claim_owner"], "claim_token": claim["claim_token"],
            "claim_ttl_seconds": claim["claim_ttl_seconds"], "claimed_at": claim["claimed_at"],
            "claim_expires_at": claim["claim_expires_at"],
        })
    }
}

#[test]
fn ten_thousand_random_operations_can_be_rebuilt_from_the_history() {
    let db = Database::fresh();
    let mut replay = Replay::new(&db);
    let mut runner = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..Config::default()
    });
    let space = Space {
        ids: 40,
        generated: false,
    };
    let steps = step(space);
    for number in 0..OPERATIONS {
        let step = steps.new_tree(&mut runner).expect("a step").current();
        if let Err(difference) = replay.step(&step, Compare::Answers) {
            panic!("operation {number}: {difference}");
        }
    }

    let mut s = db.session();
    let mut cards: BTreeMap<String, Rebuilt> = BTreeMap::new();
    let mut after = "0".to_owned();
    let last = s.text("select max(event_id)::text from mosaic.backlog_event");
    // A page may be short for a moment, while other tests have transactions open.
    wait::until("the last event", || {
        let page = s.rows(&format!(
            "select card_id, at, kind, actor, claim_token, old_status, new_status, detail,
               (detail ->> 'claim_expires_at')::timestamptz as lease_end, cursor
             from mosaic.backlog_events(after => '{after}', max_events => 1000)"
        ));
        for event in &page {
            let id = event["card_id"].as_str().expect("an id").to_owned();
            cards.entry(id).or_default().follow(event);
            after = event["cursor"].as_str().expect("a cursor").to_owned();
        }
        (after == last).then_some(())
    });
    let rebuilt: Vec<Value> = cards.iter().map(|(id, card)| card.row(id)).collect();
    let actual = s.rows(
        "select id, status, attempts, claim_owner, claim_token, claim_ttl_seconds, claimed_at, claim_expires_at
         from mosaic.backlog order by id",
    );
    assert_eq!(rebuilt, actual);
    s.assert_counters_are_right();
    // The run went through every status and kept working to its end.
    assert!(s.number("select count(*) from mosaic.backlog_event") > 1_000);
    assert_eq!(
        s.number("select count(distinct new_status) from mosaic.backlog_event"),
        5
    );
    for kind in KINDS {
        let times = format!("select count(*) from mosaic.backlog_event where kind = '{kind}'");
        assert!(s.number(&times) > 0, "no {kind}");
    }
}
