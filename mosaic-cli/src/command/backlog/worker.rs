//! Who is acting: the name that history shows. It is never what guards a lease.

use clap::Args;

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

/// `MOSAIC_AGENT`, else user@host.
pub fn identity() -> String {
    agent().unwrap_or_else(|| {
        let user = whoami::username().unwrap_or_else(|_| "unknown".into());
        let host = whoami::hostname().unwrap_or_else(|_| "localhost".into());
        format!("{user}@{host}")
    })
}

/// The name in `MOSAIC_AGENT`.
pub fn agent() -> Option<String> {
    std::env::var("MOSAIC_AGENT")
        .ok()
        .filter(|agent| !agent.trim().is_empty())
}
