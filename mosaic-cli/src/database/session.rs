//! A connection to the backlog that is opened again after it broke.

use std::time::{Duration, Instant};

use postgres::fallible_iterator::FallibleIterator;
use postgres::types::Type;

use crate::database::call::Call;
use crate::database::store::{Choice, Record, Store};
use crate::failure::{Code, Failure};

/// Whether this session's server process was started for it. A pooler's process serves others as
/// well, and is not to be left listening. A second is for the time that connecting takes.
const OWN_PROCESS: &str = "select exists (select from pg_catalog.pg_stat_activity \
    where pid = pg_catalog.pg_backend_pid() \
      and backend_start >= pg_catalog.clock_timestamp() - make_interval(secs => $1 + 1))";

pub struct Session {
    choice: Box<Choice>,
    connection: Option<Box<Connection>>,
}

struct Connection {
    store: Store,
    since: Instant,
    /// `None`: it was not tried yet.
    listens: Option<bool>,
}

impl Session {
    /// Connects with the first call.
    pub fn new(choice: Choice) -> Self {
        Session {
            choice: Box::new(choice),
            connection: None,
        }
    }

    pub fn call(&mut self, call: &Call) -> Result<Vec<Record>, Failure> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            connection => connection.insert(Box::new(Connection {
                since: Instant::now(),
                store: Store::at(Choice::clone(&self.choice))?,
                listens: None,
            })),
        };
        let answer = connection.store.rows(call);
        if connection.store.client.is_closed()
            || matches!(&answer, Err(failure) if failure.code == Code::Unreachable)
        {
            self.connection = None;
        }
        answer
    }

    /// Asks for wake-ups, where the connection can have them. True: only from now on, so that
    /// what came before was not heard.
    pub fn listen(&mut self) -> bool {
        match &mut self.connection {
            Some(connection) if connection.listens.is_none() => {
                let listens = connection.listen();
                connection.listens = Some(listens);
                listens
            }
            _ => false,
        }
    }

    /// No more wake-ups: what nobody reads would pile up.
    pub fn ignore(&mut self) {
        if let Some(connection) = &mut self.connection
            && connection.listens.take() == Some(true)
            && connection
                .store
                .client
                .batch_execute("unlisten mosaic_backlog")
                .is_err()
        {
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

impl Connection {
    /// A refusal is no fault: then the waiter looks by itself.
    fn listen(&mut self) -> bool {
        let age = self.since.elapsed().as_secs_f64();
        let client = &mut self.store.client;
        client
            .query_typed(OWN_PROCESS, &[(&age, Type::FLOAT8)])
            .is_ok_and(|rows| rows.first().is_some_and(|row| row.get(0)))
            && client.batch_execute("listen mosaic_backlog").is_ok()
    }

    fn is_woken(&mut self, within: Duration) -> bool {
        let mut notifications = self.store.client.notifications();
        let woken = matches!(notifications.timeout_iter(within).next(), Ok(Some(_)));
        // All that have arrived are one.
        while let Ok(Some(_)) = notifications.iter().next() {}
        woken
    }
}
