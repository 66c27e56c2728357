//! `mosaic --version`: the program's version, and the extension's where a database is at hand.

use serde_json::json;

use crate::database::extension;
use crate::database::store::{self, Address, Choice};
use crate::failure::Failure;
use crate::output::reply::Reply;
use crate::output::screen::one_line;

pub fn reply(address: &Address) -> Result<Reply, Failure> {
    let choice = match store::choose(address) {
        Ok(choice) => Some(choice),
        Err(failure) if address.is_given() => return Err(failure),
        // The version is also for those whose settings are wrong.
        Err(_) => None,
    };
    let document = json!({
        "version": extension::version(),
        "extension_version": choice.and_then(extension_version),
    });
    Ok(Reply::new(document, |document, _| {
        let version = |key: &str| document[key].as_str().map(one_line);
        let own = version("version").unwrap_or_default();
        match version("extension_version") {
            Some(extension) => format!("mosaic {own} (extension {extension})"),
            None => format!("mosaic {own}"),
        }
    }))
}

fn extension_version(choice: Choice) -> Option<String> {
    store::at_hand(choice, |client| {
        let rows = client.query_typed(
            "select extversion from pg_catalog.pg_extension where extname = 'mosaic_backlog_ext'",
            &[],
        );
        rows.ok()?.first()?.try_get(0).ok()
    })
}
