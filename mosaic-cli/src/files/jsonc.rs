//! JSON with comments as text: one item is put in or taken out, and every other byte stays.

use std::ops::Range;

use jsonc_parser::ast::{Array, Object, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

/// Deeper than any settings are, and far from what the stack can hold.
const DEEPEST: usize = 100;

/// What Claude Code's own parser takes, and comments and trailing commas, which people write all the same.
const DIALECT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// The value, or what is wrong and where.
pub fn parse(text: &str) -> Result<Value<'_>, String> {
    if is_too_deep(text) {
        return Err("it is nested too deeply".to_owned());
    }
    match parse_to_ast(text, &CollectOptions::default(), &DIALECT) {
        Ok(parsed) => parsed
            .value
            .ok_or_else(|| "line 1, column 1: it is empty".to_owned()),
        Err(error) => Err(format!(
            "line {}, column {}: {}",
            error.line_display(),
            error.column_display(),
            error.kind()
        )),
    }
}

/// Whether Claude Code reads the text: of one with comments, or a comma at the end of a list, it takes nothing.
pub fn is_strict(text: &str) -> bool {
    let strict = ParseOptions {
        allow_comments: false,
        allow_trailing_commas: false,
        ..DIALECT
    };
    parse_to_ast(text, &CollectOptions::default(), &strict).is_ok()
}

/// The object that a text is.
pub fn object(text: &str) -> Result<Object<'_>, String> {
    match parse(text)? {
        Value::Object(object) => Ok(object),
        _ => Err("line 1, column 1: it is not an object".to_owned()),
    }
}

/// The last property of that name, as it is the one that counts.
pub fn property<'o, 'a>(object: &'o Object<'a>, name: &str) -> Option<(usize, &'o Value<'a>)> {
    let at = object
        .properties
        .iter()
        .rposition(|property| property.name.as_str() == name)?;
    Some((at, &object.properties[at].value))
}

fn is_too_deep(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut inside) = (0, 0usize, false);
    while at < bytes.len() && depth <= DEEPEST {
        at += match (inside, bytes[at]) {
            (true, b'\\') => 2,
            (_, b'"') => {
                inside = !inside;
                1
            }
            (false, b'/') => comment(text, at).map_or(1, |(end, _)| end - at),
            (false, b'[' | b'{') => {
                depth += 1;
                1
            }
            (false, b']' | b'}') => {
                depth = depth.saturating_sub(1);
                1
            }
            _ => 1,
        };
    }
    depth > DEEPEST
}

/// An array or an object, as places in the text.
pub struct Container {
    /// Where its bracket opens and closes.
    open: usize,
    close: usize,
    items: Vec<Range<usize>>,
}

impl From<&Array<'_>> for Container {
    fn from(array: &Array<'_>) -> Self {
        Container {
            open: array.start(),
            close: array.end() - 1,
            items: array.elements.iter().map(range).collect(),
        }
    }
}

impl From<&Object<'_>> for Container {
    fn from(object: &Object<'_>) -> Self {
        Container {
            open: object.start(),
            close: object.end() - 1,
            items: object.properties.iter().map(range).collect(),
        }
    }
}

fn range(node: &impl Ranged) -> Range<usize> {
    node.start()..node.end()
}

/// How a text is laid out where nothing beside a new item shows it.
#[derive(Clone, Copy)]
pub struct Layout<'a> {
    pub newline: &'a str,
    /// One step of indentation.
    pub unit: &'a str,
    /// All in one line.
    pub one_line: bool,
}

impl<'a> Layout<'a> {
    /// Of a file.
    pub fn of(text: &'a str) -> Self {
        let newline = match text.split_once('\n') {
            Some((line, _)) if line.ends_with('\r') => "\r\n",
            _ => "\n",
        };
        let unit = object(text).ok().and_then(|object| {
            let first = object.properties.first()?;
            let indent = line_indent(text, first.start());
            (text[..first.start()].contains('\n') && !indent.is_empty()).then_some(indent)
        });
        Layout {
            newline,
            unit: unit.unwrap_or("  "),
            one_line: !text.trim().contains('\n') && text.trim() != "{}" && !text.trim().is_empty(),
        }
    }
}

