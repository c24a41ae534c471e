//! Which versions of a store are to be live.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use shoal_common::store::{LiveVersions, METADATA_FILE, Store, StoreError};
use shoal_core::ModelKind;

/// The link that names a model's newest version, in the model's folder.
const LATEST: &str = "model_latest";

/// It cannot be told which versions are to be live.
#[derive(Debug, thiserror::Error)]
pub enum WantedError {
    /// Links are of folders of this machine.
    #[error(
        "'{uri}' has no live.json, which a cluster writes when a version is promoted, and no links, as it is no folder of this \
         machine; name each model's version with --version"
    )]
    NoLinks {
        /// The store's address.
        uri: String,
    },
    /// There is nothing to serve.
    #[error(
        "'{folder}' has no live.json, and no model_latest in models/als or another model's folder; is it the store that a training wrote? A store \
         has models/ and datasets/, and --version names a version without a link"
    )]
    Nothing {
        /// The store's folder.
        folder: PathBuf,
    },
    /// A link cannot be read, or leads to no version.
    #[error("'{link}' leads to no version of its model: {source}")]
    Link {
        /// The link.
        link: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A named version is in no model's folder.
    #[error("the store has no version '{name}'; it has {}", known(.versions))]
    Unknown {
        /// The name.
        name: String,
        /// The versions that there are.
        versions: Vec<String>,
    },
    /// Two versions of one model.
    #[error("'{first}' and '{second}' are both of the model {kind}, which has one live version")]
    Twice {
        /// The model.
        kind: ModelKind,
        /// The version that was named first.
        first: String,
        /// The other one.
        second: String,
    },
    /// The store cannot be listed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cluster's record names a model of another release.
    #[error("live.json of the store names the model '{model}', which is no model of this release")]
    Model {
        /// The model's name.
        model: String,
    },
}

fn known(versions: &[String]) -> String {
    if versions.is_empty() { "no version at all".to_owned() } else { versions.join(", ") }
}

/// Which version of each model is to be live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Those that the store's cluster has live, by its `live.json`; of a store without the file, the latest ones.
    Live,
    /// The one that `model_latest` names, of every model that has the link.
    Latest,
    /// These, and no other model.
    Named(Vec<String>),
}

/// What says which versions are to be live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaidBy {
    /// `live.json`.
    LiveFile,
    /// The links `model_latest`.
    Links,
    /// Whoever started the process.
    Names,
}

/// The versions that are to be live now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// In the order of [`ModelKind::ALL`].
    pub versions: Vec<(ModelKind, String)>,
    /// The model that answers queries which name none, where the store says it.
    pub default: Option<ModelKind>,
    /// What says so.
    pub said_by: SaidBy,
}

impl Wanted {
    /// The versions as the store is now.
    ///
    /// # Errors
    /// See [`WantedError`].
    pub async fn find(&self, store: &Store) -> Result<Found, WantedError> {
        let found = |versions, said_by| Found { versions, default: None, said_by };
        match self {
            Self::Live => match LiveVersions::read(store).await? {
                Some(live) => of_record(&live),
                None => Ok(found(latest(store)?, SaidBy::Links)),
            },
            Self::Latest => Ok(found(latest(store)?, SaidBy::Links)),
            Self::Named(names) => Ok(found(named(store, names).await?, SaidBy::Names)),
        }
    }
}

fn of_record(record: &LiveVersions) -> Result<Found, WantedError> {
    let kind =
        |model: &str| ModelKind::parse(model).map_err(|_| WantedError::Model { model: model.to_owned() });
    let live = record.live.iter().map(|(model, version)| Ok((kind(model)?, version.clone())));
    let mut versions = live.collect::<Result<Vec<_>, WantedError>>()?;
    versions.sort();
    let default = Some(kind(&record.default_model)?);
    Ok(Found { versions, default, said_by: SaidBy::LiveFile })
}

/// The system is asked about a handful of links.
fn latest(store: &Store) -> Result<Vec<(ModelKind, String)>, WantedError> {
    let Some(folder) = store.file_path("")? else {
        return Err(WantedError::NoLinks { uri: store.uri().to_owned() });
    };
    let mut found = Vec::new();
    for kind in ModelKind::ALL {
        let link = folder.join("models").join(kind.folder()).join(LATEST);
        match version_at(&link) {
            Ok(version) => found.push((kind, version)),
            // A model without a link is not served; a link that leads nowhere is there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && link.symlink_metadata().is_err() => {}
            Err(source) => return Err(WantedError::Link { link, source }),
        }
    }
    if found.is_empty() {
        return Err(WantedError::Nothing { folder });
    }
    Ok(found)
}

