//! The backlog's database: which one, the way to it, and the calls of its functions.

pub mod call;
pub mod dsn;
pub mod embedded;
pub mod extension;
pub mod ids;
pub mod limit;
pub mod reconnecting;
pub mod store;
pub mod tls;
