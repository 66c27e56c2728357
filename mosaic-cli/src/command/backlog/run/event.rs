//! What the thread of a job is told, by those who wait for it.

use std::process::ExitStatus;
use std::time::Instant;

use super::report::Report;
use crate::database::reconnecting::ReconnectingStore;

pub enum Event {
    Exited(ExitStatus),
    News(News),
    /// For the command.
    Signal(i32),
}

pub enum News {
    /// The lease lasts until then, or longer.
    Held(Instant),
    /// The card was finished or given back under our token: there is nothing to renew.
    Settled,
    Lost(String),
    Reported(Report, ReconnectingStore),
}