/// The blanks at the beginning of the line in which a place is.
pub fn line_indent(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = &text[start..];
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

type Edit = (Range<usize>, String);

fn apply(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let mut changed = String::with_capacity(text.len());
    let mut at = 0;
    for (range, new) in edits {
        changed.push_str(&text[at..range.start]);
        changed.push_str(&new);
        at = range.end;
    }
    changed + &text[at..]
}

/// Takes an item out, with one comma. Comments stay.
pub fn remove(text: &str, container: &Container, at: usize) -> String {
    let Container { open, close, items } = container;
    let item = items[at].clone();
    let before = at.checked_sub(1).map(|before| items[before].end);
    let next = items.get(at + 1).map_or(*close, |next| next.start);
    let comma = comma(text, item.end, next);
    let after = comma.map_or(item.end, |comma| comma + 1);
    let blanks = next_ink(text, after) - after;
    let breaks_after = text[after..after + blanks].contains('\n');
    let lead = last_ink(text, item.start);
    let mut edits: Vec<Edit> = Vec::new();
    if at + 1 < items.len() && !breaks_after {
        edits.push((item.clone(), String::new()));
        edits.push((comma.unwrap_or(after)..after + blanks, String::new()));
        return apply(text, edits);
    }
    // A comment to the end of the line goes on up to the next break.
    let start =
        match breaks_after || !ends_with_line_comment(text, before.unwrap_or(open + 1), lead) {
            true => lead,
            false => item.start,
        };
    edits.push((start..item.end, String::new()));
    let comma = match (comma, before) {
        (None, Some(before)) => self::comma(text, before, item.start),
        (comma, _) => comma,
    };
    edits.extend(comma.map(|comma| (comma..comma + 1, String::new())));
    let changed = apply(text, edits);
    if items.len() == 1 {
        let removed = text.len() - changed.len();
        let inside = open + 1..close - removed;
        if changed[inside.clone()].trim().is_empty() {
            return apply(&changed, vec![(inside, String::new())]);
        }
    }
    changed
}

/// Puts an item before the one that is `at`, or at the end. It is made for the indentation of its line; `None`:
/// it goes into a line with others. `indent` is the one of the line in which the container opens.
pub fn insert(
    text: &str,
    container: &Container,
    at: usize,
    layout: Layout<'_>,
    indent: &str,
    item: impl Fn(Option<&str>) -> String,
) -> String {
    let Container { open, close, items } = container;
    let Some(last) = items.last() else {
        if layout.one_line {
            return apply(text, vec![(open + 1..open + 1, item(None))]);
        }
        let inside = format!("{indent}{}", layout.unit);
        let new = format!("{}{inside}{}", layout.newline, item(Some(&inside)));
        // Behind the comments that are in it.
        let end = last_ink(text, *close);
        return match text[end..*close].contains('\n') {
            true => apply(text, vec![(end..end, new)]),
            false => apply(
                text,
                vec![(end..*close, format!("{new}{}{indent}", layout.newline))],
            ),
        };
    };
    let beside = items.get(at).unwrap_or(last);
    let blanks = &text[last_ink(text, beside.start)..beside.start];
    let (gap, own_line) = match blanks.rfind('\n') {
        Some(newline) => {
            let indent = &blanks[newline + 1..];
            (format!("{}{indent}", layout.newline), Some(indent))
        }
        None if beside.start > items[0].start => (blanks.to_owned(), None),
        None if layout.one_line && !text.contains(": ") => (String::new(), None),
        None => (" ".to_owned(), None),
    };
    let new = item(own_line);
    if at < items.len() {
        return apply(
            text,
            vec![(beside.start..beside.start, format!("{new},{gap}"))],
        );
    }
    let comma = comma(text, last.end, *close);
    let end = comma.map_or(last.end, |comma| comma + 1);
    let place = match own_line {
        Some(_) => end_of_remark(text, end),
        None => end,
    };
    match comma {
        // The style of the list is kept.
        Some(_) => apply(text, vec![(place..place, format!("{gap}{new},"))]),
        None if place == end => apply(text, vec![(end..end, format!(",{gap}{new}"))]),
        None => apply(
            text,
            vec![
                (end..end, ",".to_owned()),
                (place..place, format!("{gap}{new}")),
            ],
        ),
    }
}

/// Puts a value in the place of another.
pub fn replace(text: &str, value: &impl Ranged, new: &str) -> String {
    apply(text, vec![(range(value), new.to_owned())])
}

/// A value for a line with this indentation: a field of an object a line, lists in one; `None`: all in one line.
pub fn laid_out(value: &serde_json::Value, line: Option<&str>, layout: Layout<'_>) -> String {
    let (serde_json::Value::Object(fields), Some(line)) = (value, line) else {
        return value.to_string();
    };
    if fields.is_empty() {
        return value.to_string();
    }
    let inner = format!("{line}{}", layout.unit);
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| {
            let name = serde_json::Value::String(name.clone());
            format!(
                "{}{inner}{name}: {}",
                layout.newline,
                laid_out(value, Some(&inner), layout)
            )
        })
        .collect();
    format!("{{{}{}{line}}}", fields.join(","), layout.newline)
}

