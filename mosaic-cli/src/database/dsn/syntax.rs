//! The two ways to write a connection string.

use super::settings::{Settings, malformed};
use crate::failure::Failure;

/// `[user[:password]@][host[:port][,…]][/dbname][?key=value&…]`
pub fn from_url(rest: &str) -> Result<Settings, Failure> {
    let mut settings = Settings::new();
    let mut add = |key: &str, value: &str| -> Result<(), Failure> {
        if !value.is_empty() {
            settings.push((key.to_owned(), percent_decoded(value)?));
        }
        Ok(())
    };
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = address.split_once('/').unwrap_or((address, ""));
    let (user_info, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    add("user", user)?;
    add("password", password)?;
    add("dbname", database)?;

    let (names, ports): (Vec<&str>, Vec<&str>) = hosts.split(',').map(host_and_port).unzip();
    add("host", &names.join(","))?;
    if ports.iter().any(|port| !port.is_empty()) {
        let ports: Vec<&str> = ports
            .into_iter()
            .map(|port| if port.is_empty() { "5432" } else { port })
            .collect();
        add("port", &ports.join(","))?;
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (key, value) = parameter
            .split_once('=')
            .ok_or_else(|| malformed("a parameter has no \"=\""))?;
        // What the query says replaces what the address says, as in libpq.
        settings.retain(|(known, _)| known != key);
        settings.push((key.to_owned(), percent_decoded(value)?));
    }
    Ok(settings)
}

fn host_and_port(text: &str) -> (&str, &str) {
    match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((address, tail)) => (address, tail.strip_prefix(':').unwrap_or("")),
        None => text.rsplit_once(':').unwrap_or((text, "")),
    }
}

fn percent_decoded(text: &str) -> Result<String, Failure> {
    let wrong = || malformed("a percent sign is not followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).ok_or_else(wrong)?;
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))
}

/// `key=value key='quoted \' value'`
pub fn from_key_values(text: &str) -> Result<Settings, Failure> {
    let mut settings = Settings::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, tail) = rest
            .split_once('=')
            .ok_or_else(|| malformed("a key has no \"=\""))?;
        let (value, tail) = value_and_rest(tail.trim_start())?;
        settings.retain(|(known, _)| known != key.trim());
        settings.push((key.trim().to_owned(), value));
        rest = tail.trim_start();
    }
    Ok(settings)
}

fn value_and_rest(text: &str) -> Result<(String, &str), Failure> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut letters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            letter if !quoted && letter.is_whitespace() => return Ok((value, &text[at..])),
            letter => value.push(letter),
        }
    }
    if quoted {
        return Err(malformed("a quote is not closed"));
    }
    Ok((value, ""))
}

/// The one form that the client library reads without loss.
pub fn quote(settings: &Settings) -> String {
    settings
        .iter()
        .map(|(key, value)| {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            format!("{key}='{value}'")
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(settings: Settings) -> String {
        settings
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn urls_are_read_as_libpq_reads_them() {
        for (url, settings) in [
            (
                "u:p%40ss@h:5433/db?sslmode=require",
                "user=u password=p@ss dbname=db host=h port=5433 sslmode=require",
            ),
            ("", ""),
            ("/db?host=/run/my%20pg", "dbname=db host=/run/my pg"),
            ("%2Frun%2Fpg/db", "dbname=db host=/run/pg"),
            (
                "u@[::1]:5433,h2/db",
                "user=u dbname=db host=::1,h2 port=5433,5432",
            ),
            ("h1/db?host=h2", "dbname=db host=h2"),
        ] {
            assert_eq!(pairs(from_url(url).unwrap()), settings, "{url}");
        }
    }

    #[test]
    fn key_values_may_be_quoted_and_escaped() {
        let settings = from_key_values(r"host=h  password = 'it''s' ").unwrap_err();
        assert_eq!(settings.code, crate::failure::Code::Usage);
        assert_eq!(
            pairs(from_key_values(r"host = h password='it\'s a\\b' dbname=a\ b").unwrap()),
            r"host=h password=it's a\b dbname=a b"
        );
    }

    #[test]
    fn quoting_loses_nothing() {
        let settings = vec![("password".to_owned(), r"it's a\b".to_owned())];
        assert_eq!(from_key_values(&quote(&settings)).unwrap(), settings);
    }

    #[test]
    fn an_error_does_not_quote_the_string() {
        for text in ["password=x s3cret", "password='s3cret"] {
            let failure = from_key_values(text).unwrap_err();
            assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
        }
        let failure = from_url("u:s3cret%zz@h/db").unwrap_err();
        assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
    }
}
