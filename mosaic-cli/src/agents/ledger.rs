//! `agents.json` below mosaicHome: which files of agents have our entry, and what they were before it. So it can be
//! taken out without a trace.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::database::embedded::Home;
use crate::failure::Failure;
use crate::files::rewrite::{self, Change, rewrite};
use crate::files::user_file::malformed;

const VERSION: u64 = 1;

/// What a file was before ours was put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    NoFile,
    /// It held nothing; this was its text.
    Text(String),
    /// It had no place for servers.
    NoServers,
    /// It had one without servers; this was its text.
    Empty(String),
    Servers,
    /// This was put between what it held and ours.
    Lead(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub agent: String,
    pub file: PathBuf,
    pub before: Before,
    /// Folders that were made for it, the innermost first.
    pub folders: Vec<PathBuf>,
}

pub fn records() -> Result<Vec<Record>, Failure> {
    let file = file()?;
    read(rewrite::read(&file)?.as_deref(), &file)
}

/// Keeps this record in the place of an older one for the same file; with `None`, keeps none for it.
pub fn keep(of: &Path, record: Option<&Record>) -> Result<(), Failure> {
    let file = file()?;
    if let Some(folder) = file.parent()
        && record.is_some()
    {
        rewrite::make_private(folder)?;
    }
    if record.is_none() && !file.exists() {
        return Ok(());
    }
    rewrite(&file, 0o600, |bytes| {
        let mut records = read(bytes, &file)?;
        let before = records.clone();
        records.retain(|known| known.file != of);
        records.extend(record.cloned());
        if records == before {
            return Ok(Change::Nothing);
        }
        if records.is_empty() {
            return Ok(Change::Removed);
        }
        let entries: Vec<Value> = records.iter().map(Record::to_json).collect();
        let document = json!({"version": VERSION, "entries": entries});
        Ok(Change::To(format!("{document:#}\n").into_bytes()))
    })?;
    Ok(())
}

fn file() -> Result<PathBuf, Failure> {
    Ok(Home::locate()?.root.join("agents.json"))
}

fn read(bytes: Option<&[u8]>, file: &Path) -> Result<Vec<Record>, Failure> {
    let Some(bytes) = bytes else {
        return Ok(Vec::new());
    };
    let document: Value = serde_json::from_slice(bytes).map_err(|error| {
        malformed(
            file,
            &format!("line {}, column {}", error.line(), error.column()),
        )
    })?;
    if document["version"].as_u64() != Some(VERSION) {
        return Err(malformed(
            file,
            "it is of another version, perhaps of a newer program",
        ));
    }
    let entries = document["entries"].as_array().into_iter().flatten();
    Ok(entries.filter_map(Record::of).collect())
}

impl Record {
    fn of(value: &Value) -> Option<Record> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let before = match (value["before"].as_str()?, text("text")) {
            ("no_file", _) => Before::NoFile,
            ("nothing", Some(text)) => Before::Text(text),
            ("no_servers", _) => Before::NoServers,
            ("no_server", Some(text)) => Before::Empty(text),
            ("text", Some(lead)) => Before::Lead(lead),
            _ => Before::Servers,
        };
        let folders = value["folders"].as_array().into_iter().flatten();
        Some(Record {
            agent: text("agent")?,
            file: text("file")?.into(),
            before,
            folders: folders
                .filter_map(|folder| Some(folder.as_str()?.into()))
                .collect(),
        })
    }

    fn to_json(&self) -> Value {
        let mut value = json!({"agent": self.agent, "file": self.file.to_string_lossy()});
        let (before, text) = match &self.before {
            Before::NoFile => ("no_file", None),
            Before::Text(text) => ("nothing", Some(text)),
            Before::NoServers => ("no_servers", None),
            Before::Empty(text) => ("no_server", Some(text)),
            Before::Servers => ("servers", None),
            Before::Lead(lead) => ("text", Some(lead)),
        };
        value["before"] = json!(before);
        if let Some(text) = text {
            value["text"] = json!(text);
        }
        if !self.folders.is_empty() {
            let folders = self.folders.iter();
            value["folders"] = folders.map(|folder| folder.to_string_lossy()).collect();
        }
        value
    }
}
