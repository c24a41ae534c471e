//! The state of a cluster and of its nodes.

use std::collections::BTreeMap;

use serde::Serialize;
use shoal_common::{
    readable::short_name,
    replication::{VersionReplication, WorkerShards, replication, shards_by_worker},
    rules,
};
use shoal_proto::v1::{
    ClusterStatus, CoordinatorStatus, NodeInfo, NodeLoss, NodeReport, NodeRole, NodeStatus, Protection,
    ServedModel, UnreachableWorker,
};
use utoipa::ToSchema;

use super::{iso_time, text};

/// The whole cluster as its leader sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClusterState {
    cluster_id: String,
    /// Whether other machines reach a node that does not ask who calls.
    insecure: bool,
    /// Of the raft group.
    term: u64,
    commit_index: u64,
    applied_index: u64,
    coordinators: Vec<CoordinatorState>,
    /// Workers and routers.
    nodes: Vec<NodeState>,
    /// Of the default model.
    live_version: Option<String>,
    previous_version: Option<String>,
    promoting_version: Option<String>,
    default_model: Option<String>,
    models: Vec<LiveModel>,
    shards: ShardCounts,
    /// Workers that are to serve each shard.
    replicas_asked: Option<u32>,
    /// Every version that workers are to hold.
    versions: Vec<VersionShards>,
    /// Workers that send heartbeats and that jobs go on without.
    unreachable: Vec<WorkerUnreached>,
}

impl From<&ClusterStatus> for ClusterState {
    fn from(status: &ClusterStatus) -> Self {
        let metadata = status.metadata.clone().unwrap_or_default();
        let shards = shards_by_worker(&metadata);
        let node = |info: &NodeInfo| NodeState::new(info, known_of(status, &info.name), &shards);
        let versions = replication(&metadata, status.replicas_asked.max(1));
        Self {
            cluster_id: status.cluster_id.clone(),
            insecure: !unprotected(status).is_empty(),
            term: status.term,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            coordinators: status.coordinators.iter().map(CoordinatorState::from).collect(),
            nodes: metadata.nodes.iter().map(node).collect(),
            live_version: text(&metadata.live_version),
            previous_version: text(&metadata.previous_version),
            promoting_version: text(&metadata.promoting_version),
            default_model: text(&metadata.default_model),
            models: metadata.served.iter().map(LiveModel::from).collect(),
            shards: ShardCounts {
                total: status.shards_total,
                served: status.shards_served,
                fully_replicated: status.shards_fully_replicated,
            },
            replicas_asked: (status.replicas_asked > 0).then_some(status.replicas_asked),
            versions: versions.iter().map(|of| VersionShards::new(of, status)).collect(),
            unreachable: status.unreachable.iter().map(WorkerUnreached::from).collect(),
        }
    }
}

/// What the leader knows of a node beside the metadata.
pub(super) fn known_of<'a>(status: &'a ClusterStatus, node: &str) -> Option<&'a NodeStatus> {
    status.node_status.iter().find(|known| known.node == node)
}

/// Shards of the live version of the default model, of both sides.
#[derive(Debug, Serialize, ToSchema)]
struct ShardCounts {
    total: u32,
    served: u32,
    fully_replicated: u32,
}

/// What is served of a model.
#[derive(Debug, Serialize, ToSchema)]
struct LiveModel {
    model: String,
    live_version: Option<String>,
    /// Stays loaded, so that a rollback is instant.
    previous_version: Option<String>,
    promoting_version: Option<String>,
}

impl From<&ServedModel> for LiveModel {
    fn from(served: &ServedModel) -> Self {
        Self {
            model: served.model.clone(),
            live_version: text(&served.live_version),
            previous_version: text(&served.previous_version),
            promoting_version: text(&served.promoting_version),
        }
    }
}

