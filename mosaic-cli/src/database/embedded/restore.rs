//! Bringing a backup back: loaded into a new database, which takes the place of the empty one.

use std::ffi::OsStr;

use postgres::Client;

use super::cluster::Cluster;
use super::connect::{ADMIN, DATABASE, OPERATOR};
use super::lock::Lock;
use super::schema;
use crate::database::extension;
use crate::failure::{Code, Failure};

/// The database while it is filled.
const LOADING: &str = "mosaic_restoring";

/// What a restore brought.
pub struct Restored {
    pub cards: i64,
    pub extension_version: String,
    /// The name under which the database before was kept, as it was not wholly empty.
    pub kept: Option<String>,
}

impl Cluster {
    /// `load` fills a new database. It takes the place of the old one in one step, in which
    /// nobody is connected and nobody can be; if anything fails before, nothing has changed.
    pub fn restore(
        &self,
        load: impl FnOnce(&OsStr) -> Result<(), Failure>,
    ) -> Result<Restored, Failure> {
        self.connect()?;
        let _lock = Lock::acquire(&self.home)?;
        let socket = self.home.socket()?;
        let mut server = schema::admin(&socket, ADMIN)?;
        let mut old = schema::admin(&socket, DATABASE)?;
        refuse_cards(&mut old)?;
        server.batch_execute(&format!("drop database if exists {LOADING} with (force)"))?;
        server.batch_execute(&format!("create database {LOADING} template template0"))?;
        let filled = || -> Result<Restored, Failure> {
            load(OsStr::new(LOADING))?;
            let mut new = schema::admin(&socket, LOADING)?;
            extension::migrate(&mut new)?;
            new.batch_execute(&format!("grant mosaic_operator to {OPERATOR}"))?;
            close(&mut server, &mut old)?;
            // Nobody can come any more, and nobody is there: this is the last look.
            let last_token = refuse_cards(&mut old)?;
            finish_restore(&mut new, last_token)
        };
        let outcome = filled().and_then(|mut restored| {
            restored.kept = swap(&mut server, old)?;
            Ok(restored)
        });
        if outcome.is_err() {
            // Where this fails too, the next call opens the database, and the next restore
            // removes what is left.
            let _ = server.batch_execute(&format!(
                "alter database {DATABASE} with allow_connections true"
            ));
            let _ =
                server.batch_execute(&format!("drop database if exists {LOADING} with (force)"));
        }
        outcome
    }
}

/// Closes the database and cuts off who is in it, but for `own`.
fn close(server: &mut Client, own: &mut Client) -> Result<(), Failure> {
    let pid: i32 = own
        .query_one("select pg_catalog.pg_backend_pid()", &[])?
        .try_get(0)?;
    server.batch_execute(&format!(
        "alter database {DATABASE} with allow_connections false"
    ))?;
    server.query(
        "select pg_catalog.pg_terminate_backend(pid, 10000) from pg_catalog.pg_stat_activity \
         where datname = $1 and backend_type = 'client backend' and pid <> $2",
        &[&DATABASE, &pid],
    )?;
    Ok(())
}

/// Puts the new database in the place of the old one. Gives the name of the old one if there
/// is something in it that is not the backlog's.
fn swap(server: &mut Client, mut old: Client) -> Result<Option<String>, Failure> {
    let has_more: bool = old
        .query_one(
            "select exists (select from pg_catalog.pg_class c \
               where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') \
                 and c.relnamespace not in (select oid from pg_catalog.pg_namespace \
                   where nspname in ('pg_catalog', 'information_schema', 'pg_toast')) \
                 and not exists (select from pg_catalog.pg_depend d \
                   where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid \
                     and d.deptype = 'e'))",
            &[],
        )?
        .try_get(0)?;
    drop(old);
    let before: String = server
        .query_one(
            "select 'mosaic_before_restore_' || pg_catalog.to_char(pg_catalog.now() at time zone 'UTC', 'YYYYMMDD_HH24MISS')",
            &[],
        )?
        .try_get(0)?;
    // Both names change at once; a call in between waits and finds the new database.
    server.batch_execute(&format!(
        "begin; \
         alter database {DATABASE} rename to {before}; \
         alter database {LOADING} rename to {DATABASE}; \
         commit"
    ))?;
    if has_more {
        server.batch_execute(&format!(
            "alter database {before} with allow_connections true"
        ))?;
        return Ok(Some(before));
    }
    server.batch_execute(&format!("drop database {before}"))?;
    Ok(None)
}

/// Refuses a database that holds cards. Gives the last token that was drawn in it.
pub fn refuse_cards(database: &mut Client) -> Result<i64, Failure> {
    let is_there: bool = database
        .query_one(
            "select pg_catalog.to_regclass('mosaic.backlog') is not null",
            &[],
        )?
        .try_get(0)?;
    if !is_there {
        return Ok(0);
    }
    let row = database.query_one(
        "select exists (select from mosaic.backlog), \
           (select case when is_called then last_value else 0 end from mosaic.backlog_claim_token_seq)",
        &[],
    )?;
    if row.try_get(0)? {
        return Err(Failure::new(
            Code::BadTransition,
            "cannot restore into a backlog that holds cards",
        )
        .detail("A restore takes the place of everything. Nothing was changed.")
        .hint("Restore under another MOSAIC_HOME or into another database, or use `mosaic backlog import` to add cards."));
    }
    Ok(row.try_get(1)?)
}

/// Makes sure that no token is given again that was given since the backup was made, or up to
/// `last_token`, and says what is there.
pub fn finish_restore(database: &mut Client, last_token: i64) -> Result<Restored, Failure> {
    let row = database.query_one(
        "select (select count(*) from mosaic.backlog), \
           (select extversion from pg_catalog.pg_extension where extname = 'mosaic_backlog_ext'), \
           pg_catalog.to_regproc('mosaic.backlog_resume_after_restore') is not null",
        &[],
    )?;
    // A server with the files of 0.1.0 has no function for it.
    let resume = if row.try_get(2)? {
        "select from mosaic.backlog_resume_after_restore($1)"
    } else {
        "select pg_catalog.setval('mosaic.backlog_claim_token_seq', greatest(last_value, $1) + 1000000000) \
         from mosaic.backlog_claim_token_seq"
    };
    database.execute(resume, &[&last_token])?;
    Ok(Restored {
        cards: row.try_get(0)?,
        extension_version: row.try_get(1)?,
        kept: None,
    })
}
