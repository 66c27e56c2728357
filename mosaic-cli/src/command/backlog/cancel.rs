//! `cancel` and `reopen`: decide that a card is not to be done, or to be done again.

use clap::{ArgGroup, Args};

use super::card;
use super::reason::Reason;
use super::worker::Actor;
use crate::database::call::Call;
use crate::database::store::{self, Address};
use crate::failure::Failure;
use crate::input::filled;
use crate::output::reply::Reply;

/// Decide that a card is not to be done (operators)
#[derive(Args)]
#[command(group = ArgGroup::new("why").args(["reason", "reason_file"]).required(true))]
#[command(after_help = "\
Example:
  mosaic backlog cancel A4 --reason \"replaced by B7\"

Cards that wait for a cancelled card go on waiting: `why` says so, `unlink` lets them go,
--cascade cancels them too.")]
pub struct Cancel {
    /// The card
    #[arg(value_parser = filled)]
    id: String,

    #[command(flatten)]
    reason: Reason,

    /// Also the cards that depend on it
    #[arg(long)]
    cascade: bool,

    /// Even if a worker holds it
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    actor: Actor,
}

impl Cancel {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let call = Call::new("backlog_cancel")
            .text("id", self.id)
            .text("reason", self.reason.said()?)
            .switch("cascade", self.cascade)
            .switch("force", self.force)
            .text("actor", self.actor.name());
        Ok(card::replies(store::rows(address, call)?))
    }
}

/// Make a done or cancelled card ready again (operators)
#[derive(Args)]
#[command(group = ArgGroup::new("why").args(["reason", "reason_file"]).required(true))]
#[command(after_help = "\
Example:
  mosaic backlog reopen A4 --reason \"the fix did not hold\"

Cards that wait for it are gated again.")]
pub struct Reopen {
    /// The card
    #[arg(value_parser = filled)]
    id: String,

    #[command(flatten)]
    reason: Reason,

    #[command(flatten)]
    actor: Actor,
}

impl Reopen {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let call = Call::new("backlog_reopen")
            .text("id", self.id)
            .text("reason", self.reason.said()?)
            .text("actor", self.actor.name());
        Ok(card::replies(store::rows(address, call)?))
    }
}
