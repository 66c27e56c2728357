//! The pieces of `sql/` in their order. The functions come between the tables and the privileges.

use pgrx::prelude::*;

/// Declares the schema to pgrx; `sql/10_schema.sql` creates it.
#[pg_schema]
mod mosaic {}

extension_sql_file!("../../sql/10_schema.sql", name = "schema", bootstrap);
extension_sql_file!(
    "../../sql/20_card.sql",
    name = "card",
    requires = ["schema", mosaic_backlog_ext::card::check::card_fits]
);
extension_sql_file!(
    "../../sql/30_dependency.sql",
    name = "dependency",
    requires = ["card"]
);
extension_sql_file!(
    "../../sql/40_event.sql",
    name = "event",
    requires = ["card"]
);
extension_sql_file!(
    "../../sql/50_claim_request.sql",
    name = "claim_request",
    requires = ["card"]
);
extension_sql_file!("../../sql/90_privileges.sql", name = "privileges", finalize);