/// What a node says of itself.
#[derive(Debug, Serialize, ToSchema)]
struct Said {
    /// Of the release that runs.
    version: Option<String>,
    started: Option<String>,
    /// Of the file system with the node's folder.
    disk_free_bytes: Option<u64>,
    disk_size_bytes: Option<u64>,
    certificate_expires: Option<String>,
}

impl Said {
    fn of(report: Option<&NodeReport>) -> Self {
        let report = report.cloned().unwrap_or_default();
        let bytes = |value: u64| (report.disk_size_bytes > 0).then_some(value);
        Self {
            version: text(&report.version),
            started: iso_time(report.started_unix_ms),
            disk_free_bytes: bytes(report.disk_free_bytes),
            disk_size_bytes: bytes(report.disk_size_bytes),
            certificate_expires: iso_time(report.certificate_expires_unix_ms),
        }
    }
}

/// A member of the raft group.
#[derive(Debug, Serialize, ToSchema)]
struct CoordinatorState {
    raft_id: u64,
    address: String,
    leader: bool,
    /// The last index of the log that it is known to hold; 0 if it was not heard of.
    matched: u64,
    recently_active: bool,
    /// `certificates`, `loopback`, `none` or `encryption`.
    protection: Option<String>,
    #[serde(flatten)]
    said: Said,
}

impl From<&CoordinatorStatus> for CoordinatorState {
    fn from(member: &CoordinatorStatus) -> Self {
        Self {
            raft_id: member.raft_id,
            address: member.address.clone(),
            leader: member.leader,
            matched: member.matched,
            recently_active: member.recently_active,
            protection: protection_name(member.protection()),
            said: Said::of(member.report.as_ref()),
        }
    }
}

/// A worker or router.
#[derive(Debug, Serialize, ToSchema)]
struct Node {
    name: String,
    /// `worker` or `router`.
    role: String,
    address: String,
    /// `up` or `down`.
    health: String,
    threads: u32,
    /// `certificates`, `loopback`, `none` or `encryption`.
    protection: Option<String>,
}

impl From<&NodeInfo> for Node {
    fn from(node: &NodeInfo) -> Self {
        Self {
            name: node.name.clone(),
            role: short_name(node.role().as_str_name(), "NODE_ROLE_"),
            address: node.address.clone(),
            health: short_name(node.health().as_str_name(), "NODE_HEALTH_"),
            threads: node.threads,
            protection: protection_name(node.protection()),
        }
    }
}

/// A worker or router, with what it says of itself.
#[derive(Debug, Serialize, ToSchema)]
struct NodeState {
    #[serde(flatten)]
    node: Node,
    #[serde(flatten)]
    said: Said,
    down_since: Option<String>,
    /// Why it is down: `lease_expired` or `left`.
    loss: Option<&'static str>,
    /// What it waits for before it can do its work.
    waits_for: Option<String>,
    /// Of a worker.
    shards: Option<NodeShards>,
    /// Of a worker: bytes of the files that it has mapped for what it serves.
    served_bytes: Option<u64>,
    /// Of a worker: why it cannot load a version, by version.
    load_errors: Option<BTreeMap<String, String>>,
    /// Of a router: where HTTP clients call.
    http_address: Option<String>,
}

impl NodeState {
    fn new(info: &NodeInfo, known: Option<&NodeStatus>, shards: &BTreeMap<String, WorkerShards>) -> Self {
        let report = known.and_then(|known| known.report.as_ref());
        let is_worker = info.role() == NodeRole::Worker;
        let of_worker = shards.get(&info.name).copied().unwrap_or_default();
        let errors = || known.map(|known| known.load_errors.clone().into_iter().collect());
        Self {
            node: info.into(),
            said: Said::of(report),
            down_since: iso_time(known.map_or(0, |known| known.down_since_unix_ms)),
            loss: known.and_then(|known| loss_name(known.loss())),
            waits_for: report.and_then(|report| text(&report.waits_for)),
            shards: is_worker.then_some(NodeShards { placed: of_worker.placed, ready: of_worker.ready }),
            served_bytes: report.filter(|_| is_worker).map(|report| report.served_bytes),
            load_errors: is_worker.then(|| errors().unwrap_or_default()),
            http_address: report.filter(|_| !is_worker).and_then(|report| text(&report.http_address)),
        }
    }
}

