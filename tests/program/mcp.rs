//! `mosaic mcp`, driven by a real MCP client.

mod arguments;
mod bounded;
mod client;
mod ends;
mod interruptions;
mod keep;
mod life;
mod lines;
mod raw;
mod refusals;
mod tools;
