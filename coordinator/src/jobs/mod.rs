//! Imports, trainings and batch lists, as the leader runs them.
//!
//! A job is a sequence of steps that every worker does, with a barrier after each. When a worker is
//! lost the attempt is over: a new one begins with the workers that are there, from the last committed
//! sweep (or from the start, for an import). What decides is in the replicated state: attempts, sweeps
//! with their checkpoints, what was published; a new leader goes on from there.
//!
//! Nothing is deleted before the job's end is committed: a leader that was replaced without knowing it
//! must not take away what its successor works with.

mod attempts;
mod density;
mod error;
mod evaluation;
mod held_out;
mod import;
mod lanes;
mod lists;
mod model_training;
mod models;
mod parts;
mod preview;
mod publish;
mod reachable;
mod remarks;
mod run;
pub(crate) mod runner;
mod same;
mod sample;
mod shares;
mod split_times;
mod steps;
mod tracker;
mod training;
mod validate;
mod validate_lists;

pub(crate) use error::JobError;
pub use models::fill_in_defaults;
pub(crate) use preview::preview;
pub(crate) use reachable::look_again;
pub use same::same_training;
pub use validate::{validate_import, validate_training};
pub use validate_lists::settle_lists;
