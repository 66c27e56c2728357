//! What `install.sh` put on this machine: bringing it to a newer version, back, and away.

mod backlog;
mod place;
mod previous;
mod receipt;
mod source;
mod steps;
mod successor;
mod uninstall;
mod update;

pub use uninstall::Uninstall;
pub use update::Update;
