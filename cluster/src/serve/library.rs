//! Makes the versions live that are wanted of a store, in a registry that knew nothing of them.

use std::collections::{BTreeMap, BTreeSet};

use shoal_common::store::Store;
use shoal_core::ModelKind;
use shoal_proto::v1::{DatasetInfo, ModelVersion};

use super::{SaidBy, Wanted, WantedError};
use crate::{
    client::{ClientError, ClusterClient},
    store_records::{RecordError, VersionRecord, read_dataset, read_version},
};

/// A version cannot be made live; what was live before stays so.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// It is not clear which versions are to be live.
    #[error(transparent)]
    Wanted(#[from] WantedError),
    /// A version's record cannot be made.
    #[error("cannot serve '{version}'")]
    Record {
        /// The version.
        version: String,
        /// What is wrong with its files.
        source: RecordError,
    },
    /// The data set is not the one that a version was trained on.
    #[error(
        "'{version}' was trained on another data set than the store has at '{path}': the checksum of its manifest is {found} \
         and should be {expected}; copy the data set beside the models"
    )]
    Dataset {
        /// The version.
        version: String,
        /// The data set's folder.
        path: String,
        /// The checksum that was found.
        found: String,
        /// The checksum in the version's file.
        expected: String,
    },
    /// A version's files are not those that were there before.
    #[error(
        "the files of '{version}' have changed since they were first served; a version never changes: write a new one and \
         promote it, or start again"
    )]
    Changed {
        /// The version.
        version: String,
    },
    /// A source of a blend is of no model.
    #[error("'{version}' blends '{model}', which is no model of this release")]
    Source {
        /// The blend.
        version: String,
        /// The model's name.
        model: String,
    },
    /// The registry refused.
    #[error("cannot serve '{version}'")]
    Registry {
        /// The version.
        version: String,
        /// What the registry said.
        source: ClientError,
    },
}

/// A version that answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// The version's record.
    pub version: ModelVersion,
    /// The data set that it belongs to.
    pub dataset: DatasetInfo,
    /// Whether it answers queries that name no model.
    pub is_default: bool,
}

/// The versions of a store, and which of them are live.
#[derive(Debug)]
pub struct Library {
    store: Store,
    wanted: Wanted,
    client: ClusterClient,
    /// The default that was asked for.
    default: Option<ModelKind>,
    /// The default that the store says, and what says which versions are live.
    said: Option<(Option<ModelKind>, SaidBy)>,
    /// The versions that the registry knows.
    versions: BTreeMap<String, ModelVersion>,
    /// The data sets that it knows, by name and version.
    datasets: BTreeMap<(String, String), DatasetInfo>,
    live: BTreeMap<ModelKind, String>,
    /// The models that are live and no longer wanted, which was said.
    left_over: BTreeSet<ModelKind>,
}

impl Library {
    /// Knows nothing yet. Queries that name no model are answered by `default`, else by the first model that has a live
    /// version.
    #[must_use]
    pub fn new(store: Store, wanted: Wanted, client: ClusterClient, default: Option<ModelKind>) -> Self {
        let (versions, datasets, live, left_over) = Default::default();
        Self { store, wanted, client, default, said: None, versions, datasets, live, left_over }
    }

    /// Looks at the store and makes live what is wanted now and was not before; the models whose version has changed.
    ///
    /// # Errors
    /// The first version that cannot be made live. Those before it are.
    pub async fn update(&mut self) -> Result<Vec<ModelKind>, LibraryError> {
        let found = self.wanted.find(&self.store).await?;
        self.note_left_over(&found.versions);
        let default_before = self.default_model();
        if self.said.is_some_and(|(_, said_by)| said_by != found.said_by) {
            let by = if found.said_by == SaidBy::LiveFile { "live.json" } else { "model_latest" };
            tracing::info!(by, "something else says now which versions are live");
        }
        self.said = Some((found.default, found.said_by));
        let default = self.default_model();
        let mut changed = Vec::new();
        for (kind, name) in found.versions {
            let is_default = default == Some(kind);
            if self.live.get(&kind) == Some(&name) && !(is_default && default != default_before) {
                continue;
            }
            self.register(kind, &name).await?;
            let promoted = self.client.promote(&name, is_default).await;
            promoted.map_err(|source| LibraryError::Registry { version: name.clone(), source })?;
            self.live.insert(kind, name);
            changed.push(kind);
        }
        Ok(changed)
    }

