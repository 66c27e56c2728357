//! Calls with generated arguments: whatever comes in, no backend ends, no error is internal, and
//! what is refused changes nothing.
//!
//! - `dice`: chance, the same from the same seed
//! - `argument`: an SQL value for an argument, by its name and type
//! - `document`: JSON for `create_many` and `import`, nearly right
//! - `run`: many calls in one round trip, judged in the server

mod argument;
mod dice;
mod document;
mod run;

pub use dice::Dice;
pub use run::{Fuzz, Tally, spread};
