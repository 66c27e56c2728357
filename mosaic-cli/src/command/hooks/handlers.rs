//! The handlers in the text of a `hooks` object: finding them, putting one in, taking some out.

use jsonc_parser::ast::{Array, Object, Value};
use jsonc_parser::common::Ranged;
use serde_json::json;

use crate::files::jsonc::{Container, Layout, insert, object, property, remove, replace};

/// A handler and its place. Its number is that among the handlers of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    pub event: String,
    pub matcher: Option<String>,
    pub group: usize,
    pub number: usize,
    /// As it stands there.
    pub text: String,
    pub kind: String,
    /// What it runs, in a line.
    pub command: String,
}

impl Handler {
    pub fn is_at(&self, other: &Handler) -> bool {
        (&self.event, self.group, self.number) == (&other.event, other.group, other.number)
    }
}

/// All of them, in the order of the file. What does not have their form is passed over.
pub fn handlers(hooks: &str) -> Vec<Handler> {
    let Ok(object) = object(hooks) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (at, event) in object.properties.iter().enumerate() {
        let name = event.name.as_str();
        if property(&object, name).is_none_or(|(last, _)| last != at) {
            continue;
        }
        for (group, value) in elements(&event.value) {
            let Some((matcher, list)) = of_group(value) else {
                continue;
            };
            for (number, handler) in list.elements.iter().enumerate() {
                found.push(Handler {
                    event: name.to_owned(),
                    matcher: matcher.clone(),
                    group,
                    number,
                    text: handler.text(hooks).to_owned(),
                    kind: field(handler, "type").unwrap_or_default(),
                    command: ["command", "url", "prompt", "tool"]
                        .iter()
                        .find_map(|name| field(handler, name))
                        .unwrap_or_default(),
                });
            }
        }
    }
    found
}

fn elements<'o, 'a>(value: &'o Value<'a>) -> impl Iterator<Item = (usize, &'o Value<'a>)> {
    let array = value.as_array();
    array
        .into_iter()
        .flat_map(|array| array.elements.iter().enumerate())
}

/// The matcher of a group and the list of its handlers.
fn of_group<'o, 'a>(value: &'o Value<'a>) -> Option<(Option<String>, &'o Array<'a>)> {
    let group = value.as_object()?;
    let list = property(group, "hooks")?.1.as_array()?;
    Some((field(value, "matcher"), list))
}

fn field(value: &Value<'_>, name: &str) -> Option<String> {
    let object = value.as_object()?;
    let text = property(object, name)?.1.as_string_lit()?;
    Some(text.value.clone().into_owned())
}

/// The text without these. A group that has none left goes too, and so does the list of an event.
pub fn without(hooks: &str, mut gone: Vec<Handler>) -> String {
    // From the end, so that the places of the others hold.
    gone.sort_by_key(|handler| (handler.group, handler.number));
    let mut text = hooks.to_owned();
    for handler in gone.iter().rev() {
        if let Some(less) = without_one(&text, handler) {
            text = less;
        }
    }
    text
}

fn without_one(text: &str, handler: &Handler) -> Option<String> {
    let object = object(text).ok()?;
    let (at, event) = property(&object, &handler.event)?;
    let groups = event.as_array()?;
    let (_, list) = of_group(groups.elements.get(handler.group)?)?;
    Some(match (list.elements.len(), groups.elements.len()) {
        (1, 1) => remove(text, &Container::from(&object), at),
        (1, _) => remove(text, &Container::from(groups), handler.group),
        _ => remove(text, &Container::from(list), handler.number),
    })
}

/// The text with a handler in its place: in its group, else in one of the same matcher, else in a new group.
/// `own_group`: in a new one in any case. `None`: the event is no list.
pub fn with(
    hooks: &str,
    handler: &Handler,
    own_group: bool,
    layout: Layout<'_>,
    indent: &str,
) -> Option<String> {
    let steps = |count: usize| format!("{indent}{}", layout.unit.repeat(count));
    let object = object(hooks).ok()?;
    let text = |line: Option<&str>| match line {
        // A new one goes into a line with others.
        None if own_group => serde_json::from_str::<serde_json::Value>(&handler.text)
            .map_or_else(|_| handler.text.clone(), |value| value.to_string()),
        _ => handler.text.clone(),
    };
    let group = |line: Option<&str>| group(handler, &text(line), layout, line);
    let Some((_, event)) = property(&object, &handler.event) else {
        let name = json!(handler.event);
        let list = |line: Option<&str>| match line {
            Some(line) => {
                let inner = format!("{line}{}", layout.unit);
                format!(
                    "{name}: [{0}{inner}{1}{0}{line}]",
                    layout.newline,
                    group(Some(&inner))
                )
            }
            None => format!("{name}:[{}]", group(None)),
        };
        let container = Container::from(&object);
        return Some(insert(hooks, &container, usize::MAX, layout, indent, list));
    };
    let groups = event.as_array()?;
    let same = |at: &usize| {
        of_group(&groups.elements[*at]).is_some_and(|(matcher, _)| matcher == handler.matcher)
    };
    let home = (0..groups.elements.len())
        .filter(same)
        .min_by_key(|at| at.abs_diff(handler.group))
        .filter(|_| !own_group);
    Some(match home.and_then(|at| of_group(&groups.elements[at])) {
        Some((_, list)) => {
            let item = |_: Option<&str>| handler.text.clone();
            let container = Container::from(list);
            insert(hooks, &container, handler.number, layout, &steps(3), item)
        }
        None => {
            let container = Container::from(groups);
            insert(hooks, &container, handler.group, layout, &steps(1), group)
        }
    })
}

/// A group of this handler alone.
fn group(handler: &Handler, text: &str, layout: Layout<'_>, line: Option<&str>) -> String {
    let matcher = handler.matcher.as_ref().map(|matcher| json!(matcher));
    let Some(line) = line else {
        let matcher = matcher.map_or_else(String::new, |matcher| format!("\"matcher\":{matcher},"));
        return format!("{{{matcher}\"hooks\":[{text}]}}");
    };
    let (newline, unit) = (layout.newline, layout.unit);
    let matcher = matcher.map_or_else(String::new, |matcher| {
        format!("{newline}{line}{unit}\"matcher\": {matcher},")
    });
    format!(
        "{{{matcher}{newline}{line}{unit}\"hooks\": [{newline}{line}{unit}{unit}{text}{newline}{line}{unit}]{newline}{line}}}"
    )
}

/// The text with another command in this handler.
pub fn with_command(hooks: &str, handler: &Handler, command: &str) -> Option<String> {
    let object: Object<'_> = object(hooks).ok()?;
    let (_, event) = property(&object, &handler.event)?;
    let (_, list) = of_group(event.as_array()?.elements.get(handler.group)?)?;
    let value = list.elements.get(handler.number)?.as_object()?;
    let (_, old) = property(value, "command")?;
    Some(replace(hooks, old, &json!(command).to_string()))
}
