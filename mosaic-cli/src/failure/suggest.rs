//! What somebody may have meant who mistyped a name.

use std::time::{Duration, Instant};

/// More than this many are a guess, and no help.
const MOST: usize = 3;
/// Names that have not been looked at by then are not named: long ones, and many of them.
const TIME: Duration = Duration::from_millis(100);

/// The known names that are nearest to the word, if they are near; none if too many are.
pub fn similar<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    // Of one letter nothing would be left that is alike.
    let mut best = if length < 2 {
        0
    } else {
        (length / 3).clamp(1, 3)
    };
    let mut found = Vec::new();
    let start = Instant::now();
    for name in known.into_iter().take_while(|_| start.elapsed() < TIME) {
        if name.chars().count().abs_diff(length) > best {
            continue;
        }
        let distance = strsim::osa_distance(&word, &name.to_lowercase());
        if distance < best {
            best = distance;
            found.clear();
        }
        if distance <= best && !found.contains(&name) {
            found.push(name);
        }
    }
    if found.len() > MOST {
        found.clear();
    }
    found
}

/// `Did you mean "A4" or "A14"?`
pub fn question(names: &[&str]) -> Option<String> {
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let (last, others) = names.split_last()?;
    let list = if others.is_empty() {
        last.clone()
    } else {
        format!("{} or {last}", others.join(", "))
    };
    Some(format!("Did you mean {list}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        let known = ["A4", "B4", "config", "C10"];
        assert_eq!(similar("A44", known), ["A4"]);
        assert_eq!(similar("a4", known), ["A4"]);
        assert_eq!(similar("cofnig", known), ["config"]);
        assert_eq!(similar("parser", known), [""; 0]);
        assert_eq!(similar("X", ["A", "B"]), [""; 0]);
        assert_eq!(similar("x", ["A", "X"]), ["X"]);
    }

    #[test]
    fn names_without_end_are_not_looked_at_for_ever() {
        let word = "nope".repeat(50);
        let name = "i".repeat(199);
        assert_eq!(similar(&word, std::iter::repeat(name.as_str())), [""; 0]);
    }

    #[test]
    fn the_nearest_are_named_and_a_crowd_is_not() {
        assert_eq!(similar("A49", ["A4", "A9", "B1"]), ["A4", "A9"]);
        assert_eq!(similar("c07", ["c01", "c02", "c03", "c04"]), [""; 0]);
    }

    #[test]
    fn the_question_lists_them() {
        assert_eq!(question(&[]), None);
        assert_eq!(question(&["A4"]).unwrap(), "Did you mean \"A4\"?");
        assert_eq!(
            question(&["A4", "A9", "B1"]).unwrap(),
            "Did you mean \"A4\", \"A9\" or \"B1\"?"
        );
    }
}
