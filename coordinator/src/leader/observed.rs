//! What the leader says of the cluster in metrics. A member that does not lead says nothing: its values are 0.

use shoal_common::replication::{Serves, replication};
use shoal_proto::v1::{NodeHealth, NodeInfo, NodeLoss, NodeRecord, NodeRole};

use super::handle::Leader;
use crate::state::ClusterState;

/// The gauges that only a leader sets.
const OF_LEADERS: [&str; 11] = [
    "shoal_coordinator_members",
    "shoal_coordinator_members_up",
    "shoal_coordinator_metadata_revision",
    "shoal_coordinator_metadata_bytes",
    "shoal_coordinator_metadata_bytes_max",
    "shoal_coordinator_workers_unreachable",
    "shoal_coordinator_shards",
    "shoal_coordinator_shards_unserved",
    "shoal_coordinator_shards_under_replicated",
    "shoal_coordinator_jobs_running",
    "shoal_coordinator_jobs_queued",
];

/// Says how members, nodes and shards are.
pub(super) fn observe(leader: &Leader, state: &ClusterState) {
    let raft = leader.raft.status().borrow().clone();
    let own = leader.raft_id();
    let up = raft.peers.iter().filter(|peer| peer.id == own || peer.recently_active).count();
    metrics::gauge!("shoal_coordinator_members").set(raft.peers.len() as f64);
    metrics::gauge!("shoal_coordinator_members_up").set(up as f64);
    let metadata = leader.metadata().borrow().clone();
    observe_nodes(state);
    let (mut shards, mut unserved, mut under_replicated) = (0, 0, 0);
    let versions = replication(&metadata, leader.config.replicas);
    for version in versions.iter().filter(|version| version.serves == Serves::Live) {
        shards += version.shards;
        unserved += version.unserved();
        under_replicated += version.under_replicated();
    }
    metrics::gauge!("shoal_coordinator_shards").set(f64::from(shards));
    metrics::gauge!("shoal_coordinator_shards_unserved").set(f64::from(unserved));
    metrics::gauge!("shoal_coordinator_shards_under_replicated").set(f64::from(under_replicated));
}

/// Roles and healths of nodes, as metrics name them.
const ROLES: [(NodeRole, &str); 2] = [(NodeRole::Worker, "worker"), (NodeRole::Router, "router")];
const HEALTHS: [&str; 3] = ["up", "down", "left"];

fn health_of(record: &NodeRecord) -> &'static str {
    match (record.info.as_ref().map(NodeInfo::health), record.loss()) {
        (Some(NodeHealth::Up), _) => "up",
        (_, NodeLoss::Left) => "left",
        _ => "down",
    }
}

fn observe_nodes(state: &ClusterState) {
    for (role, role_name) in ROLES {
        for health in HEALTHS {
            let of_role = |record: &&NodeRecord| record.info.as_ref().is_some_and(|info| info.role() == role);
            let found = state.nodes.values().filter(of_role).filter(|record| health_of(record) == health);
            metrics::gauge!("shoal_coordinator_nodes", "role" => role_name, "health" => health)
                .set(found.count() as f64);
        }
    }
}

/// Takes back what was said while this member led.
pub(super) fn say_nothing() {
    for name in OF_LEADERS {
        metrics::gauge!(name).set(0.0);
    }
    observe_nodes(&ClusterState::default());
}
