//! Which worker has which shard of which version.

use std::collections::BTreeMap;

use serde::Serialize;
use shoal_common::{
    readable::short_name,
    replication::{PlacedShard, Readiness, placed_shards, serves, shards_by_worker},
};
use shoal_proto::v1::{ClusterStatus, Metadata, ModelVersion, NodeHealth, NodeInfo, NodeRole};
use utoipa::ToSchema;

use super::status::known_of;

/// Shard by worker of every version that workers are to hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShardMap {
    /// Workers that are to serve each shard.
    replicas_asked: Option<u32>,
    workers: Vec<WorkerOfShards>,
    /// How many versions there are in all.
    total: usize,
    /// The first of them.
    versions: Vec<PlacedVersion>,
}

/// A worker, with how much it has.
#[derive(Debug, Serialize, ToSchema)]
struct WorkerOfShards {
    worker: String,
    /// `up` or `down`.
    health: String,
    /// Shards of all versions that are placed on it.
    placed: u32,
    /// Those of them that are ready.
    ready: u32,
    /// Bytes of the files that it has mapped for what it serves.
    served_bytes: Option<u64>,
    disk_free_bytes: Option<u64>,
}

/// A version and its shards.
#[derive(Debug, Serialize, ToSchema)]
struct PlacedVersion {
    version: String,
    model: String,
    /// `live`, `promoting` or `previous`.
    serves: &'static str,
    dataset: String,
    dataset_version: String,
    /// Users first, then items, each in ascending order. Empty while nothing is placed.
    shards: Vec<Shard>,
    /// Why workers cannot load it, by worker.
    load_errors: BTreeMap<String, String>,
}

/// A shard of a version.
#[derive(Debug, Serialize, ToSchema)]
struct Shard {
    /// `users` or `items`.
    side: String,
    shard: u32,
    /// Whether a worker that is up has it ready.
    served: bool,
    /// The workers that it is placed on, its owner first.
    replicas: Vec<Replica>,
}

/// A shard on a worker.
#[derive(Debug, Serialize, ToSchema)]
struct Replica {
    worker: String,
    /// `ready`; `loading`; `failed` where the worker cannot load the version; `down` where the worker is.
    state: &'static str,
}

impl ShardMap {
    /// The shards of the first `limit` versions.
    #[must_use]
    pub fn new(status: &ClusterStatus, limit: usize) -> Self {
        let metadata = status.metadata.clone().unwrap_or_default();
        let counts = shards_by_worker(&metadata);
        let worker = |node: &NodeInfo| {
            let shards = counts.get(&node.name).copied().unwrap_or_default();
            let report = known_of(status, &node.name).and_then(|known| known.report.as_ref());
            WorkerOfShards {
                worker: node.name.clone(),
                health: short_name(node.health().as_str_name(), "NODE_HEALTH_"),
                placed: shards.placed,
                ready: shards.ready,
                served_bytes: report
                    .filter(|_| node.health() == NodeHealth::Up)
                    .map(|report| report.served_bytes),
                disk_free_bytes: report
                    .filter(|report| report.disk_size_bytes > 0)
                    .map(|report| report.disk_free_bytes),
            }
        };
        let mut versions: Vec<_> = metadata
            .versions
            .iter()
            .filter_map(|version| Some((serves(&metadata, &version.name)?, version)))
            .collect();
        versions.sort_by(|(a_serves, a), (b_serves, b)| (a_serves, &a.name).cmp(&(b_serves, &b.name)));
        let shown = versions.iter().take(limit);
        Self {
            replicas_asked: (status.replicas_asked > 0).then_some(status.replicas_asked),
            workers: metadata
                .nodes
                .iter()
                .filter(|node| node.role() == NodeRole::Worker)
                .map(worker)
                .collect(),
            total: versions.len(),
            versions: shown
                .map(|(serves, version)| PlacedVersion::new(status, &metadata, version, serves.name()))
                .collect(),
        }
    }
}

impl PlacedVersion {
    fn new(
        status: &ClusterStatus,
        metadata: &Metadata,
        version: &ModelVersion,
        serves: &'static str,
    ) -> Self {
        let error = |known: &shoal_proto::v1::NodeStatus| {
            Some((known.node.clone(), known.load_errors.get(&version.name)?.clone()))
        };
        let load_errors: BTreeMap<String, String> = status.node_status.iter().filter_map(error).collect();
        let mut placed = placed_shards(metadata, version);
        placed.sort_by_key(|shard| (shard.side, shard.shard));
        Self {
            version: version.name.clone(),
            model: version.model.clone(),
            serves,
            dataset: version.dataset_name.clone(),
            dataset_version: version.dataset_version.clone(),
            shards: placed.iter().map(|shard| Shard::new(shard, &load_errors)).collect(),
            load_errors,
        }
    }
}

impl Shard {
    fn new(placed: &PlacedShard<'_>, load_errors: &BTreeMap<String, String>) -> Self {
        let replica = |(worker, readiness): &(&str, Readiness)| Replica {
            worker: (*worker).to_owned(),
            state: match readiness {
                Readiness::Ready => "ready",
                Readiness::Loading if load_errors.contains_key(*worker) => "failed",
                Readiness::Loading => "loading",
                Readiness::Down => "down",
            },
        };
        Self {
            side: short_name(placed.side.as_str_name(), "SIDE_"),
            shard: placed.shard,
            served: placed.replicas.iter().any(|(_, readiness)| *readiness == Readiness::Ready),
            replicas: placed.replicas.iter().map(replica).collect(),
        }
    }
}
