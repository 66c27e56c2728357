//! The shells that ask how a line may go on, and what each of them is told.
//!
//! Ids of cards are words of others: what is put into the line must be one word that means nothing
//! but itself. zsh and fish see to that by themselves. bash puts an answer into
//! the line as it is, so that it is quoted here, as the word was begun.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::engine;
use clap_complete::env::{EnvCompleter, Fish, Shells, Zsh};

use crate::output::screen::is_unsafe;

pub const SHELLS: Shells = Shells(&[&Bash, &OwnQuotes(Fish), &OwnQuotes(Zsh)]);

/// A file below `site-functions` is run as the function `_mosaic` when it is first needed.
pub const ZSH_AUTOLOAD: &str = "\
if [[ $funcstack[1] == _mosaic ]]; then
    _clap_dynamic_completer_mosaic \"$@\"
fi
";

/// `read` splits the answers and does nothing else with them.
const BASH: &str = r#"
_clap_complete_NAME() {
    local words=("${COMP_WORDS[@]}") quote="${COMP_WORDS[COMP_CWORD]:0:1}"
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        words[COMP_CWORD]="$2"
    fi
    COMPREPLY=()
    IFS=$'\n' read -r -d '' -a COMPREPLY < <(
        _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX="$COMP_CWORD" _CLAP_COMPLETE_QUOTE="$quote" \
            VAR=bash COMPLETER -- "${words[@]}"
    )
    if [[ "${COMPREPLY-}" =~ [=/:]$ ]]; then
        compopt -o nospace 2> /dev/null
    else
        compopt +o nospace 2> /dev/null
    fi
    return 0
}
if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -o nospace -o bashdefault -o nosort -F _clap_complete_NAME NAME
else
    complete -o nospace -o bashdefault -F _clap_complete_NAME NAME
fi
"#;

pub struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        _bin: &str,
        completer: &str,
        script: &mut dyn Write,
    ) -> io::Result<()> {
        let text = BASH
            .replace("NAME", name)
            .replace("COMPLETER", completer)
            .replace("VAR", variable);
        writeln!(script, "{text}")
    }

    fn write_complete(
        &self,
        command: &mut Command,
        mut words: Vec<OsString>,
        folder: Option<&Path>,
        answer: &mut dyn Write,
    ) -> io::Result<()> {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let index: usize = variable("_CLAP_COMPLETE_INDEX").parse().unwrap_or_default();
        let quote = Quote::begun_with(&variable("_CLAP_COMPLETE_QUOTE"));
        if let Some(word) = words.get_mut(index)
            && let Some(text) = word.to_str()
        {
            *word = unquoted(text, quote).into();
        }
        let separator = match variable("_CLAP_IFS") {
            given if given.is_empty() => "\n".to_owned(),
            given => given,
        };
        let offered: Vec<String> = engine::complete(command, words, index, folder)?
            .iter()
            .filter_map(|candidate| candidate.get_value().to_str())
            .filter(|value| !value.chars().any(is_unsafe))
            .map(|value| quoted(value, quote))
            .collect();
        answer.write_all(offered.join(&separator).as_bytes())
    }
}

/// A shell that quotes what it puts into the line. It hands over the word as it was typed.
struct OwnQuotes<S: EnvCompleter>(S);

impl<S: EnvCompleter> EnvCompleter for OwnQuotes<S> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn is(&self, name: &str) -> bool {
        self.0.is(name)
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        bin: &str,
        completer: &str,
        script: &mut dyn Write,
    ) -> io::Result<()> {
        self.0
            .write_registration(variable, name, bin, completer, script)
    }

    fn write_complete(
        &self,
        command: &mut Command,
        mut words: Vec<OsString>,
        folder: Option<&Path>,
        answer: &mut dyn Write,
    ) -> io::Result<()> {
        // fish gives none: the last one.
        let index = std::env::var("_CLAP_COMPLETE_INDEX").ok();
        let index = index.and_then(|index| index.parse().ok());
        let last = words.len().saturating_sub(1);
        if let Some(word) = words.get_mut(index.unwrap_or(last))
            && let Some(text) = word.to_str()
        {
            *word = unquoted(text, Quote::None).into();
        }
        let mut lines = Vec::new();
        self.0.write_complete(command, words, folder, &mut lines)?;
        // A tab separates fish's explanations.
        let lines = String::from_utf8_lossy(&lines).into_owned();
        lines
            .split('\n')
            .filter(|line| !line.is_empty() && !line.replace('\t', " ").chars().any(is_unsafe))
            .try_for_each(|line| writeln!(answer, "{line}"))
    }
}

/// How the word was begun that is to be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

impl Quote {
    fn begun_with(letter: &str) -> Quote {
        match letter {
            "'" => Quote::Single,
            "\"" => Quote::Double,
            _ => Quote::None,
        }
    }
}

/// What a word means that stands in the line, or as much of it as stands there. `inside`: its first
/// letter stands in quotes.
fn unquoted(word: &str, inside: Quote) -> String {
    let mut quote = inside;
    let mut text = String::new();
    let mut letters = word.chars();
    while let Some(letter) = letters.next() {
        quote = match (quote, letter) {
            (Quote::None, '\'') => Quote::Single,
            (Quote::None, '"') => Quote::Double,
            (Quote::Single, '\'') | (Quote::Double, '"') => Quote::None,
            (Quote::None | Quote::Double, '\\') => {
                text.extend(letters.next());
                quote
            }
            _ => {
                text.push(letter);
                quote
            }
        };
    }
    text
}

/// The value as it may stand in bash's line, from where it was begun.
fn quoted(value: &str, quote: Quote) -> String {
    let (mut text, end): (String, _) = match quote {
        Quote::None => {
            let is_plain = |letter: char| !letter.is_ascii() || letter.is_alphanumeric();
            return value
                .chars()
                .flat_map(|letter| {
                    let is_plain = is_plain(letter) || "_-./,+%@=:".contains(letter);
                    (!is_plain).then_some('\\').into_iter().chain([letter])
                })
                .collect();
        }
        Quote::Single => (value.replace('\'', r"'\''"), '\''),
        // No backslash keeps `!` from meaning something there.
        Quote::Double => (
            value
                .chars()
                .map(|letter| match letter {
                    '$' | '`' | '"' | '\\' => format!("\\{letter}"),
                    '!' => "\"'!'\"".to_owned(),
                    letter => letter.to_string(),
                })
                .collect(),
            '"',
        ),
    };
    // readline closes the quotes, unless it takes the last letter for their end.
    if text.ends_with(end) {
        text.push(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_means_itself() {
        let value = "A;$(x) `y` '\"\\!*é";
        assert_eq!(
            quoted(value, Quote::None),
            r#"A\;\$\(x\)\ \`y\`\ \'\"\\\!\*é"#
        );
        for quote in [Quote::None, Quote::Single, Quote::Double] {
            assert_eq!(unquoted(&quoted(value, quote), quote), value, "{quote:?}");
        }
        assert_eq!(quoted("A-1.b:c", Quote::None), "A-1.b:c");
    }

    #[test]
    fn a_word_is_read_as_far_as_it_goes() {
        for (word, text) in [
            ("A1", "A1"),
            (r"A\;t", "A;t"),
            ("'A;", "A;"),
            ("\"A\\$", "A$"),
            ("A'b c'\\'", "Ab c'"),
            ("A\\", "A"),
        ] {
            assert_eq!(unquoted(word, Quote::None), text, "{word}");
        }
    }
}
