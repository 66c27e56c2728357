//! What a real fleet did on a real database, told to the models.
//!
//! Events are numbered while their cards are locked, so that their order is one in which the
//! calls could have been made one by one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::fuzz::Dice;
use mosaic_backlog_tests::session::Session;
use serde_json::Value;

use crate::lease::Status;
use crate::replay::{Event, replay};

const CARDS: usize = 6;
const WORKERS: usize = 6;
const CALLS: usize = 150;
const MAX_ATTEMPTS: i32 = 3;
/// When the clock of all sessions begins.
const START: &str = "2030-01-01 00:00Z";

/// A call with a token, and how it was answered.
struct Told {
    kind: &'static str,
    card: usize,
    token: i64,
    /// The card's events that could be seen before the call, and after its answer.
    window: (i64, i64),
    taken: bool,
}

fn status(value: &Value) -> Option<Status> {
    Some(match value.as_str()? {
        "ready" => Status::Ready,
        "claimed" => Status::Claimed,
        "blocked" => Status::Blocked,
        "done" => Status::Done,
        "cancelled" => Status::Cancelled,
        other => panic!("{other}"),
    })
}

fn number(id: &Value) -> usize {
    id.as_str()
        .and_then(|id| id[1..].parse().ok())
        .expect("an id")
}

fn numbers(ids: &Value) -> Vec<usize> {
    ids.as_array().into_iter().flatten().map(number).collect()
}

fn events(s: &mut Session) -> Vec<(i64, Event)> {
    let rows = s.rows(&format!(
        "select event_id, card_id, kind, claim_token, old_status, new_status, detail,
           extract(epoch from at - '{START}')::bigint as at,
           extract(epoch from (detail->>'claim_expires_at')::timestamptz - '{START}')::bigint as expires_at,
           extract(epoch from (detail->>'not_before')::timestamptz - '{START}')::bigint as not_before
         from mosaic.backlog_event order by event_id"
    ));
    let event = |row: Value| {
        let event = Event {
            card: number(&row["card_id"]),
            at: row["at"].as_i64().expect("a time"),
            kind: row["kind"].as_str().expect("a kind").to_owned(),
            token: row["claim_token"].as_i64(),
            old: status(&row["old_status"]),
            new: status(&row["new_status"]).expect("a status"),
            depends_on: numbers(&row["detail"]["depends_on"]),
            unblocked: numbers(&row["detail"]["unblocked"]),
            expires_at: row["expires_at"].as_i64(),
            not_before: row["not_before"].as_i64(),
            detail: row["detail"].clone(),
        };
        (row["event_id"].as_i64().expect("a number"), event)
    };
    rows.into_iter().map(event).collect()
}

/// Cards `c0` to `c5`, some of which wait for others.
fn prepare(db: &Database) -> Session {
    let mut s = db.session();
    s.run(&format!("set mosaic.clock = '{START}'"));
    for card in 0..CARDS {
        let depends_on: &[&str] = [&[][..], &["c0"], &[], &["c1", "c2"]][card % 4];
        s.create_after(&format!("c{card}"), depends_on);
    }
    s
}

fn last_event(s: &mut Session, card: usize) -> i64 {
    s.number(&format!(
        "select coalesce(max(event_id), 0) from mosaic.backlog_event where card_id = 'c{card}'"
    ))
}

