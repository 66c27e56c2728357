//! All cards with their links, of one moment.

use postgres::IsolationLevel;
use serde_json::Value;

use crate::command::backlog::list;
use crate::database::call::Call;
use crate::database::store::Store;
use crate::failure::{Failure, sentence};

/// Cards on a page: as many as the function gives.
const PAGE: usize = 10_000;

const COLUMNS: &str = "id, title, phase, labels, priority, status, not_before, claim_owner, claim_expires_at, \
    block_kind, block_reason, open_dependencies, depends_on, cursor";

/// In the order of claims.
pub fn cards(store: &mut Store) -> Result<Vec<Value>, Failure> {
    store.require("backlog_list")?;
    // A card that changes between two pages would be there twice, or not at all.
    let mut transaction = store
        .client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()?;
    let mut cards = Vec::new();
    let mut after = None;
    loop {
        let call = Call::new("backlog_list")
            .columns(COLUMNS)
            .statuses("statuses", list::every_status())
            .int("max_cards", PAGE as i32)
            .text("after", after);
        let rows = transaction.query_typed(&call.sql(), &call.parameters())?;
        let mut next = Value::Null;
        for row in rows {
            let mut card: Value = serde_json::from_str(row.try_get(0)?).map_err(|error| {
                Failure::internal("the database's answer is not readable").detail(sentence(&error))
            })?;
            if let Some(card) = card.as_object_mut() {
                next = card.shift_remove("cursor").unwrap_or_default();
            }
            cards.push(card);
        }
        match next.as_str() {
            Some(cursor) => after = Some(cursor.to_owned()),
            None => return Ok(cards),
        }
    }
}
