//! How the shards of served versions are spread over workers, as the metadata says it: what the leader counts in metrics,
//! and what `shoal status` explains.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::v1::{Metadata, ModelVersion, NodeHealth, NodeRole, ShardReplicas, Side};

/// What a version is to queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Serves {
    /// Queries are answered from it.
    Live,
    /// It is being loaded, to become live.
    Promoting,
    /// It was live before, and stays loaded for a rollback.
    Previous,
}

impl Serves {
    /// In outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Promoting => "promoting",
            Self::Previous => "previous",
        }
    }
}

/// How the shards of one version are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionReplication {
    /// Name of the version.
    pub version: String,
    /// Its model.
    pub model: String,
    /// What it is to queries.
    pub serves: Serves,
    /// Shards of both sides.
    pub shards: u32,
    /// Shards that a worker which is up has ready.
    pub served: u32,
    /// Shards that as many workers as are asked for have ready.
    pub replicated: u32,
    /// Shards that are placed on fewer workers than are asked for.
    pub placed_on_too_few: u32,
    /// By worker that is up: shards that are placed on it and that it has not ready.
    pub loading: BTreeMap<String, u32>,
    /// By worker that is down: shards that are placed on it.
    pub lost: BTreeMap<String, u32>,
}

/// The shards of one worker, of all versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerShards {
    /// Placed on it.
    pub placed: u32,
    /// Placed on it, and ready.
    pub ready: u32,
}

/// How far a worker is with a shard that is placed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It can be asked for it.
    Ready,
    /// It is up, and has yet to load it.
    Loading,
    /// It is down.
    Down,
}

/// A shard of a version, and the workers that it is placed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedShard<'a> {
    /// Users or items.
    pub side: Side,
    /// Its number.
    pub shard: u32,
    /// The owner first.
    pub replicas: Vec<(&'a str, Readiness)>,
}

/// The shards of a version, in the order of the placement; empty while nothing is placed.
#[must_use]
pub fn placed_shards<'a>(metadata: &'a Metadata, version: &ModelVersion) -> Vec<PlacedShard<'a>> {
    let known = Known::of(metadata);
    let placed = |shard: &'a ShardReplicas| {
        let replica = |node: &'a String| {
            let readiness = match known.is_ready(node, &version.name, shard) {
                true => Readiness::Ready,
                false if known.up.contains(node.as_str()) => Readiness::Loading,
                false => Readiness::Down,
            };
            (node.as_str(), readiness)
        };
        let replicas = shard.nodes.iter().map(replica).collect();
        PlacedShard { side: shard.side(), shard: shard.shard, replicas }
    };
    shards_of(metadata, version).iter().map(placed).collect()
}

/// How every version is that workers are to hold, in the order live, promoting, previous.
#[must_use]
pub fn replication(metadata: &Metadata, replicas_asked: u32) -> Vec<VersionReplication> {
    let known = Known::of(metadata);
    let version = |version: &ModelVersion| {
        let mut found = VersionReplication {
            version: version.name.clone(),
            model: version.model.clone(),
            serves: serves(metadata, &version.name)?,
            shards: 0,
            served: 0,
            replicated: 0,
            placed_on_too_few: 0,
            loading: BTreeMap::new(),
            lost: BTreeMap::new(),
        };
        let shards = shards_of(metadata, version);
        for shard in shards {
            found.take(shard, &known, replicas_asked);
        }
        if shards.is_empty() {
            // Before a worker is there nothing is placed.
            let same = |of: &&shoal_proto::v1::DatasetInfo| {
                (&of.name, &of.version) == (&version.dataset_name, &version.dataset_version)
            };
            found.shards = metadata.datasets.iter().find(same).map_or(0, |of| 2 * of.shard_count);
            found.placed_on_too_few = found.shards;
        }
        Some(found)
    };
    let mut found: Vec<VersionReplication> = metadata.versions.iter().filter_map(version).collect();
    found.sort_by(|a, b| (a.serves, &a.version).cmp(&(b.serves, &b.version)));
    found
}

