//! The hooks of plugins, which are on and off with their plugin and are only shown.

use std::path::Path;

use serde_json::Value;

use super::files::SETTINGS;
use super::handlers::{Handler, handlers};
use crate::files::jsonc::{object, property};
use crate::files::ordinary;

pub struct Plugin {
    pub name: String,
    pub on: bool,
    pub hooks: Vec<Handler>,
}

/// Those that are installed. What cannot be read is not ours to put right.
pub fn plugins(claude: &Path) -> Vec<Plugin> {
    let installed = read(&claude.join("plugins/installed_plugins.json"));
    let settings = read(&claude.join(SETTINGS));
    let plugins = installed["plugins"].as_object().into_iter().flatten();
    plugins
        .filter_map(|(name, entry)| {
            let entry = entry.get(0).unwrap_or(entry);
            let folder = Path::new(entry["installPath"].as_str()?);
            let text = ordinary::read_text(&folder.join("hooks/hooks.json")).ok()?;
            let root = object(&text).ok()?;
            let (_, hooks) = property(&root, "hooks")?;
            Some(Plugin {
                name: name.clone(),
                on: settings["enabledPlugins"][name.as_str()] == true,
                hooks: handlers(jsonc_parser::common::Ranged::text(hooks, &text)),
            })
        })
        .collect()
}

fn read(file: &Path) -> Value {
    ordinary::read_text(file)
        .ok()
        .and_then(|text| Some(crate::files::jsonc::parse(&text).ok()?.into()))
        .unwrap_or_default()
}
