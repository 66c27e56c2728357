//! What holds for every card of a run.

use std::ffi::OsString;
use std::time::Duration;

use super::streak::Streak;

pub struct Plan {
    pub command: Vec<OsString>,
    pub worker: String,
    pub ttl: Duration,
    pub grace: Duration,
    /// The command's standard output goes to standard error.
    pub json: bool,
    /// What the command's own calls have to use.
    pub database_url: Option<String>,
    pub streak: Streak,
}
