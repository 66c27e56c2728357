//! Calls over a connection, which is made anew when it broke.

use std::time::Duration;

use postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::Caller;
use crate::record::{Call, Outcome};
use crate::refused::Refused;

pub struct Connection {
    config: Config,
    client: Option<Client>,
}

impl Connection {
    pub fn new(mut config: Config) -> Self {
        config.connect_timeout(Duration::from_secs(5));
        Self {
            config,
            client: None,
        }
    }
}

impl Caller for Connection {
    fn ready(&mut self) -> bool {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.client = self.config.connect(NoTls).ok();
        }
        self.client.is_some()
    }

    fn call(&mut self, call: &Call) -> Outcome {
        let client = self.client.as_mut().expect("a connection");
        let query = format!(
            "select pg_catalog.row_to_json(answer) from ({}) answer",
            call.sql()
        );
        let error = match client.simple_query(&query) {
            Ok(messages) => return Outcome::Acknowledged(rows(messages)),
            Err(error) => error,
        };
        // An error that ends the session may have come after the commit.
        let ends = error.as_db_error().is_none_or(|db| {
            use postgres::error::Severity::{Fatal, Panic};
            !matches!(db.parsed_severity(), Some(severity) if ![Fatal, Panic].contains(&severity))
        });
        if ends {
            self.client = None;
            return Outcome::Unknown(error.to_string());
        }
        let _ = client.batch_execute("");
        let refused = Refused::of(&error);
        Outcome::Refused {
            code: refused.code,
            sqlstate: refused.sqlstate,
            message: refused.message,
        }
    }
}

fn rows(messages: Vec<SimpleQueryMessage>) -> Vec<serde_json::Value> {
    messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let text = row.get(0).expect("a row");
                Some(serde_json::from_str(text).expect("JSON"))
            }
            _ => None,
        })
        .collect()
}
