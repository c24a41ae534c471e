//! The registry's records of data sets and versions, read from a store's own files.
//!
//! A registry remembers what jobs made. Where there is only a folder, `metadata.json`, the manifest and the parts say the
//! same: what of a record nobody needs to answer queries (metrics, remarks, how files were read) is left out.

mod dataset;
mod exact;
mod parameters;
mod version;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use shoal_common::store::{METADATA_FILE, Manifest, Store, StoreError, join};
use shoal_format::tensor_file::TensorFileError;

pub use dataset::read_dataset;
pub use version::{VersionRecord, read_version};

/// A record that cannot be made of what is in the store.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// An object cannot be read, or is not what its manifest says.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part is no tensor file, or lacks a tensor.
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
    /// The file for people does not say what it should.
    #[error("'{path}' does not say what a record needs ({reason}); restore it from a copy")]
    Metadata {
        /// Path below the store.
        path: String,
        /// What is missing, or of another type.
        reason: String,
    },
}

/// The manifest of a folder with its checksum, and the bytes of the file for people where the manifest names it.
struct Folder {
    path: String,
    manifest: Manifest,
    checksum: String,
    metadata: Option<Bytes>,
}

impl Folder {
    async fn read(store: &Store, path: String) -> Result<Self, StoreError> {
        let manifest = Manifest::read(store, &path, "").await?;
        let metadata = match manifest.entry(METADATA_FILE) {
            Ok(entry) => Some(store.get_verified(&path, entry).await?),
            Err(_) => None,
        };
        Ok(Self { checksum: manifest.checksum(), path, manifest, metadata })
    }

    /// The file for people as this type; `None` where the folder has no such file.
    fn parsed<T: DeserializeOwned>(&self) -> Result<Option<T>, RecordError> {
        let parse = |bytes: &Bytes| serde_json::from_slice(bytes);
        self.metadata.as_ref().map(parse).transpose().map_err(|error| self.unclear(error.to_string()))
    }

    fn unclear(&self, reason: String) -> RecordError {
        RecordError::Metadata { path: join(&self.path, METADATA_FILE), reason }
    }
}
