//! Leases: who has been heard of lately, and what they said. In the leader's memory only.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use shoal_common::rpc::shortened;
use shoal_proto::v1::{HeartbeatRequest, LoadedVersion, NodeHealth, NodeInfo, NodeReport, NodeRole};
use tokio::{sync::Notify, time::Instant};

use crate::state::ClusterState;

/// A worker that can be given work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveWorker {
    /// Name of the worker.
    pub name: String,
    /// Where the worker listens, as host:port.
    pub address: String,
    /// Threads that it computes with.
    pub threads: u32,
}

/// What a node said last.
#[derive(Debug, Clone)]
pub struct Beat {
    /// When the heartbeat came, by this process's clock.
    pub at: Instant,
    /// When the one before came; `None` for the first.
    pub previous_at: Option<Instant>,
    /// Its shards of each version, ready to be queried; `None` until it has said so to this leader.
    pub loaded: Option<Vec<LoadedVersion>>,
    /// Why it cannot load a version.
    pub load_errors: BTreeMap<String, String>,
    /// The metadata that a router answers by, as (term, revision); `None` of others, and of a router that does not say.
    pub answers_by: Option<(u64, u64)>,
    /// What it says of itself to people; `None` until it has said so to this leader, and of releases that do not say it.
    pub report: Option<NodeReport>,
}

impl Beat {
    /// A lease that begins now, of a node that has said nothing.
    fn silent() -> Self {
        let (at, load_errors) = (Instant::now(), BTreeMap::new());
        Self { at, previous_at: None, loaded: None, load_errors, answers_by: None, report: None }
    }
}

/// The longest reason that is kept of a version that a worker cannot load.
const LOAD_ERROR_BYTES_MAX: usize = 2 * 1024;

/// A version and why it cannot be loaded, as it is kept.
fn kept((version, reason): (&String, &String)) -> (String, String) {
    (version.clone(), shortened(reason, LOAD_ERROR_BYTES_MAX).into_owned())
}

/// The longest text that is kept of a report.
const REPORT_TEXT_BYTES_MAX: usize = 512;

/// A report as it is kept.
fn kept_report(report: &NodeReport) -> NodeReport {
    let short = |text: &str| shortened(text, REPORT_TEXT_BYTES_MAX).into_owned();
    NodeReport {
        version: short(&report.version),
        http_address: short(&report.http_address),
        waits_for: short(&report.waits_for),
        ..report.clone()
    }
}

/// When each node was last heard of, and what it said.
#[derive(Debug, Default)]
pub struct Members {
    beats: Mutex<BTreeMap<String, Beat>>,
    news: Notify,
}

impl Members {
    /// Notes a heartbeat; wakes the controllers when it says something new.
    pub fn beat(&self, request: &HeartbeatRequest) {
        let mut beats = self.lock();
        let beat = Beat {
            at: Instant::now(),
            previous_at: beats.get(&request.node).map(|beat| beat.at),
            loaded: Some(request.loaded.clone()),
            load_errors: request.load_errors.iter().map(kept).collect(),
            answers_by: request.answers_by.map(|known| (known.leader_term, known.revision)),
            report: request.report.as_ref().map(kept_report),
        };
        let is_news = beats
            .get(&request.node)
            .is_none_or(|known| known.loaded != beat.loaded || known.load_errors != beat.load_errors);
        beats.insert(request.node.clone(), beat);
        drop(beats);
        if is_news {
            self.news.notify_one();
        }
    }

    /// Takes a node's lease away: it has said that it leaves.
    pub fn end_lease(&self, node: &str) {
        self.lock().remove(node);
        self.news.notify_one();
    }

    /// Completes when a heartbeat has said something new.
    pub async fn changed(&self) {
        self.news.notified().await;
    }

    /// Forgets what nodes said that are not known any more. One that has just beaten is about to be.
    pub fn forget_strangers(&self, state: &ClusterState, lease: Duration) {
        self.lock().retain(|name, beat| state.nodes.contains_key(name) || beat.at.elapsed() < lease);
    }

    /// Gives every node that is up a fresh lease, and forgets what others were told.
    pub fn grant_all(&self, state: &ClusterState) {
        let mut beats = self.lock();
        beats.clear();
        for (name, record) in &state.nodes {
            if record.info.as_ref().is_some_and(|info| info.health() == NodeHealth::Up) {
                beats.insert(name.clone(), Beat::silent());
            }
        }
    }

    /// Gives a node a lease before anything is known of what it has loaded.
    pub fn grant(&self, node: &str) {
        self.lock().insert(node.to_owned(), Beat::silent());
    }

    /// Whether a node has said something to this leader within its lease: a lease that a new leader gave is no sign of it.
    pub fn is_heard_of(&self, node: &str, lease: Duration) -> bool {
        self.lock().get(node).is_some_and(|beat| beat.loaded.is_some() && beat.at.elapsed() < lease)
    }

    /// Whether a node has a lease, from a heartbeat or from a new leader.
    pub fn has_lease(&self, node: &str, lease: Duration) -> bool {
        self.lock().get(node).is_some_and(|beat| beat.at.elapsed() < lease)
    }

    /// Whether a node has surely sent a heartbeat after a moment. One that comes after it may have been on its way; the next
    /// was sent after that one was answered.
    pub fn has_beaten_since(&self, node: &str, moment: Instant) -> bool {
        let previous_at = self.lock().get(node).and_then(|beat| beat.previous_at);
        previous_at.is_some_and(|at| at > moment)
    }

    /// What a node said last.
    pub fn last(&self, node: &str) -> Option<Beat> {
        self.lock().get(node).cloned()
    }

    /// The workers with a lease, by name.
    pub fn live_workers(&self, state: &ClusterState, lease: Duration) -> Vec<LiveWorker> {
        let live = |info: &&NodeInfo| info.role() == NodeRole::Worker && self.has_lease(&info.name, lease);
        let infos = state.nodes.values().filter_map(|record| record.info.as_ref());
        infos
            .filter(live)
            .map(|info| LiveWorker {
                name: info.name.clone(),
                address: info.address.clone(),
                threads: info.threads,
            })
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Beat>> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::NodeRecord;

    use super::*;

    fn node(name: &str, health: NodeHealth) -> (String, NodeRecord) {
        let info = NodeInfo {
            name: name.to_owned(),
            role: NodeRole::Worker.into(),
            health: health.into(),
            ..NodeInfo::default()
        };
        (name.to_owned(), NodeRecord { info: Some(info), ..NodeRecord::default() })
    }

    #[tokio::test]
    async fn a_new_term_knows_nothing_of_what_was_heard_before() {
        let lease = Duration::from_secs(10);
        let members = Members::default();
        for name in ["up", "down", "gone"] {
            members.beat(&HeartbeatRequest { node: name.to_owned(), ..HeartbeatRequest::default() });
        }
        let nodes = [node("up", NodeHealth::Up), node("down", NodeHealth::Down)].into();
        let state = ClusterState { nodes, ..ClusterState::default() };
        members.grant_all(&state);
        let live: Vec<String> =
            members.live_workers(&state, lease).into_iter().map(|live| live.name).collect();
        assert_eq!(live, ["up"]);
        let beat = members.last("up").unwrap();
        assert_eq!((beat.previous_at, beat.loaded), (None, None));
        assert!(members.last("down").is_none() && members.last("gone").is_none());
    }
}
