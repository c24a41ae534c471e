//! What the members agree on: a pure state machine. Commands in, replies out; no clock, no I/O.
//!
//! Time stamps and names that a command needs are chosen by whoever proposes it. The state is
//! copied on write: readers hold an `Arc` of it.

mod apply;
mod history;
mod job;
mod snapshot;
mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use prost::Message as _;
use shoal_proto::v1::{
    AnsweredRequest, CommandReply, DatasetInfo, JobState, MetadataCommand, ModelVersion, NodeRecord,
    Placement, RefusalKind, ServedModel, ShardReplicas, TokenInfo, VersionState,
};

use crate::raft::{RestoreError, StateMachine};

pub use history::{
    FINISHED_JOBS_BYTES_MAX, FINISHED_JOBS_KEPT, LOST_NODES_KEPT, NODES_MAX, kind_of, stamp_of, version_name,
};
pub use job::{EmptyRecord, Job};
pub use tokens::TOKENS_MAX;

/// Answers kept for requests that come again. Whoever asks again does so within seconds, and people do
/// not make as many requests in that time.
const ANSWERS_KEPT: usize = 1_024;

/// Workers that are kept with a job as those that its attempts went on without: the last.
pub const LEFT_OUT_WORKERS_MAX: usize = 64;

/// Name and version of a data set.
pub type DatasetKey = (String, String);

/// Everything the coordinators remember.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterState {
    /// Id of the cluster, the same on every node.
    pub cluster_id: String,
    /// Workers and routers that have registered, by name.
    pub nodes: BTreeMap<String, NodeRecord>,
    /// Data sets by name and version.
    pub datasets: BTreeMap<DatasetKey, DatasetInfo>,
    /// Where the shards of each data set are.
    pub placements: BTreeMap<DatasetKey, Placement>,
    /// Model versions, by name.
    pub versions: BTreeMap<String, ModelVersion>,
    /// What is served of each model that was ever promoted, by the model's name.
    pub served: BTreeMap<String, ServedModel>,
    /// The model that answers queries which name none; empty before the first promote.
    pub default_model: String,
    /// Jobs that are remembered, by id.
    pub jobs: BTreeMap<String, Job>,
    /// The last requests with an id and their answers, by place in the log.
    pub answered: BTreeMap<u64, AnsweredRequest>,
    /// The number of the last job; 0 until one was created that is counted.
    pub last_job_number: u64,
    /// The tokens of people and programs, by id.
    pub tokens: BTreeMap<String, TokenInfo>,
    /// Whether there was ever a token.
    pub had_tokens: bool,
}

impl ClusterState {
    /// The state of a cluster that remembers nothing yet.
    #[must_use]
    pub fn new(cluster_id: &str) -> Self {
        Self { cluster_id: cluster_id.to_owned(), ..Self::default() }
    }

    /// The data set of this name: the given version, or the newest when that is empty.
    #[must_use]
    pub fn dataset(&self, name: &str, version: &str) -> Option<&DatasetInfo> {
        if version.is_empty() {
            let of_name = self.datasets.iter().filter(|((known, _), _)| known == name);
            return of_name
                .map(|(_, dataset)| dataset)
                .max_by_key(|dataset| (dataset.created_unix_ms, &dataset.version));
        }
        self.datasets.get(&(name.to_owned(), version.to_owned()))
    }

    /// What is served of the default model; nothing before the first promote.
    #[must_use]
    pub fn served_by_default(&self) -> ServedModel {
        self.served.get(&self.default_model).cloned().unwrap_or_default()
    }

    /// What is served of a version's model.
    #[must_use]
    pub fn served_with(&self, version: &str) -> ServedModel {
        let model = self.versions.get(version).map(|version| &version.model);
        model.and_then(|model| self.served.get(model)).cloned().unwrap_or_default()
    }