    /// A registry has no way to serve no version of a model any more.
    fn note_left_over(&mut self, wanted: &[(ModelKind, String)]) {
        let is_left_over = |kind: &&ModelKind| !wanted.iter().any(|(wanted, _)| wanted == *kind);
        let left_over: BTreeSet<ModelKind> = self.live.keys().filter(is_left_over).copied().collect();
        for kind in left_over.difference(&self.left_over) {
            tracing::warn!(model = %kind, "a model is live no more; its last version is served on until the next start");
        }
        self.left_over = left_over;
    }

    /// What says which versions are live, once that was found.
    #[must_use]
    pub fn said_by(&self) -> Option<SaidBy> {
        self.said.map(|(_, said_by)| said_by)
    }

    /// The default that was asked for, else the one that the store says.
    fn default_model(&self) -> Option<ModelKind> {
        self.default.or_else(|| self.said.and_then(|(default, _)| default))
    }

    /// What answers now, in the order of the models.
    #[must_use]
    pub fn live(&self) -> Vec<Live> {
        let default = self.default_model().or_else(|| self.live.keys().next().copied());
        let live = self.live.iter().filter_map(|(kind, name)| {
            let version = self.versions.get(name)?;
            let dataset = self.datasets.get(&key_of(version))?;
            Some(Live {
                version: version.clone(),
                dataset: dataset.clone(),
                is_default: default == Some(*kind),
            })
        });
        live.collect()
    }

    /// Makes a version known, and before it those that it blends.
    async fn register(&mut self, kind: ModelKind, name: &str) -> Result<(), LibraryError> {
        let record = self.record(kind, name).await?;
        let sources = record.version.hybrid.iter().flat_map(|hybrid| &hybrid.sources);
        for source in sources.filter(|source| !source.version.is_empty()) {
            let unknown = |_| LibraryError::Source { version: name.to_owned(), model: source.model.clone() };
            let of = ModelKind::parse(&source.model).map_err(unknown)?;
            // A blend blends no blend, which the registry sees to.
            let component = self.record(of, &source.version).await?;
            self.add(component).await?;
        }
        self.add(record).await
    }

    async fn record(&self, kind: ModelKind, name: &str) -> Result<VersionRecord, LibraryError> {
        let read = read_version(&self.store, kind, name).await;
        read.map_err(|source| LibraryError::Record { version: name.to_owned(), source })
    }

    async fn add(&mut self, record: VersionRecord) -> Result<(), LibraryError> {
        let VersionRecord { version, dataset_checksum } = record;
        let name = version.name.clone();
        match self.versions.get(&name) {
            Some(known) if known.manifest_checksum == version.manifest_checksum => return Ok(()),
            Some(_) => return Err(LibraryError::Changed { version: name }),
            None => {}
        }
        let key = key_of(&version);
        let new = match self.datasets.get(&key) {
            Some(_) => None,
            None => {
                let read = read_dataset(&self.store, &key.0, &key.1).await;
                Some(read.map_err(|source| LibraryError::Record { version: name.clone(), source })?)
            }
        };
        let dataset = new.as_ref().or_else(|| self.datasets.get(&key));
        if let (Some(dataset), Some(expected)) = (dataset, dataset_checksum)
            && dataset.manifest_checksum != expected
        {
            let (path, found) = (dataset.path.clone(), dataset.manifest_checksum.clone());
            return Err(LibraryError::Dataset { version: name, path, found, expected });
        }
        let registered = self.client.register(version.clone(), new.clone()).await;
        registered.map_err(|source| LibraryError::Registry { version: name.clone(), source })?;
        self.datasets.extend(new.map(|dataset| (key, dataset)));
        self.versions.insert(name, version);
        Ok(())
    }
}

fn key_of(version: &ModelVersion) -> (String, String) {
    (version.dataset_name.clone(), version.dataset_version.clone())
}
