//! What a worker holds at a moment: versions, and of each the shards that are ready.
//!
//! One task changes the set (the node's reconciler); queries take an `Arc` of the version they
//! name and keep it, and its shards, until they are done, whatever is unloaded meanwhile.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use shoal_proto::v1::{self, Side};

use super::{FoldIn, item_shard::ItemShard, user_shard::UserShard};

/// The loaded shards of one model version.
#[derive(Debug, Clone)]
pub struct LoadedVersion {
    /// Name of the version.
    pub name: String,
    /// Shards per side of its data set.
    pub shard_count: u32,
    /// What predicted ratings start from.
    pub rating_mean: f64,
    /// Solves rows for users whom the version does not know; `None` when its parameters do not say how.
    pub fold_in: Option<Arc<FoldIn>>,
    /// The loaded shards of users, by number.
    pub users: BTreeMap<u32, Arc<UserShard>>,
    /// The loaded shards of items, by number.
    pub items: BTreeMap<u32, Arc<ItemShard>>,
}

impl LoadedVersion {
    /// A version none of whose shards is loaded.
    #[must_use]
    pub fn empty(name: String, shard_count: u32, rating_mean: f64) -> Self {
        let (users, items) = (BTreeMap::new(), BTreeMap::new());
        Self { name, shard_count, rating_mean, fold_in: None, users, items }
    }

    /// How many shards are loaded, of both sides.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.users.len() + self.items.len()
    }
}

/// A shard that was just loaded.
#[derive(Debug, Clone)]
pub enum LoadedShard {
    /// A shard of users.
    Users(Arc<UserShard>),
    /// A shard of items.
    Items(Arc<ItemShard>),
}

/// Names one shard of one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardKey {
    /// Name of the version.
    pub version: String,
    /// Which side; never unspecified.
    pub side: Side,
    /// Number of the shard, from 0.
    pub shard: u32,
}

/// The loaded versions of this worker. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct LoadedModels {
    versions: Arc<RwLock<HashMap<String, Arc<LoadedVersion>>>>,
}

impl LoadedModels {
    /// The version as it is loaded now.
    #[must_use]
    pub fn get(&self, version: &str) -> Option<Arc<LoadedVersion>> {
        self.versions.read().unwrap_or_else(PoisonError::into_inner).get(version).cloned()
    }

    /// Adds a shard; `empty` describes its version if it is the first.
    pub fn insert(&self, empty: &LoadedVersion, number: u32, shard: LoadedShard) {
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        let version = versions.entry(empty.name.clone()).or_insert_with(|| Arc::new(empty.clone()));
        // Queries that hold the version keep the set of shards they saw.
        let version = Arc::make_mut(version);
        match shard {
            LoadedShard::Users(shard) => {
                version.users.insert(number, shard);
            }
            LoadedShard::Items(shard) => {
                version.items.insert(number, shard);
            }
        }
    }

    /// Removes a shard, and its version with the last one.
    pub fn remove(&self, key: &ShardKey) {
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        let Some(version) = versions.get_mut(&key.version) else { return };
        let changed = Arc::make_mut(version);
        if key.side == Side::Items {
            changed.items.remove(&key.shard);
        } else {
            changed.users.remove(&key.shard);
        }
        if changed.shards() == 0 {
            versions.remove(&key.version);
        }
    }

    /// Every loaded shard, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<ShardKey> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let mut keys = Vec::new();
        for version in versions.values() {
            let key = |side| move |&shard| ShardKey { version: version.name.clone(), side, shard };
            keys.extend(version.users.keys().map(key(Side::Users)));
            keys.extend(version.items.keys().map(key(Side::Items)));
        }
        keys.sort();
        keys
    }

    /// What the heartbeat reports, in name order.
    #[must_use]
    pub fn report(&self) -> Vec<v1::LoadedVersion> {
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let mut report: Vec<v1::LoadedVersion> = versions
            .values()
            .map(|version| v1::LoadedVersion {
                version: version.name.clone(),
                user_shards: version.users.keys().copied().collect(),
                item_shards: version.items.keys().copied().collect(),
            })
            .collect();
        report.sort_by(|a, b| a.version.cmp(&b.version));
        report
    }
}
