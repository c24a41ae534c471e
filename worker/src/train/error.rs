//! What can go wrong in training.

use shoal_common::{compute::ComputeError, store::StoreError};
use shoal_dataset::source::SourceError;
use shoal_engine::{
    als::problem::RowError,
    ease::{BadEntries, BadMessage, LostDigits, TooLarge},
    item_cf::BadPairs,
};
use shoal_format::tensor_file::TensorFileError;

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

/// A row cannot be folded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FoldInError {
    /// The vectors do not belong together.
    #[error("'{0}' does not have one row for each rated item of the version's rank")]
    Shape(&'static str),
    /// The system has no solution.
    #[error("the ratings do not determine a row; leave some out")]
    Unsolvable,
}

impl From<RowError> for FoldInError {
    fn from(_: RowError) -> Self {
        Self::Unsolvable
    }
}
