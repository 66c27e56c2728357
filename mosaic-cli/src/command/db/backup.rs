//! `mosaic db backup` and `mosaic db restore`: the whole database, through PostgreSQL's own programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Args;
use postgres::Client;
use serde_json::{Value, json};

use super::client_program::ClientProgram;
use crate::database::embedded;
use crate::database::store::{self, Address, Choice};
use crate::failure::{Code, Failure};
use crate::files::replacement::Replacement;
use crate::output::reply::{Reply, say};
use crate::output::screen::{Screen, one_line};
use crate::output::selection::Selection;

/// Save the whole database to a file
#[derive(Args)]
#[command(after_help = "\
Example: mosaic db backup backlog.dump

The file is a custom-format archive of pg_dump: cards, dependencies, history, tokens, and the
tables of your own in the same database, all of one moment. Nobody has to stop working.")]
pub struct Backup {
    /// The file to write; it gets its name only when it is complete
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Bring a backup back, into a backlog that is still empty
#[derive(Args)]
#[command(after_help = "\
Example: mosaic db restore backlog.dump

Refused while there are cards. The embedded server gets the backup as a new database, which takes
the place of the empty one when it is whole; until then nothing changes.")]
pub struct Restore {
    /// A file that backup wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Backup {
    pub fn run(self, address: &Address, selection: &Selection) -> Result<Reply, Failure> {
        let (mut client, place) = Place::open(address)?;
        let server = server_of(&mut client)?;
        let Some(extension) = &server.extension else {
            return Err(Failure::new(
                Code::NotInstalled,
                "there is no backlog in this database",
            ));
        };
        let dump = place.program("pg_dump", server.major)?;
        let replacement = Replacement::begin(&self.file)?;
        if !selection.is_json() {
            say("saving the database");
        }
        dump.write(
            &[OsStr::new("--format=custom"), OsStr::new("--no-password")],
            replacement.open()?,
        )
        .map_err(|failure| match failure.code {
            Code::Unauthorized => failure.hint(
                "A backup reads every table, which takes a superuser or the owner of the tables; \
                 `mosaic backlog export` needs only mosaic_operator.",
            ),
            _ => failure,
        })?;
        let bytes = replacement.finish()?;
        Ok(Reply::new(
            json!({
                "file": self.file.to_string_lossy(), "bytes": bytes,
                "extension_version": extension, "server_version": server.version,
            }),
            |document: &Value, _: &Screen| {
                format!(
                    "saved {} ({:.1} MB)\n",
                    one_line(document["file"].as_str().unwrap_or_default()),
                    document["bytes"].as_f64().unwrap_or_default() / 1e6
                )
            },
        ))
    }
}

impl Restore {
    pub fn run(self, address: &Address, selection: &Selection) -> Result<Reply, Failure> {
        if let Err(error) = std::fs::File::open(&self.file) {
            return Err(
                Failure::usage(format!("cannot read {}", self.file.display()))
                    .detail(format!("{error}.")),
            );
        }
        let (mut client, place) = Place::open(address)?;
        let server = server_of(&mut client)?;
        let restore = place.program("pg_restore", server.major)?;
        self.check(&restore)?;
        if !selection.is_json() {
            say("restoring the database");
        }
        let restored = match &place {
            Place::Embedded(cluster) => {
                drop(client);
                cluster.restore(|database| load(&restore, &self.file, database))?
            }
            Place::External(_) => {
                let last_token = embedded::refuse_cards(&mut client)?;
                let database = restore.database().unwrap_or_default().to_os_string();
                load(&restore, &self.file, &database)?;
                embedded::finish_restore(&mut client, last_token)?
            }
        };
        Ok(Reply::new(
            json!({
                "file": self.file.to_string_lossy(), "cards": restored.cards,
                "extension_version": restored.extension_version, "kept_database": restored.kept,
            }),
            |document: &Value, _: &Screen| {
                let cards = document["cards"].as_i64().unwrap_or_default();
                let kept = match document["kept_database"].as_str() {
                    Some(kept) => format!(
                        "\nthe database before had tables of its own and is kept as {}",
                        one_line(kept)
                    ),
                    None => String::new(),
                };
                let noun = if cards == 1 { "card" } else { "cards" };
                format!("restored {cards} {noun}{kept}\n")
            },
        ))
    }

    /// Whether the file is a backup of a backlog.
    fn check(&self, restore: &ClientProgram) -> Result<(), Failure> {
        let contents = restore
            .run(&[OsStr::new("--list"), self.file.as_os_str()])
            .map_err(|failure| {
                let wrong =
                    Failure::usage(format!("{} is not a whole backup", self.file.display()));
                match failure.detail {
                    Some(detail) => wrong.detail(detail),
                    None => wrong,
                }
            })?;
        if contents.contains(" mosaic backlog ") && contents.contains(" mosaic_backlog_ext") {
            Ok(())
        } else {
            Err(Failure::usage(format!(
                "{} is a backup, but not of a backlog",
                self.file.display()
            )))
        }
    }
}

/// Puts the archive into a database, as a whole or not at all.
fn load(restore: &ClientProgram, file: &Path, database: &OsStr) -> Result<(), Failure> {
    let name = database.to_string_lossy();
    let quoted = name.replace('\\', "\\\\").replace('\'', "\\'");
    restore
        .run(&[
            OsStr::new("--single-transaction"),
            OsStr::new("--exit-on-error"),
            OsStr::new("--no-password"),
            OsStr::new("--dbname"),
            OsStr::new(&format!("dbname='{quoted}'")),
            file.as_os_str(),
        ])
        .map(|_| ())
        .map_err(|failure| {
            let detail = failure.detail.clone().unwrap_or_default();
            failure.detail(format!("{detail}\nNothing was changed."))
        })
}

/// Where the backlog is.
enum Place {
    Embedded(embedded::Cluster),
    External(Vec<(&'static str, std::ffi::OsString)>),
}

impl Place {
    fn open(address: &Address) -> Result<(Client, Place), Failure> {
        match store::choose(address)? {
            Choice::External(dsn) => {
                let environment = dsn.environment();
                Ok((store::connect(dsn)?, Place::External(environment)))
            }
            Choice::Embedded => {
                let cluster = embedded::Cluster::locate()?;
                Ok((cluster.connect()?, Place::Embedded(cluster)))
            }
        }
    }

    fn program(&self, name: &str, major: u32) -> Result<ClientProgram, Failure> {
        match self {
            Place::Embedded(cluster) => {
                ClientProgram::find(name, major, cluster.program(name), cluster.environment()?)
            }
            Place::External(environment) => {
                ClientProgram::find(name, major, None, environment.clone())
            }
        }
    }
}

struct Server {
    version: String,
    major: u32,
    extension: Option<String>,
}

fn server_of(client: &mut Client) -> Result<Server, Failure> {
    let row = client.query_typed_one(
        "select current_setting('server_version'), current_setting('server_version_num')::int, \
           (select extversion from pg_catalog.pg_extension where extname = 'mosaic_backlog_ext')",
        &[],
    )?;
    Ok(Server {
        version: row.try_get(0)?,
        major: row.try_get::<_, i32>(1)?.unsigned_abs() / 10_000,
        extension: row.try_get(2)?,
    })
}
