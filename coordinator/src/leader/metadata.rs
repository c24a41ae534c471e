//! What workers and routers are told: the state, and who has what ready.

use std::{collections::HashMap, sync::Arc, time::Duration};

use prost::Message as _;
use shoal_common::{log_limit::LogLimit, rpc::MESSAGE_BYTES_MAX};
use shoal_proto::v1::{LoadedVersions, Metadata, ModelVersion, NodeHealth, NodeRole, TokenInfo};

use super::{handle::Leader, members::Members};
use crate::state::ClusterState;

/// Makes metadata known when it differs from the last; the revision grows each time.
pub(super) struct Publisher {
    term: u64,
    revision: u64,
    alarms: LogLimit,
}

/// Metadata of so many bytes is worth an alarm: four times as much cannot be sent.
const BYTES_ALARM: usize = MESSAGE_BYTES_MAX / 4;

impl Publisher {
    pub(super) fn new(term: u64) -> Self {
        Self { term, revision: 0, alarms: LogLimit::new(Duration::from_secs(60)) }
    }

    pub(super) fn publish(&mut self, leader: &Leader, state: &ClusterState) {
        let mut metadata = build(&leader.members, state);
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
        let bytes = metadata.encoded_len();
        metrics::gauge!("shoal_coordinator_metadata_bytes").set(bytes as f64);
        if bytes > BYTES_ALARM
            && let Some(held_back) = self.alarms.pass()
        {
            tracing::error!(
                bytes,
                bytes_max = MESSAGE_BYTES_MAX,
                nodes = metadata.nodes.len(),
                held_back,
                "what every node is told comes near to what a message can hold; forget nodes with `shoal nodes forget`"
            );
        }
        leader.metadata.send_replace(Arc::new(metadata));
    }
}

/// What is served now: as large as that is, however many versions and jobs there have been.
fn build(members: &Members, state: &ClusterState) -> Metadata {
    let versions: Vec<ModelVersion> = state.wanted_versions().into_iter().cloned().collect();
    let keys: Vec<_> = versions
        .iter()
        .map(|version| (version.dataset_name.clone(), version.dataset_version.clone()))
        .collect();
    let nodes: Vec<_> = state.nodes.values().filter_map(|record| record.info.clone()).collect();
    let workers = nodes.iter().filter(|node| node.role() == NodeRole::Worker);
    let components = state.components(versions.iter());
    // What nobody asks of a worker is not told of it.
    let is_asked = |name: &str| versions.iter().chain(&components).any(|version| version.name == name);
    let loaded: HashMap<String, LoadedVersions> = workers
        .filter_map(|node| {
            let mut versions = members.last(&node.name)?.loaded?;
            versions.retain(|loaded| is_asked(&loaded.version));
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
        components,
        versions,
        nodes,
        loaded,
        tokens: state.tokens.values().map(told).collect(),
    }
}

/// What routers need of a token. What changes with its use is not told, or every use would be.
fn told(token: &TokenInfo) -> TokenInfo {
    TokenInfo {
        id: token.id.clone(),
        sha256: token.sha256.clone(),
        scopes: token.scopes.clone(),
        expires_unix_ms: token.expires_unix_ms,
        cost_per_second: token.cost_per_second,
        ..TokenInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use shoal_proto::v1::{
        DatasetInfo, HybridModel, HybridSource, JobInfo, Placement, ServedModel, ShardStats,
    };

    use super::*;
    use crate::state::Job;

    /// A live hybrid of the first three versions, and as many versions, data sets and jobs as wanted besides.
    fn state(records: usize) -> ClusterState {
        let mut state = ClusterState::new("c");
        let source = |version: &str| HybridSource { version: version.to_owned(), ..HybridSource::default() };
        let sources = ["als_0", "als_1", "als_2"].map(source).to_vec();
        let hybrid = HybridModel { sources, ..HybridModel::default() };
        for number in 0..records.max(3) {
            let key = ("films".to_owned(), format!("{number}"));
            let version = ModelVersion {
                name: format!("als_{number}"),
                model: "als".to_owned(),
                dataset_name: key.0.clone(),
                dataset_version: key.1.clone(),
                ..ModelVersion::default()
            };
            let user_shards = vec![ShardStats::default(); 16];
            let (name, version_of) = key.clone();
            let dataset = DatasetInfo { name, version: version_of, user_shards, ..DatasetInfo::default() };
            state.datasets.insert(key.clone(), dataset);
            state.placements.insert(key, Placement::default());
            let job_id = format!("job-{number:06}");
            let info = JobInfo { job_id: job_id.clone(), ..JobInfo::default() };
            state.jobs.insert(job_id, Job { info, ..Job::default() });
            state.versions.insert(version.name.clone(), version);
        }
        let blend = ModelVersion {
            name: "hybrid".to_owned(),
            hybrid: Some(hybrid),
            ..state.versions["als_0"].clone()
        };
        state.versions.insert(blend.name.clone(), blend);
        let served = ServedModel { live_version: "hybrid".to_owned(), ..ServedModel::default() };
        state.served.insert(String::new(), served);
        state
    }

    #[test]
    fn the_history_is_no_part_of_what_is_made_known() {
        let (few, many) = (build(&Members::default(), &state(3)), build(&Members::default(), &state(10_000)));
        assert_eq!(few, many);
        let names = |versions: &[ModelVersion]| -> Vec<String> {
            versions.iter().map(|version| version.name.clone()).collect()
        };
        assert_eq!(names(&many.versions), ["hybrid"]);
        assert_eq!(names(&many.components), ["als_0", "als_1", "als_2"]);
        assert_eq!((many.datasets.len(), many.placements.len()), (1, 1));
        assert!(many.encoded_len() < 1_024, "{}", many.encoded_len());
    }
}