/// How many shards each worker has, of all versions that workers are to hold.
#[must_use]
pub fn shards_by_worker(metadata: &Metadata) -> BTreeMap<String, WorkerShards> {
    let known = Known::of(metadata);
    let workers = metadata.nodes.iter().filter(|node| node.role() == NodeRole::Worker);
    let mut found: BTreeMap<String, WorkerShards> =
        workers.map(|node| (node.name.clone(), WorkerShards::default())).collect();
    for version in metadata.versions.iter().filter(|version| serves(metadata, &version.name).is_some()) {
        for shard in shards_of(metadata, version) {
            for node in &shard.nodes {
                let of_node = found.entry(node.clone()).or_default();
                of_node.placed += 1;
                of_node.ready += u32::from(known.is_ready(node, &version.name, shard));
            }
        }
    }
    found
}

/// What is known of workers.
struct Known<'a> {
    up: BTreeSet<&'a str>,
    /// Worker, version, side and shard.
    ready: BTreeSet<(&'a str, &'a str, bool, u32)>,
}

impl<'a> Known<'a> {
    fn of(metadata: &'a Metadata) -> Self {
        let up = metadata.nodes.iter().filter(|node| node.health() == NodeHealth::Up);
        let mut ready = BTreeSet::new();
        for (node, loaded) in &metadata.loaded {
            for version in &loaded.versions {
                let side = |is_items: bool, shards: &'a [u32]| {
                    let (node, version) = (node.as_str(), version.version.as_str());
                    shards.iter().map(move |shard| (node, version, is_items, *shard))
                };
                ready.extend(side(false, &version.user_shards).chain(side(true, &version.item_shards)));
            }
        }
        Self { up: up.map(|node| node.name.as_str()).collect(), ready }
    }

    fn is_ready(&self, node: &str, version: &str, shard: &ShardReplicas) -> bool {
        self.up.contains(node)
            && self.ready.contains(&(node, version, shard.side() == Side::Items, shard.shard))
    }
}

impl VersionReplication {
    fn take(&mut self, shard: &ShardReplicas, known: &Known<'_>, replicas_asked: u32) {
        let mut ready = 0;
        for node in &shard.nodes {
            if known.is_ready(node, &self.version, shard) {
                ready += 1;
            } else {
                let is_up = known.up.contains(node.as_str());
                let missing = if is_up { &mut self.loading } else { &mut self.lost };
                *missing.entry(node.clone()).or_default() += 1;
            }
        }
        self.shards += 1;
        self.served += u32::from(ready > 0);
        self.replicated += u32::from(ready >= replicas_asked);
        self.placed_on_too_few += u32::from((shard.nodes.len() as u64) < u64::from(replicas_asked));
    }

    /// Shards that fewer workers have ready than are asked for.
    #[must_use]
    pub fn under_replicated(&self) -> u32 {
        self.shards - self.replicated
    }

    /// Shards that no worker has ready.
    #[must_use]
    pub fn unserved(&self) -> u32 {
        self.shards - self.served
    }
}

fn shards_of<'a>(metadata: &'a Metadata, version: &ModelVersion) -> &'a [ShardReplicas] {
    let of = metadata.placements.iter().find(|placement| {
        (&placement.dataset_name, &placement.dataset_version)
            == (&version.dataset_name, &version.dataset_version)
    });
    of.map(|placement| placement.shards.as_slice()).unwrap_or_default()
}

