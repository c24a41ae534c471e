//! Why a shard of a model version cannot be served.

use shoal_common::store::StoreError;
use shoal_format::tensor_file::TensorFileError;

/// A shard, or a whole version, that cannot be loaded. Loading is tried again, so none is final.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The manifest that names a version's or a data set's parts.
    #[error("the manifest of '{folder}' cannot be used")]
    Manifest {
        /// The folder in the store.
        folder: String,
        /// What the store said.
        source: Box<StoreError>,
    },
    /// A part cannot be had, or is not the one its manifest names.
    #[error("'{path}' cannot be fetched")]
    Fetch {
        /// The object in the store.
        path: String,
        /// What the store said.
        source: Box<StoreError>,
    },
    /// A part is whole but not a tensor file with the expected tensors.
    #[error("'{path}' cannot be read; train the model or import the data set again")]
    Tensors {
        /// The object in the store.
        path: String,
        /// What the reader of tensor files said.
        source: Box<TensorFileError>,
    },
    /// A catalogue part is whole but not a Parquet file with the expected columns.
    #[error("the catalogue part '{path}' cannot be read; import the data set again")]
    Catalogue {
        /// The object in the store.
        path: String,
        /// What the reader of Parquet said.
        source: Box<parquet::errors::ParquetError>,
    },
    /// A part contradicts the registry or another part.
    #[error("'{path}' does not belong here: {reason}; train the model or import the data set again")]
    Mismatch {
        /// The object in the store.
        path: String,
        /// How the part differs from what was expected.
        reason: String,
    },
    /// The version does not fit the data set it names.
    #[error("version '{version}' cannot be served: {reason}")]
    Version {
        /// Name of the version.
        version: String,
        /// What of the version does not fit.
        reason: String,
    },
    /// The loading itself failed.
    #[error("loading '{path}' failed unexpectedly: this is a defect, please report it with the log")]
    Panicked {
        /// The object in the store.
        path: String,
        /// How the task ended: by a panic.
        source: tokio::task::JoinError,
    },
}
