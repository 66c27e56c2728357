//! What is said about a card in a note or an answer: a text, or a file, which may be a log.

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::reason;
use crate::failure::Failure;
use crate::input;
use crate::output::notes::warn;

/// Bytes that the backlog takes.
const MOST: usize = 16 * 1024;

/// One of the two, as the flags that are named have given it.
pub struct Words {
    pub text: Option<String>,
    pub file: Option<String>,
    pub flags: [&'static str; 2],
}

/// Text of a flag, which may be empty here: `Words` says so.
pub fn text() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().try_map(reason::given)
}

impl Words {
    /// Where there is nothing to do without them.
    pub fn said(self) -> Result<Option<String>, Failure> {
        let flag = self.flags[usize::from(self.file.is_some())];
        let is_given = self.text.is_some() || self.file.is_some();
        match self.read()? {
            None if is_given => Err(Failure::usage(format!("{flag} must not be empty"))
                .detail("Is a shell variable unset, or a file empty?")),
            words => Ok(words),
        }
    }

    /// Where the call is not to fail for want of words.
    pub fn if_any(self) -> Option<String> {
        self.said().unwrap_or_else(|failure| {
            warn(&failure.message);
            None
        })
    }

    fn read(self) -> Result<Option<String>, Failure> {
        let [_, flag] = self.flags;
        let (text, is_cut) = match (self.text, self.file) {
            (Some(text), _) => (text, false),
            (None, Some(path)) => input::end_of(flag, &path, 2 * MOST)?,
            (None, None) => return Ok(None),
        };
        // PostgreSQL keeps no NUL.
        let text = text.replace('\0', "\u{fffd}");
        let text = text.trim();
        Ok((!text.is_empty()).then(|| end(text, is_cut)))
    }
}

/// What the backlog takes of it.
fn end(text: &str, is_cut: bool) -> String {
    if text.len() <= MOST && !is_cut {
        return text.to_owned();
    }
    let mut from = text.len().saturating_sub(MOST - reason::MARK.len());
    while !text.is_char_boundary(from) {
        from += 1;
    }
    format!("{}{}", reason::MARK, &text[from..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_end_within_the_bytes_that_the_backlog_takes() {
        assert_eq!(end("short", false), "short");
        assert_eq!(end("short", true), format!("{}short", reason::MARK));
        let fits = "é".repeat(MOST / 2);
        assert_eq!(end(&fits, false), fits);
        for long in ["é".repeat(MOST) + "!", "x".to_owned() + &fits + "!"] {
            let kept = end(&long, false);
            assert!((MOST - 1..=MOST).contains(&kept.len()), "{}", kept.len());
            assert!(kept.starts_with(reason::MARK) && kept.ends_with("é!"));
        }
    }
}
