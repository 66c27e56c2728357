//! What a connection string says, by key.

use crate::failure::{Failure, capitalised};

pub type Settings = Vec<(String, String)>;

pub fn find<'a>(settings: &'a Settings, key: &str) -> Option<&'a str> {
    settings
        .iter()
        .find(|(known, _)| known == key)
        .map(|(_, value)| value.as_str())
}

pub fn take(settings: &mut Settings, key: &str) -> Option<String> {
    let at = settings.iter().position(|(known, _)| known == key)?;
    Some(settings.remove(at).1)
}

pub fn fill_in(settings: &mut Settings, others: Settings) {
    for (key, value) in others {
        if find(settings, &key).is_none() {
            settings.push((key, value));
        }
    }
}

/// The string itself is not quoted: it may hold a password.
pub fn malformed(reason: &str) -> Failure {
    Failure::usage("the database's connection string is malformed")
        .detail(capitalised(reason))
        .hint("It looks like postgresql://user@host:5432/database or host=… dbname=… user=….")
}
