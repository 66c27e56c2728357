//! Passwords never reach the output.

/// Takes passwords out of text that may quote what the user typed.
pub fn redact(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        clean.push_str(before);
        let authority = after
            .find(|c: char| c.is_whitespace() || "'\"`".contains(c))
            .unwrap_or(after.len());
        match after[..authority].rfind('@') {
            Some(at) => {
                let user = after[..at].split(':').next().unwrap_or_default();
                clean.push_str(user);
                if user.len() < at {
                    clean.push_str(":***");
                }
                rest = &after[at..];
            }
            None => rest = after,
        }
    }
    clean.push_str(rest);
    redact_key_values(&clean)
}

/// `password=…` of a connection string, up to the next blank or `&`, or the closing quote.
fn redact_key_values(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("password=") {
        let (before, value) = rest.split_at(start + "password=".len());
        clean.push_str(before);
        clean.push_str("***");
        rest = match value.strip_prefix('\'') {
            Some(quoted) => quoted.find('\'').map_or("", |end| &quoted[end + 1..]),
            None => {
                let end = value
                    .find(|c: char| c.is_whitespace() || c == '&' || c == '\'')
                    .unwrap_or(value.len());
                &value[end..]
            }
        };
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_never_reach_the_output() {
        for (text, clean) in [
            (
                "unexpected 'postgres://u:s3cret@h:5432/db' found",
                "unexpected 'postgres://u:***@h:5432/db' found",
            ),
            ("postgres://u:p@s/s@h/db", "postgres://u:***@h/db"),
            ("postgres://u@h/db", "postgres://u@h/db"),
            (
                "host=h password=s3cret user=u",
                "host=h password=*** user=u",
            ),
            ("host=h password='a b' user=u", "host=h password=*** user=u"),
            (
                "postgres://h/db?password=x&user=u",
                "postgres://h/db?password=***&user=u",
            ),
        ] {
            assert_eq!(redact(text), clean);
        }
    }
}
