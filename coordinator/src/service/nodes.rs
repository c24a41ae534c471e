//! Nodes: who says that it is there, who is known, and who is forgotten.
//!
//! What a heartbeat says is kept in the leader's memory, in the registry and in the metadata of everybody: it is bounded
//! before it gets there.

use std::sync::Arc;

use shoal_common::{
    audit::{Entry, Outcome, Who},
    ids::SHARDS_MAX,
    plain_text::{NodeAddress, NodeName},
};
use shoal_proto::v1::{
    ForgetNode, HeartbeatReply, HeartbeatRequest, KnownNode, LoadedVersion, NodeHealth, NodeInfo, NodeLoss,
    NodeRecord, NodeRole, NodeStatus, metadata_command::Command,
};
use tonic::Status;

use super::{audited::audited, member::CoordinatorService};
use crate::state::{ClusterState, NODES_MAX, TOKENS_MAX};

/// Versions of which a node says that it has shards, or that it cannot load them: each model has up to three, and blends
/// have theirs.
const VERSIONS_MAX: usize = 256;

/// Characters of a version's name.
const VERSION_NAME_MAX: usize = 128;

impl CoordinatorService {
    pub(super) async fn beat(&self, request: HeartbeatRequest, who: Who) -> Result<HeartbeatReply, Status> {
        self.check_cluster(&request.cluster_id)?;
        self.check_leads()?;
        let info = described(&request)?;
        let record = self.leader.raft.view().borrow().nodes.get(&info.name).cloned();
        let known = record.as_ref().and_then(|record| record.info.as_ref());
        self.check_only_of_its_name(known, &info).inspect_err(|status| {
            let mut entry = Entry::new("register_node", who.clone(), Outcome::refused(status.message()));
            entry.add("node", &info.name);
            self.leader.audit.refuse(entry);
        })?;
        if request.leaving {
            return self.leave(request, record, who).await;
        }
        if has_left(record.as_ref(), &info) {
            // A heartbeat that was on its way when the node left.
            return Ok(self.heartbeat_reply());
        }
        let is_new = record.is_none();
        let _place = if is_new { Some(self.place_of_node()?) } else { None };
        if record.and_then(|record| record.info).as_ref() != Some(&info) {
            // The lease comes before the node is made known: the controllers look as soon as the command is applied, and
            // would take a node that is up without a lease for one that was lost. What it has loaded comes after: until
            // then routers would ask for it where the node was before.
            self.leader.members.grant(&info.name);
            let noted = self.leader.audit.begin("register_node", who);
            let noted = noted.of("node", &info.name).of("address", &info.address);
            let record = NodeRecord { info: Some(info), ..NodeRecord::default() };
            audited(noted, self.command(Command::UpsertNode(record))).await?;
        }
        self.leader.members.beat(&request);
        self.note_used_tokens(&request.used_tokens);
        Ok(self.heartbeat_reply())
    }

    fn heartbeat_reply(&self) -> HeartbeatReply {
        let lease_ms = u32::try_from(self.leader.config.lease.as_millis()).unwrap_or(u32::MAX);
        let metadata_revision = self.leader.metadata().borrow().revision;
        HeartbeatReply { lease_ms, metadata_revision }
    }

    /// A node's last heartbeat: it is down from now on, and everybody is told so before it is gone. One that is not known has
    /// nothing to leave, and one that was started anew meanwhile stays.
    async fn leave(
        &self,
        request: HeartbeatRequest,
        record: Option<NodeRecord>,
        who: Who,
    ) -> Result<HeartbeatReply, Status> {
        let known = record
            .and_then(|record| record.info)
            .filter(|info| info.incarnation == request.incarnation && info.health() == NodeHealth::Up);
        if let Some(mut info) = known {
            info.set_health(NodeHealth::Down);
            self.note_used_tokens(&request.used_tokens);
            let noted = self.leader.audit.begin("node_left", who).of("node", &info.name);
            let (name, now) = (info.name.clone(), self.leader.clock.now_unix_ms());
            let record =
                NodeRecord { info: Some(info), down_since_unix_ms: now, loss: NodeLoss::Left.into() };
            audited(noted, self.command(Command::UpsertNode(record))).await?;
            tracing::info!(node = name, "the node has left");
            self.leader.members.end_lease(&name);
        }
        Ok(self.heartbeat_reply())
    }

    /// What is known of nodes beside the metadata.
    pub(super) fn node_status(&self, state: &ClusterState) -> Vec<NodeStatus> {
        let status = |(name, record): (&String, &NodeRecord)| {
            let beat = self.leader.members.last(name);
            let (report, load_errors) = beat.map(|beat| (beat.report, beat.load_errors)).unwrap_or_default();
            NodeStatus {
                node: name.clone(),
                report,
                down_since_unix_ms: record.down_since_unix_ms,
                loss: record.loss,
                load_errors: load_errors.into_iter().collect(),
            }
        };
        state.nodes.iter().map(status).collect()
    }