/// One of the fleet: random calls, some of them taken back, some with tokens that are long gone.
fn work(s: &mut Session, number: usize, seed: u64, clock: &AtomicI64) -> Vec<Told> {
    let mut dice = Dice::new(seed * 1_000 + number as u64);
    let mut tokens: Vec<(usize, i64)> = Vec::new();
    let mut told = Vec::new();
    s.run(&format!(
        "set mosaic.max_attempts = {MAX_ATTEMPTS}; set mosaic.retry_base = 2"
    ));
    for _ in 0..CALLS {
        let pause = [0, 0, 0, 1, 3][dice.below(5)];
        let now = clock.fetch_add(pause, Ordering::SeqCst) + pause;
        s.run(&format!("set mosaic.clock = '{}'", time(now)));
        let any = dice.below(CARDS);
        let other = dice.below(CARDS);
        let (card, token) = match tokens.len() {
            0 => (any, 1),
            len if dice.one_in(4) => tokens[dice.below(len)],
            len => tokens[len - 1],
        };
        let (kind, call) = match dice.below(24) {
            0..=7 => ("", format!("claim('w{number}', '4 s')")),
            8 => ("", format!("claim('w{number}', '4 s', id => 'c{any}')")),
            9 | 10 => ("completed", format!("complete('c{card}', {token})")),
            11 => ("failed", format!("fail('c{card}', {token}, 'why')")),
            12 => ("released", format!("release('c{card}', {token})")),
            13 => ("renewed", format!("renew('c{card}', {token}, '4 s')")),
            14 => (
                "blocked",
                format!("block('c{card}', 'why', claim_token => {token})"),
            ),
            15 => ("", format!("complete('c{any}')")),
            16 => ("", format!("block('c{any}', 'why')")),
            17 => ("", format!("unblock('c{any}')")),
            18 => ("", format!("cancel('c{any}', 'why')")),
            19 | 20 => ("", format!("reopen('c{any}', 'why')")),
            21 => ("", format!("link('c{any}', '{{c{other}}}')")),
            22 => ("", format!("unlink('c{any}', '{{c{other}}}')")),
            _ => (
                "",
                format!("reclaim('c{any}', force => {})", dice.one_in(2)),
            ),
        };
        let is_undone = dice.one_in(8);
        let before = last_event(s, card);
        if is_undone {
            s.run("begin");
        }
        let answer = s.attempt(&format!("select * from mosaic.backlog_{call}"));
        if is_undone {
            s.run("rollback");
            continue;
        }
        match &answer {
            Ok(rows) if call.starts_with("claim") => tokens.extend(rows.iter().map(|row| {
                (
                    self::number(&row["id"]),
                    row["claim_token"].as_i64().expect("a token"),
                )
            })),
            Ok(_) => {}
            Err(refused) => assert!(!refused.code.is_empty(), "{call}: {refused:?}"),
        }
        let lost = answer
            .as_ref()
            .is_err_and(|refused| refused.code == "claim_lost");
        if !kind.is_empty() && (answer.is_ok() || lost) {
            told.push(Told {
                kind,
                card,
                token,
                window: (before, last_event(s, card)),
                taken: answer.is_ok(),
            });
        }
    }
    told
}

