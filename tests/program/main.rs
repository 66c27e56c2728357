//! The program `mosaic`, on an external server and on the embedded one.

mod arguments;
mod crash;
mod exit_codes;
mod external;
mod first_start;
mod fleet;
mod installer;
mod people;
mod places;
mod run;
mod server;
mod shapes;
mod shapes_of_reports;
mod tls;
mod wait;
