//! The marked block in a file that belongs to somebody else: all around it stays as it is, byte for byte.

use std::ops::Range;

pub const BEGIN: &str = "<!-- mosaic backlog: begin -->";
pub const END: &str = "<!-- mosaic backlog: end -->";

/// The file with `text` in its block, which is added at the end if there is none yet. Says what is wrong with
/// the marks that are there.
pub fn put(file: &[u8], text: &str) -> Result<Vec<u8>, String> {
    let newline = if first_line_ends_with_return(file) {
        "\r\n"
    } else {
        "\n"
    };
    let lines: Vec<&str> = [BEGIN]
        .into_iter()
        .chain(text.trim_end().lines())
        .chain([END])
        .collect();
    let block = lines.join(newline);
    match find(file)? {
        Some(place) => Ok([&file[..place.start], block.as_bytes(), &file[place.end..]].concat()),
        None => {
            // A blank line sets it off from what stands before it.
            let gap = match file {
                [] => String::new(),
                [.., b'\n'] => newline.to_owned(),
                _ => newline.repeat(2),
            };
            Ok([file, gap.as_bytes(), block.as_bytes(), newline.as_bytes()].concat())
        }
    }
}

fn first_line_ends_with_return(file: &[u8]) -> bool {
    file.split_inclusive(|byte| *byte == b'\n')
        .next()
        .is_some_and(|line| line.ends_with(b"\r\n"))
}

/// From the begin mark to the end mark, both included.
fn find(file: &[u8]) -> Result<Option<Range<usize>>, String> {
    let begins = marks(file, BEGIN);
    let ends = marks(file, END);
    match (&begins[..], &ends[..]) {
        ([], []) => Ok(None),
        ([begin], [end]) if begin.at < end.at => Ok(Some(begin.at..end.at + END.len())),
        ([begin], []) => Err(format!(
            "Line {} begins it, and no line ends it.",
            begin.line
        )),
        ([], [end]) => Err(format!("Line {} ends it, and no line begins it.", end.line)),
        ([begin], [end]) => Err(format!(
            "Line {} ends it before line {} begins it.",
            end.line, begin.line
        )),
        _ => {
            let mut lines: Vec<usize> = begins.iter().chain(&ends).map(|mark| mark.line).collect();
            lines.sort_unstable();
            let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
            Err(format!(
                "There are marks on the lines {}.",
                lines.join(", ")
            ))
        }
    }
}

struct Mark {
    at: usize,
    line: usize,
}

/// The lines that hold the mark and nothing else. A mark within a sentence is text about it.
fn marks(file: &[u8], mark: &str) -> Vec<Mark> {
    let mut found = Vec::new();
    let mut at = 0;
    for (number, line) in (1..).zip(file.split_inclusive(|byte| *byte == b'\n')) {
        if line.trim_ascii() == mark.as_bytes() {
            let indent = line.len() - line.trim_ascii_start().len();
            found.push(Mark {
                at: at + indent,
                line: number,
            });
        }
        at += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "one\ntwo\n";

    fn file(text: &[u8]) -> Vec<u8> {
        put(text, TEXT).unwrap()
    }

    #[test]
    fn it_is_added_once_and_then_found() {
        let block = format!("{BEGIN}\none\ntwo\n{END}\n");
        for (before, after) in [
            ("", block.clone()),
            ("# A\n", format!("# A\n\n{block}")),
            ("# A", format!("# A\n\n{block}")),
        ] {
            assert_eq!(file(before.as_bytes()), after.as_bytes());
            assert_eq!(file(after.as_bytes()), after.as_bytes());
        }
    }

    #[test]
    fn all_around_it_stays_byte_for_byte() {
        let before = b"\xef\xbb\xbfA \xff\t\n\n\n";
        let after = b"no newline at the end \xfe";
        let marked = format!("  {BEGIN}\nold\n{END}  \n");
        let new = file(&[before, marked.as_bytes(), after].concat());
        let marked = format!("  {BEGIN}\none\ntwo\n{END}  \n");
        assert_eq!(new, [before, marked.as_bytes(), after].concat());
    }

    #[test]
    fn it_has_the_line_ends_of_the_file() {
        let text = String::from_utf8(file(b"A\r\nB\r\n")).unwrap();
        let block = format!("{BEGIN}\r\none\r\ntwo\r\n{END}\r\n");
        assert_eq!(text, format!("A\r\nB\r\n\r\n{block}"));
        assert_eq!(file(text.as_bytes()), text.as_bytes());
    }

    #[test]
    fn half_a_block_is_refused_with_its_line() {
        let refused = |text: String| put(text.as_bytes(), TEXT).unwrap_err();
        assert_eq!(
            refused(format!("a\n{BEGIN}\n")),
            "Line 2 begins it, and no line ends it."
        );
        assert_eq!(
            refused(format!("{END}\n")),
            "Line 1 ends it, and no line begins it."
        );
        assert_eq!(
            refused(format!("{END}\n{BEGIN}\n")),
            "Line 1 ends it before line 2 begins it."
        );
        assert_eq!(
            refused(format!("{BEGIN}\n{END}\n{BEGIN}\n{END}\n")),
            "There are marks on the lines 1, 2, 3, 4."
        );
    }

    #[test]
    fn a_mark_within_a_sentence_is_text() {
        let text = format!("It begins with `{BEGIN}`.\n");
        assert!(file(text.as_bytes()).starts_with(text.as_bytes()));
    }
}
