//! Which database holds the backlog, and calling its functions.

use std::time::Duration;

use postgres::config::Host;
use postgres::types::Type;
use postgres::{Client, IsolationLevel, NoTls, Row};
use serde_json::{Map, Value};

use crate::database::call::Call;
use crate::database::dsn::{self, Dsn};
use crate::database::embedded;
use crate::database::extension;
use crate::database::ids;
use crate::database::limit::{self, within};
use crate::database::tls;
use crate::failure::passing;
use crate::failure::{Code, Failure, causes, sentence};
use crate::output::notes::{timed, warn};

/// A row of a function's result, under its column names.
pub type Record = Map<String, Value>;

/// The place of the backlog, before anything is connected.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "a program's life sees one")]
pub enum Choice {
    External(Dsn),
    Embedded,
}

/// The address that the command line names, if it names one.
#[derive(Clone, Debug, Default)]
pub struct Address(pub Option<String>);

impl Address {
    pub fn is_given(&self) -> bool {
        self.0.is_some()
    }
}

/// The address, else `DATABASE_URL`, else the embedded server.
pub fn choose(address: &Address) -> Result<Choice, Failure> {
    if let Some(url) = &address.0 {
        let dsn = dsn::parse(url)?;
        if dsn.shows_password {
            warn(
                "a password on the command line is visible to others: \
                 use DATABASE_URL, a service or a password file",
            );
        }
        return Ok(Choice::External(dsn));
    }
    match std::env::var("DATABASE_URL") {
        Ok(url) if url.trim().is_empty() => Err(Failure::usage("DATABASE_URL is set but empty")
            .hint("Unset it to use the embedded server.")),
        Ok(url) => dsn::parse(&url).map(Choice::External),
        Err(std::env::VarError::NotUnicode(_)) => Err(Failure::usage("DATABASE_URL is not UTF-8")),
        Err(std::env::VarError::NotPresent) => {
            if std::env::var_os("MOSAIC_DATABASE_URL").is_some() {
                warn(
                    "MOSAIC_DATABASE_URL is the gateway's and is not used here: \
                     set DATABASE_URL to use an external server",
                );
            }
            Ok(Choice::Embedded)
        }
    }
}

/// Connects to an external server, within the time that the connection string allows.
pub fn connect(dsn: Dsn) -> Result<Client, Failure> {
    let Dsn { config, tls, .. } = dsn;
    let place = place(&config);
    // The library's own limit covers reaching each host, but not the talk that follows.
    let limit = config
        .get_connect_timeout()
        .map(|limit| limit.saturating_mul(config.get_hosts().len().max(1) as u32))
        .map(limit::shortened);
    let connector = tls.as_ref().map(tls::connector).transpose()?;
    let what = || {
        format!(
            "connect to {place}, database {}, as {}",
            config
                .get_dbname()
                .or(config.get_user())
                .unwrap_or_default(),
            config.get_user().unwrap_or_default()
        )
    };
    let connect = config.clone();
    timed(what, || {
        within(limit, move || {
            let mut client = match connector {
                Some(connector) => connect.connect(connector),
                None => connect.connect(NoTls),
            }?;
            // A pooler lets everybody in, also while the server behind it is away or stuck.
            client.simple_query("")?;
            Ok(client)
        })
    })
    .ok_or_else(|| {
        Failure::unreachable(format!("{place} did not answer in time"))
            .detail(match limit {
                Some(limit) => format!(
                    "Within {} s it did not let this call in and answer.",
                    limit.as_secs_f64()
                ),
                None => "There is no limit.".to_owned(),
            })
            .hint("--connect-timeout or MOSAIC_CONNECT_TIMEOUT set how long a call waits for that.")
    })?
    .map_err(|error| refused(error, &place))
}

/// What a query says, if the backlog's database answers at once: nothing is set up or started for it.
pub fn at_hand<T: Send + 'static>(
    choice: Choice,
    ask: impl FnOnce(&mut Client) -> Option<T> + Send + 'static,
) -> Option<T> {
    const SHORT: Duration = Duration::from_secs(1);
    within(Some(SHORT), move || {
        let mut client = match choice {
            Choice::External(dsn) => connect(dsn).ok()?,
            Choice::Embedded => embedded::at_hand()?,
        };
        ask(&mut client)
    })?
}

fn refused(error: postgres::Error, place: &str) -> Failure {
    if let Some(answer) = error.as_db_error() {
        let unencrypted = answer.message().ends_with("no encryption");
        let failure = Failure::from(error);
        return if unencrypted {
            failure.hint("That server may take encrypted connections only: try sslmode=require.")
        } else {
            failure
        };
    }
    let reason = causes(&error);
    let failure =
        |code| Failure::new(code, format!("cannot connect to {place}")).detail(sentence(&error));
    // Trying again helps only where the server may come back.
    if reason.contains("password missing") {
        failure(Code::Unauthorized)
            .hint("Give the password in DATABASE_URL, a service or a password file (~/.pgpass).")
    } else if reason.starts_with("authentication error")
        || reason.starts_with("error performing TLS handshake")
    {
        failure(Code::Unauthorized)
    } else {
        failure(Code::Unreachable).lasts(!passing::connection(&error))
    }
}

/// The server's address for messages.
pub fn place(config: &postgres::Config) -> String {
    let hosts = config.get_hosts().iter().enumerate().map(|(at, host)| {
        let ports = config.get_ports();
        let port = ports.get(at).or(ports.first()).unwrap_or(&5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(folder) => format!("{}/.s.PGSQL.{port}", folder.display()),
        }
    });
    let hosts: Vec<String> = hosts.collect();
    if hosts.is_empty() {
        return "the database server".to_owned();
    }
    hosts.join(", ")
}

