//! What is served where, as one query sees it: made once per metadata change, never changed after.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use shoal_common::ids::IdKind;
use shoal_proto::v1::{
    AlsParameters, DatasetInfo, LoadedVersions, Metadata, ModelVersion, NodeHealth, NodeInfo, NodeRole,
    ObjectiveChoice, Side,
};

use crate::{
    query::{Model, QueryError, Target},
    replicas::{Replica, Replicas},
};

/// A version that queries name, and who can be asked for its shards.
#[derive(Debug)]
pub struct Live {
    /// The version.
    pub version: ModelVersion,
    /// What it was trained on.
    pub dataset: DatasetInfo,
    /// What predicted ratings start from.
    pub rating_mean: f64,
    /// Kind of user ids.
    pub user_id_kind: IdKind,
    /// Kind of item ids.
    pub item_id_kind: IdKind,
    /// Per user shard, whom to ask: the workers that are up and have reported it ready (or should have it and have
    /// reported nothing yet), else those that are up and should have it, else whoever had or should have it.
    pub user_shards: Vec<Vec<Arc<Replica>>>,
    /// Likewise per item shard.
    pub item_shards: Vec<Vec<Arc<Replica>>>,
    /// Shards of either side that nobody has reported ready.
    pub unserved: usize,
}

impl Live {
    /// The candidates for a side's shards.
    #[must_use]
    pub fn shards(&self, side: Side) -> &[Vec<Arc<Replica>>] {
        if side == Side::Items { &self.item_shards } else { &self.user_shards }
    }

    /// The lowest and the highest rating; `None` for a data set without ratings, which is what a version of
    /// elsewhere comes with.
    #[must_use]
    pub fn scale(&self) -> Option<RangeInclusive<f32>> {
        let DatasetInfo { ratings, rating_min, rating_max, .. } = &self.dataset;
        (*ratings > 0).then_some(*rating_min as f32..=*rating_max as f32)
    }

    /// How many shards both sides have.
    #[must_use]
    pub fn shards_total(&self) -> usize {
        self.user_shards.len() + self.item_shards.len()
    }

    /// How many of them can be asked for now.
    #[must_use]
    pub fn shards_served(&self) -> usize {
        let reachable = |shards: &[Vec<Arc<Replica>>]| {
            shards.iter().filter(|replicas| replicas.iter().any(|replica| replica.is_usable())).count()
        };
        (reachable(&self.user_shards) + reachable(&self.item_shards)).min(self.shards_total() - self.unserved)
    }
}

/// One state of the cluster.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Which leader's, and which of its revisions.
    pub revision: (u64, u64),
    /// The live version of the default model, if there is one.
    pub live: Option<Live>,
    /// The version before, which stays loaded.
    pub previous: Option<Live>,
    /// Of the other models the live versions and those before.
    pub others: Vec<(Live, Option<Live>)>,
    /// Workers that are up.
    pub workers_up: usize,
    /// What each worker has ready, as far as that is known.
    loaded: HashMap<String, LoadedVersions>,
}

impl Snapshot {
    /// From metadata and the snapshot before, whose word is taken for the workers from which a new leader has not
    /// heard yet. Workers keep their `replicas` entry from one snapshot to the next.
    #[must_use]
    pub fn new(metadata: &Metadata, before: &Self, replicas: &Replicas) -> Self {
        let loaded = loaded(metadata, before);
        let version = |name: &str| version(metadata, &loaded, name, replicas);
        let workers = metadata.nodes.iter().filter(|node| node.role() == NodeRole::Worker);
        replicas.retain(|name, address| {
            metadata.nodes.iter().any(|node| node.name == name && node.address == address)
        });
        // A coordinator of a release that served one version names no others.
        let others = metadata.served.iter().filter(|served| served.model != metadata.default_model);
        let others = others.filter_map(|served| {
            let previous = version(&served.previous_version);
            Some((version(&served.live_version)?, previous))
        });
        Self {
            revision: (metadata.leader_term, metadata.revision),
            live: version(&metadata.live_version),
            previous: version(&metadata.previous_version),
            others: others.collect(),
            workers_up: workers.filter(|node| is_up(node)).count(),
            loaded,
        }
    }
}

impl Snapshot {
    /// The named version if it is served, else the model's live one, else that of the default model.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn serving(&self, target: &Target) -> Result<&Live, QueryError> {
        if let Some(version) = &target.version {
            let others =
                self.others.iter().flat_map(|(live, previous)| std::iter::once(live).chain(previous));
            let mut served = self.live.iter().chain(&self.previous).chain(others);
            let found = served.find(|live| live.version.name == *version);
            return found.ok_or_else(|| QueryError::VersionGone(version.clone()));
        }
        let default = self.live.as_ref().ok_or(QueryError::NoModel);
        let Some(model) = target.model else { return default };
        let mut live = self.live.iter().chain(self.others.iter().map(|(live, _)| live));
        match live.find(|live| live.model() == model) {
            Some(live) => Ok(live),
            None => default.and(Err(QueryError::ModelNotLive(model))),
        }
    }

    /// The names of the versions that are live.
    pub(crate) fn live_versions(&self) -> Vec<String> {
        let live = self.live.iter().chain(self.others.iter().map(|(live, _)| live));
        live.map(|live| live.version.name.clone()).collect()
    }
}

