//! What a client's session has: a name, a connection to the backlog, and the leases that it holds.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rmcp::model::RequestId;

use crate::database::call::Call;
use crate::database::store::{Address, Record, Store, silent};
use crate::failure::{Code, Failure};
use crate::output::reply::warn;

/// A connection that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(5);
/// What is to be renewed is looked at no more rarely.
const LOOK: Duration = Duration::from_secs(5);
/// And no lease more often.
const REST: Duration = Duration::from_millis(100);

pub struct Session {
    address: Address,
    pub worker: String,
    /// The connection, while no call uses it.
    idle: Mutex<Option<Store>>,
    leases: Mutex<Leases>,
    /// Leases came, went or changed.
    changed: Condvar,
    /// Cards of claims whose answers are not written yet.
    unwritten: Mutex<HashMap<RequestId, Vec<String>>>,
}

#[derive(Default)]
struct Leases {
    held: HashMap<String, KeptLease>,
    /// Leases that could not be kept, with what the backlog said.
    lost: HashMap<String, String>,
    ended: bool,
}

#[derive(Clone)]
pub struct KeptLease {
    pub token: i64,
    pub ttl: Duration,
    worker: String,
    /// When it is to be renewed, if it is kept.
    due: Instant,
}

impl KeptLease {
    pub fn call(&self, function: &'static str, id: &str) -> Call {
        Call::new(function)
            .text("id", id.to_owned())
            .bigint("claim_token", self.token)
    }
}

impl Session {
    pub fn new(address: Address, worker: String) -> Self {
        Session {
            address,
            worker,
            idle: Mutex::default(),
            leases: Mutex::default(),
            changed: Condvar::new(),
            unwritten: Mutex::default(),
        }
    }

    /// The rows that one call returns.
    pub fn rows(&self, call: &Call) -> Result<Vec<Record>, Failure> {
        let mut store = self.connection()?;
        let outcome = store.rows(call);
        if !store.client.is_closed() {
            *lock(&self.idle) = Some(store);
        }
        outcome
    }

    /// The same, given up where no answer comes within `limit`.
    pub fn rows_within(&self, call: Call, limit: Duration) -> Result<Vec<Record>, Failure> {
        let answer = self
            .connection()?
            .attend(limit, move |store| store.rows(&call));
        let (outcome, store) = answer.ok_or_else(silent)?;
        if !store.client.is_closed() {
            *lock(&self.idle) = Some(store);
        }
        outcome
    }

    /// A connection that works: after a restart of the server, a new one.
    fn connection(&self) -> Result<Store, Failure> {
        let idle = lock(&self.idle).take();
        if let Some(mut store) = idle
            && store.client.is_valid(SILENCE).is_ok()
        {
            return Ok(store);
        }
        Store::open(&self.address)
    }

    /// A card that was claimed just now.
    pub fn hold(&self, card: &Record) {
        let text = |column: &str| card.get(column).and_then(|value| value.as_str());
        let number = |column: &str| card.get(column).and_then(|value| value.as_i64());
        let (Some(id), Some(worker), Some(token)) =
            (text("id"), text("claim_owner"), number("claim_token"))
        else {
            return;
        };
        let ttl = number("claim_ttl_seconds").and_then(|ttl| ttl.try_into().ok());
        let ttl = Duration::from_secs(ttl.unwrap_or_default());
        let lease = KeptLease {
            token,
            ttl,
            worker: worker.to_owned(),
            due: Instant::now() + ttl / 3,
        };
        let mut leases = lock(&self.leases);
        leases.lost.remove(id);
        leases.held.insert(id.to_owned(), lease);
        self.changed.notify_all();
    }

    /// The agent prolonged a lease itself.
    pub fn renewed(&self, id: &str, token: Option<i64>, ttl: Option<Duration>) {
        let mut leases = lock(&self.leases);
        if let Some(lease) = leases.held.get_mut(id)
            && Some(lease.token) == token
        {
            lease.ttl = ttl.unwrap_or(lease.ttl);
            lease.due = Instant::now() + lease.ttl / 3;
            self.changed.notify_all();
        }
    }

