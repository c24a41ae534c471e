//! Why the log on disk cannot be used.

use std::{io, path::PathBuf};

/// The log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogStoreError {
    /// The library that keeps the log failed.
    #[error("cannot {action} the raft log in '{folder}'")]
    Engine {
        /// What was tried: "open", "write" and the like.
        action: &'static str,
        /// The folder of the log.
        folder: PathBuf,
        /// The engine's own error.
        source: raft_engine::Error,
    },
    /// A snapshot file failed.
    #[error("cannot {action} the raft snapshot '{path}'")]
    SnapshotFile {
        /// What was tried: "read", "write" and the like.
        action: &'static str,
        /// Path of the snapshot file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is on disk contradicts itself.
    #[error(
        "the raft log in '{folder}' is not whole: {reason}; stop this member, move the folder away and restore it from a copy, or rebuild the member from the others while all of them are up"
    )]
    Mismatch {
        /// The folder of the log.
        folder: PathBuf,
        /// What on the disk contradicts itself.
        reason: String,
    },
    /// The log is another member's, or of another group.
    #[error(
        "the raft log in '{folder}' is not this member's: {reason}; check data_dir, cluster_id, coordinator.raft_id and coordinator.peers"
    )]
    Foreign {
        /// The folder of the log.
        folder: PathBuf,
        /// Which member or group the log belongs to.
        reason: String,
    },
}
