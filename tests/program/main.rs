//! The program `mosaic`, on an external server and on the embedded one.

mod arguments;
mod crash;
mod exit_codes;
mod external;
mod first_start;
mod graph;
mod installer;
mod people;
mod places;
mod server;
mod shapes;
mod shapes_of_reports;
mod tls;
mod watch;
mod watch_stream;