/// The rows that one call on the chosen backlog returns.
pub fn rows(address: &Address, call: Call) -> Result<Vec<Record>, Failure> {
    Store::open(address)?.rows(&call)
}

/// The same for functions that always answer with exactly one row.
pub fn row(address: &Address, call: Call) -> Result<Record, Failure> {
    Store::open(address)?.row(&call)
}

/// A connected backlog.
pub struct Store {
    pub client: Client,
    embedded: bool,
    tls: Option<tls::Tls>,
}

/// What is told where a server that let us in does not answer.
pub fn silent() -> Failure {
    Failure::unreachable("the database no longer answers")
        .detail("The connection is there, but no answer came in time.")
}

impl Store {
    pub fn open(address: &Address) -> Result<Self, Failure> {
        Store::at(choose(address)?)
    }

    pub fn at(choice: Choice) -> Result<Self, Failure> {
        Ok(match choice {
            Choice::External(dsn) => Store {
                tls: dsn.tls.clone(),
                client: connect(dsn)?,
                embedded: false,
            },
            Choice::Embedded => Store {
                client: embedded::connect()?,
                embedded: true,
                tls: None,
            },
        })
    }

    /// Connects again after the connection was lost. An embedded server that was stopped meanwhile is not
    /// started: whoever only watches must not undo that.
    pub fn reopen(address: &Address) -> Result<Self, Failure> {
        Ok(match choose(address)? {
            Choice::External(dsn) => Store {
                tls: dsn.tls.clone(),
                client: connect(dsn)?,
                embedded: false,
            },
            Choice::Embedded => Store {
                client: embedded::rejoin()?,
                embedded: true,
                tls: None,
            },
        })
    }

    /// Does something short with it beside a clock. `None`: no answer came within `limit`; what was asked is
    /// cancelled, and the connection given up.
    pub fn attend<T: Send + 'static>(
        mut self,
        limit: Duration,
        work: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> Option<(T, Store)> {
        /// For whoever still listens, to get to know that nobody waits for the answer.
        const CANCEL: Duration = Duration::from_millis(500);
        let cancel = self.client.cancel_token();
        let tls = self.tls.clone();
        let done = within(Some(limit), move || (work(&mut self), self));
        if done.is_none() {
            within(Some(CANCEL), move || match tls {
                Some(tls) => {
                    if let Ok(connector) = tls::connector(&tls) {
                        let _ = cancel.cancel_query(connector);
                    }
                }
                None => drop(cancel.cancel_query(NoTls)),
            });
        }
        done
    }

    /// Makes sure that a function is there before a call that cannot be made twice.
    pub fn require(&mut self, function: &str) -> Result<(), Failure> {
        if timed(
            || format!("look for mosaic.{function}"),
            || self.has(function),
        )? {
            return Ok(());
        }
        let installed = self.equip()?;
        if self.has(function)? {
            Ok(())
        } else {
            Err(extension::too_old(installed.as_deref()))
        }
    }

    /// Whether the extension has a function; an older one has not all.
    pub fn has(&mut self, function: &str) -> Result<bool, Failure> {
        let name = format!("mosaic.{function}");
        let rows = self.client.query_typed(
            "select pg_catalog.to_regproc($1) is not null",
            &[(&name, Type::TEXT)],
        )?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    /// Brings the extension there; gives its version, where that may not be ours.
    fn equip(&mut self) -> Result<Option<String>, Failure> {
        if self.embedded {
            self.client = embedded::repair()?;
            Ok(None)
        } else {
            extension::prepare(&mut self.client).map(Some)
        }
    }

    /// The row of a function that always answers with exactly one.
    pub fn row(&mut self, call: &Call) -> Result<Record, Failure> {
        let none = || Failure::internal(format!("mosaic.{} returned no row", call.function));
        self.rows(call)?.into_iter().next().ok_or_else(none)
    }

    /// Calls one function. A warm call is one round trip: that the extension is missing or that the
    /// database's default isolation is too high is found out by the call itself.
    pub fn rows(&mut self, call: &Call) -> Result<Vec<Record>, Failure> {
        let mut outcome = self.send(call);
        if outcome.as_ref().is_err_and(extension::is_missing) {
            let installed = self.equip()?;
            outcome = self.send(call);
            if outcome.as_ref().is_err_and(extension::is_missing) {
                return Err(extension::too_old(installed.as_deref()));
            }
        }
        let outcome = match outcome.map_err(Failure::from) {
            Err(failure) if failure.code == Code::Isolation => self.send_read_committed(call),
            outcome => outcome,
        };
        let rows = outcome.map_err(|failure| match failure.code {
            Code::NotFound => ids::suggest(failure, call.function, &mut self.client),
            _ => failure,
        })?;
        rows.iter().map(record).collect()
    }

    fn send(&mut self, call: &Call) -> Result<Vec<Row>, postgres::Error> {
        let client = &mut self.client;
        timed(
            || call.outline(),
            || client.query_typed(&call.sql(), &call.parameters()),
        )
    }

    fn send_read_committed(&mut self, call: &Call) -> Result<Vec<Row>, Failure> {
        let mut transaction = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .start()?;
        let rows = transaction.query_typed(&call.sql(), &call.parameters())?;
        transaction.commit()?;
        Ok(rows)
    }
}

/// A row that is one JSON object.
pub fn record(row: &Row) -> Result<Record, Failure> {
    let text: &str = row.try_get(0)?;
    serde_json::from_str(text).map_err(|error| {
        Failure::internal("the database's answer is not readable").detail(format!("{error}."))
    })
}
