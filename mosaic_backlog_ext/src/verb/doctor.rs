//! What is wrong with the backlog, and what to do about it. Looks, and changes nothing.

mod cards;
mod finding;
mod installed;
mod objects;
mod operation;

use pgrx::prelude::*;

use crate::postgres::rows::{Rows, shapes};
use crate::postgres::statement::{param, session, statements};
use crate::refusal::Refusal;

use finding::{Finding, State};

shapes! {
    /// One thing that was looked at.
    DoctorRow = "TABLE (name text, state text, detail text, hint text)";
}

statements! {
    REPORT(TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID) =
        "select r.name, r.state, r.detail, r.hint
         from unnest($1, $2, $3, $4) with ordinality as r(name, state, detail, hint, place)
         order by r.place";
}

/// Looks for what should not be: in the cards and links, in the extension's own objects, and in
/// how it is run. One row for each thing that it looked at.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_doctor() -> Result<Rows<DoctorRow>, pgrx::pg_sys::panic::ErrorReport> {
    Ok(session(|session| {
        let mut findings = vec![
            operation::settings(),
            operation::direct_writes(),
            operation::frontier(session),
            objects::triggers(session),
            objects::indexes(session),
            installed::tables(session),
            installed::functions(session),
            installed::ownership(session),
            operation::vacuum(session),
        ];
        let is_sound = installed::is_readable(session)
            && !findings
                .iter()
                .any(|f| f.name == installed::TABLES && matches!(f.state, State::Error));
        // Above, nothing is read but the catalogue.
        findings.extend(cards::CHECKS.iter().map(|(name, check)| {
            if is_sound {
                check(session)
            } else {
                Finding::not_ok(
                    name,
                    State::Unknown,
                    "Not looked at, since the tables are not as they should be.",
                    "Repair what `tables` and `ownership` report, and ask again.",
                )
            }
        }));
        let column =
            |of: fn(&Finding) -> Option<&str>| param(findings.iter().map(of).collect::<Vec<_>>());
        let answer = session.run(
            &REPORT,
            &[
                column(|f| Some(f.name)),
                column(|f| Some(f.state.name())),
                column(|f| Some(&f.detail)),
                column(|f| f.hint),
            ],
        );
        Ok::<_, Refusal>(Rows::new(session, &answer))
    })?)
}
