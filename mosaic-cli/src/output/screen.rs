//! What the terminal can show: its width, and whether colour is welcome.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicU8, Ordering};

use chrono::{DateTime, Local};
use clap::ValueEnum;
use terminal_size::{Width, terminal_size_of};

/// Where colour is used. `Auto`: on a terminal, unless NO_COLOR is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[repr(u8)]
pub enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}

static COLOUR: AtomicU8 = AtomicU8::new(Colour::Auto as u8);

impl Colour {
    /// Holds for the whole program.
    pub fn choose(self) {
        COLOUR.store(self as u8, Ordering::Relaxed);
    }
}

pub struct Screen {
    /// Columns; `None` when the output is no terminal, so that nothing is cut in files and pipes.
    pub width: Option<usize>,
    pub colour: bool,
}

#[derive(Clone, Copy)]
pub enum Paint {
    Bold,
    Dim,
    Good,
    Warn,
    Bad,
    Info,
}

impl Screen {
    pub fn stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        Screen {
            width: terminal
                .then(|| terminal_size_of(io::stdout()))
                .flatten()
                .map(|(Width(columns), _)| columns.into()),
            colour: colour_is_welcome(terminal),
        }
    }

    pub fn stderr() -> Self {
        Screen {
            width: None,
            colour: colour_is_welcome(io::stderr().is_terminal()),
        }
    }

    pub fn paint(&self, paint: Paint, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Good => "32",
            Paint::Warn => "33",
            Paint::Bad => "31",
            Paint::Info => "36",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

fn colour_is_welcome(terminal: bool) -> bool {
    let chosen = COLOUR.load(Ordering::Relaxed);
    if chosen != Colour::Auto as u8 {
        return chosen == Colour::Always as u8;
    }
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A server time in the reader's own zone: the hour today, else with the date.
pub fn local_time(rfc3339: &str) -> String {
    match DateTime::parse_from_rfc3339(rfc3339) {
        Ok(time) => {
            let time = time.with_timezone(&Local);
            let format = if time.date_naive() == Local::now().date_naive() {
                "%H:%M"
            } else {
                "%Y-%m-%d %H:%M"
            };
            time.format(format).to_string()
        }
        // "infinity" and the like are shown as the server wrote them.
        Err(_) => rfc3339.to_owned(),
    }
}

/// Text that others wrote, without the control characters that could drive the reader's terminal.
/// Line breaks and tabs become blanks: this is for one line.
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if is_unsafe(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// The same for text of several lines.
pub fn many_lines(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if is_unsafe(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// JSON in which what could drive a terminal stands as an escape sequence of JSON's own. It means the
/// same; JSON itself lets through all but the oldest control characters.
pub fn escaped_json(text: String) -> String {
    let is_let_through = |c: char| is_unsafe(c) && !matches!(c, '\n' | '\t' | '\r');
    if !text.chars().any(is_let_through) {
        return text;
    }
    // Outside of strings none of them can stand.
    text.chars()
        .map(|c| match c {
            c if is_let_through(c) => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        })
        .collect()
}

/// A whole text on its way to a terminal: of all that could drive it, colours alone pass.
pub fn harmless(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\x1b[") {
        let (before, sequence) = rest.split_at(at);
        clean.push_str(&many_lines(before));
        let end = sequence[2..].find(|c: char| !c.is_ascii_digit() && c != ';');
        match end {
            Some(end) if sequence[2 + end..].starts_with('m') => {
                clean.push_str(&sequence[..end + 3]);
                rest = &sequence[end + 3..];
            }
            _ => {
                clean.push('\u{fffd}');
                rest = &sequence[1..];
            }
        }
    }
    clean + &many_lines(rest)
}

/// Control characters, and what reorders a line of text (marks, embeddings, isolates) or breaks it (U+2028, U+2029).
/// What is only not seen may stay: writing systems and emoji need it.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_of_others_do_not_reach_the_terminal() {
        assert_eq!(one_line("a\x1b[31mb\nc"), "a\u{fffd}[31mb c");
        assert_eq!(many_lines("a\x07\r\nb\tc"), "a\u{fffd}\nb\tc");
    }

    #[test]
    fn what_turns_or_breaks_a_line_is_unsafe_and_what_scripts_and_emoji_need_is_not() {
        for c in
            "\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\u{206f}\u{85}"
                .chars()
        {
            assert!(is_unsafe(c), "{c:?}");
            assert_eq!(one_line(&c.to_string()), "\u{fffd}");
        }
        for c in
            "é世🚀\u{200b}\u{200c}\u{200d}\u{2060}\u{ad}\u{feff}\u{fe0f}\u{202f}\u{2027}".chars()
        {
            assert!(!is_unsafe(c), "{c:?}");
        }
    }

    #[test]
    fn of_a_whole_text_colours_alone_pass() {
        assert_eq!(
            harmless("\x1b[1;31mred\x1b[0m \x1b[2J\u{9b}2J\u{202e}\x7f\n\tend\x1b"),
            "\x1b[1;31mred\x1b[0m \u{fffd}[2J\u{fffd}2J\u{fffd}\u{fffd}\n\tend\u{fffd}"
        );
        assert_eq!(harmless("\x1b["), "\u{fffd}[");
    }

    #[test]
    fn json_says_the_same_in_plain_characters() {
        let text = "{\n  \"a\": \"\u{9b}2J\u{202e}\u{2069}\x7fé\"\n}".to_owned();
        let escaped = escaped_json(text.clone());
        assert_eq!(
            escaped,
            "{\n  \"a\": \"\\u009b2J\\u202e\\u2069\\u007fé\"\n}"
        );
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&escaped), read(&text));
    }

    #[test]
    fn colour_is_plain_text_unless_wanted() {
        let plain = Screen {
            width: None,
            colour: false,
        };
        assert_eq!(plain.paint(Paint::Bad, "x"), "x");
        let colourful = Screen {
            width: None,
            colour: true,
        };
        assert_eq!(colourful.paint(Paint::Bad, "x"), "\x1b[31mx\x1b[0m");
    }

    #[test]
    fn a_time_of_another_day_carries_its_date() {
        assert!(local_time("2001-02-03T12:00:00+00:00").starts_with("2001-02-0"));
        assert_eq!(local_time("infinity"), "infinity");
    }
}