/// The name of the version that a link leads to. Where links were turned into copies on the way here, the copy's file for
/// people names the version.
fn version_at(link: &Path) -> io::Result<String> {
    let target = link.canonicalize()?;
    match target.file_name().and_then(|name| name.to_str()) {
        Some(name) if name != LATEST => Ok(name.to_owned()),
        _ => {
            #[derive(Deserialize)]
            struct Metadata {
                name: String,
            }
            let text = std::fs::read(target.join(METADATA_FILE))?;
            Ok(serde_json::from_slice::<Metadata>(&text)?.name)
        }
    }
}

async fn named(store: &Store, names: &[String]) -> Result<Vec<(ModelKind, String)>, WantedError> {
    let mut versions: Vec<(ModelKind, String)> = Vec::new();
    for kind in ModelKind::ALL {
        let (_, folders) = store.list_entries(&format!("models/{}", kind.folder())).await?;
        let name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
        versions.extend(folders.iter().map(name).filter(|name| name != LATEST).map(|name| (kind, name)));
    }
    let mut found: Vec<(ModelKind, String)> = Vec::new();
    for name in names {
        let Some((kind, _)) = versions.iter().find(|(_, version)| version == name) else {
            let versions = versions.into_iter().map(|(_, version)| version).collect();
            return Err(WantedError::Unknown { name: name.clone(), versions });
        };
        match found.iter().find(|(other, _)| other == kind) {
            Some((_, first)) if first != name => {
                let (first, second) = (first.clone(), name.clone());
                return Err(WantedError::Twice { kind: *kind, first, second });
            }
            Some(_) => {}
            None => found.push((*kind, name.clone())),
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        for version in ["als/a_1", "als/a_2", "item_cf/c_1"] {
            let version = folder.path().join("models").join(version);
            std::fs::create_dir_all(&version).unwrap();
            let name = version.file_name().unwrap().to_str().unwrap();
            std::fs::write(version.join(METADATA_FILE), format!("{{\"name\": \"{name}\"}}")).unwrap();
        }
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn links_say_what_is_live() {
        let (folder, store) = store();
        let models = folder.path().join("models");
        let wanted = Wanted::Latest;
        assert!(matches!(wanted.find(&store).await, Err(WantedError::Nothing { .. })));
        symlink("a_1", models.join("als/model_latest")).unwrap();
        // Where links cannot be kept, a copy stands in its place.
        std::fs::create_dir(models.join("item_cf/model_latest")).unwrap();
        std::fs::copy(
            models.join("item_cf/c_1/metadata.json"),
            models.join("item_cf/model_latest/metadata.json"),
        )
        .unwrap();
        let found = wanted.find(&store).await.unwrap();
        assert_eq!(
            found.versions,
            [(ModelKind::Als, "a_1".to_owned()), (ModelKind::ItemCf, "c_1".to_owned())]
        );
        assert_eq!(Wanted::Live.find(&store).await.unwrap(), found, "no cluster has promoted anything");
        symlink("gone", models.join("als/next")).unwrap();
        std::fs::rename(models.join("als/next"), models.join("als/model_latest")).unwrap();
        let error = wanted.find(&store).await.unwrap_err();
        assert!(
            matches!(&error, WantedError::Link { link, .. } if link.ends_with("als/model_latest")),
            "{error}"
        );
    }

    #[tokio::test]
    async fn what_a_cluster_has_live_goes_before_links() {
        let (folder, store) = store();
        symlink("a_2", folder.path().join("models/als/model_latest")).unwrap();
        let live = |model: &str, version: &str| [(model.to_owned(), version.to_owned())].into();
        LiveVersions::new("films", "als", live("als", "a_1")).write(&store).await.unwrap();
        let found = Wanted::Live.find(&store).await.unwrap();
        assert_eq!(found.versions, [(ModelKind::Als, "a_1".to_owned())]);
        assert_eq!((found.default, found.said_by), (Some(ModelKind::Als), SaidBy::LiveFile));
        let latest = Wanted::Latest.find(&store).await.unwrap();
        assert_eq!(latest.versions, [(ModelKind::Als, "a_2".to_owned())]);
        LiveVersions::new("films", "als", live("svd", "s_1")).write(&store).await.unwrap();
        let error = Wanted::Live.find(&store).await.unwrap_err().to_string();
        assert!(error.contains("'svd'"), "{error}");
    }

    #[tokio::test]
    async fn versions_are_named_one_for_a_model() {
        let (_folder, store) = store();
        let find = async |names: &[&str]| {
            let named = Wanted::Named(names.iter().map(|&name| name.to_owned()).collect());
            named.find(&store).await.map(|found| found.versions)
        };
        let both = find(&["c_1", "a_2"]).await.unwrap();
        assert_eq!(both, [(ModelKind::Als, "a_2".to_owned()), (ModelKind::ItemCf, "c_1".to_owned())]);
        assert!(matches!(find(&["a_1", "a_2"]).await, Err(WantedError::Twice { .. })));
        let unknown = find(&["a_3"]).await.unwrap_err().to_string();
        assert!(unknown.contains("a_1, a_2, c_1"), "{unknown}");
    }
}
