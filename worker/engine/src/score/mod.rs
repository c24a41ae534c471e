//! Scores, and the best of a shard's items by them.
//!
//! [`dot`] adds in one order on every machine, [`Screen`] bounds scores so that most rows need not be looked at, and
//! [`top_n`] selects. Results do not depend on the instruction set, the number of threads or the replica.

mod dot;
mod screen;
mod top_n;

pub use dot::{dot, norm};
pub use screen::{Bounds, Screen};
pub use top_n::{Admits, FactorRows, Scoring, Selection, predict_row, predicted_rating, rating_base, top_n};