/// The next comma between two items.
fn comma(text: &str, from: usize, until: usize) -> Option<usize> {
    let mut at = from;
    while at < until {
        at = next_ink(text, at);
        match comment(text, at) {
            Some((end, _)) => at = end,
            None => return (at < until && text[at..].starts_with(',')).then_some(at),
        }
    }
    None
}

/// The end of a comment that begins here, and whether it goes to the end of the line.
fn comment(text: &str, at: usize) -> Option<(usize, bool)> {
    let rest = &text[at..];
    if rest.starts_with("//") {
        return Some((at + rest.find(['\n', '\r']).unwrap_or(rest.len()), true));
    }
    rest.starts_with("/*").then(|| {
        let end = rest.find("*/").map_or(rest.len(), |end| end + 2);
        (at + end, false)
    })
}

fn next_ink(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start().len()
}

fn last_ink(text: &str, at: usize) -> usize {
    text[..at].trim_end().len()
}

/// Whether what lies between two places ends with a comment to the end of the line.
fn ends_with_line_comment(text: &str, from: usize, until: usize) -> bool {
    let mut at = from;
    let mut is_line = false;
    while at < until {
        match comment(text, at) {
            Some((end, line)) => {
                at = end;
                is_line = line;
            }
            None => {
                let letter = text[at..].chars().next().map_or(1, char::len_utf8);
                is_line &= text[at..at + letter].trim().is_empty();
                at += letter;
            }
        }
    }
    is_line
}

/// Where a comment ends that stands in the same line behind something.
fn end_of_remark(text: &str, from: usize) -> usize {
    let mut end = from;
    loop {
        let rest = &text[end..];
        let at = end + rest.len() - rest.trim_start_matches([' ', '\t']).len();
        match comment(text, at) {
            Some((after, _)) if !text[at..after].contains('\n') => end = after,
            _ => return end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(text: &str) -> Container {
        match parse(text).unwrap() {
            Value::Array(array) => Container::from(&array),
            _ => panic!("{text}"),
        }
    }

    #[test]
    fn what_is_put_in_at_the_end_comes_out_without_a_trace() {
        for text in [
            "[1]",
            "[1, 2]",
            "[\n  1\n]",
            "[\r\n\t1,\r\n\t2\r\n]",
            "[1,]",
            "[\n  1,\n  2, // two\n]",
            "[\n  1 // one\n]",
            "[\n  1 /* one */ // more\n  // last\n]",
            "[1 /* one */]",
            "[\n\n  1\n\n]",
            "[\n // none\n 1 ]",
            "[]",
        ] {
            let layout = Layout::of(text);
            let longer = insert(text, &array(text), 9, layout, "", |_| "3".into());
            let items = array(&longer).items.len();
            assert_eq!(items, array(text).items.len() + 1, "{longer}");
            assert_eq!(
                remove(&longer, &array(&longer), items - 1),
                text,
                "{longer}"
            );
        }
    }

    #[test]
    fn whatever_is_taken_out_the_rest_is_still_a_list_with_its_comments() {
        for text in [
            "[1, 2, 3]",
            "[1,2,3]",
            "[ 1 , 2 , 3 ]",
            "[\n  1,\n  2,\n  3\n]",
            "[\n  1, // a\n  // b\n  2, /* c */\n  3 // d\n]",
            "[ // a\n 1, 2, // b\n 3]",
            "[1 // a\n, 2 // b\n, 3 // c\n]",
            "[1, // a\n2, // b\n3]",
            "[\n  1,\n  2,\n  3,\n]",
        ] {
            for at in 0..3 {
                let less = remove(text, &array(text), at);
                let left: Vec<&str> = array(&less)
                    .items
                    .iter()
                    .map(|item| &less[item.clone()])
                    .collect();
                let expected: Vec<&str> = ["1", "2", "3"]
                    .into_iter()
                    .enumerate()
                    .filter(|(number, _)| *number != at)
                    .map(|(_, item)| item)
                    .collect();
                assert_eq!(left, expected, "{text:?} {less:?}");
                let comments = |text: &str| text.matches(['a', 'b', 'c', 'd']).count();
                assert_eq!(comments(&less), comments(text), "{text:?} {less:?}");
                for at in 0..=2 {
                    let again = insert(&less, &array(&less), at, Layout::of(&less), "", |_| {
                        "9".into()
                    });
                    assert_eq!(&again[array(&again).items[at].clone()], "9", "{again:?}");
                    assert_eq!(array(&again).items.len(), 3);
                }
            }
        }
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        assert!(
            parse("{\n  \"a\": x\n}")
                .unwrap_err()
                .starts_with("line 2, column 8")
        );
        assert!(parse("{'a': 1}").is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse("").is_err());
    }
}
