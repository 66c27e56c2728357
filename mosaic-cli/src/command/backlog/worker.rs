//! Who is acting: the name that history shows. It is never what guards a lease.

use clap::Args;

use crate::environment::actor::identity;
use crate::input::name;

#[derive(Args)]
pub struct Actor {
    /// Name for the card's history [default: MOSAIC_AGENT, else user@host]
    #[arg(long, value_name = "NAME", value_parser = name)]
    actor: Option<String>,
}

impl Actor {
    pub fn name(self) -> String {
        self.actor.unwrap_or_else(identity)
    }
}
