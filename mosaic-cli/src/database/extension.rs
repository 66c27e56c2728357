//! The extension on a server: is it there, may it be installed, is it new enough.

use postgres::Client;
use postgres::error::SqlState;

use crate::failure::{Code, Failure};

/// The version of this program, which is that of the extension it was built with. Kept from the optimiser, so that it
/// stands in the program as text: tests of updates put another one in its place.
pub fn version() -> &'static str {
    std::hint::black_box(env!("CARGO_PKG_VERSION"))
}

pub const EXTENSION: &str = "mosaic_backlog_ext";

pub const OLDEST_SERVER: i32 = 150_000;

/// What a server has.
struct Found {
    server: String,
    server_number: i32,
    role: String,
    /// The version in this database, if the extension is installed.
    installed: Option<String>,
    /// The version of the files on that server, if they are there.
    available: Option<String>,
}

/// What `migrate` did.
pub struct Migration {
    /// `None`: the extension was not there before.
    pub from: Option<String>,
    pub to: String,
}

/// Whether a call failed because the extension, or this function of it, is not in the database.
pub fn is_missing(error: &postgres::Error) -> bool {
    let missing = [
        SqlState::UNDEFINED_FUNCTION,
        SqlState::INVALID_SCHEMA_NAME,
        SqlState::UNDEFINED_OBJECT,
    ];
    // An error with a code of our own comes from inside the extension.
    error.code().is_some_and(|state| missing.contains(state))
}

/// After a call found it missing: installs the extension if this role may, and says which version is there now.
/// An older one is left alone unless MOSAIC_AUTO_MIGRATE=1 says otherwise: nobody migrates a shared server in passing.
pub fn prepare(client: &mut Client) -> Result<String, Failure> {
    let found = look(client)?;
    let may_migrate = std::env::var_os("MOSAIC_AUTO_MIGRATE").is_some_and(|value| value == "1");
    match found.installed {
        // Possibly by somebody else, since the call.
        Some(version) if version == self::version() || !may_migrate => Ok(version),
        _ => Ok(migrate(client)?.to),
    }
}

/// Brings the database to the newest version that its server has files for.
pub fn migrate(client: &mut Client) -> Result<Migration, Failure> {
    let found = look(client)?;
    match &found.installed {
        None => install(client, &found)?,
        Some(_) => update(client, &found)?,
    }
    let to = look(client)?.installed.unwrap_or_default();
    Ok(Migration {
        from: found.installed,
        to,
    })
}

/// The version in this database, and that of the files on its server.
pub fn versions(client: &mut Client) -> Result<(Option<String>, Option<String>), Failure> {
    let found = look(client)?;
    Ok((found.installed, found.available))
}

pub fn too_old(installed: Option<&str>) -> Failure {
    let failure = Failure::new(
        Code::NotInstalled,
        "the backlog in this database lacks a function that this command needs",
    )
    .hint("Run `mosaic db migrate` with the rights of the database's owner.");
    match installed {
        Some(version) => failure.detail(format!(
            "The extension there is version {version}; this program is version {}.",
            self::version()
        )),
        None => failure,
    }
}

fn look(client: &mut Client) -> Result<Found, Failure> {
    let rows = client.query_typed(
        "select current_setting('server_version'), current_setting('server_version_num')::int, \
                current_user::text, \
                (select extversion from pg_catalog.pg_extension where extname = 'mosaic_backlog_ext'), \
                (select default_version from pg_catalog.pg_available_extensions where name = 'mosaic_backlog_ext')",
        &[],
    )?;
    let row = rows
        .first()
        .ok_or_else(|| Failure::internal("the server does not describe itself"))?;
    Ok(Found {
        server: row.try_get(0)?,
        server_number: row.try_get(1)?,
        role: row.try_get(2)?,
        installed: row.try_get(3)?,
        available: row.try_get(4)?,
    })
}

fn install(client: &mut Client, found: &Found) -> Result<(), Failure> {
    if found.server_number < OLDEST_SERVER {
        return Err(Failure::new(
            Code::NotInstalled,
            format!(
                "the server is PostgreSQL {}, which is too old",
                found.server
            ),
        )
        .detail("The backlog needs PostgreSQL 15 or newer."));
    }
    if found.available.is_none() {
        return Err(Failure::new(
            Code::NotInstalled,
            "the extension's files are not on that server",
        )
        .detail("The server does not offer mosaic_backlog_ext. Nothing was changed.")
        .hint(
            "An administrator runs `install.sh --pg-config PATH` on the server's machine, \
             with the path of that server's pg_config.",
        ));
    }
    let Err(error) = client.batch_execute("create extension if not exists mosaic_backlog_ext")
    else {
        return Ok(());
    };
    // Of two that install at the same moment one fails, and is served as well.
    if look(client)?.installed.is_some() {
        return Ok(());
    }
    if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        return Err(Failure::new(
            Code::Unauthorized,
            format!(
                "the role {:?} may not create the extension in this database",
                found.role
            ),
        )
        .detail("The extension's files are on the server. Nothing was changed.")
        .hint(
            "An administrator runs `create extension mosaic_backlog_ext` in this database \
             and grants mosaic_worker or mosaic_operator to the role.",
        ));
    }
    Err(error.into())
}

fn update(client: &mut Client, found: &Found) -> Result<(), Failure> {
    let before = found.installed.as_deref().unwrap_or_default();
    match &found.available {
        Some(available) if available != before => {
            client.batch_execute("alter extension mosaic_backlog_ext update")?;
            Ok(())
        }
        // Nothing newer is there, which is fine as long as this program needs nothing newer.
        Some(_) if before == version() => Ok(()),
        _ => Err(Failure::new(
            Code::NotInstalled,
            format!("the server has no files newer than version {before} of the extension"),
        )
        .detail(format!("This program is version {}.", version()))
        .hint(
            "An administrator runs `install.sh --pg-config PATH` on the server's machine, \
             with the path of that server's pg_config.",
        )),
    }
}
