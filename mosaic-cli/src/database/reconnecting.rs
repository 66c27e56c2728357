//! A connection to the backlog that is opened again after it broke.

use std::time::{Duration, Instant};

use postgres::fallible_iterator::FallibleIterator;
use postgres::types::Type;

use crate::database::call::Call;
use crate::database::limit;
use crate::database::store::{self, Choice, Record, Store};
use crate::failure::{Code, Failure};

/// Whether this session's server process was started for it. A pooler's process serves others as
/// well, and is not to be left listening. A second is for the time that connecting takes.
const OWN_PROCESS: &str = "select exists (select from pg_catalog.pg_stat_activity \
    where pid = pg_catalog.pg_backend_pid() \
      and backend_start >= pg_catalog.clock_timestamp() - make_interval(secs => $1 + 1))";

pub struct ReconnectingStore {
    choice: Box<Choice>,
    connection: Option<Box<Connection>>,
}

struct Connection {
    store: Store,
    since: Instant,
    /// `None`: it was not tried yet.
    listens: Option<bool>,
}

impl ReconnectingStore {
    /// Connects with the first call.
    pub fn new(choice: Choice) -> Self {
        ReconnectingStore {
            choice: Box::new(choice),
            connection: None,
        }
    }

    pub fn call(&mut self, call: &Call) -> Result<Vec<Record>, Failure> {
        let answer = self.connect()?.store.rows(call);
        self.check(answer)
    }

    /// The same of a server that has to answer until then.
    pub fn call_by(&mut self, call: Call, end: Instant) -> Result<Vec<Record>, Failure> {
        limit::by(end, || self.connect().map(|_| ()))?;
        let answer = self.attend(end, move |connection| connection.rows(&call));
        self.check(answer.unwrap_or_else(|| Err(store::silent())))
    }

    fn connect(&mut self) -> Result<&mut Connection, Failure> {
        Ok(match &mut self.connection {
            Some(connection) => connection,
            connection => connection.insert(Box::new(Connection {
                since: Instant::now(),
                store: Store::at(Choice::clone(&self.choice))?,
                listens: None,
            })),
        })
    }

    /// What broke is not used again.
    fn check(&mut self, answer: Result<Vec<Record>, Failure>) -> Result<Vec<Record>, Failure> {
        if let Some(connection) = &self.connection
            && (connection.store.client.is_closed()
                || matches!(&answer, Err(failure) if failure.code == Code::Unreachable))
        {
            self.connection = None;
        }
        answer
    }

    /// Something that is asked of a connection that is there. `None`: nobody answered until then, and it is
    /// there no more.
    fn attend<T: Send + 'static>(
        &mut self,
        end: Instant,
        ask: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> Option<T> {
        let Connection {
            store,
            since,
            listens,
        } = *self.connection.take()?;
        let limit = end.saturating_duration_since(Instant::now());
        let (answer, store) = store.attend(limit, ask)?;
        self.connection = Some(Box::new(Connection {
            store,
            since,
            listens,
        }));
        Some(answer)
    }

    /// Asks for wake-ups, where the connection can have them. True: only from now on, so that
    /// what came before was not heard.
    pub fn listen(&mut self, end: Instant) -> bool {
        let since = match &self.connection {
            Some(connection) if connection.listens.is_none() => connection.since,
            _ => return false,
        };
        let listens = self
            .attend(end, move |store| listen(store, since))
            .unwrap_or_default();
        if let Some(connection) = &mut self.connection {
            connection.listens = Some(listens);
        }
        listens
    }

    /// No more wake-ups: what nobody reads would pile up.
    pub fn ignore(&mut self) {
        const SOON: Duration = Duration::from_secs(1);
        let listens = self.connection.as_mut().map(|open| open.listens.take());
        if listens != Some(Some(true)) {
            return;
        }
        let ignore = |store: &mut Store| store.client.batch_execute("unlisten mosaic_backlog");
        if !matches!(self.attend(Instant::now() + SOON, ignore), Some(Ok(()))) {
            self.connection = None;
        }
    }

    /// Waits so long for a wake-up; says whether there was one.
    pub fn is_woken(&mut self, within: Duration) -> bool {
        match &mut self.connection {
            Some(connection) if connection.listens == Some(true) => connection.is_woken(within),
            _ => {
                std::thread::sleep(within);
                false
            }
        }
    }
}

/// A refusal is no fault: then the waiter looks by itself.
fn listen(store: &mut Store, since: Instant) -> bool {
    let age = since.elapsed().as_secs_f64();
    let client = &mut store.client;
    client
        .query_typed(OWN_PROCESS, &[(&age, Type::FLOAT8)])
        .is_ok_and(|rows| rows.first().is_some_and(|row| row.get(0)))
        && client.batch_execute("listen mosaic_backlog").is_ok()
}

impl Connection {
    fn is_woken(&mut self, within: Duration) -> bool {
        let mut notifications = self.store.client.notifications();
        let woken = matches!(notifications.timeout_iter(within).next(), Ok(Some(_)));
        // All that have arrived are one.
        while let Ok(Some(_)) = notifications.iter().next() {}
        woken
    }
}