/// The shards of a worker, of all versions.
#[derive(Debug, Serialize, ToSchema)]
struct NodeShards {
    /// Placed on it.
    placed: u32,
    /// Placed on it, and ready.
    ready: u32,
}

/// How the shards of a version are spread over workers.
#[derive(Debug, Serialize, ToSchema)]
struct VersionShards {
    version: String,
    model: String,
    /// `live`, `promoting` or `previous`.
    serves: &'static str,
    /// Of both sides.
    shards: u32,
    /// Ready on a worker that is up.
    served: u32,
    /// Ready on as many workers as are asked for.
    replicated: u32,
    /// Why fewer are, a half sentence each.
    why: Vec<String>,
}

impl VersionShards {
    fn new(of: &VersionReplication, status: &ClusterStatus) -> Self {
        Self {
            version: of.version.clone(),
            model: of.model.clone(),
            serves: of.serves.name(),
            shards: of.shards,
            served: of.served,
            replicated: of.replicated,
            why: if of.under_replicated() > 0 { rules::reasons(of, status).0 } else { Vec::new() },
        }
    }
}

/// A worker that sends heartbeats and is not reached.
#[derive(Debug, Serialize, ToSchema)]
struct WorkerUnreached {
    worker: String,
    reason: String,
    since: Option<String>,
}

impl From<&UnreachableWorker> for WorkerUnreached {
    fn from(worker: &UnreachableWorker) -> Self {
        Self {
            worker: worker.node.clone(),
            reason: worker.reason.clone(),
            since: iso_time(worker.since_unix_ms),
        }
    }
}

/// A node that has registered.
#[derive(Debug, Serialize, ToSchema)]
pub struct KnownNode {
    #[serde(flatten)]
    node: Node,
    down_since: Option<String>,
    /// Shards of served data sets that are placed on it.
    placed_shards: u32,
    /// Why it is down: `lease_expired` or `left`.
    loss: Option<&'static str>,
}

impl From<&shoal_proto::v1::KnownNode> for KnownNode {
    fn from(known: &shoal_proto::v1::KnownNode) -> Self {
        Self {
            node: (&known.info.clone().unwrap_or_default()).into(),
            down_since: iso_time(known.down_since_unix_ms),
            placed_shards: known.placed_shards,
            loss: loss_name(known.loss()),
        }
    }
}

/// What stands between a node and whoever can reach it; nothing where it does not say.
fn protection_name(protection: Protection) -> Option<String> {
    match protection {
        Protection::Unspecified => None,
        known => Some(short_name(known.as_str_name(), "PROTECTION_")),
    }
}

/// Why a node is down; nothing where it is up, or nobody has noted it.
fn loss_name(loss: NodeLoss) -> Option<&'static str> {
    match loss {
        NodeLoss::Unspecified => None,
        NodeLoss::LeaseExpired => Some("lease_expired"),
        NodeLoss::Left => Some("left"),
    }
}

/// The nodes that other machines reach and that do not ask who calls, by their names.
#[must_use]
pub fn unprotected(status: &ClusterStatus) -> Vec<String> {
    let is_open = |protection: Protection| matches!(protection, Protection::None | Protection::Encryption);
    let coordinators = status.coordinators.iter().filter(|member| is_open(member.protection()));
    let coordinators = coordinators.map(|member| format!("coordinator {}", member.raft_id));
    let nodes = status.metadata.iter().flat_map(|metadata| &metadata.nodes);
    let nodes = nodes.filter(|node| is_open(node.protection())).map(|node| node.name.clone());
    coordinators.chain(nodes).collect()
}
