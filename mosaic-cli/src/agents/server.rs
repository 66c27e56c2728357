//! Our server among those of an agent, whatever the format.

use std::path::Path;

use serde_json::Value;

/// The name of our entry.
pub const NAME: &str = "mosaic";

/// What an entry may pass on to our server.
pub const FORWARDED: [&str; 2] = ["DATABASE_URL", "MOSAIC_HOME"];

/// What an agent's file has of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// As it should be, or as the user has made it.
    Ours,
    /// As an earlier call of ours has left it.
    Older,
    /// Ours, under a name of the user's.
    Named(String),
    /// Our name, for another program.
    Foreign,
}

/// What of ours is among these servers, compared with the entry that is wanted.
pub fn find<'a>(servers: impl Iterator<Item = (&'a str, Value)>, wanted: &Value) -> Found {
    let mut found = Found::Nothing;
    for (name, server) in servers {
        found = match (name == NAME, is_ours(&server)) {
            (true, false) => return Found::Foreign,
            (true, true) if server == *wanted => return Found::Ours,
            (true, true) if bare(&server) == bare(wanted) => return Found::Older,
            (true, true) => return Found::Ours,
            (false, true) => Found::Named(name.to_owned()),
            (false, false) => found,
        };
    }
    found
}

/// Whether a server is this program, wherever it lies.
pub fn is_ours(server: &Value) -> bool {
    let command = match &server["command"] {
        Value::Array(words) => words.first().and_then(Value::as_str),
        command => command.as_str(),
    };
    let arguments = match &server["command"] {
        Value::Array(words) => &words[1.min(words.len())..],
        _ => server["args"].as_array().map_or(&[][..], Vec::as_slice),
    };
    command
        .and_then(|command| Path::new(command).file_name())
        .is_some_and(|name| name == NAME)
        && arguments.iter().any(|argument| argument == "mcp")
}

/// Without what differs between calls of ours: where the program lies, and what is passed on.
fn bare(server: &Value) -> Value {
    let mut server = server.clone();
    match &mut server["command"] {
        Value::Array(words) if !words.is_empty() => words[0] = NAME.into(),
        command => *command = NAME.into(),
    }
    let is_ours = |name: &str| FORWARDED.contains(&name);
    let fields = server.as_object_mut().expect("a server is an object");
    let passes_on_ours = |fields: &serde_json::Map<String, Value>| {
        let variables = fields.get("env").and_then(Value::as_object);
        let names = fields.get("env_vars").and_then(Value::as_array);
        variables.is_none_or(|variables| variables.keys().all(|name| is_ours(name)))
            && names.is_none_or(|names| names.iter().all(|name| name.as_str().is_some_and(is_ours)))
    };
    if passes_on_ours(fields) {
        fields.remove("env");
        fields.remove("env_vars");
    }
    server
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ours_is_known_by_its_command_and_what_the_user_made_of_it_stays() {
        let wanted = json!({"command": "/opt/bin/mosaic", "args": ["mcp"]});
        let of = |name: &'static str, server: Value| {
            find(
                [("other", json!({"command": "npx"})), (name, server)].into_iter(),
                &wanted,
            )
        };
        assert_eq!(of("mosaic", wanted.clone()), Found::Ours);
        let moved = json!({"command": "/usr/bin/mosaic", "args": ["mcp"]});
        assert_eq!(of("mosaic", moved.clone()), Found::Older);
        let passes_on =
            json!({"command": "mosaic", "args": ["mcp"], "env": {"DATABASE_URL": "$DATABASE_URL"}});
        assert_eq!(of("mosaic", passes_on), Found::Older);
        let changed = json!({"command": "mosaic", "args": ["mcp", "--keep"]});
        assert_eq!(of("mosaic", changed), Found::Ours);
        let named = json!({"command": "mosaic", "args": ["mcp"], "env": {"MOSAIC_AGENT": "w1"}});
        assert_eq!(of("mosaic", named.clone()), Found::Ours);
        assert_eq!(of("backlog", named), Found::Named("backlog".into()));
        assert_eq!(
            of("mosaic", json!({"command": "npx", "args": ["mosaic"]})),
            Found::Foreign
        );
        assert_eq!(
            of("mosaic", json!({"url": "https://example.com"})),
            Found::Foreign
        );
        assert_eq!(of("mosaic", json!(null)), Found::Foreign);
        assert_eq!(of("others", json!("text")), Found::Nothing);
        let array = json!({"type": "local", "command": ["/x/mosaic", "mcp"]});
        assert_eq!(of("mine", array), Found::Named("mine".into()));
    }
}
