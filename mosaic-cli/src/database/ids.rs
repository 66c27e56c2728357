//! The ids that the caller may list, as many as there is time for: for completions, and for those
//! who mistyped one.

use std::time::{Duration, Instant};

use postgres::types::Type;
use postgres::{Client, Error};

use crate::failure::Failure;
use crate::failure::suggest::{question, similar};

const MOST: usize = 10_000;
const TIME: Duration = Duration::from_millis(300);

/// Ids in claim order. What goes wrong only makes them fewer.
pub fn listed(client: &mut Client) -> Vec<String> {
    let mut ids = Vec::new();
    let _ = read(client, &mut ids);
    ids
}

fn read(client: &mut Client, ids: &mut Vec<String>) -> Result<(), Error> {
    let start = Instant::now();
    let mut transaction = client.build_transaction().read_only(true).start()?;
    // The server keeps to the time as well, also behind a pooler.
    let limit = format!("set local statement_timeout = {}", TIME.as_millis());
    transaction.batch_execute(&limit)?;
    let mut cursor: Option<String> = None;
    while ids.len() < MOST && start.elapsed() < TIME {
        let page = transaction.query_typed(
            "select id, \"cursor\" from mosaic.backlog_list(
               '{ready,claimed,blocked,done,cancelled}', max_cards => 1000, after => $1)",
            &[(&cursor, Type::TEXT)],
        )?;
        for row in &page {
            ids.push(row.try_get(0)?);
            cursor = row.try_get(1)?;
        }
        if page.is_empty() || cursor.is_none() {
            break;
        }
    }
    transaction.rollback()
}

/// Where another card than the one that was meant would be taken for done, dropped or changed.
const CAREFUL: [&str; 10] = [
    "backlog_complete",
    "backlog_fail",
    "backlog_block",
    "backlog_unblock",
    "backlog_note",
    "backlog_cancel",
    "backlog_reopen",
    "backlog_update",
    "backlog_reclaim",
    "backlog_release",
];

/// Adds to the error about an unknown card the ids that may have been meant.
pub fn suggest(mut failure: Failure, function: &str, client: &mut Client) -> Failure {
    let Some(id) = missing(&failure.message) else {
        return failure;
    };
    let ids = listed(client);
    // Ids with other numbers are other cards, however near they are.
    let is_safe = |other: &&str| !CAREFUL.contains(&function) || digits(other) == digits(id);
    let near = similar(id, ids.iter().map(String::as_str).filter(is_safe));
    if let Some(question) = question(&near) {
        let hint = failure.hint.unwrap_or_default();
        failure.hint = Some(format!("{question} {hint}").trim_end().to_owned());
    }
    failure
}

fn digits(id: &str) -> String {
    id.chars().filter(char::is_ascii_digit).collect()
}

/// The id in `card "A44" does not exist`.
fn missing(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("card \"")?;
    rest.strip_suffix("\" does not exist")
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn the_id_is_in_the_message() {
        assert_eq!(missing("card \"A44\" does not exist"), Some("A44"));
        assert_eq!(missing("card \"a \"b\"\" does not exist"), Some("a \"b\""));
        assert_eq!(
            missing("card 2 of the batch: card \"A9\" does not exist"),
            Some("A9")
        );
        assert_eq!(missing("card \"A1\" is done"), None);
    }
}
