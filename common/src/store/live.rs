//! `live.json`: which versions a cluster has live, for whoever serves its store without the cluster.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};

/// The file, at the root of a store.
pub const LIVE_FILE: &str = "live.json";

/// The newest that this build writes, and the only one there has been.
const FORMAT_VERSION: u32 = 1;

/// Bytes of the file at most: it names a version for each model.
const BYTES_MAX: u64 = 1024 * 1024;

/// The versions that a cluster has live. The leading coordinator writes it when a version is promoted or rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveVersions {
    format_version: u32,
    /// Id of the cluster.
    pub cluster_id: String,
    /// The model that answers queries which name none.
    pub default_model: String,
    /// The live version of each model that has one.
    pub live: BTreeMap<String, String>,
}

/// What every format has.
#[derive(Deserialize)]
struct Format {
    format_version: u32,
}

impl LiveVersions {
    /// What a cluster has live, by model.
    #[must_use]
    pub fn new(cluster_id: &str, default_model: &str, live: BTreeMap<String, String>) -> Self {
        let (cluster_id, default_model) = (cluster_id.to_owned(), default_model.to_owned());
        Self { format_version: FORMAT_VERSION, cluster_id, default_model, live }
    }

    /// Reads the file; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it says something else, or the store's failure.
    pub async fn read(store: &Store) -> Result<Option<Self>, StoreError> {
        let bytes = match store.get_up_to(LIVE_FILE, BYTES_MAX).await {
            Err(error) if error.is_not_found() => return Ok(None),
            read => read?,
        };
        let damaged = |reason: String| StoreError::Damaged { path: LIVE_FILE.to_owned(), reason };
        let Format { format_version } =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        // Looked at before anything else: a later format may lack what this one has.
        if format_version != FORMAT_VERSION {
            return Err(damaged(format!(
                "it has the format {format_version}, which this release does not know"
            )));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn write(&self, store: &Store) -> Result<(), StoreError> {
        let mut text = serde_json::to_vec_pretty(self)
            // Strings and a number only: nothing that JSON cannot hold.
            .unwrap_or_default();
        text.push(b'\n');
        store.put(LIVE_FILE, Bytes::from(text)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        assert_eq!(LiveVersions::read(&store).await.unwrap(), None);
        let live = LiveVersions::new("films", "als", [("als".to_owned(), "als_model_v1".to_owned())].into());
        live.write(&store).await.unwrap();
        assert_eq!(LiveVersions::read(&store).await.unwrap(), Some(live));
        for damage in ["", "{}", r#"{"format_version":2,"cluster_id":"","default_model":"","live":{}}"#] {
            std::fs::write(folder.path().join(LIVE_FILE), damage).unwrap();
            let error = LiveVersions::read(&store).await.unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        }
        std::fs::write(folder.path().join(LIVE_FILE), r#"{"format_version":2,"versions":[]}"#).unwrap();
        let error = LiveVersions::read(&store).await.unwrap_err().to_string();
        assert!(error.contains("format 2"), "{error}");
    }
}
