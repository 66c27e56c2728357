//! `mosaic config`: every setting, where its value comes from, and changing it.

mod file;
mod reading;
mod setting;
mod variables;

pub use reading::Flags;
pub use variables::check as check_variables;

use clap::{Args, Subcommand};
use postgres::config::Host;
use serde_json::{Map, Value, json};

use crate::agents::claude::claude_home;
use crate::command::hooks;
use crate::database::dsn::{self, Dsn};
use crate::database::embedded::Home;
use crate::database::store::{self, Address, Choice};
use crate::failure::Failure;
use crate::input::{self, filled};
use crate::output::error::whole;
use crate::output::notes::warn;
use crate::output::reply::Reply;
use crate::output::screen::{Screen, one_line};
use crate::output::selection::Prints;
use crate::output::table::{Cell, Table};

use reading::{Entry, Settings};
use setting::{Setting, Stands};

#[derive(Subcommand)]
pub enum Verb {
    /// Show every setting, its value, and where that comes from
    #[command(after_help = "\
Example:
  mosaic config show --json

Of a secret, only whether it is set. What the gateway would refuse brings a warning.")]
    Show,
    /// Print the value of one setting
    #[command(after_help = "\
Example:
  mosaic config get gateway_port")]
    Get(Key),
    Set(Set),
    /// Take a setting out of its file
    #[command(after_help = "\
Example:
  mosaic config unset gateway_port")]
    Unset(Key),
    /// Say where the files are
    #[command(after_help = "\
Example:
  mosaic config path")]
    Path,
    /// List and switch the hooks of Claude Code
    #[command(subcommand)]
    Hooks(hooks::Verb),
}

#[derive(Args)]
pub struct Key {
    /// The setting, as `mosaic config show` names it
    #[arg(value_parser = filled)]
    key: String,
}

/// Write a setting into its file
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic config set gateway_port 8080
  mosaic config set database_url --value-file url.txt

A secret is read from a file or from standard input (-), as every user of the machine can read the arguments of a program.
Comments in the file stay. A running gateway reads its settings when it starts again.")]
pub struct Set {
    #[command(flatten)]
    key: Key,

    /// The new value; for a list, the values separated by commas
    #[arg(
        conflicts_with = "value_file",
        required_unless_present = "value_file",
        allow_hyphen_values = true
    )]
    value: Option<String>,

    /// Read the value from this file, or from standard input (-)
    #[arg(long, value_name = "FILE", value_parser = filled)]
    value_file: Option<String>,
}

impl Verb {
    pub fn prints(&self) -> Prints {
        match self {
            Verb::Set(_) | Verb::Unset(_) => Prints::Outcome,
            Verb::Hooks(verb) => verb.prints(),
            _ => Prints::Report,
        }
    }

    pub fn run(self, flags: &Flags) -> Result<Reply, Failure> {
        match self {
            Verb::Hooks(_) if flags.address.is_given() => Err(Failure::usage(
                "--database-url does not go with this command",
            )
            .detail("It asks no database.")),
            Verb::Hooks(verb) => verb.run(),
            Verb::Show => show(flags),
            Verb::Get(key) => {
                let setting = Setting::named(&key.key)?;
                let settings = Settings::read(flags, &Home::locate()?)?;
                Ok(Reply::new(
                    document_of(&settings, setting),
                    |document, _| {
                        document
                            .as_object()
                            .and_then(|settings| settings.values().next())
                            .map_or_else(String::new, |entry| shown(&entry["value"]))
                    },
                ))
            }
            Verb::Set(set) => set.run(flags),
            Verb::Unset(key) => change(flags, writable(&key.key)?, None),
            Verb::Path => path(),
        }
    }
}

fn show(flags: &Flags) -> Result<Reply, Failure> {
    let home = Home::locate()?;
    let settings = Settings::read(flags, &home)?;
    for problem in &settings.problems {
        warn(problem);
    }
    let mut document = Map::new();
    for entry in &settings.entries {
        if let Some(problem) = &entry.problem {
            warn(&format!(
                "{} {problem} ({})",
                entry.setting.key, entry.source
            ));
        }
        document.insert(entry.setting.key.to_owned(), json_of(entry));
    }
    let same = same_database(flags, &settings, &home);
    document.insert("same_database".to_owned(), same);
    Ok(Reply::new(Value::Object(document), view))
}

fn json_of(entry: &Entry) -> Value {
    json!({"value": entry.shown(), "source": entry.source})
}

fn document_of(settings: &Settings, setting: &Setting) -> Value {
    let entry = settings.get(setting.key).map(json_of);
    json!({setting.key: entry})
}

