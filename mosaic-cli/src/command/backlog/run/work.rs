//! What a command leaves as its result, made fit to be kept: finished work is not thrown away for a
//! character that PostgreSQL cannot store.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::input::storable;

#[derive(Clone)]
pub struct Work {
    /// JSON as it was written; other text is a JSON string.
    pub json: String,
    /// What is not as it was written.
    pub remark: Option<String>,
    /// Whether it is kept as a string because its structure was refused.
    is_text: bool,
}

impl Work {
    /// `None`: there is none.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut replaced = Vec::new();
        if matches!(text, Cow::Owned(_)) {
            replaced.push("bytes that are not UTF-8".to_owned());
        }
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let json = match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => text.to_owned(),
            Err(_) => Value::from(text).to_string(),
        };
        let (json, unstorable) = storable(&json);
        replaced.extend(unstorable);
        let remark = (!replaced.is_empty())
            .then(|| format!("replaced in the result by U+FFFD: {}", replaced.join(", ")));
        Some(Work {
            json,
            remark,
            is_text: false,
        })
    }

    /// The same as a string, which has no depth and no numbers that could be refused. `None`: it was one already.
    pub fn into_text(self, refused: &str) -> Option<Self> {
        if self.is_text || self.json.starts_with('"') {
            return None;
        }
        let remarks = [
            self.remark.as_deref(),
            Some(refused),
            Some("it is kept as text"),
        ];
        Some(Work {
            json: Value::from(self.json).to_string(),
            remark: Some(remarks.into_iter().flatten().collect::<Vec<_>>().join("; ")),
            is_text: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Work;

    #[test]
    fn what_can_be_kept_is_kept_as_it_was_written() {
        for (bytes, json, is_remarked) in [
            (&b" {\"n\": 1.50}\n"[..], "{\"n\": 1.50}", false),
            (b"see docs", "\"see docs\"", false),
            (b"a\0b", "\"a\\ufffdb\"", true),
            (b"{\"a\": \"\\u0000\"}", "{\"a\": \"\\ufffd\"}", true),
            (b"a\xffb", "\"a\u{fffd}b\"", true),
        ] {
            let work = Work::of(bytes).expect("a result");
            assert_eq!(work.json, json);
            assert_eq!(work.remark.is_some(), is_remarked, "{json}");
        }
        assert!(Work::of(b" \n").is_none());
    }

    #[test]
    fn a_refused_structure_is_kept_as_text_once() {
        let text = Work::of(b"[1e999999]").and_then(|work| work.into_text("refused"));
        let text = text.expect("text");
        assert_eq!(text.json, "\"[1e999999]\"");
        assert!(text.into_text("refused").is_none());
    }
}
