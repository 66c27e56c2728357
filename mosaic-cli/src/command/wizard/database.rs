//! Which database: the embedded one, or one elsewhere, whose address the shell has to know from then on.

use super::step::{Context, Item, State};
use crate::database::dsn::{self, Dsn};
use crate::database::embedded::{Cluster, Home};
use crate::database::extension;
use crate::database::store::{self, Address, Choice};
use crate::environment::filled;
use crate::failure::{Code, Failure};
use crate::input::prompt;
use crate::output::error::whole;
use crate::output::screen::one_line;

const STEP: &str = "database";
const EMBEDDED: &str = "embedded";
const VARIABLE: &str = "DATABASE_URL";

pub fn items(context: &mut Context, flag: Option<&str>) -> Result<Vec<Item>, Failure> {
    let from_shell = filled(VARIABLE).is_some();
    // What was put where is kept there, with a database elsewhere too.
    if let Err(problem) = Home::locate() {
        context.problems.push(problem);
        return Ok(Vec::new());
    }
    if filled("MOSAIC_HOME").is_some() {
        context.forwards.push("MOSAIC_HOME");
    }
    let item = match flag {
        Some(EMBEDDED) if from_shell => Err(Failure::usage(format!(
            "--database embedded does not go with {VARIABLE}"
        ))
        .detail(format!(
            "Every command would ask the database of {VARIABLE} all the same."
        ))
        .hint(format!("unset {VARIABLE}"))),
        Some(EMBEDDED) => embedded(),
        Some(url) => given(context, url),
        None if from_shell => store::choose(&context.address).and_then(|choice| match choice {
            Choice::External(dsn) => external(dsn),
            Choice::Embedded => embedded(),
        }),
        None if context.asks() && !is_set_up()? => return asked(context).map(|item| vec![item]),
        None => embedded(),
    };
    if from_shell {
        context.forwards.insert(0, VARIABLE);
    }
    match item {
        Ok(item) => Ok(vec![item]),
        Err(problem) => {
            context.problems.push(problem);
            Ok(Vec::new())
        }
    }
}

fn is_set_up() -> Result<bool, Failure> {
    Ok(Home::locate()?.data_major()?.is_some())
}

fn embedded() -> Result<Item, Failure> {
    let cluster = Cluster::locate()?;
    let root = Home::locate()?.root;
    let what = format!("a PostgreSQL of your own in {}", root.display());
    if is_set_up()? {
        return Ok(Item::new(STEP, what, State::Done));
    }
    let act = move || cluster.start().map(|_| ());
    Ok(Item::planned(STEP, what, act))
}

fn asked(context: &mut Context) -> Result<Item, Failure> {
    let root = Home::locate()?.root;
    let options = vec![
        format!("a PostgreSQL of your own, in {}", root.display()),
        "a PostgreSQL elsewhere, for several machines".to_owned(),
    ];
    if prompt::choose("Where should the backlog live?", options)? == 0 {
        return embedded();
    }
    loop {
        let url = prompt::line(
            "Its address:",
            "postgresql://user@host:5432/database; the password goes into ~/.pgpass",
        )?;
        if url.trim().is_empty() {
            continue;
        }
        match given(context, url.trim()) {
            Ok(item) => return Ok(item),
            Err(failure) if failure.code == Code::Interrupted => return Err(failure),
            Err(failure) => {
                let hint = context.words.hint(&failure).unwrap_or_default();
                eprintln!("{} {}", one_line(&whole(&failure)), one_line(&hint));
            }
        }
    }
}

/// An address that stands in no variable yet.
fn given(context: &mut Context, url: &str) -> Result<Item, Failure> {
    let dsn = dsn::parse(url)?;
    if dsn.shows_password {
        return Err(Failure::usage("a password does not go into this address")
            .detail("Others could read it there, and in your shell's profile.")
            .hint("Put it into ~/.pgpass, or give the whole address in DATABASE_URL."));
    }
    if let Ok(other) = std::env::var(VARIABLE)
        && !other.is_empty()
        && other != url
    {
        return Err(Failure::usage(format!(
            "--database and {VARIABLE} name different databases"
        ))
        .detail(format!(
            "Every later command would ask the one of {VARIABLE}."
        ))
        .hint(format!("Leave out --database, or unset {VARIABLE}.")));
    }
    let item = external(dsn)?;
    context.address = Address(Some(url.to_owned()));
    if filled(VARIABLE).is_none() {
        context.forwards.insert(0, VARIABLE);
        context.profile = Some(profile_line(url));
    }
    Ok(item)
}

/// Connects, and says what is there.
fn external(dsn: Dsn) -> Result<Item, Failure> {
    let what = format!(
        "the database {:?} at {}",
        dsn.config
            .get_dbname()
            .or(dsn.config.get_user())
            .unwrap_or_default(),
        store::place(&dsn.config)
    );
    let (installed, available) = extension::versions(&mut store::connect(dsn.clone())?)?;
    match (installed, available) {
        (Some(version), _) => {
            let older = (version != extension::version()).then(|| {
                format!(
                    "The extension there is version {version}, this program is version {}; \
                     `mosaic db migrate` brings it to the newest that the server has.",
                    extension::version()
                )
            });
            Ok(Item::new(STEP, what, State::Done).note(older))
        }
        // Says why it cannot be.
        (None, None) => match extension::migrate(&mut store::connect(dsn)?) {
            Err(failure) => Err(failure),
            Ok(_) => Ok(Item::new(STEP, what, State::Done)),
        },
        (None, Some(version)) => {
            let act = move || extension::migrate(&mut store::connect(dsn)?).map(|_| ());
            let note = format!("The extension mosaic_backlog_ext {version} is created there.");
            Ok(Item::planned(STEP, what, act).note(Some(note)))
        }
    }
}

/// As the user's shell wants it.
fn profile_line(url: &str) -> String {
    let shell = filled("SHELL").unwrap_or_default();
    let quoted = format!("'{}'", url.replace('\'', "'\\''"));
    match shell.to_string_lossy().ends_with("fish") {
        true => format!("set -gx {VARIABLE} {quoted}"),
        false => format!("export {VARIABLE}={quoted}"),
    }
}
