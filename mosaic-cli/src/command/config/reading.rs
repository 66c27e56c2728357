//! What holds: flag, variable, the file that a variable names, settings file, default, in this order.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::file::{self, SettingsFile};
use super::setting::{SETTINGS, Setting, Stands};
use crate::agents::claude::claude_home;
use crate::database::embedded::Home;
use crate::database::store::Address;
use crate::environment::filled;
use crate::failure::Failure;

/// What the command line sets.
pub struct Flags {
    pub address: Address,
    pub connect_timeout: Option<u64>,
}

/// A setting's value and where it comes from.
pub struct Entry {
    pub setting: &'static Setting,
    pub values: Vec<String>,
    pub source: String,
    /// Why the gateway or the command line would refuse it.
    pub problem: Option<String>,
}

pub struct Settings {
    pub entries: Vec<Entry>,
    /// What is wrong with the files beside values.
    pub problems: Vec<String>,
}

impl Settings {
    pub fn read(flags: &Flags, home: &Home) -> Result<Self, Failure> {
        let files = [Stands::Gateway, Stands::Secrets]
            .into_iter()
            .filter_map(|stands| Some((stands, file::path(home, stands)?)))
            .map(|(stands, path)| Ok((stands, SettingsFile::read(path, stands)?)))
            .collect::<Result<Vec<_>, Failure>>()?;
        let entries = SETTINGS
            .iter()
            .map(|setting| {
                let file = files.iter().find(|(stands, _)| *stands == setting.stands);
                Entry::of(setting, flags, home, file.map(|(_, file)| file))
            })
            .collect();
        let problems = files
            .into_iter()
            .flat_map(|(_, file)| file.problems)
            .collect();
        Ok(Settings { entries, problems })
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.setting.key == key)
    }

    /// The one value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.get(key)?.values.first().map(String::as_str)
    }
}

impl Entry {
    fn of(
        setting: &'static Setting,
        flags: &Flags,
        home: &Home,
        file: Option<&SettingsFile>,
    ) -> Entry {
        let (found, source) = find(setting, flags, home, file);
        let mut entry = Entry {
            setting,
            values: Vec::new(),
            source,
            problem: None,
        };
        match found {
            Ok(values) => {
                entry.problem = match values.is_empty() {
                    true => None,
                    false => setting.check(&values).err(),
                };
                entry.values = values;
            }
            Err(problem) => entry.problem = Some(problem),
        }
        entry
    }

    /// `null`: not set. Of a secret, only that it is set.
    pub fn shown(&self) -> Value {
        match &self.values[..] {
            [] => Value::Null,
            _ if self.setting.is_secret() => json!("set"),
            values if self.setting.is_list() => json!(values),
            values => match values[0].parse::<u16>() {
                Ok(port) if self.setting.kind == super::setting::Kind::Port => json!(port),
                _ => json!(values[0]),
            },
        }
    }
}

type Found = (Result<Vec<String>, String>, String);

fn find(setting: &Setting, flags: &Flags, home: &Home, file: Option<&SettingsFile>) -> Found {
    let flag = match setting.key {
        "cli.database_url" => flags.address.0.clone().map(|url| (url, "--database-url")),
        "cli.connect_timeout" => flags
            .connect_timeout
            .map(|seconds| (format!("{seconds}s"), "--connect-timeout")),
        _ => None,
    };
    if let Some((value, flag)) = flag {
        return (Ok(vec![value]), flag.to_owned());
    }
    if let Some(value) = filled(setting.variable) {
        let values = value
            .to_str()
            .map(|value| setting.split(value))
            .ok_or_else(|| "is not UTF-8".to_owned());
        return (values, setting.variable.to_owned());
    }
    if setting.stands != Stands::Program {
        let variable = format!("{}_FILE", setting.variable);
        if let Some(path) = filled(&variable).map(PathBuf::from) {
            let source = format!("{variable} ({})", path.display());
            let values = fs::read_to_string(&path)
                .map(|text| setting.split(text.trim_end_matches(['\r', '\n'])))
                .map_err(|error| format!("cannot be read from {}: {error}", path.display()));
            return (values, source);
        }
    }
    if let Some(file) = file
        && let Some((values, line)) = file.get(setting.key)
    {
        return (values.clone(), format!("{}:{line}", file.path.display()));
    }
    let default = match setting.key {
        "home" => Some(home.root.to_string_lossy().into_owned()),
        "claude_home" => match filled("CLAUDE_CONFIG_DIR") {
            Some(folder) => {
                let folder = folder.to_string_lossy().into_owned();
                return (Ok(vec![folder]), "CLAUDE_CONFIG_DIR".to_owned());
            }
            None => claude_home()
                .ok()
                .map(|folder| folder.to_string_lossy().into_owned()),
        },
        _ => setting.default.map(str::to_owned),
    };
    (Ok(default.into_iter().collect()), "default".to_owned())
}