fn time(seconds: i64) -> String {
    format!(
        "2030-01-01 {:02}:{:02}:{:02}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Whether a call under a token that was refused as lost could be: at some moment between its
/// start and its answer the card was not held under that token.
fn could_be_lost(told: &Told, events: &[(i64, Event)]) -> bool {
    let mut held = false;
    let (before, after) = told.window;
    for (id, event) in events.iter().filter(|(_, event)| event.card == told.card) {
        if *id > before && !held {
            return true;
        }
        if *id > after {
            return false;
        }
        let is_claim = event.new == Status::Claimed;
        held = match event.kind.as_str() {
            "claimed" => event.token == Some(told.token),
            _ => held && is_claim,
        };
    }
    !held
}

/// What has to happen for the comparison to say something.
const KINDS: [&str; 13] = [
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
    "linked",
    "unlinked",
];

#[test]
fn what_a_real_fleet_did_is_what_the_models_allow() {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut lost = 0;
    for seed in 1..=30 {
        // What is rare does not happen in each fleet.
        if seed > 3 && lost > 10 && KINDS.iter().all(|kind| kinds.contains_key(*kind)) {
            break;
        }
        let db = Database::fresh();
        let mut s = prepare(&db);
        let clock = AtomicI64::new(1);
        let told = together(&db, WORKERS, |number, s| work(s, number, seed, &clock));
        let events = events(&mut s);
        let history: Vec<Event> = events.iter().map(|(_, event)| event.clone()).collect();
        let replayed = match replay(&history, CARDS, MAX_ATTEMPTS) {
            Ok(replayed) => replayed,
            Err(why) => panic!("seed {seed}: {why}"),
        };
        // The cards are as the models have them in the end.
        for row in s.rows(&format!(
            "select id, status, attempts, claim_token, open_dependencies,
               extract(epoch from claim_expires_at - '{START}')::bigint as end
             from mosaic.backlog"
        )) {
            let card = number(&row["id"]);
            let (lease, gate) = (&replayed.cards.cards[card], &replayed.links.cards[card]);
            let held = row["claim_token"].as_i64().zip(row["end"].as_i64());
            assert_eq!(status(&row["status"]), Some(lease.status), "{row}");
            assert_eq!(row["attempts"], lease.attempts, "{row}");
            assert_eq!(held, lease.lease, "{row}");
            assert_eq!(row["open_dependencies"], gate.counter, "{row}");
        }
        // What was acknowledged under a token is in the history, once; what was refused had to be.
        let mut acknowledged: BTreeMap<_, i64> = BTreeMap::new();
        for told in told.iter().flatten() {
            if told.taken {
                *acknowledged
                    .entry((told.kind, told.card, told.token))
                    .or_default() += 1;
            } else {
                lost += 1;
                assert!(
                    could_be_lost(told, &events),
                    "{} {} {}",
                    told.kind,
                    told.card,
                    told.token
                );
            }
        }
        for ((kind, card, token), calls) in acknowledged {
            let same = |event: &&Event| {
                (event.kind.as_str(), event.card, event.token) == (kind, card, Some(token))
            };
            let written = history.iter().filter(same).count() as i64;
            // A card is completed or blocked once under a token, and a repeat succeeds.
            let repeats = ["completed", "blocked"].contains(&kind) && written == 1;
            assert!(
                written == calls || repeats,
                "{kind} c{card} {token}: {calls} calls, {written} events"
            );
        }
        for event in history {
            *kinds.entry(event.kind).or_default() += 1;
        }
    }
    println!("{kinds:?}, {lost} refused as lost");
    for kind in KINDS {
        assert!(kinds.contains_key(kind), "no {kind}: {kinds:?}");
    }
    assert!(lost > 10, "{lost}");
}

/// The models are not blind: without the event that freed a card, the next claim is refused.
#[test]
fn a_history_with_a_missing_end_of_a_claim_is_refused() {
    let ends = |event: &Event| event.old == Some(Status::Claimed) && event.new == Status::Ready;
    let mut tried = 0;
    for seed in 1..=30 {
        if tried > 10 {
            break;
        }
        let db = Database::fresh();
        let mut s = prepare(&db);
        together(&db, WORKERS, |number, s| {
            work(s, number, seed, &AtomicI64::new(1))
        });
        let history: Vec<Event> = events(&mut s).into_iter().map(|(_, event)| event).collect();
        for at in 0..history.len() {
            if ends(&history[at]) {
                let mut other = history.clone();
                other.remove(at);
                let again =
                    |event: &Event| event.card == history[at].card && event.kind == "claimed";
                if other[at..].iter().any(again) {
                    tried += 1;
                    assert!(
                        replay(&other, CARDS, MAX_ATTEMPTS).is_err(),
                        "{:?}",
                        history[at]
                    );
                }
            }
        }
    }
    assert!(tried > 10, "{tried}");
}

#[test]
fn a_card_that_is_handed_out_twice_is_found() {
    let db = Database::fresh();
    let mut s = prepare(&db);
    s.claim("c0", "w1");
    s.run(
        "update mosaic.backlog set status = 'ready', claim_owner = null, claim_token = null,
           claim_ttl_seconds = null, claimed_at = null, claim_expires_at = null where id = 'c0'",
    );
    s.claim("c0", "w2");
    let history: Vec<Event> = events(&mut s).into_iter().map(|(_, event)| event).collect();
    let why = replay(&history, CARDS, MAX_ATTEMPTS)
        .err()
        .expect("a refusal");
    assert!(why.contains("the status was another"), "{why}");
}

#[test]
fn a_card_that_is_handed_out_with_an_open_dependency_is_found() {
    let db = Database::fresh();
    let mut s = prepare(&db);
    s.run("update mosaic.backlog set open_dependencies = 0 where id = 'c1'");
    s.claim("c1", "w1");
    let history: Vec<Event> = events(&mut s).into_iter().map(|(_, event)| event).collect();
    let why = replay(&history, CARDS, MAX_ATTEMPTS)
        .err()
        .expect("a refusal");
    assert!(why.contains("the gate does not allow"), "{why}");
}
