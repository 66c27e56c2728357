//! The database, the role and the extension of the embedded store. Every step looks first, so
//! that it can be begun again wherever a killed call left off.

use postgres::Client;

use super::connect::{ADMIN, Attempt, DATABASE, FIRST_DATABASE, OPERATOR, connect};
use super::home::Socket;
use super::settings::DURABLE;
use super::version::Version;
use crate::database::extension::EXTENSION;
use crate::database::extension::{self, Migration};
use crate::failure::{Code, Failure};

/// Brings a running server to where every verb works.
pub fn complete(socket: &Socket) -> Result<Migration, Failure> {
    let mut server = admin(socket, FIRST_DATABASE)?;
    assert_durable(&mut server)?;
    create_missing(&mut server)?;
    let mut database = admin(socket, DATABASE)?;
    let migration = migrate(&mut database)?;
    database.batch_execute(&format!(
        "grant mosaic_operator, pg_read_all_stats to {OPERATOR}"
    ))?;
    Ok(migration)
}

/// A connection as the superuser, in which nothing of the caller's environment has a say.
pub fn admin(socket: &Socket, database: &str) -> Result<Client, Failure> {
    match connect(socket, ADMIN, database) {
        Attempt::Connected(client) => Ok(*client),
        Attempt::Incomplete(failure) | Attempt::Refused(failure) | Attempt::Silent(failure) => {
            Err(failure)
        }
        Attempt::Down | Attempt::Waiting => {
            Err(Failure::unreachable("the embedded server went away"))
        }
    }
}

/// A backlog of record does not run on a server that may forget what it acknowledged.
fn assert_durable(server: &mut Client) -> Result<(), Failure> {
    for name in DURABLE
        .map(|(name, _)| name)
        .into_iter()
        .chain(["synchronous_commit"])
    {
        let value: String = server
            .query_one("select current_setting($1)", &[&name])?
            .try_get(0)?;
        if value == "off" {
            return Err(Failure::new(
                Code::Resource,
                format!("the embedded server runs with {name} = off"),
            )
            .lasts(true)
            .detail("It could lose cards that it has acknowledged.")
            .hint(format!(
                "`mosaic db psql --admin -- -c 'alter system reset {name}'` and `mosaic db stop` take a setting of your own back."
            )));
        }
    }
    Ok(())
}

fn create_missing(server: &mut Client) -> Result<(), Failure> {
    let found = server.query_one(
        "select exists (select from pg_catalog.pg_roles where rolname = $1), \
                exists (select from pg_catalog.pg_database where datname = $2), \
                exists (select from pg_catalog.pg_database where datname = $2 and not datallowconn)",
        &[&OPERATOR, &DATABASE],
    )?;
    if !found.try_get::<_, bool>(0)? {
        // initdb insisted on a password for the superuser; nobody is ever asked for one.
        server.batch_execute(&format!(
            "create role {OPERATOR} login; alter role {ADMIN} password null"
        ))?;
    }
    if !found.try_get::<_, bool>(1)? {
        server.batch_execute(&format!("create database {DATABASE}"))?;
    }
    if found.try_get::<_, bool>(2)? {
        // A restore was killed at the moment of the change; under the lock none is at work.
        server.batch_execute(&format!(
            "alter database {DATABASE} with allow_connections true"
        ))?;
    }
    Ok(())
}

/// Never backwards: a database that a newer Mosaic migrated is used as it is.
fn migrate(database: &mut Client) -> Result<Migration, Failure> {
    if let Some(installed) = version(database)?
        && installed
            .parse::<Version>()
            .is_ok_and(|version| version > Version::own())
    {
        return Ok(Migration {
            from: Some(installed.clone()),
            to: installed,
        });
    }
    extension::migrate(database)
}

/// The extension's version in this database.
pub fn version(database: &mut Client) -> Result<Option<String>, Failure> {
    database
        .query_opt(
            "select extversion from pg_catalog.pg_extension where extname = $1",
            &[&EXTENSION],
        )?
        .map(|row| row.try_get(0))
        .transpose()
        .map_err(Failure::from)
}