/// What a version is to queries; `None` for one that no model names.
#[must_use]
pub fn serves(metadata: &Metadata, version: &str) -> Option<Serves> {
    let any = |name: fn(&shoal_proto::v1::ServedModel) -> &String| {
        metadata.served.iter().any(|served| name(served) == version)
    };
    if any(|served| &served.live_version) || metadata.live_version == version {
        Some(Serves::Live)
    } else if any(|served| &served.promoting_version) || metadata.promoting_version == version {
        Some(Serves::Promoting)
    } else if any(|served| &served.previous_version) || metadata.previous_version == version {
        Some(Serves::Previous)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{LoadedVersion, LoadedVersions, NodeInfo, Placement, ServedModel};

    use super::*;

    fn node(name: &str, health: NodeHealth) -> NodeInfo {
        NodeInfo {
            name: name.to_owned(),
            role: NodeRole::Worker.into(),
            health: health.into(),
            ..NodeInfo::default()
        }
    }

    fn replicas(side: Side, shard: u32, nodes: &[&str]) -> ShardReplicas {
        let nodes = nodes.iter().map(|&node| node.to_owned()).collect();
        ShardReplicas { side: side.into(), shard, nodes }
    }

    /// `b` is down, `a` has both sides of shard 0, and `c` nothing yet.
    fn metadata() -> Metadata {
        let version = ModelVersion { name: "v".to_owned(), model: "m".to_owned(), ..ModelVersion::default() };
        let loaded = LoadedVersion { version: "v".to_owned(), user_shards: vec![0], item_shards: vec![0] };
        Metadata {
            nodes: vec![node("a", NodeHealth::Up), node("b", NodeHealth::Down), node("c", NodeHealth::Up)],
            served: vec![ServedModel { live_version: "v".to_owned(), ..ServedModel::default() }],
            versions: vec![version],
            placements: vec![Placement {
                shards: vec![
                    replicas(Side::Users, 0, &["a", "b"]),
                    replicas(Side::Items, 0, &["a"]),
                    replicas(Side::Items, 1, &["b", "c"]),
                ],
                ..Placement::default()
            }],
            loaded: [("a".to_owned(), LoadedVersions { versions: vec![loaded] })].into(),
            ..Metadata::default()
        }
    }

    #[test]
    fn what_is_missing_is_counted_where_it_is_missing() {
        let found = replication(&metadata(), 2);
        let [version] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (version.serves, version.shards, version.served, version.replicated),
            (Serves::Live, 3, 2, 0)
        );
        assert_eq!((version.unserved(), version.under_replicated(), version.placed_on_too_few), (1, 3, 1));
        assert_eq!(version.loading, [("c".to_owned(), 1)].into());
        assert_eq!(version.lost, [("b".to_owned(), 2)].into());
        assert_eq!(replication(&metadata(), 1)[0].replicated, 2);
        let metadata_of_both = metadata();
        let placed = placed_shards(&metadata_of_both, &metadata_of_both.versions[0]);
        assert_eq!(placed[0].replicas, [("a", Readiness::Ready), ("b", Readiness::Down)]);
        assert_eq!(placed[2].replicas, [("b", Readiness::Down), ("c", Readiness::Loading)]);
        let workers = shards_by_worker(&metadata());
        assert_eq!(workers["a"], WorkerShards { placed: 2, ready: 2 });
        assert_eq!(workers["b"], WorkerShards { placed: 2, ready: 0 });
        assert_eq!(workers["c"], WorkerShards { placed: 1, ready: 0 });
    }

    #[test]
    fn a_worker_that_is_down_has_nothing_ready_whatever_it_said() {
        let mut metadata = metadata();
        metadata.nodes[0] = node("a", NodeHealth::Down);
        assert_eq!(replication(&metadata, 1)[0].served, 0);
    }

    #[test]
    fn without_workers_every_shard_of_the_data_set_is_missing() {
        let mut metadata = metadata();
        metadata.placements.clear();
        metadata.datasets = vec![shoal_proto::v1::DatasetInfo { shard_count: 4, ..Default::default() }];
        let version = &replication(&metadata, 2)[0];
        assert_eq!((version.shards, version.unserved(), version.placed_on_too_few), (8, 8, 8));
        metadata.served.clear();
        assert!(replication(&metadata, 2).is_empty());
    }
}
