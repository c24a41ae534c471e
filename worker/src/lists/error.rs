//! Why lists are not written.

use std::{io, path::PathBuf};

use parquet::errors::ParquetError;
use shoal_common::{compute::ComputeError, ids::MissingId, store::StoreError, user_query::CannotRank};

use crate::serve::{LoadError, QueryError};

/// Why lists were not written.
#[derive(Debug, thiserror::Error)]
pub enum ListsError {
    /// The request cannot be carried out.
    #[error("{0}")]
    Request(String),
    /// A shard of the version cannot be read.
    #[error("the version cannot be read")]
    Load(#[from] Box<LoadError>),
    /// Users cannot be ranked for so.
    #[error(transparent)]
    Rank(#[from] CannotRank),
    /// Users cannot be ranked for with this version.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The filter names an id that is none.
    #[error("the filter has an id that is missing")]
    FilterId(#[from] MissingId),
    /// The folder is not this job's.
    #[error("the folder '{uri}' holds '{name}' already; name another folder, or empty this one")]
    Occupied {
        /// Address of the folder.
        uri: String,
        /// Something that it holds.
        name: String,
    },
    /// A part that was written is not there.
    #[error(
        "'{name}' is not in the folder '{uri}' as it was written; name a folder that every worker reaches"
    )]
    Missing {
        /// Address of the folder.
        uri: String,
        /// Name of the part's file.
        name: String,
    },
    /// The folder's address, or the users file's, cannot be used.
    #[error("'{uri}' cannot be used")]
    Address {
        /// The address that cannot be used.
        uri: String,
        /// What is wrong with it.
        source: Box<StoreError>,
    },
    /// The users file is not one.
    #[error("the users file '{uri}' cannot be used: {reason}")]
    Users {
        /// Address of the users file.
        uri: String,
        /// Why, with the line.
        reason: String,
    },
    /// A file of this worker's cannot be written.
    #[error("cannot write '{path}'; make room on its disk or name another data_dir")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Rows cannot be encoded.
    #[error("the rows of a part cannot be encoded: this is a defect, please report it")]
    Encode(#[from] ParquetError),
    /// The store is out of reach.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The compute pool failed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// The step was cancelled.
    #[error("the step was cancelled")]
    Cancelled,
}

impl From<LoadError> for ListsError {
    fn from(error: LoadError) -> Self {
        Self::Load(Box::new(error))
    }
}
