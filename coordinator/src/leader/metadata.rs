//! What workers and routers are told: the state, and who has what ready.

use std::{collections::HashMap, ops::Deref, sync::Arc, time::Duration};

use prost::Message as _;
use shoal_common::{
    log_limit::LogLimit,
    metadata_changes::{MetadataRecords, put_in_order},
    rpc::MESSAGE_BYTES_MAX,
};
use shoal_proto::v1::{LoadedVersions, Metadata, MetadataChange, ModelVersion, NodeRole, TokenInfo};

use super::{handle::Leader, members::Members};
use crate::state::ClusterState;

/// Metadata that is made known, as it is sent.
#[derive(Debug, Default)]
pub struct Published {
    metadata: Metadata,
    /// `None` where it can only be sent whole.
    records: Option<MetadataRecords>,
    /// From the revision before, to which most watchers have come.
    change: Option<MetadataChange>,
}

impl Published {
    pub(crate) fn new(metadata: Metadata, before: &Self) -> Self {
        let records = MetadataRecords::of(&metadata);
        let both = records.as_ref().zip(before.records.as_ref());
        let is_next = before.metadata.leader_term == metadata.leader_term;
        let change = both.filter(|_| is_next).map(|(now, then)| now.since(then, before.metadata.revision));
        Self { metadata, records, change }
    }

    /// What a watcher is sent that takes changes and was last sent `last`.
    #[must_use]
    pub fn after(&self, last: Option<&Self>) -> Metadata {
        let Some(records) = &self.records else { return self.metadata.clone() };
        let last = last.filter(|last| last.metadata.leader_term == self.metadata.leader_term);
        let known = last.and_then(|last| Some((last.metadata.revision, last.records.as_ref()?)));
        let change = match (known, &self.change) {
            (None, _) => records.whole(),
            (Some((revision, _)), Some(change)) if revision == change.base_revision => change.clone(),
            (Some((revision, known)), _) => records.since(known, revision),
        };
        let Metadata { cluster_id, leader_term, revision, .. } = &self.metadata;
        Metadata {
            cluster_id: cluster_id.clone(),
            leader_term: *leader_term,
            revision: *revision,
            change: Some(change),
            ..Metadata::default()
        }
    }
}

impl Deref for Published {
    type Target = Metadata;

    fn deref(&self) -> &Metadata {
        &self.metadata
    }
}

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
        let before = Arc::clone(&leader.metadata.borrow());
        if before.metadata == metadata {
            return;
        }
        self.revision += 1;
        metadata.revision = self.revision;
        metrics::gauge!("shoal_coordinator_metadata_revision").set(self.revision as f64);
        let bytes = metadata.encoded_len();
        metrics::gauge!("shoal_coordinator_metadata_bytes").set(bytes as f64);
        // For alarms: what goes beyond it is four times too large.
        metrics::gauge!("shoal_coordinator_metadata_bytes_max").set(MESSAGE_BYTES_MAX as f64);
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
        leader.metadata.send_replace(Arc::new(Published::new(metadata, &before)));
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
    let mut metadata = Metadata {
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
        change: None,
    };
    put_in_order(&mut metadata);
    metadata
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
    use proptest::prelude::*;
    use prost::Message as _;
    use shoal_common::metadata_changes::MetadataFollower;
    use shoal_proto::v1::{
        DatasetInfo, HybridModel, HybridSource, JobInfo, LoadedVersion, NodeInfo, Placement, ServedModel,
        ShardStats,
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

    /// Any nodes, versions and what nodes have of them, each by a name of its own.
    fn any_metadata() -> impl Strategy<Value = Metadata> {
        let nodes = prop::collection::btree_map(0_u32..6, (0_i32..3, 0_u64..3), 0..6);
        let versions = prop::collection::btree_map(0_u32..5, 0_u32..3, 0..5);
        let loaded = prop::collection::btree_map(0_u32..6, prop::collection::vec(0_u32..4, 0..3), 0..6);
        (nodes, versions, loaded, 0_u32..3).prop_map(|(nodes, versions, loaded, live)| {
            let node = |(name, (health, incarnation)): (u32, (i32, u64))| NodeInfo {
                name: format!("n{name}"),
                health,
                incarnation,
                ..NodeInfo::default()
            };
            let version = |(name, mean): (u32, u32)| ModelVersion {
                name: format!("v{name}"),
                rating_mean: f64::from(mean),
                ..ModelVersion::default()
            };
            let of_node = |(node, shards): (u32, Vec<u32>)| {
                let version =
                    LoadedVersion { version: "v1".to_owned(), user_shards: shards, item_shards: vec![] };
                (format!("n{node}"), LoadedVersions { versions: vec![version] })
            };
            let mut metadata = Metadata {
                cluster_id: "c".to_owned(),
                live_version: if live == 0 { String::new() } else { format!("v{live}") },
                nodes: nodes.into_iter().map(node).collect(),
                versions: versions.into_iter().map(version).collect(),
                loaded: loaded.into_iter().map(of_node).collect(),
                ..Metadata::default()
            };
            put_in_order(&mut metadata);
            metadata
        })
    }

    proptest! {
        /// Whatever comes after what, in terms of several leaders: who is sent each change and who misses some have the
        /// whole in the end.
        #[test]
        fn changes_lead_to_the_whole(
            states in prop::collection::vec((any_metadata(), any::<bool>(), any::<bool>()), 1..30),
        ) {
            let mut published = Arc::new(Published::default());
            let mut watchers = [(MetadataFollower::default(), None::<Arc<Published>>), Default::default()];
            let (mut leader_term, mut revision) = (1, 0);
            for (metadata, is_new_term, is_missed) in states {
                (leader_term, revision) =
                    if is_new_term { (leader_term + 1, 1) } else { (leader_term, revision + 1) };
                let metadata = Metadata { leader_term, revision, ..metadata };
                published = Arc::new(Published::new(metadata.clone(), &published));
                for (number, (follower, last)) in watchers.iter_mut().enumerate() {
                    if number == 1 && is_missed {
                        continue;
                    }
                    let message = published.after(last.as_deref());
                    prop_assert!(message.change.is_some() && message.nodes.is_empty());
                    prop_assert_eq!(&follower.take(message).unwrap(), &metadata);
                    *last = Some(Arc::clone(&published));
                }
            }
        }
    }
}
