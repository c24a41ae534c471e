//! Why a member does not start, and why a command or a read has no answer.

use super::{log_error::LogStoreError, state_machine::RestoreError};

/// The largest command that is proposed. An entry that no message can carry would stop the group for good;
/// the largest that people make (a data set of thousands of shards) stays far below.
pub const COMMAND_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Why a proposal has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another member leads, or nobody does.
    #[error("this coordinator does not lead")]
    NotLeader {
        /// Where to ask instead, if known.
        leader_address: Option<String>,
    },
    /// Leadership moved or time ran out: the command may or may not be applied.
    #[error("it is not known whether the change was made; look before trying again")]
    Unknown,
    /// Too much is waiting.
    #[error("the coordinator is overloaded; try again")]
    Busy,
    /// The command would not fit into a message to the other members.
    #[error(
        "a change of {size_bytes} bytes is larger than the {COMMAND_BYTES_MAX} that coordinators agree on; make it smaller"
    )]
    TooLarge {
        /// Bytes of the command.
        size_bytes: usize,
    },
    /// The member has stopped; the command went nowhere.
    #[error("the coordinator is stopping")]
    Stopped,
}

/// Why a linearizable read has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed the read in time.
    #[error("no quorum of coordinators answered in time; try again")]
    Timeout,
    /// The member is stopping.
    #[error("the coordinator is stopping")]
    Stopped,
}

/// The member cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RaftStartError {
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogStoreError),
    /// The state in the log cannot be read.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// raft refuses the settings or the log.
    #[error("raft cannot start from this log")]
    Raft(#[source] raft::Error),
}