    pub fn let_go(&self, id: &str) {
        lock(&self.leases).held.remove(id);
    }

    /// Who acts on a card: the worker that holds it here, else the session's own.
    pub fn actor(&self, id: Option<&str>) -> String {
        let leases = lock(&self.leases);
        match id.and_then(|id| leases.held.get(id)) {
            Some(lease) => lease.worker.clone(),
            None => self.worker.clone(),
        }
    }

    /// The lease that is to be renewed now; waits for it. `None`: the session has ended.
    pub fn due(&self) -> Option<(String, KeptLease)> {
        let mut leases = lock(&self.leases);
        loop {
            if leases.ended {
                return None;
            }
            let now = Instant::now();
            let next = leases.held.iter().min_by_key(|(_, lease)| lease.due);
            let wait = match next {
                Some((id, lease)) if lease.due <= now => return Some((id.clone(), lease.clone())),
                Some((_, lease)) => lease.due - now,
                None => Duration::MAX,
            };
            let waited = self.changed.wait_timeout(leases, wait.min(LOOK));
            leases = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A lease that is to be tried again after a while.
    pub fn put_off(&self, id: &str, lease: &KeptLease, pause: Duration) {
        let mut leases = lock(&self.leases);
        if let Some(held) = leases.held.get_mut(id)
            && held.token == lease.token
        {
            held.due = Instant::now() + pause.max(REST);
        }
    }

    /// A lease that could not be kept.
    pub fn lose(&self, id: &str, lease: &KeptLease, why: &str) {
        let mut leases = lock(&self.leases);
        if leases
            .held
            .get(id)
            .is_some_and(|held| held.token == lease.token)
        {
            leases.held.remove(id);
            let token = lease.token;
            let told = format!(
                "the lease under claim_token {token} has ended ({why}): stop working on the card"
            );
            leases.lost.insert(id.to_owned(), told);
        }
    }

    /// What the agent has not been told of a lease that was lost.
    pub fn tell_lost(&self, id: &str) -> Option<String> {
        lock(&self.leases).lost.remove(id)
    }

    /// The cards of a claim whose answer is on its way.
    pub fn is_to_be_written(&self, request: RequestId, cards: Vec<String>) {
        lock(&self.unwritten).insert(request, cards);
    }

    /// The client has the answer.
    pub fn is_written(&self, request: &RequestId) {
        lock(&self.unwritten).remove(request);
    }

    /// Nobody gets the answer, so nobody would work on the cards.
    pub fn is_given_up(&self, request: &RequestId) {
        let cards = lock(&self.unwritten).remove(request);
        for id in cards.into_iter().flatten() {
            self.release(&id, "the client cancelled its claim");
        }
    }

    /// Nothing is renewed any more, and what nobody was told of is given back.
    pub fn end(&self) {
        lock(&self.leases).ended = true;
        self.changed.notify_all();
        let unwritten: Vec<String> = lock(&self.unwritten).drain().flat_map(|(_, c)| c).collect();
        for id in unwritten {
            self.release(&id, "the answer of the claim could not be written");
        }
    }

    /// Gives a card back that nobody will work on, unless it is no longer ours.
    pub fn release(&self, id: &str, reason: &str) {
        let Some(lease) = lock(&self.leases).held.remove(id) else {
            return;
        };
        let call = lease
            .call("backlog_release", id)
            .text("reason", reason.to_owned());
        match self.rows(&call) {
            Ok(_) => {}
            Err(failure) if matches!(failure.code, Code::ClaimLost | Code::NotFound) => {}
            Err(failure) => warn(&format!(
                "card {id:?} was not released and comes back when its lease ends: {}",
                failure.message
            )),
        }
    }

    pub fn release_all(&self) {
        let held: Vec<String> = lock(&self.leases).held.keys().cloned().collect();
        for id in held {
            self.release(&id, "the session ended");
        }
    }
}

/// A call that panicked left nothing half-done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
