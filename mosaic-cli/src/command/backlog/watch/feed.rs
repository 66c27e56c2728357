//! What the screen shows, read again and again beside it, so that the keys work while the database does not.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::history;
use crate::database::call::Call;
use crate::database::store::{Address, Store, silent};
use crate::failure::Failure;

/// The newest events that are kept.
const EVENTS: usize = 200;
/// Leases and blocked cards that are read at most; all are counted.
const CARDS: i32 = 1_000;
/// The database rests at least so many times as long as it worked for a look.
const REST: u32 = 4;
/// No look takes so long; one of a large backlog takes seconds.
const LOOK: Duration = Duration::from_secs(30);

/// The backlog at one moment.
#[derive(Clone, Default)]
pub struct Look {
    pub stats: Value,
    /// Those that end next come first.
    pub leases: Vec<Value>,
    pub blocked: Vec<Value>,
    /// The newest come first.
    pub events: VecDeque<Value>,
}

pub enum News {
    Look(Look),
    Lost(Failure),
}

#[derive(Clone)]
struct Feed {
    phase: Option<String>,
    /// The last event that was read.
    cursor: Option<String>,
    events: VecDeque<Value>,
}

/// The first look, and the ones that follow it.
pub fn start(
    address: &Address,
    phase: Option<String>,
    interval: Duration,
) -> Result<(Look, Receiver<News>), Failure> {
    let mut store = Store::open(address)?;
    let end = history::end(&mut store, None)?;
    let mut feed = Feed {
        phase,
        cursor: Some((end - EVENTS as i64).max(0).to_string()),
        events: VecDeque::new(),
    };
    let first = feed.look(&mut store)?;
    let (news, receiver) = mpsc::channel();
    let address = address.clone();
    thread::spawn(move || feed.go_on(&address, store, interval, &news));
    Ok((first, receiver))
}

impl Feed {
    /// Until nobody listens any more.
    fn go_on(mut self, address: &Address, store: Store, interval: Duration, news: &Sender<News>) {
        let mut store = Some(store);
        let mut pause = interval;
        loop {
            thread::sleep(pause);
            let begun = Instant::now();
            let outcome = match store.take() {
                Some(store) => Ok(store),
                None => Store::reopen(address),
            }
            .and_then(|store| {
                let mut feed = self.clone();
                let look = move |store: &mut Store| (feed.look(store), feed);
                let ((look, feed), store) = store.attend(LOOK, look).ok_or_else(silent)?;
                self = feed;
                Ok((look?, store))
            });
            let said = match outcome {
                Ok((look, connected)) => {
                    store = Some(connected);
                    news.send(News::Look(look))
                }
                // The next round connects anew, whatever it was.
                Err(failure) => news.send(News::Lost(failure)),
            };
            if said.is_err() {
                return;
            }
            pause = interval.max(begun.elapsed() * REST);
        }
    }

    fn look(&mut self, store: &mut Store) -> Result<Look, Failure> {
        let stats = Call::new("backlog_stats").text("phase", self.phase.clone());
        let stats = store.rows(&stats)?.into_iter().next().unwrap_or_default();
        let mut leases = self.cards(
            store,
            "claimed",
            "id, title, claim_owner, claim_ttl_seconds, \
             extract(epoch from claim_expires_at - pg_catalog.clock_timestamp())::float8 as seconds_left",
        )?;
        leases.sort_by(|a, b| left(a).total_cmp(&left(b)));
        let blocked = self.cards(store, "blocked", "id, title, block_kind, block_reason")?;
        self.follow(store)?;
        Ok(Look {
            stats: Value::Object(stats),
            leases,
            blocked,
            events: self.events.clone(),
        })
    }

    fn cards(
        &self,
        store: &mut Store,
        status: &str,
        columns: &'static str,
    ) -> Result<Vec<Value>, Failure> {
        let call = Call::new("backlog_list")
            .columns(columns)
            .statuses("statuses", vec![status.to_owned()])
            .text("phase", self.phase.clone())
            .int("max_cards", CARDS);
        Ok(store.rows(&call)?.into_iter().map(Value::Object).collect())
    }

    /// Reads the events that are new.
    fn follow(&mut self, store: &mut Store) -> Result<(), Failure> {
        loop {
            let call = Call::new("backlog_events")
                .text("after", self.cursor.clone())
                .int("max_events", EVENTS as i32);
            let events = store.rows(&call)?;
            let count = events.len();
            for event in events {
                self.cursor = event["cursor"].as_str().map(str::to_owned);
                self.events.push_front(Value::Object(event));
            }
            self.events.truncate(EVENTS);
            if count < EVENTS {
                return Ok(());
            }
        }
    }
}

/// Seconds until a lease ends, negative after its end.
pub fn left(lease: &Value) -> f64 {
    lease["seconds_left"].as_f64().unwrap_or(f64::INFINITY)
}
