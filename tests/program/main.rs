//! The program `mosaic`, on an external server and on the embedded one.

mod arguments;
mod crash;
mod doctor;
mod exit_codes;
mod external;
mod fields;
mod first_start;
mod flags;
mod fleet;
mod graph;
mod installer;
mod mcp;
mod metrics;
mod people;
mod places;
mod prime;
mod run;
mod server;
mod shapes;
mod shapes_of_reports;
mod shells;
mod suggestions;
mod tls;
mod wait;
mod watch;
mod watch_stream;
