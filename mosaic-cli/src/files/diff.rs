//! What would change in a file, as a unified diff.

const CONTEXT: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Same,
    Old,
    New,
}

/// Nothing where the texts are the same.
pub fn diff(name: &str, before: &str, after: &str) -> String {
    with_context(name, before, after, CONTEXT)
}

/// The same without the lines around what changes.
pub fn bare_diff(name: &str, before: &str, after: &str) -> String {
    with_context(name, before, after, 0)
}

fn with_context(name: &str, before: &str, after: &str, context: usize) -> String {
    let lines = lines(before, after);
    let mut text = String::new();
    let (mut at, mut old, mut new) = (0, 0, 0);
    while at < lines.len() {
        if lines[at].0 == Kind::Same {
            (at, old, new) = (at + 1, old + 1, new + 1);
            continue;
        }
        // A hunk goes on while changes are near.
        let mut end = at;
        let mut quiet = 0;
        for (number, (kind, _)) in lines.iter().enumerate().skip(at) {
            quiet = if *kind == Kind::Same { quiet + 1 } else { 0 };
            if quiet == 0 {
                end = number + 1;
            }
            if quiet > 2 * context {
                break;
            }
        }
        let lead = context.min(at);
        let hunk = &lines[at - lead..(end + context).min(lines.len())];
        let count = |side: Kind| hunk.iter().filter(|(kind, _)| *kind != side).count();
        let (olds, news) = (count(Kind::New), count(Kind::Old));
        let begin = |at: usize, lines: usize| at - lead + usize::from(lines > 0);
        if text.is_empty() {
            text = format!("--- {name}\n+++ {name}\n");
        }
        text.push_str(&format!(
            "@@ -{},{olds} +{},{news} @@\n",
            begin(old, olds),
            begin(new, news)
        ));
        for (kind, line) in hunk {
            let mark = match kind {
                Kind::Same => ' ',
                Kind::Old => '-',
                Kind::New => '+',
            };
            text.push(mark);
            text.push_str(line.trim_end_matches(['\n', '\r']));
            text.push('\n');
            if !line.ends_with('\n') {
                text.push_str("\\ No newline at end of file\n");
            }
        }
        old += olds - lead;
        new += news - lead;
        at = (end + context).min(lines.len());
    }
    text
}

/// The longest lines in common, between what is the same at both ends.
fn lines<'a>(before: &'a str, after: &'a str) -> Vec<(Kind, &'a str)> {
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let new: Vec<&str> = after.split_inclusive('\n').collect();
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - head;
    let ends = old.iter().rev().zip(new.iter().rev());
    let tail = ends.take(rest).take_while(|(a, b)| a == b).count();
    let (from, to) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut common = vec![vec![0usize; to.len() + 1]; from.len() + 1];
    for i in (0..from.len()).rev() {
        for j in (0..to.len()).rev() {
            common[i][j] = match from[i] == to[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let mut lines: Vec<(Kind, &str)> = old[..head].iter().map(|line| (Kind::Same, *line)).collect();
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        if i < from.len() && j < to.len() && from[i] == to[j] {
            lines.push((Kind::Same, from[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < from.len() && (j == to.len() || common[i + 1][j] >= common[i][j + 1]) {
            lines.push((Kind::Old, from[i]));
            i += 1;
        } else {
            lines.push((Kind::New, to[j]));
            j += 1;
        }
    }
    lines.extend(
        old[old.len() - tail..]
            .iter()
            .map(|line| (Kind::Same, *line)),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::{bare_diff, diff};

    #[test]
    fn a_change_is_shown_with_the_lines_around_it() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\n";
        assert_eq!(diff("f", before, before), "");
        assert_eq!(
            diff("f", before, "a\nb\nc\nd\nX\nf\ng\nh\n"),
            "--- f\n+++ f\n@@ -2,7 +2,7 @@\n b\n c\n d\n-e\n+X\n f\n g\n h\n"
        );
        assert_eq!(diff("f", "", "a\n"), "--- f\n+++ f\n@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(
            bare_diff("f", before, "a\nX\nb\nc\nd\nf\ng\nY\n"),
            "--- f\n+++ f\n@@ -1,0 +2,1 @@\n+X\n@@ -5,1 +5,0 @@\n-e\n@@ -8,1 +8,1 @@\n-h\n+Y\n"
        );
        assert_eq!(
            diff("f", "a", "a\nb"),
            "--- f\n+++ f\n@@ -1,1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n\\ No newline at end of file\n"
        );
    }
}
