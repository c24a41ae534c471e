//! What a coordinator is told.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{
    ConfigError, Problems,
    node::{Needs, NodeConfig, RawNode},
};
use crate::plain_text::NODE_ADDRESS_MAX;

/// The settings file of a coordinator, before it is checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCoordinator {
    /// The section `[node]`: what every role has.
    pub node: RawNode,
    /// The section `[coordinator]`.
    pub coordinator: RawCoordinatorSection,
}

/// The section `[coordinator]`, before it is checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCoordinatorSection {
    /// This member's number in the raft group, from 1.
    pub raft_id: Option<u64>,
    /// Every member: number and host:port.
    pub peers: BTreeMap<String, String>,
    /// Milliseconds of a raft tick: heartbeats are sent every 2 ticks.
    pub tick_ms: Option<u64>,
    /// A node that has not been heard of for this long is down.
    pub lease_ms: Option<u64>,
    /// A node that has been down for this long has its shards served by others.
    pub replace_after_ms: Option<u64>,
    /// Workers that serve each shard.
    pub replicas: Option<u64>,
    /// Applied entries between snapshots.
    pub snapshot_every_entries: Option<u64>,
    /// Jobs that may wait at once; one more is refused.
    pub queued_jobs: Option<u64>,
    /// A file with a token, as `shoal tokens draw` makes it. A cluster that has never had a token takes it as its first, which
    /// may do everything.
    pub first_token_file: Option<PathBuf>,
}

/// A coordinator's settings, checked.
#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    /// Name, addresses, store and log: what every role has.
    pub node: NodeConfig,
    /// This member's number in the raft group.
    pub raft_id: u64,
    /// Every member of the group when it was founded, with its address.
    pub peers: BTreeMap<u64, String>,
    /// How long a raft tick is: heartbeats are sent every 2 ticks.
    pub tick: Duration,
    /// A node that has not been heard of for this long is down.
    pub lease: Duration,
    /// A node that has been down for this long has its shards served by others.
    pub replace_after: Duration,
    /// Workers that serve each shard, as far as there are as many.
    pub replicas: u32,
    /// Applied entries between snapshots.
    pub snapshot_every_entries: u64,
    /// Jobs that may wait at once.
    pub queued_jobs: u32,
    /// A file with the token that a cluster gets which has never had one.
    pub first_token_file: Option<PathBuf>,
}

impl RawCoordinator {
    /// Checks everything and fills in defaults.
    ///
    /// # Errors
    /// Every problem found.
    pub fn resolve(self) -> Result<CoordinatorConfig, ConfigError> {
        let mut problems = Problems::default();
        let node =
            self.node.resolve(&Needs { store: true, coordinators: false, data_dir: true }, &mut problems);
        let section = self.coordinator;
        let raft_id = problems.required("coordinator.raft_id", section.raft_id);
        let mut peers = BTreeMap::new();
        for (number, address) in section.peers {
            match number.parse::<u64>() {
                Ok(number) if number > 0 => {
                    problems.check_plain::<NODE_ADDRESS_MAX>("coordinator.peers", [&address]);
                    peers.insert(number, address);
                }
                _ => problems.add(format!(
                    "'coordinator.peers' has the member '{number}'; members are numbered from 1"
                )),
            }
        }
        if let Some(raft_id) = raft_id
            && !peers.contains_key(&raft_id)
        {
            problems.add(format!("'coordinator.peers' lacks this member's own number {raft_id}"));
        }
        if !matches!(peers.len(), 1 | 3 | 5) {
            problems.add(format!("'coordinator.peers' names {} members; a group has 1, 3 or 5", peers.len()));
        }
        let tick_ms = problems.in_range("coordinator.tick_ms", section.tick_ms.unwrap_or(100), 1..=10_000);
        let lease_ms =
            problems.in_range("coordinator.lease_ms", section.lease_ms.unwrap_or(3_000), 100..=600_000);
        let replace_after_ms = problems.in_range(
            "coordinator.replace_after_ms",
            section.replace_after_ms.unwrap_or(30_000),
            0..=86_400_000,
        );
        let replicas = problems.in_range("coordinator.replicas", section.replicas.unwrap_or(2), 1..=16);
        let snapshot_every_entries = problems.in_range(
            "coordinator.snapshot_every_entries",
            section.snapshot_every_entries.unwrap_or(4_096),
            1..=10_000_000,
        );
        let queued_jobs =
            problems.in_range("coordinator.queued_jobs", section.queued_jobs.unwrap_or(64), 1..=10_000);
        match (node, raft_id) {
            (Some(node), Some(raft_id)) if problems.0.is_empty() => Ok(CoordinatorConfig {
                node,
                raft_id,
                peers,
                tick: Duration::from_millis(tick_ms),
                lease: Duration::from_millis(lease_ms),
                replace_after: Duration::from_millis(replace_after_ms),
                replicas: replicas as u32,
                snapshot_every_entries,
                queued_jobs: queued_jobs as u32,
                first_token_file: section.first_token_file,
            }),
            _ => Err(problems.into_error()),
        }
    }
}
