//! Import on one worker: one attempt, step by step as the leader asks.
//!
//! Ranges of the source are parsed here and every rating is sent twice (`outbox`): to the owner of
//! its user's shard and to the owner of its item's shard. Owners append what arrives to a spool on their
//! disk (`spool`), then sort each shard and drop duplicate pairs (`shard`), keep it on the disk
//! (`saved`) until all ids are known, and write its block.
//!
//! Memory follows the largest shards and not the data set. A worker holds
//!
//! * per parse step under way: a piece of 4 MiB of its range, at most 16 MiB of batches (8 KiB a shard and side
//!   where shards are many), and eight batches on their way to each peer;
//! * per training thread: 32 bytes per rating of the shard being sorted, or 20 of the one being built,
//!   and its ids; and 16 of one more that is being written;
//! * while blocks are built: the ids of the other side, 8 bytes a row for integers.
//!
//! An attempt that fails is abandoned as a whole; the next starts with a fresh spool.

mod attempt;
mod extras;
mod finish;
mod id_numbering;
mod outbox;
mod parsing;
mod push;
mod records;
mod saved;
mod shard;
mod spool;

use std::{io, path::PathBuf};

pub use attempt::{IngestAttempt, OnDone};
#[doc(hidden)]
pub use records::read_records;
use shoal_common::{compute::ComputeError, store::StoreError};
use shoal_dataset::source::SourceError;
use shoal_format::tensor_file::TensorFileError;

/// What can go wrong in an import step.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The leader or a peer asks for something that makes no sense.
    #[error("the import step cannot be carried out: {0}")]
    Request(String),
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] Box<SourceError>),
    /// The store failed, or an object is damaged.
    #[error(transparent)]
    Store(#[from] Box<StoreError>),
    /// A part cannot be made or read.
    #[error(transparent)]
    Tensor(#[from] TensorFileError),
    /// A part of the catalogue or of the tags cannot be made.
    #[error("cannot write the catalogue and the tags of shard {shard}")]
    Catalogue {
        /// Number of the shard.
        shard: u32,
        /// What the writer of Parquet said.
        source: parquet::errors::ParquetError,
    },
    /// The worker's own disk failed or is full.
    #[error("cannot {action} the spool '{path}'; make room or name another data_dir")]
    Spool {
        /// What was tried: "write" or "read".
        action: &'static str,
        /// Path of the spool.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A record does not decode.
    #[error("a record is torn at byte {0}: the sender speaks another version, or the spool is damaged")]
    Torn(usize),
    /// A peer refused or went away.
    #[error("worker '{node}' did not take the ratings sent to it")]
    Push {
        /// Name of the other worker.
        node: String,
        /// Its status, or the connection's.
        source: Box<tonic::Status>,
    },
    /// A peer's address cannot be used.
    #[error("cannot send ratings to worker '{node}'")]
    Address {
        /// Name of the other worker.
        node: String,
        /// What is wrong with it.
        source: shoal_common::rpc::RpcAddressError,
    },
    /// The data set has more rows than can be addressed.
    #[error("a side has more than {} rows; split the data set", u32::MAX)]
    TooManyRows,
    /// The compute pool failed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// The step was cancelled.
    #[error("the import step was cancelled")]
    Cancelled,
}

impl From<StoreError> for IngestError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<SourceError> for IngestError {
    fn from(error: SourceError) -> Self {
        Self::Source(Box::new(error))
    }
}
