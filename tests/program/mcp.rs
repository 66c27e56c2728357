//! `mosaic mcp`, driven by a real MCP client.

mod client;
mod ends;
mod interruptions;
mod life;
mod refusals;
mod tools;
