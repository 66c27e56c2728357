//! The verbs: one module a family, which defines the functions `mosaic.backlog_*` of that name.

pub mod block;
pub mod cancel;
pub mod claim;
pub mod complete;
pub mod create;
pub mod doctor;
pub mod drop;
pub mod events;
pub mod failing;
pub mod lease;
pub mod link;
pub mod list;
pub mod note;
pub mod reclaim;
pub mod resume;
pub mod stats;
pub mod transfer;
pub mod update;
pub mod why;
