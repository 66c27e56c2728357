//! Connecting to the embedded server, and what it means when that fails.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use postgres::error::SqlState;
use postgres::{Client, Config, NoTls};

use super::home::{PORT, Socket};
use crate::database::limit::{self, within};
use crate::failure::passing;
use crate::failure::{Code, Failure, causes};
use crate::output::notes::took;

/// The role of every call.
pub const OPERATOR: &str = "mosaic";
/// The role that sets up and migrates.
pub const ADMIN: &str = "postgres";
pub const DATABASE: &str = "mosaic";
/// The database that initdb makes, for the time before there is ours.
pub const FIRST_DATABASE: &str = "postgres";

pub enum Attempt {
    Connected(Box<Client>),
    /// Nobody listens.
    Down,
    /// The server is there, but starting or stopping.
    Waiting,
    /// The role or the database is not there.
    Incomplete(Failure),
    /// It took longer than it may.
    Silent(Failure),
    Refused(Failure),
}

pub fn connect(socket: &Socket, role: &str, database: &str) -> Attempt {
    if let Err(failure) = socket.verify() {
        return Attempt::Refused(failure);
    }
    let mut config = Config::new();
    config
        .host_path(&socket.folder)
        .port(PORT)
        .user(role)
        .dbname(database)
        .application_name("mosaic");
    let start = Instant::now();
    let limit = limit::connect();
    // Whoever gets in was answered by a process of the server.
    match within(Some(limit), move || knock(&config, start + limit)) {
        Some(Ok(client)) => {
            let file = socket.file();
            let what = || {
                let file = file.display();
                format!("connect to the embedded server at {file}, database {database}, as {role}")
            };
            took(what, start.elapsed());
            Attempt::Connected(Box::new(client))
        }
        Some(Err(error)) if io_kind(&error) != Some(ErrorKind::WouldBlock) => judge(error, socket),
        _ => Attempt::Silent(
            Failure::unreachable(format!(
                "the embedded server did not answer within {} s",
                limit.as_secs()
            ))
            .detail(format!(
                "It listens at {}, but accepts no connection: it is stuck, or has too much to do.",
                socket.file().display()
            ))
            .hint("`mosaic db status` shows what it does; `mosaic db stop` ends it, if necessary by force, and loses nothing that was acknowledged. The next call starts it again."),
        ),
    }
}

/// The kernel says "again" while more callers knock than the server's queue holds.
fn knock(config: &Config, until: Instant) -> Result<Client, postgres::Error> {
    loop {
        match config.connect(NoTls) {
            Err(error)
                if io_kind(&error) == Some(ErrorKind::WouldBlock) && Instant::now() < until =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            outcome => return outcome,
        }
    }
}

fn judge(error: postgres::Error, socket: &Socket) -> Attempt {
    if let Some(state) = error.code() {
        let known = state.clone();
        let failure = Failure::from(error);
        return match known {
            SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => {
                Attempt::Waiting
            }
            // The last one: the database is closed while a restore puts another in its place.
            SqlState::INVALID_CATALOG_NAME
            | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => Attempt::Incomplete(failure),
            _ => Attempt::Refused(failure),
        };
    }
    match io_kind(&error) {
        Some(
            ErrorKind::NotFound
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof,
        ) => Attempt::Down,
        None if error.is_closed() => Attempt::Down,
        Some(ErrorKind::PermissionDenied) => Attempt::Refused(
            Failure::new(
                Code::Unauthorized,
                "the embedded server belongs to another user",
            )
            .detail(format!("Its socket is {}.", socket.file().display())),
        ),
        _ => Attempt::Refused(
            Failure::unreachable("cannot connect to the embedded server")
                .detail(format!("{}.", causes(&error)))
                .lasts(!passing::connection(&error)),
        ),
    }
}

fn io_kind(error: &postgres::Error) -> Option<ErrorKind> {
    let source = error.source()?;
    source.downcast_ref::<io::Error>().map(io::Error::kind)
}