fn is_up(node: &NodeInfo) -> bool {
    node.health() == NodeHealth::Up
}

/// The version's own; of a blend that of its ALS version, if that predicts ratings.
fn rating_mean(metadata: &Metadata, version: &ModelVersion) -> f64 {
    let mut sources = version.hybrid.iter().flat_map(|hybrid| &hybrid.sources);
    let als = sources.find(|source| source.model == Model::Als.registered());
    let als = als.and_then(|als| metadata.components.iter().find(|component| component.name == als.version));
    let predicts = |als: &&ModelVersion| {
        let objective = als.parameters.as_ref().map(AlsParameters::objective);
        objective != Some(ObjectiveChoice::Implicit)
    };
    als.filter(predicts).unwrap_or(version).rating_mean
}

/// What each of the nodes has ready: as the metadata says, else as was known before.
fn loaded(metadata: &Metadata, before: &Snapshot) -> HashMap<String, LoadedVersions> {
    let of_node = |node: &NodeInfo| {
        let loaded = metadata.loaded.get(&node.name).or_else(|| before.loaded.get(&node.name))?;
        Some((node.name.clone(), loaded.clone()))
    };
    metadata.nodes.iter().filter_map(of_node).collect()
}

fn version(
    metadata: &Metadata,
    loaded: &HashMap<String, LoadedVersions>,
    name: &str,
    replicas: &Replicas,
) -> Option<Live> {
    let version = metadata.versions.iter().find(|version| version.name == name)?;
    let of_version = |name: &str, of: &str| name == version.dataset_name && of == version.dataset_version;
    let dataset = metadata.datasets.iter().find(|dataset| of_version(&dataset.name, &dataset.version))?;
    // An id belongs to one of the shards, so there must be one.
    (dataset.shard_count > 0).then_some(())?;
    let placement = metadata
        .placements
        .iter()
        .find(|placement| of_version(&placement.dataset_name, &placement.dataset_version))?;
    let workers = metadata.nodes.iter().filter(|node| node.role() == NodeRole::Worker);
    let workers: Vec<(&NodeInfo, Arc<Replica>)> =
        workers.map(|node| (node, replicas.get(&node.name, &node.address))).collect();
    let ready = |node: &NodeInfo, side: Side, shard: u32| {
        let of_node = loaded.get(&node.name).into_iter().flat_map(|loaded| &loaded.versions);
        of_node.filter(|loaded| loaded.version == version.name).any(|loaded| {
            let shards = if side == Side::Items { &loaded.item_shards } else { &loaded.user_shards };
            shards.contains(&shard)
        })
    };
    let placed = |node: &NodeInfo, side: Side, shard: u32| {
        let mut of_shard = placement.shards.iter().filter(|of| of.side() == side && of.shard == shard);
        of_shard.any(|of| of.nodes.contains(&node.name))
    };
    let pick = |wanted: &dyn Fn(&NodeInfo) -> bool| -> Vec<Arc<Replica>> {
        let picked = workers.iter().filter(|(node, _)| wanted(node));
        picked.map(|(_, replica)| Arc::clone(replica)).collect()
    };
    let mut unserved = 0;
    let mut candidates = |side: Side| -> Vec<Vec<Arc<Replica>>> {
        let of_shard = |shard: u32| {
            // While shards move, workers that are no longer placed may still have them.
            let may_be = |node: &NodeInfo| !loaded.contains_key(&node.name) && placed(node, side, shard);
            let mut candidates = pick(&|node| is_up(node) && (ready(node, side, shard) || may_be(node)));
            if candidates.is_empty() {
                unserved += 1;
                // A lost lease may be all that is wrong with those that had it; who is to have it may have it by now.
                candidates =
                    pick(&|node| ready(node, side, shard) || is_up(node) && placed(node, side, shard));
            }
            if candidates.is_empty() {
                candidates = pick(&|node| placed(node, side, shard));
            }
            candidates.sort_by(|a, b| a.name.cmp(&b.name));
            candidates
        };
        (0..dataset.shard_count).map(of_shard).collect()
    };
    let (user_shards, item_shards) = (candidates(Side::Users), candidates(Side::Items));
    Some(Live {
        version: version.clone(),
        dataset: dataset.clone(),
        rating_mean: rating_mean(metadata, version),
        user_id_kind: IdKind::from_proto(dataset.user_id_kind())?,
        item_id_kind: IdKind::from_proto(dataset.item_id_kind())?,
        user_shards,
        item_shards,
        unserved,
    })
}
