//! The end of a run: whatever can be done is done, by one worker that has all the time it needs.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Caller;
use crate::record::{Call, Recorder, Verb};
use crate::session::Session;
use crate::wait;

const NAME: &str = "drain";
const STEP: Duration = Duration::from_millis(30);
/// Longer than any lease of the load, so that a later end is one of a clock that was moved.
const SOON: &str = "interval '5 seconds'";
const DEADLINE: Duration = Duration::from_secs(60);

/// Unblocks, claims and completes until nothing is left, or nothing that a claim hands out.
#[track_caller]
pub(super) fn drain(caller: &mut dyn Caller, recorder: &Recorder, reader: &mut Session) {
    let began = Instant::now();
    let mut number = 0;
    let mut vain = 0;
    wait::until("the server takes calls", || caller.ready().then_some(()));
    while began.elapsed() < DEADLINE {
        let mut make = |call: Call| recorder.call(NAME, &call, |call| caller.call(call));
        let mut waits = false;
        for (id, way) in standing_in_the_way(reader) {
            let call = |verb: Verb| Call::new(verb).with("id", id.clone());
            match way.as_str() {
                "blocked" => make(call(Verb::Unblock).with("actor", NAME)),
                "cancelled" => make(call(Verb::Reopen).with("reason", NAME)),
                "held for long" => {
                    make(call(Verb::Reclaim).with("force", true).with("actor", NAME))
                }
                "deferred for long" => {
                    make(call(Verb::Update).with("clear", json!(["not_before"])))
                }
                _ => {
                    waits = true;
                    continue;
                }
            };
        }
        number += 1;
        let claim = Call::new(Verb::Claim)
            .with("worker", format!("{NAME}.{number}"))
            .with("ttl", "1 minute")
            .with("max_cards", if number % 10 == 0 { 50 } else { 1 });
        let outcome = make(claim);
        for card in outcome.rows() {
            let complete = Call::new(Verb::Complete)
                .with("id", card["id"].clone())
                .with("claim_token", card["claim_token"].clone());
            make(complete);
        }
        if outcome.rows().is_empty() {
            vain += i32::from(!waits);
            if vain > 2 {
                return;
            }
            thread::sleep(STEP);
        }
    }
}

/// Cards that no claim hands out before something else happens, and why.
fn standing_in_the_way(reader: &mut Session) -> Vec<(String, String)> {
    let rows = reader.rows(&format!(
        "select id, case
           when status in ('blocked', 'cancelled') then status::text
           when claim_expires_at > clock_timestamp() + {SOON} then 'held for long'
           when not_before > clock_timestamp() + {SOON} then 'deferred for long'
           else 'held or deferred' end as way
         from mosaic.backlog
         where status in ('blocked', 'cancelled', 'claimed')
           or status = 'ready' and not_before > clock_timestamp()"
    ));
    let text = |row: &serde_json::Value, name: &str| row[name].as_str().expect(name).to_owned();
    rows.iter()
        .map(|row| (text(row, "id"), text(row, "way")))
        .collect()
}
