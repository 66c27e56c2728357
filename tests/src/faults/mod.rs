//! Faults under load: what is done to the server and to workers while calls go on, and how long it
//! takes until they go on as before.

mod disk;
mod fault;
mod report;
mod round;
mod server;
mod strain;

pub use disk::Disk;
pub use fault::Fault;
pub use report::Report;
pub use round::{Graded, Round};
pub use server::Server;
pub use strain::Strain;
