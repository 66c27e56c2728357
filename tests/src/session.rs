//! A connection whose answers are JSON, so that a test can compare them as they are.

use postgres::{Client, Config, NoTls, SimpleQueryMessage};
use serde_json::Value;

use crate::refused::Refused;

pub struct Session {
    client: Client,
}

impl Session {
    #[track_caller]
    pub fn open(config: &Config) -> Self {
        match config.connect(NoTls) {
            Ok(client) => Self { client },
            Err(error) => panic!("cannot connect: {error:?}"),
        }
    }

    /// None while the server refuses connections, as after a crash.
    pub fn try_open(config: &Config) -> Option<Self> {
        let client = config.connect(NoTls).ok()?;
        Some(Self { client })
    }

    /// Runs statements whose answer does not matter.
    #[track_caller]
    pub fn run(&mut self, sql: &str) {
        if let Err(error) = self.client.batch_execute(sql) {
            panic!("{sql}: {:?}", Refused::of(&error));
        }
    }

    /// The rows of a query, as objects, or the error.
    #[track_caller]
    pub fn attempt(&mut self, query: &str) -> Result<Vec<Value>, Refused> {
        let wrapped = format!("select pg_catalog.row_to_json(answer) from ({query}) answer");
        let messages = match self.client.simple_query(&wrapped) {
            Ok(messages) => messages,
            Err(error) => return Err(self.refused(&error)),
        };
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => row
                    .get(0)
                    .map(|text| serde_json::from_str(text).expect("JSON")),
                _ => None,
            })
            .collect())
    }

    /// Runs statements that may fail.
    #[track_caller]
    pub fn attempt_run(&mut self, sql: &str) -> Result<(), Refused> {
        match self.client.batch_execute(sql) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.refused(&error)),
        }
    }

    /// The error, once its transaction has ended: PostgreSQL reports it before that, and another
    /// session could still meet the locks.
    fn refused(&mut self, error: &postgres::Error) -> Refused {
        let _ = self.client.batch_execute("");
        Refused::of(error)
    }

    #[track_caller]
    pub fn rows(&mut self, query: &str) -> Vec<Value> {
        match self.attempt(query) {
            Ok(rows) => rows,
            Err(refused) => panic!("{query}: {refused:?}"),
        }
    }

    /// The one row of a query.
    #[track_caller]
    pub fn row(&mut self, query: &str) -> Value {
        let mut rows = self.rows(query);
        assert_eq!(rows.len(), 1, "{query}: {rows:?}");
        rows.remove(0)
    }

    /// The values of a query's one column.
    #[track_caller]
    pub fn column(&mut self, query: &str) -> Vec<Value> {
        self.rows(query)
            .into_iter()
            .map(|row| match row {
                Value::Object(fields) if fields.len() == 1 => {
                    fields.into_iter().next().expect("a column").1
                }
                other => panic!("{query}: more than one column: {other}"),
            })
            .collect()
    }

    /// The one value of a query.
    #[track_caller]
    pub fn value(&mut self, query: &str) -> Value {
        let mut values = self.column(query);
        assert_eq!(values.len(), 1, "{query}: {values:?}");
        values.remove(0)
    }

    #[track_caller]
    pub fn text(&mut self, query: &str) -> String {
        match self.value(query) {
            Value::String(text) => text,
            other => panic!("{query}: no text: {other}"),
        }
    }

    #[track_caller]
    pub fn number(&mut self, query: &str) -> i64 {
        let value = self.value(query);
        value
            .as_i64()
            .unwrap_or_else(|| panic!("{query}: no number: {value}"))
    }

    #[track_caller]
    pub fn truth(&mut self, query: &str) -> bool {
        let value = self.value(query);
        value
            .as_bool()
            .unwrap_or_else(|| panic!("{query}: no truth value: {value}"))
    }

    /// The error of a query that must fail.
    #[track_caller]
    pub fn refusal(&mut self, query: &str) -> Refused {
        match self.attempt(query) {
            Ok(rows) => panic!("{query} succeeded: {rows:?}"),
            Err(refused) => refused,
        }
    }

    /// The stable code of the error of a query that must fail.
    #[track_caller]
    pub fn code(&mut self, query: &str) -> String {
        let refused = self.refusal(query);
        assert!(!refused.code.is_empty(), "{query}: no code: {refused:?}");
        refused.code
    }

    /// The process that serves this session.
    pub fn pid(&mut self) -> i64 {
        self.number("select pg_catalog.pg_backend_pid()")
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// For what the helpers here do not cover.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}
