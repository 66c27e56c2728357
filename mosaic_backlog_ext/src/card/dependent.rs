//! The cards that depend on a card.

use std::ffi::CStr;

use crate::postgres::statement::{Session, param, statements};
use crate::postgres::table;

statements! {
    DEPENDENTS(TEXTOID) = "select card_id from mosaic.backlog_dependency where depends_on = $1 order by card_id";
}

/// Whether cards depend on a card; `None` if a statement has to look.
pub fn exist(id: &str) -> Option<bool> {
    const INDEX: &CStr = c"backlog_dependency_dependents";
    table::exists(c"backlog_dependency", INDEX, c"depends_on", id)
}

/// The ids of the cards that depend on a card, in their order.
pub fn ids(session: &Session, id: &str) -> Vec<String> {
    if exist(id) == Some(false) {
        return Vec::new();
    }
    session.run(&DEPENDENTS, &[param(id)]).column(1)
}
