//! `mosaic db`: the embedded server, migrations, backup and restore.

mod backup;
mod client_program;
mod resume;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::database::embedded::{self, Report};
use crate::database::extension::{self, Migration};
use crate::database::store::{self, Address, Choice};
use crate::failure::{Exit, Failure};
use crate::output::error::whole;
use crate::output::reply::{Reply, warn};
use crate::output::screen::{Paint, Screen, one_line};
use crate::output::selection::{Prints, Selection};

#[derive(Subcommand)]
pub enum Verb {
    /// Start the embedded server, and set it up if it is new
    ///
    /// Every verb of the backlog does that by itself; this one only does that.
    #[command(after_help = "Example: mosaic db start")]
    Start,
    /// Stop the embedded server; the next call of any verb starts it again
    #[command(after_help = "Example: mosaic db stop")]
    Stop,
    /// Show whether the embedded server runs, and where its files are
    #[command(after_help = "Example: mosaic db status --json | jq -r .data")]
    Status,
    /// Print the embedded server's address, for psql and every other client
    #[command(after_help = "Example: psql \"$(mosaic db url)\"")]
    Url {
        /// As the superuser, for backup and repair
        #[arg(long)]
        admin: bool,
    },
    /// Run psql on the embedded server
    #[command(after_help = "Example: mosaic db psql -- -c 'select * from mosaic.backlog_stats()'")]
    Psql {
        /// As the superuser, for backup and repair
        #[arg(long)]
        admin: bool,
        /// Arguments for psql
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Bring the backlog's schema to the newest version that the server has files for
    #[command(
        after_help = "The embedded server is migrated by itself; this is for a server in DATABASE_URL.\n\nExample: mosaic db migrate --json"
    )]
    Migrate,
    Backup(backup::Backup),
    Restore(backup::Restore),
    ResumeAfterRestore(resume::Resume),
    /// One step of setting up the server, as the user that it runs as
    #[command(hide = true)]
    Step(embedded::Step),
}

impl Verb {
    pub fn prints(&self) -> Prints {
        match self {
            Verb::Status | Verb::Url { .. } | Verb::Psql { .. } => Prints::Report,
            _ => Prints::Outcome,
        }
    }
}

pub fn run(verb: Verb, address: &Address, selection: &Selection) -> Result<Reply, Failure> {
    if let Verb::Step(step) = verb {
        step.run()?;
        return Ok(Reply::new(json!({}), |_, _| String::new()));
    }
    let verb = match verb {
        Verb::Migrate => return migrate(address),
        Verb::Backup(backup) => return backup.run(address, selection),
        Verb::Restore(restore) => return restore.run(address, selection),
        Verb::ResumeAfterRestore(resume) => return resume.run(address),
        verb => verb,
    };
    if address.is_given() {
        return Err(
            Failure::usage("--database-url does not go with this command")
                .detail("It is only about the embedded server."),
        );
    }
    if let Choice::External(_) = store::choose(address)? {
        warn("an external server is configured; this is about the embedded one");
    }
    let cluster = embedded::Cluster::locate()?;
    match verb {
        Verb::Start => {
            let started = cluster.start()?;
            let mut document = document(&cluster.report()?);
            document["started"] = json!(started);
            Ok(Reply::new(document, |document, screen| {
                let what = if document["started"] == true {
                    "started"
                } else {
                    "was running"
                };
                format!("{what}\n{}", status_view(document, screen))
            }))
        }
        Verb::Stop => {
            let stopped = cluster.stop()?;
            Ok(Reply::new(
                json!({"stopped": stopped.is_some(), "running": false, "manner": stopped}),
                |document, _| {
                    let what = match document["manner"].as_str() {
                        Some("fast") => "stopped",
                        Some("immediate") => "stopped at once; the next start recovers",
                        Some(_) => "stopped by force; the next start recovers",
                        None => "was not running",
                    };
                    what.to_owned()
                },
            ))
        }
        Verb::Status => Ok(Reply::new(document(&cluster.report()?), status_view)),
        Verb::Url { admin } => Ok(Reply::new(
            json!({"url": cluster.url(admin)?}),
            |document, _| document["url"].as_str().unwrap_or_default().to_owned(),
        )),
        Verb::Psql { .. } if selection.is_json() => Err(Failure::usage("psql does not print JSON")
            .hint("`mosaic db url --json` prints the address; `psql --csv` and SQL's own JSON functions print data.")),
        Verb::Psql { admin, arguments } => psql(&cluster, admin, arguments),
        Verb::Migrate
        | Verb::Backup(_)
        | Verb::Restore(_)
        | Verb::ResumeAfterRestore(_)
        | Verb::Step(_) => unreachable!("handled above"),
    }
}

