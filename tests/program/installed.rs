//! What `install.sh` installed, brought to another version and away again.

mod real;
mod site;
mod uninstall;
mod update;
