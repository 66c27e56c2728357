//! What the integration tests of Mosaic Backlog stand on: a throwaway PostgreSQL cluster, a
//! database of its own for each test, sessions in it, and the real `mosaic` program.
//!
//! The tests run against what users get. `tests/run` installs it and names the folder in
//! `MOSAIC_TEST_PREFIX`; without that, the PostgreSQL of the machine and the program in the
//! build folder are tested.

pub mod account;
pub mod at_end;
pub mod calls;
pub mod cards;
pub mod checker;
pub mod cluster;
pub mod damage;
pub mod database;
pub mod faults;
pub mod folder;
pub mod fuzz;
pub mod home;
pub mod installation;
pub mod load;
pub mod model;
pub mod pooler;
pub mod program;
pub mod programs;
pub mod record;
pub mod refused;
pub mod replica;
pub mod session;
pub mod terminal;
pub mod wait;
