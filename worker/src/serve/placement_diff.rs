//! What a worker should hold, compared with what it holds. Pure and level-triggered: the same
//! metadata always gives the same answer, however the worker came to where it is.

use std::collections::BTreeSet;

use shoal_proto::v1::{Metadata, Placement, Side};

use super::version::ShardKey;

/// What a node has to load and to let go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Shards that placement assigns to this node.
    pub wanted: BTreeSet<ShardKey>,
    /// Of those, the ones that are not loaded.
    pub load: BTreeSet<ShardKey>,
    /// Loaded shards to let go.
    pub unload: BTreeSet<ShardKey>,
}

/// Compares what `node` has loaded with what the metadata assigns to it.
///
/// A shard of a version that is still wanted but was placed elsewhere is kept until one of its new
/// owners has reported it ready, so that moving a shard never leaves it without a server.
#[must_use]
pub fn difference(metadata: &Metadata, node: &str, loaded: &[ShardKey]) -> Difference {
    let mut wanted = BTreeSet::new();
    let mut moving = BTreeSet::new();
    for version in &metadata.versions {
        let Some(placement) = placement(metadata, &version.dataset_name, &version.dataset_version) else {
            // Nothing is said about these shards, so nothing changes about them.
            moving.extend(loaded.iter().filter(|key| key.version == version.name).cloned());
            continue;
        };
        for replicas in placement.shards.iter().filter(|replicas| replicas.side() != Side::Unspecified) {
            let key =
                ShardKey { version: version.name.clone(), side: replicas.side(), shard: replicas.shard };
            if replicas.nodes.iter().any(|name| name == node) {
                wanted.insert(key);
            } else if !replicas.nodes.iter().any(|name| has_loaded(metadata, name, &key)) {
                moving.insert(key);
            }
        }
    }
    let held: BTreeSet<ShardKey> = loaded.iter().cloned().collect();
    let load = wanted.difference(&held).cloned().collect();
    let unload = held.iter().filter(|key| !wanted.contains(key) && !moving.contains(key)).cloned().collect();
    Difference { wanted, load, unload }
}

fn placement<'a>(metadata: &'a Metadata, name: &str, version: &str) -> Option<&'a Placement> {
    metadata
        .placements
        .iter()
        .find(|placement| placement.dataset_name == name && placement.dataset_version == version)
}

fn has_loaded(metadata: &Metadata, node: &str, key: &ShardKey) -> bool {
    let Some(loaded) = metadata.loaded.get(node) else { return false };
    loaded.versions.iter().filter(|version| version.version == key.version).any(|version| {
        let shards = if key.side == Side::Items { &version.item_shards } else { &version.user_shards };
        shards.contains(&key.shard)
    })
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::{LoadedVersion, LoadedVersions, ModelVersion, ShardReplicas};

    use super::*;

    fn key(version: &str, side: Side, shard: u32) -> ShardKey {
        ShardKey { version: version.into(), side, shard }
    }

    /// One version of a data set whose only item shard is placed on `nodes`.
    fn metadata(version: &str, nodes: &[&str]) -> Metadata {
        let nodes = nodes.iter().map(|&node| node.to_owned()).collect();
        Metadata {
            versions: vec![ModelVersion {
                name: version.into(),
                dataset_name: "d".into(),
                dataset_version: "1".into(),
                ..Default::default()
            }],
            placements: vec![Placement {
                dataset_name: "d".into(),
                dataset_version: "1".into(),
                shards: vec![ShardReplicas { side: Side::Items.into(), shard: 0, nodes }],
            }],
            ..Default::default()
        }
    }

    #[test]
    fn loads_what_is_assigned_and_unloads_retired_versions() {
        let held = [key("old", Side::Items, 0)];
        let difference = difference(&metadata("new", &["a"]), "a", &held);
        assert_eq!(difference.load, [key("new", Side::Items, 0)].into());
        assert_eq!(difference.unload, held.into());
        assert_eq!(difference.wanted, difference.load);
    }

    #[test]
    fn a_moved_shard_is_kept_until_its_new_owner_is_ready() {
        let held = [key("v", Side::Items, 0)];
        let mut metadata = metadata("v", &["b"]);
        assert_eq!(difference(&metadata, "a", &held), Difference::default());

        let ready = LoadedVersion { version: "v".into(), item_shards: vec![0], ..Default::default() };
        metadata.loaded.insert("b".into(), LoadedVersions { versions: vec![ready] });
        assert_eq!(difference(&metadata, "a", &held).unload, held.into());
    }

    #[test]
    fn without_a_placement_nothing_changes() {
        let held = [key("v", Side::Items, 0), key("v", Side::Users, 3)];
        let metadata = Metadata { placements: vec![], ..metadata("v", &["a"]) };
        assert_eq!(difference(&metadata, "a", &held), Difference::default());
    }
}