fn view(document: &Value, screen: &Screen) -> String {
    let settings = document.as_object().into_iter().flatten();
    let mut table = Table::new(["SETTING", "VALUE", "SOURCE"].map(str::to_owned), "");
    for (key, entry) in settings {
        table.push(
            [
                key.clone(),
                shown(&entry["value"]),
                one_line(entry["source"].as_str().unwrap_or_default()),
            ]
            .map(Cell::plain),
        );
    }
    table.render(&Screen {
        width: None,
        colour: screen.colour,
    })
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => one_line(text),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Whether the command line and the gateway look at the same database; `null`: one of them at none.
fn same_database(flags: &Flags, settings: &Settings, home: &Home) -> Value {
    const SOURCE: &str = "cli.database_url, database_url";
    let places = Places::of(flags, settings, home).unwrap_or_else(|failure| {
        warn(&whole(&failure));
        None
    });
    let Some(places) = places else {
        return json!({"value": null, "source": SOURCE});
    };
    if !places.are_same() {
        warn(&places.told());
    }
    json!({"value": places.are_same(), "source": SOURCE})
}

/// The databases of both, where the gateway was set up.
pub fn databases(address: &Address) -> Result<Option<Places>, Failure> {
    let flags = &Flags {
        address: address.clone(),
        connect_timeout: None,
    };
    let home = Home::locate()?;
    let settings = Settings::read(flags, &home)?;
    let is_set_up = settings.value("database_url").is_some()
        || file::path(&home, Stands::Gateway).is_some_and(|file| file.exists());
    match is_set_up {
        true => Places::of(flags, &settings, &home),
        false => Ok(None),
    }
}

/// The database of the command line and that of the gateway, in words.
pub struct Places {
    cli: String,
    gateway: String,
}

impl Places {
    /// `None`: one of them has none yet.
    fn of(flags: &Flags, settings: &Settings, home: &Home) -> Result<Option<Places>, Failure> {
        let cli = place(&store::choose(&flags.address)?, home);
        let gateway = match (
            settings.value("database_url"),
            settings.value("storage_tier"),
        ) {
            (Some(url), _) => place(&Choice::External(dsn::parse(url)?), home),
            (None, Some("team")) => return Ok(None),
            (None, _) => place(&Choice::Embedded, home),
        };
        Ok(Some(Places { cli, gateway }))
    }

    pub fn are_same(&self) -> bool {
        self.cli == self.gateway
    }

    /// As a remark.
    pub fn told(&self) -> String {
        format!(
            "the command line and the gateway look at different databases: {} by DATABASE_URL, \
             {} by MOSAIC_DATABASE_URL and the gateway's files",
            self.cli, self.gateway
        )
    }
}

/// A database, in words that are the same for the same one.
fn place(choice: &Choice, home: &Home) -> String {
    const EMBEDDED: &str = "the embedded server";
    let dsn = match choice {
        Choice::Embedded => return format!("{EMBEDDED} in {}", home.root.display()),
        Choice::External(Dsn { config, .. }) => config,
    };
    let database = dsn.get_dbname().or(dsn.get_user()).unwrap_or_default();
    let socket = home.socket().ok().map(|socket| socket.folder);
    if let [Host::Unix(folder)] = dsn.get_hosts()
        && database == "mosaic"
        && socket.is_some_and(|socket| {
            socket == *folder || folder.canonicalize().is_ok_and(|folder| folder == socket)
        })
    {
        return format!("{EMBEDDED} in {}", home.root.display());
    }
    format!("{database:?} at {}", store::place(dsn))
}

fn writable(key: &str) -> Result<&'static Setting, Failure> {
    let setting = Setting::named(key)?;
    match setting.stands {
        Stands::Gateway | Stands::Secrets => Ok(setting),
        Stands::Bootstrap => Err(Failure::usage(format!("no file holds {key}"))
            .detail("The first administrator is made from the environment, once.")
            .hint(format!(
                "Set {0} or {0}_FILE for the gateway's first start.",
                setting.variable
            ))),
        Stands::Program => Err(Failure::usage(format!("no file holds {key}"))
            .hint(format!("Set {} in the environment.", setting.variable))),
    }
}

impl Set {
    fn run(self, flags: &Flags) -> Result<Reply, Failure> {
        let setting = writable(&self.key.key)?;
        let value = match (self.value, self.value_file) {
            (Some(_), _) if setting.is_secret() => {
                return Err(Failure::usage(format!("{} is a secret", setting.key))
                    .detail("Every user of the machine can read the arguments of a program.")
                    .hint("Give it with --value-file FILE, or --value-file - on standard input."));
            }
            (Some(value), _) => value,
            (None, Some(file)) => input::file("--value-file", &file)?
                .trim_end_matches(['\r', '\n'])
                .to_owned(),
            (None, None) => return Err(Failure::usage("a value is missing")),
        };
        let values = setting.split(&value);
        setting.check(&values).map_err(|problem| {
            Failure::usage(format!("{} {problem}", setting.key)).detail("Nothing was changed.")
        })?;
        change(flags, setting, Some(&values))
    }
}

/// Writes, and says what holds afterwards, which need not be what was written.
fn change(
    flags: &Flags,
    setting: &'static Setting,
    values: Option<&[String]>,
) -> Result<Reply, Failure> {
    let home = Home::locate()?;
    file::change(&home, setting, values)?;
    let settings = Settings::read(flags, &home)?;
    if let Some(entry) = settings.get(setting.key)
        && entry.source.starts_with(setting.variable)
    {
        warn(&format!("{} wins over the file", entry.source));
    }
    Ok(Reply::new(
        document_of(&settings, setting),
        |document, _| {
            let settings = document.as_object().into_iter().flatten();
            settings
                .map(|(key, entry)| {
                    let value = match &entry["value"] {
                        Value::Null => "not set".to_owned(),
                        value => shown(value),
                    };
                    let source = one_line(entry["source"].as_str().unwrap_or_default());
                    format!("{key} is {value} now ({source})\n")
                })
                .collect()
        },
    ))
}

fn path() -> Result<Reply, Failure> {
    let home = Home::locate()?;
    let file = |stands| {
        file::path(&home, stands)
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let claude = claude_home()?;
    let document = json!({
        "home": home.root.to_string_lossy(),
        "gateway": file(Stands::Gateway),
        "secrets": file(Stands::Secrets),
        "claude_settings": claude.join(hooks::SETTINGS).to_string_lossy(),
        "claude_hooks": claude.join(hooks::LEDGER).to_string_lossy(),
    });
    Ok(Reply::new(document, view_paths))
}

fn view_paths(document: &Value, _: &Screen) -> String {
    let paths = document.as_object().into_iter().flatten();
    paths
        .map(|(name, path)| format!("{name:<16} {}\n", shown(path)))
        .collect()
}
