//! The gate of cards moves: their counters, and those who wait for what it opens.

use crate::card::dependency::{self, Shifted};
use crate::frontier::wake;
use crate::postgres::clock::Micros;
use crate::postgres::statement::Session;

/// Adds `by` to the counters of locked cards that have dependencies, and wakes who may claim one.
pub fn shift(session: &Session, ids: Vec<String>, by: i32, now: Micros) -> Vec<Shifted> {
    let shifted = dependency::shift(session, ids, by, now);
    if by < 0 && shifted.iter().any(Shifted::is_open) {
        wake::waiters();
    }
    shifted
}
