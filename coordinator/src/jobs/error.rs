//! Why an attempt at a job ended without its result.

use shoal_common::{causes::with_causes, job_steps::WrongAnswer, store::StoreError};

use crate::{leader::CommandError, raft::ProposeError};

/// Why an attempt ended without its result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// Another attempt may succeed: a worker or the store was out of reach.
    #[error("{0}")]
    Transient(String),
    /// A worker has answered something else than it was asked. Another attempt may find a worker that does not.
    #[error("worker '{worker}' {wrong}")]
    WrongAnswer {
        /// Name of the worker.
        worker: String,
        /// What was asked and answered.
        wrong: WrongAnswer,
    },
    /// Another attempt would fail alike.
    #[error("{0}")]
    Fatal(String),
    /// Everything is held out. Another attempt would fail alike.
    #[error("no rating is left to train on; hold out fewer")]
    NothingToTrainOn,
    /// The split holds out users, and none was held out. Another attempt would fail alike.
    #[error(
        "none of the {users} users is held out with a rating to measure on: a share of {share:.4} is too small for so \
         few; give --held-out-users {remedy} with --split strong, or another --seed"
    )]
    NobodyHeldOut {
        /// How many the data set has.
        users: u64,
        /// Which share of them was to be held out.
        share: f64,
        /// A number of users of which hardly ever none is held out.
        remedy: u64,
    },
    /// Another coordinator leads now, and goes on.
    #[error("leadership was lost")]
    LeadershipLost,
    /// Somebody asked for it.
    #[error("the job was cancelled")]
    Cancelled,
}

impl JobError {
    /// Whether another attempt may succeed.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Transient(_) | Self::WrongAnswer { .. })
    }
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Access { .. } | StoreError::Slow { .. } => Self::Transient(with_causes(&error)),
            _ => Self::Fatal(with_causes(&error)),
        }
    }
}

impl From<CommandError> for JobError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused { reason, .. } => Self::Fatal(reason),
            CommandError::Raft(ProposeError::Busy) => Self::Transient(error.to_string()),
            CommandError::Raft(ProposeError::TooLarge { .. }) => Self::Fatal(error.to_string()),
            CommandError::Raft(_) => Self::LeadershipLost,
        }
    }
}
