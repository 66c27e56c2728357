//! `prime`: what an agent reads at its start, and a block with it in a file that it reads anyway.

use std::path::Path;

use clap::Args;
use serde_json::json;

use crate::agents::primer::{PRIMER, write};
use crate::environment;
use crate::failure::Failure;
use crate::output::reply::Reply;
use crate::output::screen::one_line;

/// Print the primer that an agent reads at its start
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog prime
  mosaic backlog prime --write AGENTS.md

In a file, the primer is between two marks. The same command again brings it up to date there, and
leaves all else in the file as it is.")]
pub struct Prime {
    /// Put it into this file, or bring it up to date there
    #[arg(long, value_name = "FILE", value_parser = crate::input::filled)]
    write: Option<String>,
}

impl Prime {
    pub fn run(self) -> Result<Reply, Failure> {
        let Some(file) = self.write else {
            return Ok(Reply::new(json!({"primer": PRIMER}), |document, _| {
                document["primer"].as_str().unwrap_or_default().to_owned()
            }));
        };
        let changed = write(&environment::from_home(Path::new(&file)))?;
        Ok(Reply::new(
            json!({"file": file, "changed": changed}),
            |document, _| {
                let file = one_line(document["file"].as_str().unwrap_or_default());
                if document["changed"] == true {
                    format!("{file} now has the primer")
                } else {
                    format!("{file} already has the primer")
                }
            },
        ))
    }
}