    /// The versions that workers are to hold: of the default model first, of each the live one first.
    #[must_use]
    pub fn wanted_versions(&self) -> Vec<&ModelVersion> {
        let (first, others): (Vec<&ServedModel>, Vec<&ServedModel>) =
            self.served.values().partition(|served| served.model == self.default_model);
        let names = |served: &'_ ServedModel| {
            [&served.live_version, &served.promoting_version, &served.previous_version].map(Clone::clone)
        };
        let mut names: Vec<String> = first.into_iter().chain(others).flat_map(names).collect();
        names.dedup();
        names.iter().filter_map(|name| self.versions.get(name)).collect()
    }

    /// The versions that these are blended from, each once.
    pub fn components<'a>(&self, versions: impl IntoIterator<Item = &'a ModelVersion>) -> Vec<ModelVersion> {
        let blends = versions.into_iter().filter_map(|version| version.hybrid.as_ref());
        let names: BTreeSet<&String> =
            blends.flat_map(|hybrid| &hybrid.sources).map(|source| &source.version).collect();
        names.into_iter().filter_map(|name| self.versions.get(name).cloned()).collect()
    }

    /// Every job in the order in which jobs of a kind are worked at: those that have begun, oldest first, then those that
    /// wait. Who asked for jobs that wait take turns: next is the oldest job of whoever had one begun the longest ago.
    #[must_use]
    pub fn jobs_in_turn(&self) -> Vec<&Job> {
        let mut last_begun: BTreeMap<(i32, &str), u64> = BTreeMap::new();
        for job in self.jobs.values() {
            let last = last_begun.entry((job.info.kind, &job.info.submitter)).or_default();
            *last = job.begun_index.max(*last);
        }
        let mut jobs = self.jobs_by_age();
        // Stable, so that age decides where nothing else does.
        jobs.sort_by_key(|job| {
            let waits = job.info.state() == JobState::Queued;
            (waits, if waits { last_begun[&(job.info.kind, job.info.submitter.as_str())] } else { 0 })
        });
        jobs
    }

    /// What must always hold; the names of what does not.
    #[must_use]
    pub fn broken_invariants(&self) -> Vec<&'static str> {
        let dataset_of = |version: &ModelVersion| {
            self.datasets.contains_key(&(version.dataset_name.clone(), version.dataset_version.clone()))
        };
        let over = self.jobs.values().filter(|job| job.is_over());
        let marked: BTreeSet<&String> = self
            .versions
            .values()
            .filter(|version| version.state() == VersionState::Live)
            .map(|version| &version.name)
            .collect();
        let live = self.served.values().map(|served| &served.live_version).filter(|name| !name.is_empty());
        let default = self.served.get(&self.default_model);
        let any_live = self.served.values().any(|served| !served.live_version.is_empty());
        [
            (
                self.served.values().all(|served| self.all_exist(served)),
                "served versions exist and are of their model",
            ),
            (self.served.iter().all(|(model, served)| *model == served.model), "models are at their names"),
            (marked == live.collect(), "exactly the live versions are marked live"),
            (self.served.values().all(|served| self.can_go_back(served)), "the previous versions are ready"),
            (self.served.values().all(are_distinct), "live, previous and promoting versions are others"),
            (
                any_live == default.is_some_and(|served| !served.live_version.is_empty()),
                "the default model has a live version if any has",
            ),
            (
                self.placements.values().flat_map(|placement| &placement.shards).all(replicas_are_distinct),
                "a shard's replicas are distinct",
            ),
            (self.versions.values().all(dataset_of), "a version's data set exists"),
            (
                self.placements.keys().all(|key| self.datasets.contains_key(key)),
                "a placement's data set exists",
            ),
            (over.count() <= FINISHED_JOBS_KEPT, "jobs that are over are forgotten in the end"),
            (
                self.jobs.values().all(|job| job.outcome.is_none() || !job.is_over()),
                "a job that is over has no end to come",
            ),
            (self.answered.len() <= ANSWERS_KEPT, "answers are forgotten in the end"),
            (
                self.tokens.len() <= TOKENS_MAX && (self.had_tokens || self.tokens.is_empty()),
                "tokens are bounded, and remembered to have been there",
            ),
        ]
        .into_iter()
        .filter_map(|(holds, name)| (!holds).then_some(name))
        .collect()
    }
}

impl ClusterState {
    fn all_exist(&self, served: &ServedModel) -> bool {
        let names = [&served.live_version, &served.previous_version, &served.promoting_version];
        names
            .into_iter()
            .filter(|name| !name.is_empty())
            .all(|name| self.versions.get(name).is_some_and(|version| version.model == served.model))
    }

    fn can_go_back(&self, served: &ServedModel) -> bool {
        let previous = &served.previous_version;
        previous.is_empty()
            || self.versions.get(previous).is_some_and(|version| version.state() == VersionState::Ready)
    }
}

/// A promotion that goes back to the previous version is no other version.
fn are_distinct(served: &ServedModel) -> bool {
    let differ = |a: &String, b: &String| a.is_empty() || a != b;
    differ(&served.previous_version, &served.live_version)
        && differ(&served.promoting_version, &served.live_version)
}

fn replicas_are_distinct(shard: &ShardReplicas) -> bool {
    let mut nodes = shard.nodes.clone();
    nodes.sort();
    nodes.dedup();
    nodes.len() == shard.nodes.len()
}

/// The state machine that raft drives.
#[derive(Debug, Clone)]
pub struct Metadata {
    state: Arc<ClusterState>,
}

impl Metadata {
    /// What is published of a cluster that remembers nothing yet.
    #[must_use]
    pub fn new(cluster_id: &str) -> Self {
        Self { state: Arc::new(ClusterState::new(cluster_id)) }
    }
}

fn refused(refusal: RefusalKind, reason: String) -> CommandReply {
    CommandReply { refusal: refusal.into(), reason, job_id: String::new() }
}

impl StateMachine for Metadata {
    type View = ClusterState;

    fn apply(&mut self, index: u64, command: &[u8]) -> Bytes {
        let reply = match MetadataCommand::decode(command) {
            Ok(MetadataCommand { command: Some(command), request_id }) => {
                Arc::make_mut(&mut self.state).apply_once(index, &request_id, command)
            }
            // A command of a newer release: every member of this one refuses it alike.
            _ => refused(RefusalKind::Invalid, "this release does not know the command".to_owned()),
        };
        // Looking at everything takes as long as there is much of it.
        let records = (self.state.jobs.len() + self.state.versions.len() + self.state.datasets.len()) as u64;
        if cfg!(debug_assertions) && index.is_multiple_of(1 + records / 64) {
            assert_eq!(self.state.broken_invariants(), Vec::<&str>::new(), "after command {index}");
        }
        reply.encode_to_vec().into()
    }

    fn snapshot(&self) -> Bytes {
        self.state.to_snapshot_bytes()
    }

    fn check(&self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let (own, sent) = (&self.state.cluster_id, ClusterState::from_snapshot(snapshot)?.cluster_id);
        if *own == sent {
            return Ok(());
        }
        Err(RestoreError(format!("it is the state of cluster '{sent}', this one is '{own}'")))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.state = Arc::new(ClusterState::from_snapshot(snapshot)?);
        Ok(())
    }

    fn view(&self) -> Arc<ClusterState> {
        Arc::clone(&self.state)
    }
}
