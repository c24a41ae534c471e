//! Factor rows between workers.
//!
//! Once per attempt every receiver names the rows that its ratings need ([`routing`]); from then on
//! rows travel in the order of that list, without ids. A sender streams rows while it still solves
//! others ([`push`]); a receiver copies them to where the next half-step reads them ([`wire`]). Gramian
//! partials go to everybody.

pub mod push;
pub mod routing;
pub mod wire;