    /// Two nodes of one name would take each other's place with every heartbeat. The second is refused for as long as the
    /// first is heard of; one that was started anew where the other was has ended it.
    fn check_only_of_its_name(&self, known: Option<&NodeInfo>, info: &NodeInfo) -> Result<(), Status> {
        let Some(known) = known else { return Ok(()) };
        let is_another = known.incarnation != info.incarnation && known.address != info.address;
        if is_another && self.leader.members.is_heard_of(&known.name, self.leader.config.lease) {
            return Err(Status::already_exists(format!(
                "a node called '{}' is already there, at {}; give this one another node.name, or stop that one",
                known.name, known.address
            )));
        }
        Ok(())
    }

    /// What a router says of tokens is kept of those that there are.
    fn note_used_tokens(&self, ids: &[String]) {
        let (view, now) = (self.leader.raft.view(), self.leader.clock.now_unix_ms());
        let state = Arc::clone(&view.borrow());
        for id in ids.iter().take(TOKENS_MAX).filter(|id| state.tokens.contains_key(*id)) {
            self.leader.token_uses.note(id, now);
        }
    }

    fn place_of_node(&self) -> Result<super::places::Place, Status> {
        let known = self.leader.raft.view().borrow().nodes.len();
        self.nodes.take(known, NODES_MAX).ok_or_else(|| {
            Status::resource_exhausted(format!(
                "{NODES_MAX} nodes are known, as many as may be; `shoal nodes list` shows them, and `shoal nodes forget NAME` makes room of one that is down"
            ))
        })
    }

    pub(super) async fn known_nodes(&self) -> Result<Vec<KnownNode>, Status> {
        let state = self.read().await?;
        let nodes = state.nodes.iter().map(|(name, record)| KnownNode {
            info: record.info.clone(),
            down_since_unix_ms: record.down_since_unix_ms,
            placed_shards: placed_shards(&state, name),
            loss: record.loss,
        });
        Ok(nodes.collect())
    }

    pub(super) async fn forget(&self, name: String) -> Result<(), Status> {
        // A name that nobody has makes no command.
        if !self.read().await?.nodes.contains_key(&name) {
            return Err(Status::not_found(format!(
                "there is no node '{}'; `shoal nodes list` shows those there are",
                name.chars().take(VERSION_NAME_MAX).collect::<String>().escape_debug()
            )));
        }
        self.command(Command::ForgetNode(ForgetNode { name })).await.map(drop)
    }
}

/// Whether this very process has said that it leaves.
fn has_left(record: Option<&NodeRecord>, info: &NodeInfo) -> bool {
    record.is_some_and(|record| {
        record.loss() == NodeLoss::Left
            && record.info.as_ref().is_some_and(|known| known.incarnation == info.incarnation)
    })
}

fn placed_shards(state: &ClusterState, node: &String) -> u32 {
    let shards = state.placements.values().flat_map(|placement| &placement.shards);
    shards.filter(|shard| shard.nodes.contains(node)).count() as u32
}

/// The node that a heartbeat is of, where everything that it says can be kept.
fn described(request: &HeartbeatRequest) -> Result<NodeInfo, Status> {
    let invalid = |reason: String| Status::invalid_argument(reason);
    let name = NodeName::new(request.node.as_str());
    let name = name.map_err(|wrong| invalid(format!("the name of the node: {wrong}")))?;
    let address = NodeAddress::new(request.address.as_str());
    let address = address.map_err(|wrong| invalid(format!("the address of node '{name}': {wrong}")))?;
    if !matches!(request.role(), NodeRole::Worker | NodeRole::Router) {
        return Err(invalid(format!("node '{name}' is neither a worker nor a router")));
    }
    let names = request.loaded.iter().map(|loaded| &loaded.version).chain(request.load_errors.keys());
    let are_short = names.into_iter().all(|name| name.len() <= VERSION_NAME_MAX);
    let are_few = request.loaded.len() <= VERSIONS_MAX && request.load_errors.len() <= VERSIONS_MAX;
    if !are_short || !are_few || !request.loaded.iter().all(has_each_shard_once) {
        return Err(invalid(format!(
            "node '{name}' says that it has loaded what cannot be: at most {VERSIONS_MAX} versions, and each shard of one once"
        )));
    }
    Ok(NodeInfo {
        name: name.into(),
        role: request.role,
        address: address.into(),
        health: NodeHealth::Up.into(),
        incarnation: request.incarnation,
        threads: request.threads,
        protection: request.protection,
    })
}

fn has_each_shard_once(loaded: &LoadedVersion) -> bool {
    [&loaded.user_shards, &loaded.item_shards].into_iter().all(|shards| {
        let mut seen = vec![false; SHARDS_MAX as usize];
        shards
            .iter()
            .all(|&shard| seen.get_mut(shard as usize).is_some_and(|seen| !std::mem::replace(seen, true)))
    })
}
