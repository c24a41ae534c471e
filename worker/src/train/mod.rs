//! Training on one worker: one attempt of a job, step by step as the leader asks.
//!
//! [`TrainAttempt`] owns the attempt's state: the training ratings of the owned shards of both sides
//! (`training_side`, mapped from files of their own: `training_ratings`), the factors held here, who needs which of them,
//! and the Gramian partials. The leader
//! separates half-steps by a barrier: a half-step ends when every row is solved and every push
//! acknowledged, everywhere. So what arrives during one half-step is only read in the next, and
//! nothing is read while it is written.
//!
//! The leader says which side a sweep solves first; within a half-step the rating objective first, then
//! ranking.

mod attempt;
mod evaluation;
mod factor_items;
pub(crate) mod fold_in;
mod half_step;
mod held_out_file;
mod held_out_rows;
mod held_out_users;
mod known_tags;
mod load;
mod load_sides;
mod memory_need;
pub mod models;
mod settings;
mod split;
mod temporal_split;
mod training_ratings;
mod training_side;
mod write;

pub use attempt::{TrainAttempt, TrainContext};
pub use evaluation::OnShare;
use fold_in::FoldInError;
pub use half_step::OnRows;
pub use load_sides::Sides;
pub(crate) use settings::{Settings, ease_preference};
use shoal_common::{compute::ComputeError, store::StoreError};
use shoal_dataset::source::SourceError;
use shoal_engine::{
    als::problem::RowError,
    ease::{BadEntries, BadMessage, LostDigits, TooLarge},
    item_cf::BadPairs,
};
use shoal_format::tensor_file::TensorFileError;
pub use temporal_split::write_cuts;
pub use write::FactorValues;

use crate::exchange::{push::PushError, routing::TooManyRows, wire::TornNumbers};

/// What can go wrong in a training step.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The leader or a peer asks for something that makes no sense.
    #[error("the training step cannot be carried out: {0}")]
    Request(String),
    /// A step came before the one it needs.
    #[error("the training step is out of turn: {0}")]
    OutOfTurn(&'static str),
    /// The store failed, or an object is damaged.
    #[error(transparent)]
    Store(#[from] Box<StoreError>),
    /// A part is not what it should be.
    #[error(transparent)]
    Tensor(#[from] TensorFileError),
    /// The data set has too many rows.
    #[error(transparent)]
    Rows(#[from] TooManyRows),
    /// Rows could not be exchanged.
    #[error(transparent)]
    Push(#[from] PushError),
    /// A message holds torn numbers.
    #[error(transparent)]
    Torn(#[from] TornNumbers),
    /// A message of a peer holds no rows of pairs.
    #[error(transparent)]
    Pairs(#[from] BadPairs),
    /// A message of a peer holds no weights.
    #[error(transparent)]
    Entries(#[from] BadEntries),
    /// A message of a peer has no place in the elimination.
    #[error(transparent)]
    Elimination(#[from] BadMessage),
    /// A pivot is lost.
    #[error(transparent)]
    LostDigits(#[from] LostDigits),
    /// The tiles would not fit.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The maths broke down.
    #[error(
        "training diverged in sweep {sweep} at shard {shard} of the {side}: {source}; raise the regularization or check the ratings"
    )]
    Diverged {
        /// Number of the sweep, from 1.
        sweep: u32,
        /// The side of the shard: "users" or "items".
        side: &'static str,
        /// Number of the shard.
        shard: u32,
        /// Why the row cannot be solved.
        source: RowError,
    },
    /// A row of a user who is held out could not be folded in.
    #[error(
        "a held-out user of shard {shard} cannot be folded in: {source}; raise the regularization or check the ratings"
    )]
    NotFoldedIn {
        /// Number of the user shard.
        shard: u32,
        /// Why the row cannot be folded in.
        source: FoldInError,
    },
    /// The factors would not fit.
    #[error("rank {rank} needs {needed_mib} MiB on this worker, and {available_mib} MiB are free: {remedy}")]
    Memory {
        /// The rank asked for.
        rank: u64,
        /// At the peak, apart from mapped ratings.
        needed_mib: u64,
        /// What the machine or its control group has left.
        available_mib: u64,
        /// What makes the training fit, in words.
        remedy: String,
    },
    /// The compute pool failed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// The held-out file cannot be used.
    #[error("the held-out ratings cannot be used")]
    HeldOut(#[from] Box<SourceError>),
    /// The step was cancelled.
    #[error("the training step was cancelled")]
    Cancelled,
}

impl From<StoreError> for TrainError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<SourceError> for TrainError {
    fn from(error: SourceError) -> Self {
        Self::HeldOut(Box::new(error))
    }
}
