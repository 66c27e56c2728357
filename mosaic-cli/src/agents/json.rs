//! The servers in a file of JSON with comments.

use jsonc_parser::ast::Object;
use jsonc_parser::common::Ranged;
use serde_json::Value;

use super::ledger::Before;
use super::server::{Found, NAME, find, is_ours};
use crate::files::jsonc::{
    Container, Layout, insert, laid_out, line_indent, object, property, remove, replace,
};

const NONE: &str = "{}\n";

/// What of ours is in the text.
pub fn look(text: Option<&str>, key: &str, wanted: &Value) -> Result<Found, String> {
    let root = object(text.unwrap_or(NONE))?;
    let Some(servers) = servers(&root, key, text.unwrap_or(NONE))? else {
        return Ok(Found::Nothing);
    };
    // Of equal names the last counts.
    let mut names: Vec<&str> = Vec::new();
    for property in &servers.properties {
        let name = property.name.as_str();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let values = names.into_iter().filter_map(|name| {
        let (_, value) = property(servers, name)?;
        Some((name, value.clone().into()))
    });
    Ok(find(values, wanted))
}

/// What the text is before ours is put into it.
pub fn before(text: Option<&str>, key: &str) -> Result<Before, String> {
    let Some(text) = text else {
        return Ok(Before::NoFile);
    };
    let root = object(text)?;
    Ok(match servers(&root, key, text)? {
        None if root.properties.is_empty() => Before::Text(text.to_owned()),
        None => Before::NoServers,
        Some(servers) if servers.properties.is_empty() => {
            Before::Empty(servers.text(text).to_owned())
        }
        Some(_) => Before::Servers,
    })
}

/// The text with our entry in it, or with this one in the place of an older one.
pub fn put(text: Option<&str>, key: &str, entry: &Value) -> Result<String, String> {
    let text = text.unwrap_or(NONE);
    let root = object(text)?;
    let layout = Layout::of(text);
    let named = |line: Option<&str>| format!("{}: {}", quoted(NAME), laid_out(entry, line, layout));
    let Some(servers) = servers(&root, key, text)? else {
        return Ok(insert(
            text,
            &Container::from(&root),
            usize::MAX,
            layout,
            "",
            |line| match line {
                Some(line) => {
                    let inner = format!("{line}{}", layout.unit);
                    let newline = layout.newline;
                    format!(
                        "{}: {{{newline}{inner}{}{newline}{line}}}",
                        quoted(key),
                        named(Some(&inner))
                    )
                }
                None => format!("{}: {{{}}}", quoted(key), named(None)),
            },
        ));
    };
    Ok(match property(servers, NAME) {
        Some((at, old)) => {
            let indent = line_indent(text, servers.properties[at].start());
            let own_lines = old.text(text).contains('\n');
            replace(
                text,
                old,
                &laid_out(entry, own_lines.then_some(indent), layout),
            )
        }
        None => {
            let (at, _) = property(&root, key).unwrap_or((0, &root.properties[0].value));
            let indent = line_indent(text, root.properties[at].start());
            insert(
                text,
                &Container::from(servers),
                usize::MAX,
                layout,
                indent,
                named,
            )
        }
    })
}

/// The text without our entry; `None`: there is none. An empty one: nothing is left of the file.
pub fn take_out(text: &str, key: &str, before: &Before) -> Result<Option<String>, String> {
    let root = object(text)?;
    let Some(servers) = servers(&root, key, text)? else {
        return Ok(None);
    };
    let Some((at, _)) =
        property(servers, NAME).filter(|(_, value)| is_ours(&(*value).clone().into()))
    else {
        return Ok(None);
    };
    let alone = servers.properties.len() == 1;
    let Some((place, _)) = property(&root, key) else {
        return Ok(None);
    };
    let nothing_else = alone && root.properties.len() == 1;
    let has_comments = |text: &str| text.contains("//") || text.contains("/*");
    Ok(Some(match before {
        Before::NoFile if nothing_else && !has_comments(text) => String::new(),
        Before::Text(before) if nothing_else && has_comments(text) == has_comments(before) => {
            before.clone()
        }
        Before::NoFile | Before::Text(_) | Before::NoServers if alone => {
            remove(text, &Container::from(&root), place)
        }
        Before::Empty(before) if alone => replace(text, servers, before),
        _ => remove(text, &Container::from(servers), at),
    }))
}

fn servers<'o, 'a>(
    root: &'o Object<'a>,
    key: &str,
    text: &str,
) -> Result<Option<&'o Object<'a>>, String> {
    let Some((_, value)) = property(root, key) else {
        return Ok(None);
    };
    value.as_object().map(Some).ok_or_else(|| {
        let before = &text[..value.start()];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("line {line}, column {column}: \"{key}\" is not an object")
    })
}

fn quoted(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "mcpServers";

    fn entry() -> Value {
        json!({"command": "/opt/bin/mosaic", "args": ["mcp"]})
    }

    #[test]
    fn what_is_put_in_comes_out_without_a_trace() {
        for text in [
            "{}",
            "{}\n",
            "{\n}\n",
            "{ }",
            "{\n  // theirs\n}\n",
            "{\"a\": 1}",
            "{\"a\":1}",
            "{\n  \"a\": 1\n}\n",
            "{\n  \"a\": 1,\n}\n",
            "{\r\n\t\"a\": [1, 2], // why\r\n\t/* b */ \"b\": null\r\n}\r\n",
            "{\"mcpServers\": {}}",
            "{\n  \"mcpServers\": {}\n}\n",
            "{\n  \"mcpServers\": {\n  }\n}\n",
            "{\n  \"mcpServers\": {\n    // none yet\n  }\n}\n",
            "{\n    \"mcpServers\": {\n        \"x\": {\"command\": \"npx\"}\n    },\n    \"z\": {}\n}",
            "{\n  \"mcpServers\": {\n    \"x\": {\n      \"command\": \"npx\"\n    }, // x\n  },\n}\n",
            "{\"mcpServers\":{\"x\":{\"command\":\"npx\"}},\"z\":{}}",
            "{\n  \"mcpServers\": { \"x\": { \"command\": \"npx\" } }\n}\n",
        ] {
            let before = before(Some(text), KEY).unwrap();
            let with = put(Some(text), KEY, &entry()).unwrap();
            assert_eq!(
                look(Some(&with), KEY, &entry()).unwrap(),
                Found::Ours,
                "{with}"
            );
            assert_eq!(put(Some(&with), KEY, &entry()).unwrap(), with);
            let moved = json!({"command": "/usr/bin/mosaic", "args": ["mcp"], "env": {"DATABASE_URL": "$DATABASE_URL"}});
            let other = put(Some(&with), KEY, &moved).unwrap();
            assert_eq!(
                look(Some(&other), KEY, &entry()).unwrap(),
                Found::Older,
                "{other}"
            );
            assert_eq!(put(Some(&other), KEY, &entry()).unwrap(), with);
            assert_eq!(
                take_out(&with, KEY, &before).unwrap().unwrap(),
                text,
                "{with}"
            );
        }
    }

    #[test]
    fn it_is_laid_out_as_the_file_is() {
        let put = |text| put(text, KEY, &entry()).unwrap();
        let new = put(None);
        assert_eq!(
            new,
            "{\n  \"mcpServers\": {\n    \"mosaic\": {\n      \"command\": \"/opt/bin/mosaic\",\n      \"args\": [\"mcp\"]\n    }\n  }\n}\n"
        );
        assert_eq!(take_out(&new, KEY, &Before::NoFile).unwrap().unwrap(), "");
        assert_eq!(
            put(Some("{\r\n\t\"mcpServers\": {}\r\n}")),
            "{\r\n\t\"mcpServers\": {\r\n\t\t\"mosaic\": {\r\n\t\t\t\"command\": \"/opt/bin/mosaic\",\r\n\t\t\t\"args\": [\"mcp\"]\r\n\t\t}\r\n\t}\r\n}"
        );
        assert_eq!(
            put(Some("{\"a\": 1}")),
            "{\"a\": 1, \"mcpServers\": {\"mosaic\": {\"command\":\"/opt/bin/mosaic\",\"args\":[\"mcp\"]}}}"
        );
    }

    #[test]
    fn what_came_since_stays_when_ours_goes() {
        let with = put(None, KEY, &entry()).unwrap();
        let more = with.replace(
            "\"mosaic\"",
            "\"x\": {\"command\": \"npx\"},\n    \"mosaic\"",
        );
        let left = take_out(&more, KEY, &Before::NoFile).unwrap().unwrap();
        let root: Value = serde_json::from_str(&left).unwrap();
        assert_eq!(root, json!({"mcpServers": {"x": {"command": "npx"}}}));
        let foreign = with.replace("/opt/bin/mosaic", "npx");
        assert_eq!(take_out(&foreign, KEY, &Before::NoFile).unwrap(), None);
    }

    #[test]
    fn what_is_no_list_of_servers_is_told_with_its_place() {
        let place = look(Some("{\n  \"mcpServers\": []\n}"), KEY, &entry()).unwrap_err();
        assert!(place.starts_with("line 2, column 17"), "{place}");
        assert!(put(Some("{\"mcpServers\": null}"), KEY, &entry()).is_err());
        assert!(look(Some("{"), KEY, &entry()).is_err());
        assert!(look(Some(""), KEY, &entry()).is_err());
    }
}