fn document(report: &Report) -> Value {
    json!({
        "state": state(report),
        "running": report.pid.is_some() || report.accepts || report.holder.is_some(),
        "accepts_connections": report.accepts,
        "pid": report.pid,
        "held_by": report.holder,
        "problem": problem(report),
        "initialized": report.initialized,
        "data": report.data.to_string_lossy(),
        "data_bytes": report.data_bytes,
        "data_major": report.data_major,
        "socket": report.socket.as_ref().map(|path| path.to_string_lossy()),
        "url": report.url,
        "log": report.initialized.then(|| report.data.join("log").to_string_lossy().into_owned()),
        "installation": report.installation.as_ref().map(|path| path.to_string_lossy()),
        "server_version": report.server_version,
        "extension_version": report.extension_version,
        "cli_version": extension::version(),
    })
}

/// The server in a word.
fn state(report: &Report) -> &'static str {
    match (report.accepts, report.pid, &report.holder) {
        (true, ..) => "running",
        _ if report.silent.is_some() => "stuck",
        (_, Some(_), _) => "not_ready",
        (_, None, Some(_)) => "elsewhere",
        (_, None, None) if report.initialized => "stopped",
        (_, None, None) => "not_set_up",
    }
}

/// What keeps callers of this place from being answered, in a sentence.
fn problem(report: &Report) -> Option<String> {
    if report.accepts {
        return None;
    }
    if let Some(silent) = &report.silent {
        return Some(whole(silent));
    }
    match (report.pid, &report.holder) {
        (None, Some(holder)) => Some(whole(&holder.refusal(&report.data))),
        _ => None,
    }
}

fn status_view(document: &Value, screen: &Screen) -> String {
    let text = |key: &str| match &document[key] {
        Value::String(text) => Some(one_line(text)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let state = match document["state"].as_str().unwrap_or_default() {
        "running" => screen.paint(Paint::Good, "running"),
        "stuck" => screen.paint(Paint::Bad, "running, but does not answer"),
        "not_ready" => screen.paint(Paint::Warn, "running, but not ready"),
        "elsewhere" => screen.paint(Paint::Warn, "running, but out of reach from here"),
        "stopped" => screen.paint(Paint::Warn, "stopped"),
        _ => screen.paint(
            Paint::Dim,
            "not set up yet; the first call of any verb does it",
        ),
    };
    let size = document["data_bytes"].as_u64().unwrap_or_default();
    let rows = [
        ("server", Some(state)),
        ("problem", text("problem")),
        ("pid", text("pid")),
        (
            "postgres",
            text("server_version").or_else(|| text("data_major")),
        ),
        ("extension", text("extension_version")),
        ("mosaic", text("cli_version")),
        ("data", text("data")),
        (
            "size",
            (size > 0).then(|| format!("{:.1} MB", size as f64 / 1e6)),
        ),
        ("socket", text("socket")),
        ("url", text("url")),
        ("log", text("log")),
        ("programs", text("installation")),
    ];
    rows.into_iter()
        .filter_map(|(name, value)| Some(format!("{name:<10} {}\n", value?)))
        .collect()
}

/// Becomes psql.
fn psql(
    cluster: &embedded::Cluster,
    admin: bool,
    arguments: Vec<OsString>,
) -> Result<Reply, Failure> {
    let url = cluster.url(admin)?;
    let program = cluster.program("psql").unwrap_or_else(|| "psql".into());
    let mut command = Command::new(&program);
    // The caller's settings for other servers must not lead this one astray.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("PG") && !name.starts_with("PGTZ") && name != "PGCLIENTENCODING" {
            command.env_remove(name);
        }
    }
    let limit = crate::database::limit::connect().as_secs().to_string();
    command.env("PGCONNECT_TIMEOUT", limit);
    let error = command.arg("--dbname").arg(url).args(arguments).exec();
    Err(
        Failure::io(format!("cannot run {}", program.display()), &error)
            .hint("Install PostgreSQL's client (Debian: postgresql-client)."),
    )
}

fn migrate(address: &Address) -> Result<Reply, Failure> {
    let Migration { from, to } = match store::choose(address)? {
        Choice::External(dsn) => extension::migrate(&mut store::connect(dsn)?)?,
        Choice::Embedded => embedded::Cluster::locate()?.migrate()?,
    };
    let changed = from.as_ref() != Some(&to);
    Ok(Reply::exiting(
        json!({"from": from, "to": to, "changed": changed}),
        |document, _| {
            let version = |key: &str| document[key].as_str().map(one_line);
            let to = version("to").unwrap_or_default();
            match (document["changed"] == true, version("from")) {
                (false, _) => format!("already at version {to}"),
                (true, Some(from)) => format!("migrated from version {from} to {to}"),
                (true, None) => format!("installed version {to}"),
            }
        },
        Exit::Success,
    ))
}
