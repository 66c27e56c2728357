//! The program `mosaic`, on an external server and on the embedded one.

mod arguments;
mod crash;
mod doctor;
mod exit_codes;
mod external;
mod first_start;
mod installer;
mod metrics;
mod people;
mod places;
mod server;
mod shapes;
mod shapes_of_reports;
mod tls;
