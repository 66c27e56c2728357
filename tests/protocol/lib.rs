//! The protocol as models, checked in every state that small fleets can reach.
//!
//! Each model has switches for bugs: what an older version did, or what somebody might write
//! instead. With a bug the checker has to find a way to break a promise, and that way is the
//! reason why the code is as it is. Without one it must find none.
//!
//! - `check`: exhaustive checking, and counterexamples
//! - `lease`: claims, leases, fencing tokens, attempts, the sweep, crashes
//! - `gate`: links, completions, counters and the order of locks
//! - `head`: what the frontier knows of one ordered set, with little room
//! - `belt`: audits of the frontier's own heads, against planted bugs
//! - `real_head`: the code of the extension that is plain data, as it is
//! - `frontier`: claims by the frontier beside commits, rollbacks and the ends of sessions
//! - `times`: cards that wait for a time, several for the same
//! - `replay`: a history, told to the models of lease and gate event by event
//! - `recorded`: the histories of real fleets

#![cfg(test)]

mod belt;
mod check;
mod frontier;
mod gate;
mod head;
mod lease;
mod real_head;
mod recorded;
mod replay;
mod times;
