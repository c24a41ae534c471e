//! What workers and routers are told: the state, and who has what ready.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use shoal_proto::v1::{LoadedVersions, Metadata, ModelVersion, NodeHealth, NodeRole};

use super::Leader;
use crate::state::ClusterState;

/// Makes metadata known when it differs from the last; the revision grows each time.
pub(super) struct Publisher {
    term: u64,
    revision: u64,
}

impl Publisher {
    pub(super) fn new(term: u64) -> Self {
        Self { term, revision: 0 }
    }

    pub(super) fn publish(&mut self, leader: &Leader, state: &ClusterState) {
        let mut metadata = build(leader, state);
        metadata.leader_term = self.term;
        metadata.revision = self.revision;
        if **leader.metadata.borrow() == metadata {
            return;
        }
        self.revision += 1;
        metadata.revision = self.revision;
        metrics::gauge!("shoal_coordinator_metadata_revision").set(self.revision as f64);
        let up = metadata.nodes.iter().filter(|node| node.health() == NodeHealth::Up).count();
        metrics::gauge!("shoal_coordinator_nodes_up").set(up as f64);
        leader.metadata.send_replace(Arc::new(metadata));
    }
}

fn build(leader: &Leader, state: &ClusterState) -> Metadata {
    let versions: Vec<ModelVersion> = state.wanted_versions().into_iter().cloned().collect();
    let keys: Vec<_> = versions
        .iter()
        .map(|version| (version.dataset_name.clone(), version.dataset_version.clone()))
        .collect();
    let nodes: Vec<_> = state.nodes.values().filter_map(|record| record.info.clone()).collect();
    let workers = nodes.iter().filter(|node| node.role() == NodeRole::Worker);
    let loaded: HashMap<String, LoadedVersions> = workers
        .filter_map(|node| {
            let versions = leader.members.last(&node.name)?.loaded?;
            Some((node.name.clone(), LoadedVersions { versions }))
        })
        .collect();
    // Before there is a default, what is being promoted is to become it.
    let default = if state.default_model.is_empty() && state.served.len() == 1 {
        state.served.values().next().cloned().unwrap_or_default()
    } else {
        state.served_by_default()
    };
    Metadata {
        cluster_id: state.cluster_id.clone(),
        revision: 0,
        leader_term: 0,
        live_version: default.live_version,
        previous_version: default.previous_version,
        promoting_version: default.promoting_version,
        served: state.served.values().cloned().collect(),
        default_model: state.default_model.clone(),
        datasets: state
            .datasets
            .iter()
            .filter(|(key, _)| keys.contains(key))
            .map(|(_, dataset)| dataset.clone())
            .collect(),
        placements: state
            .placements
            .iter()
            .filter(|(key, _)| keys.contains(key))
            .map(|(_, placement)| placement.clone())
            .collect(),
        components: components(state, &versions),
        versions,
        nodes,
        loaded,
    }
}

/// The versions that these are blended from, each once.
fn components(state: &ClusterState, versions: &[ModelVersion]) -> Vec<ModelVersion> {
    let sources = versions.iter().flat_map(|version| &version.hybrid).flat_map(|hybrid| &hybrid.sources);
    let names: BTreeSet<&String> = sources.map(|source| &source.version).collect();
    names.into_iter().filter_map(|name| state.versions.get(name).cloned()).collect()
}
