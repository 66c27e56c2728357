//! `mosaic db resume-after-restore`: no token comes again after the backlog went back in time.

use clap::Args;
use serde_json::{Value, json};

use crate::database::embedded;
use crate::database::store::{self, Address, Choice};
use crate::failure::Failure;
use crate::output::reply::Reply;
use crate::output::screen::Screen;

/// Make it safe to go on after a restore to an earlier moment, or on a logical replica
///
/// Tokens, event numbers and generated ids go on far beyond all that is known, so that none of those that
/// were given since, and that are not known here any more, comes again. The history says who did it.
#[derive(Args)]
#[command(after_help = "\
Example: mosaic db resume-after-restore

Before the fleet is let in again. `mosaic db restore` does it by itself.")]
pub struct Resume {
    /// The largest token that is known from elsewhere, such as a log
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    last_token: Option<i64>,
    /// Who does it, for the history
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
}

impl Resume {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let mut client = match store::choose(address)? {
            Choice::External(dsn) => store::connect(dsn)?,
            Choice::Embedded => embedded::Cluster::locate()?.connect()?,
        };
        let rows = client.query(
            "select name, before, after from mosaic.backlog_resume_after_restore($1, $2)",
            &[&self.last_token, &self.actor],
        )?;
        let mut sequences = Vec::new();
        for row in rows {
            let name: String = row.try_get(0)?;
            let (before, after): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
            sequences.push(json!({"name": name, "before": before, "after": after}));
        }
        Ok(Reply::new(
            json!({"sequences": sequences}),
            |document: &Value, _: &Screen| {
                let sequences = document["sequences"].as_array();
                sequences
                    .into_iter()
                    .flatten()
                    .map(|sequence| {
                        let name = sequence["name"].as_str().unwrap_or_default();
                        format!(
                            "{name} goes on after {}, not after {}\n",
                            sequence["after"], sequence["before"]
                        )
                    })
                    .collect()
            },
        ))
    }
}
