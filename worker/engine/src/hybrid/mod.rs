//! A blend of several models' scores: pure, slices in and values out.
//!
//! Scores of different models mean different things, so each is first turned into a *level*: how far up the
//! scores of its own source it stands ([`Calibration`]). One more level is half as many scores above, in
//! every source alike; that is what makes weights comparable. A blended score is Σ weight · level ([`Blend`]); a source
//! that knows nothing of an item adds nothing. Items of which only popularity knows something stand behind all others.
//!
//! Weights are given, or learned ([`learn_weights`]) by what the blended lists of some users are worth on
//! ratings that the blended models have not seen ([`Candidates`]).

mod blend;
mod calibration;
mod candidates;
mod learn;

pub use blend::{Blend, OfferedItems, UNKNOWN, popularity, rank};
pub use calibration::{BadCalibration, Calibration, ScoreHistogram};
pub use candidates::{Candidates, Relevant};
pub use learn::{Weights, learn_weights};
