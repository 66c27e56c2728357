//! `gateway.toml` and `secrets.toml`: what stands where, and changing one key. All else in them stays as it is.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use toml_edit::{Array, Document, DocumentMut, Item, Value};

use super::setting::{SETTINGS, Setting, Stands, TABLES, near};
use crate::database::embedded::Home;
use crate::failure::{Code, Failure, capitalised};
use crate::files::rewrite::{self, Change, rewrite};

const OTHERS: u32 = 0o077;

/// A file of settings, as it was read.
#[derive(Default)]
pub struct SettingsFile {
    pub path: PathBuf,
    found: Vec<Found>,
    /// What the gateway would refuse about it, beside values.
    pub problems: Vec<String>,
}

struct Found {
    key: String,
    values: Result<Vec<String>, String>,
    line: usize,
}

/// The file in which a setting may stand.
pub fn path(home: &Home, stands: Stands) -> Option<PathBuf> {
    match stands {
        Stands::Gateway => Some(home.gateway().join("gateway.toml")),
        Stands::Secrets => Some(home.gateway().join("secrets.toml")),
        Stands::Bootstrap | Stands::Program => None,
    }
}

fn mode(stands: Stands) -> u32 {
    match stands {
        Stands::Secrets => 0o600,
        _ => 0o640,
    }
}

impl SettingsFile {
    pub fn read(path: PathBuf, stands: Stands) -> Result<Self, Failure> {
        let Some(bytes) = rewrite::read(&path)? else {
            return Ok(SettingsFile {
                path,
                ..SettingsFile::default()
            });
        };
        let text = utf8(&bytes, &path)?;
        let document = Document::parse(text).map_err(|error| malformed(&path, text, &error))?;
        let mut file = SettingsFile {
            path,
            ..SettingsFile::default()
        };
        if stands == Stands::Secrets && is_open(&file.path) {
            file.problems.push(open_to_others(&file.path));
        }
        for (key, item) in document.as_table().iter() {
            let span = document.as_table().key(key).and_then(|key| key.span());
            let line = span.map_or(1, |span| line_of(text, span.start));
            let place = format!("{}:{line}", file.path.display());
            let known = SETTINGS.iter().find(|setting| setting.key == key);
            match known {
                Some(setting) if setting.stands == stands => file.found.push(Found {
                    key: key.to_owned(),
                    values: values(item, setting),
                    line,
                }),
                Some(setting) => file.problems.push(format!(
                    "{place}: {key} does not belong in this file{}",
                    match setting.stands {
                        Stands::Gateway => ", but into gateway.toml",
                        Stands::Secrets => ", but into secrets.toml",
                        _ => "",
                    }
                )),
                None if stands == Stands::Gateway && TABLES.contains(&key) => {}
                None => file.problems.push(format!(
                    "{place}: there is no setting {key:?}.{}",
                    near(key).map_or_else(String::new, |near| format!(" {near}"))
                )),
            }
        }
        Ok(file)
    }

    /// The values of a key and its line.
    pub fn get(&self, key: &str) -> Option<(&Result<Vec<String>, String>, usize)> {
        let found = self.found.iter().find(|found| found.key == key)?;
        Some((&found.values, found.line))
    }
}

/// Puts the values there, or takes the key out. Says whether that changed anything.
pub fn change(home: &Home, setting: &Setting, values: Option<&[String]>) -> Result<bool, Failure> {
    let Some(path) = path(home, setting.stands) else {
        return Ok(false);
    };
    if values.is_some() {
        rewrite::make_private(&home.gateway())?;
    }
    if setting.stands == Stands::Secrets && is_open(&path) {
        return Err(Failure::new(Code::Unauthorized, open_to_others(&path))
            .detail("Nothing was changed.")
            .hint(format!("chmod 600 {}", path.display())));
    }
    rewrite(&path, mode(setting.stands), |before| {
        let text = utf8(before.unwrap_or_default(), &path)?;
        let mut document: DocumentMut = text
            .parse()
            .map_err(|error| malformed(&path, text, &error))?;
        match values {
            None if document.remove(setting.key).is_none() => return Ok(Change::Nothing),
            None => {}
            Some(values) => put(&mut document, setting, values),
        }
        let after = document.to_string();
        Ok(match after {
            after if after == text => Change::Nothing,
            after if after.is_empty() => Change::Removed,
            after => Change::To(after.into_bytes()),
        })
    })
}

fn put(document: &mut DocumentMut, setting: &Setting, values: &[String]) {
    let mut value: Value = match (setting.is_list(), values) {
        (false, [value]) => match value.parse::<i64>() {
            Ok(number) if setting.kind == super::setting::Kind::Port => number.into(),
            _ => value.as_str().into(),
        },
        (_, values) => values.iter().collect::<Array>().into(),
    };
    match document.get_mut(setting.key) {
        // What stands around a value is kept, a comment behind it for one.
        Some(Item::Value(old)) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        _ => {
            document.insert(setting.key, Item::Value(value));
        }
    }
}

fn values(item: &Item, setting: &Setting) -> Result<Vec<String>, String> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.value().clone()),
        Value::Integer(number) => Ok(number.value().to_string()),
        _ => Err("is neither text nor a number".to_owned()),
    };
    match item {
        Item::Value(Value::Array(items)) if setting.is_list() => items.iter().map(one).collect(),
        Item::Value(value) => Ok(setting.split(&one(value)?)),
        _ => Err("is a table".to_owned()),
    }
}

fn is_open(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & OTHERS != 0)
}

fn open_to_others(path: &Path) -> String {
    format!("{} may be read by others", path.display())
}

fn utf8<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a str, Failure> {
    std::str::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{} is not UTF-8", path.display())))
}

/// The parser's own text would quote the line, which may hold a secret.
fn malformed(path: &Path, text: &str, error: &toml_edit::TomlError) -> Failure {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = line_of(text, at);
    let column = text[..at].chars().rev().take_while(|c| *c != '\n').count() + 1;
    Failure::usage(format!(
        "{} is not TOML: line {line}, column {column}",
        path.display()
    ))
    .detail(format!(
        "{} Nothing was changed.",
        capitalised(error.message())
    ))
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}
