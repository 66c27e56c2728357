//! Passwords never reach the output.
//!
//! A password may hold anything, the quotes and blanks of the text around it too. Where it is not
//! clear where it ends, more is taken out than it may be.

/// Takes passwords out of text that may quote what the user typed.
pub fn redact(text: &str) -> String {
    redact_key_values(&redact_urls(text))
}

/// `://user:password@`
fn redact_urls(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        clean.push_str(before);
        match end_of_user_info(after) {
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
    clean
}

/// Where the `@` of an address is that begins here.
fn end_of_user_info(address: &str) -> Option<usize> {
    let word = &address[..address.find(char::is_whitespace).unwrap_or(address.len())];
    word.rfind('@').or_else(|| {
        // What follows the colon is a port, or a password with a blank in it.
        let (host, tail) = word.split_once(':')?;
        let tail = tail.trim_start_matches(|c: char| c.is_ascii_digit());
        let is_port = tail.starts_with(['/', '?', ',', '\'', '"', '`']);
        if is_port || host.contains(['/', '?']) {
            return None;
        }
        let line = &address[..address.find('\n').unwrap_or(address.len())];
        line.rfind('@')
    })
}

/// `password=…` of a connection string, `password='…'`, `&password=…`, `PGPASSWORD=…`.
fn redact_key_values(text: &str) -> String {
    const KEY: &str = "password";
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    // The same length: only ASCII changes.
    while let Some(start) = rest.to_ascii_lowercase().find(KEY) {
        let (before, after) = rest.split_at(start + KEY.len());
        clean.push_str(before);
        rest = after;
        let Some(value) = after.trim_start().strip_prefix('=') else {
            continue;
        };
        let value = value.trim_start();
        clean.push_str(&after[..after.len() - value.len()]);
        let end = end_of_value(value);
        if end > 0 {
            clean.push_str("***");
        }
        // The quote around the whole text, as far as that can be told.
        let is_quoted = value.starts_with('\'');
        rest = match value[..end].strip_suffix('\'') {
            Some(shorter) if !is_quoted && !shorter.is_empty() => &value[shorter.len()..],
            _ => &value[end..],
        };
    }
    clean.push_str(rest);
    clean
}

/// Behind the closing quote and what is joined to it, else at the next blank or `&`. A backslash
/// takes the next letter's meaning away.
fn end_of_value(value: &str) -> usize {
    let mut inside = false;
    let mut letters = value.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => {
                letters.next();
            }
            '\'' if at == 0 => inside = true,
            '\'' if inside => inside = false,
            letter if !inside && (letter.is_whitespace() || letter == '&') => return at,
            _ => {}
        }
    }
    value.len()
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
            ("the password is missing", "the password is missing"),
            ("password= user=u", "password= ***"),
            ("http://h:80/a b@c", "http://h:80/a b@c"),
            ("'postgres://h:80' for me@x", "'postgres://h:80' for me@x"),
        ] {
            assert_eq!(redact(text), clean);
        }
    }

    #[test]
    fn a_password_may_hold_quotes_blanks_and_backslashes() {
        for text in [
            "unexpected 'postgres://u:s3'cret@h:5432/db' found",
            "unexpected \"postgres://u:s3\"cret@h/db\" found",
            "postgres://u:s3`cret@h",
            "postgres://u:s3 cret@h/db",
            "postgres://u:12 cret@h/db",
            "unexpected 'host=h password=s3'cret user=u' found",
            r"host=h password='s3\'cret user=u",
            r"host=h password='s3\'cret' user=u",
            "host=h password='s3''cret' user=u",
            r"host=h password=s3\ cret user=u",
            r"host=h password='s3\\\' cret' user=u",
            "host=h password = s3'cret user=u",
            "host=h password = 's3 cret'",
            "PGPASSWORD=s3'cret psql",
            "postgres://h/db?password=s3'cret&user=u",
            "postgres://h/db?user=u&password=s3'cret",
        ] {
            let clean = redact(text);
            assert!(
                !clean.contains("cret") && !clean.contains("s3"),
                "{text}: {clean}"
            );
        }
        assert_eq!(
            redact("unexpected 'host=h password=s3'cret' found"),
            "unexpected 'host=h password=***' found"
        );
    }
}
