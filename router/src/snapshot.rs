//! What is served where, as one query sees it: made once per metadata change, never changed after.

use std::{collections::HashMap, sync::Arc};

use shoal_common::ids::IdKind;
use shoal_proto::v1::{DatasetInfo, Metadata, ModelVersion, NodeHealth, NodeRole, Side};

use crate::replicas::{Replica, Replicas};

/// The version that queries name, and who can be asked for its shards.
#[derive(Debug)]
pub struct Live {
    /// The version.
    pub version: ModelVersion,
    /// What it was trained on.
    pub dataset: DatasetInfo,
    /// Kind of user ids.
    pub user_id_kind: IdKind,
    /// Kind of item ids.
    pub item_id_kind: IdKind,
    /// Per user shard, who has it: those that have reported it ready, or all that should have it.
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
    /// The live version, if there is one.
    pub live: Option<Live>,
    /// Workers that are up.
    pub workers_up: usize,
}

impl Snapshot {
    /// From metadata. Workers keep their `replicas` entry from one snapshot to the next.
    #[must_use]
    pub fn new(metadata: &Metadata, replicas: &Replicas) -> Self {
        let workers = metadata.nodes.iter().filter(|node| node.role() == NodeRole::Worker);
        Self {
            revision: (metadata.leader_term, metadata.revision),
            live: live(metadata, replicas),
            workers_up: workers.filter(|node| node.health() == NodeHealth::Up).count(),
        }
    }
}

fn live(metadata: &Metadata, replicas: &Replicas) -> Option<Live> {
    let version = metadata.versions.iter().find(|version| version.name == metadata.live_version)?;
    let of_version = |name: &str, of: &str| name == version.dataset_name && of == version.dataset_version;
    let dataset = metadata.datasets.iter().find(|dataset| of_version(&dataset.name, &dataset.version))?;
    let placement = metadata
        .placements
        .iter()
        .find(|placement| of_version(&placement.dataset_name, &placement.dataset_version))?;
    let known: HashMap<&str, Arc<Replica>> = metadata
        .nodes
        .iter()
        .filter(|node| node.role() == NodeRole::Worker)
        .map(|node| (node.name.as_str(), replicas.get(&node.name, &node.address)))
        .collect();
    let ready = |node: &str, side: Side, shard: u32| {
        let loaded = metadata.loaded.get(node).into_iter().flat_map(|loaded| &loaded.versions);
        loaded.filter(|loaded| loaded.version == version.name).any(|loaded| {
            let shards = if side == Side::Items { &loaded.item_shards } else { &loaded.user_shards };
            shards.contains(&shard)
        })
    };
    let mut unserved = 0;
    let mut candidates = |side: Side| {
        let mut shards: Vec<Vec<Arc<Replica>>> = vec![Vec::new(); dataset.shard_count as usize];
        for (shard, candidates) in shards.iter_mut().enumerate() {
            let shard = shard as u32;
            // While shards move, workers that are no longer placed may still have them.
            candidates.extend(
                known
                    .iter()
                    .filter(|(node, _)| ready(node, side, shard))
                    .map(|(_, replica)| Arc::clone(replica)),
            );
            if candidates.is_empty() {
                unserved += 1;
                let placed =
                    placement.shards.iter().filter(|placed| placed.side() == side && placed.shard == shard);
                let nodes = placed.flat_map(|placed| &placed.nodes);
                candidates.extend(nodes.filter_map(|node| known.get(node.as_str()).cloned()));
            }
            candidates.sort_by(|a, b| a.name.cmp(&b.name));
        }
        shards
    };
    let (user_shards, item_shards) = (candidates(Side::Users), candidates(Side::Items));
    Some(Live {
        version: version.clone(),
        dataset: dataset.clone(),
        user_id_kind: IdKind::from_proto(dataset.user_id_kind())?,
        item_id_kind: IdKind::from_proto(dataset.item_id_kind())?,
        user_shards,
        item_shards,
        unserved,
    })
}
