//! What a client's session has: a name, a connection to the backlog, and the leases that it holds.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Global;
use crate::call::Call;
use crate::failure::{Code, Failure};
use crate::reply::warn;
use crate::store::{Record, Store};

/// A connection that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(5);

pub struct Session {
    global: Global,
    pub worker: String,
    /// The connection, while no call uses it.
    idle: Mutex<Option<Store>>,
    held: Mutex<HashMap<String, Lease>>,
}

struct Lease {
    token: i64,
    worker: String,
}

impl Session {
    pub fn new(global: Global, worker: String) -> Self {
        Session {
            global,
            worker,
            idle: Mutex::default(),
            held: Mutex::default(),
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

    /// A connection that works: after a restart of the server, a new one.
    fn connection(&self) -> Result<Store, Failure> {
        let idle = lock(&self.idle).take();
        if let Some(mut store) = idle
            && store.client.is_valid(SILENCE).is_ok()
        {
            return Ok(store);
        }
        Store::open(&self.global)
    }

    pub fn hold(&self, card: &Record) {
        let text = |column: &str| card.get(column).and_then(|value| value.as_str());
        let token = card.get("claim_token").and_then(|token| token.as_i64());
        if let (Some(id), Some(worker), Some(token)) = (text("id"), text("claim_owner"), token) {
            let worker = worker.to_owned();
            lock(&self.held).insert(id.to_owned(), Lease { token, worker });
        }
    }

    pub fn let_go(&self, id: &str) {
        lock(&self.held).remove(id);
    }

    /// Who acts on a card: the worker that holds it here, else the session's own.
    pub fn actor(&self, id: Option<&str>) -> String {
        match id.and_then(|id| lock(&self.held).get(id).map(|lease| lease.worker.clone())) {
            Some(worker) => worker,
            None => self.worker.clone(),
        }
    }

    /// Gives a card back that nobody will work on, unless it is no longer ours.
    pub fn release(&self, id: &str, reason: &str) {
        let Some(lease) = lock(&self.held).remove(id) else {
            return;
        };
        let call = Call::new("backlog_release")
            .text("id", id.to_owned())
            .bigint("claim_token", lease.token)
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
        let held: Vec<String> = lock(&self.held).keys().cloned().collect();
        for id in held {
            self.release(&id, "the session ended");
        }
    }
}

/// A call that panicked left nothing half-done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
