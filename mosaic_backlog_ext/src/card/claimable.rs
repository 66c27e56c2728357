//! Which cards a claim may have, said once: for statements, as the macros `is_claimable` and `suits`, and for a card at
//! hand, as `hindrance`.

use crate::card::status::Status;
use crate::postgres::clock::Micros;
use crate::postgres::settings;

/// Ready, not gated, and not deferred: `$now` is the parameter with the time. What used up its attempts is found by
/// whoever takes it, and quarantined.
macro_rules! is_claimable {
    ($now:literal) => {
        concat!(
            "opened and (not_before is null or not_before <= ",
            $now,
            ")"
        )
    };
}
pub(crate) use is_claimable;

/// For this claim: the parameters with what the worker offers, the phase (any, if null) and the labels that it wants.
/// PostgreSQL judges in this order: what a claim asks for rules out more cards than what cards ask for.
macro_rules! suits {
    ($offers:literal, $phase:literal, $labels:literal) => {
        concat!(
            "(",
            $phase,
            " is null or phase = ",
            $phase,
            ") and labels @> ",
            $labels,
            " and requires <@ ",
            $offers
        )
    };
}
pub(crate) use suits;

/// Whether an attempt is left: `$max` is the parameter with the setting's maximum.
macro_rules! has_attempts {
    ($max:literal) => {
        concat!("attempts < coalesce(max_attempts, ", $max, ")")
    };
}
pub(crate) use has_attempts;

/// How often a card is handed out at most: its own maximum, else the setting's.
pub fn max_attempts(own: Option<i32>) -> i32 {
    own.unwrap_or_else(|| settings::MAX_ATTEMPTS.get())
}

/// What stands in the way of any claim of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// It is not ready.
    Status(Status),
    /// It used up its attempts.
    Exhausted,
    /// It waits for others.
    Gated,
    /// It waits for a time.
    Deferred(Micros),
}

/// The first of what stands in the way, in the order in which callers are told.
pub fn hindrance(
    status: Status,
    is_exhausted: bool,
    open_dependencies: i32,
    not_before: Option<Micros>,
    now: Micros,
) -> Option<Hindrance> {
    match status {
        Status::Ready if is_exhausted => Some(Hindrance::Exhausted),
        Status::Ready if open_dependencies > 0 => Some(Hindrance::Gated),
        Status::Ready => not_before.filter(|at| *at > now).map(Hindrance::Deferred),
        other => Some(Hindrance::Status(other)),
    }
}
