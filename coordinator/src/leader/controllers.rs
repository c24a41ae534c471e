//! The controllers: node health, placement, promotion. One pass looks at each and proposes what is missing.

use shoal_common::access::TokenUse;
use shoal_proto::v1::{
    AddToken, DatasetInfo, ForgetNode, ModelVersion, NodeHealth, NodeInfo, NodeLoss, NodeRecord, NodeRole,
    Placement, PromoteCommit, PromoteStart, ServedModel, ShardReplicas, Side, TokenInfo, UseTokens,
    metadata_command::Command,
};

use super::handle::Leader;
use crate::{placement::place, state::ClusterState};

/// The command that writes uses down, by the last of their days.
fn used_today(uses: &[TokenUse]) -> Option<Command> {
    let unix_day = uses.iter().map(|(_, day)| *day).max()?;
    let ids = uses.iter().map(|(id, _)| id.clone()).collect();
    Some(Command::UseTokens(UseTokens { ids, unix_day }))
}

/// A node that has been down for a day is forgotten.
const FORGET_AFTER_MS: i64 = 24 * 60 * 60 * 1_000;

impl Leader {
    /// One pass. What cannot be proposed now is seen again in the next.
    pub(super) async fn reconcile(&self, state: &ClusterState) {
        self.members.forget_strangers(state, self.config.lease);
        let mut commands = self.expired_leases(state);
        commands.extend(self.gone_nodes(state));
        commands.extend(self.placements(state));
        commands.extend(self.promotions(state));
        commands.extend(pending_promotions(state));
        commands.extend(self.first_token(state));
        let used = self.used_tokens(state);
        commands.extend(used_today(&used));
        for command in commands {
            if let Err(error) = self.command(command).await {
                tracing::debug!(%error, "a controller's command was not carried out");
                return;
            }
        }
        self.token_uses.written(&used);
    }

    /// The token of a cluster that has never had one.
    fn first_token(&self, state: &ClusterState) -> Option<Command> {
        let token = self.config.first_token.clone().filter(|_| !state.had_tokens)?;
        tracing::info!(token = token.id, "the cluster has never had a token, its first one is made good");
        let created_unix_ms = self.clock.now_unix_ms();
        let token = TokenInfo { created_unix_ms, ..token };
        Some(Command::AddToken(AddToken { token: Some(token), first: true }))
    }

    /// Uses of tokens of which the registry does not know. One that was revoked meanwhile is of no interest.
    fn used_tokens(&self, state: &ClusterState) -> Vec<TokenUse> {
        let (news, others): (Vec<TokenUse>, Vec<TokenUse>) =
            self.token_uses.pending().into_iter().partition(|(id, day)| {
                state.tokens.get(id).is_some_and(|token| token.last_used_unix_day < *day)
            });
        self.token_uses.written(&others);
        news
    }

    /// Nodes that were up and have not been heard of.
    fn expired_leases(&self, state: &ClusterState) -> Vec<Command> {
        let expired = state.nodes.values().filter_map(|record| record.info.as_ref()).filter(|info| {
            info.health() == NodeHealth::Up && !self.members.has_lease(&info.name, self.config.lease)
        });
        let down = |info: &NodeInfo| {
            tracing::warn!(node = info.name, "lease expired");
            let mut info = info.clone();
            info.set_health(NodeHealth::Down);
            Command::UpsertNode(NodeRecord {
                info: Some(info),
                down_since_unix_ms: self.clock.now_unix_ms(),
                loss: NodeLoss::LeaseExpired.into(),
            })
        };
        expired.map(down).collect()
    }

    /// Nodes that have been down for so long that they will not come back, and that no shard waits for.
    fn gone_nodes(&self, state: &ClusterState) -> Vec<Command> {
        let now = self.clock.now_unix_ms();
        let placed = state.placed_nodes();
        let is_gone = |(name, record): &(&String, &NodeRecord)| {
            let down = record.info.as_ref().is_some_and(|info| info.health() == NodeHealth::Down);
            down && now.saturating_sub(record.down_since_unix_ms) >= FORGET_AFTER_MS && !placed.contains(name)
        };
        let gone = state.nodes.iter().filter(is_gone);
        gone.map(|(name, _)| Command::ForgetNode(ForgetNode { name: name.clone() })).collect()
    }

    /// Placements of the wanted versions' data sets that are missing or name workers that have been gone for long.
    fn placements(&self, state: &ClusterState) -> Vec<Command> {
        let workers = self.placeable_workers(state);
        if workers.is_empty() {
            return Vec::new();
        }
        let mut changed = Vec::new();
        for version in state.wanted_versions() {
            let key = (version.dataset_name.clone(), version.dataset_version.clone());
            let Some(dataset) = state.datasets.get(&key) else { continue };
            let current = state.placements.get(&key);
            let placement = place(dataset, &workers, self.config.replicas, current);
            if current != Some(&placement) && !changed.contains(&placement) {
                changed.push(placement);
            }
        }
        changed.into_iter().map(Command::SetPlacement).collect()
    }

    /// Workers that are up, or have not been down for long enough to be replaced.
    fn placeable_workers(&self, state: &ClusterState) -> Vec<String> {
        let now = self.clock.now_unix_ms();
        let patience = i64::try_from(self.config.replace_after.as_millis()).unwrap_or(i64::MAX);
        let placeable = |record: &&NodeRecord| {
            let info = record.info.clone().unwrap_or_default();
            let up = info.health() == NodeHealth::Up;
            info.role() == NodeRole::Worker
                && (up || now.saturating_sub(record.down_since_unix_ms) < patience)
        };
        let workers = state.nodes.values().filter(placeable);
        workers.filter_map(|record| record.info.as_ref().map(|info| info.name.clone())).collect()
    }

    /// The switches that can be made.
    fn promotions(&self, state: &ClusterState) -> Vec<Command> {
        state.served.values().filter_map(|served| self.promotion(state, served)).collect()
    }

    /// The switch to a version that every placed worker has ready.
    fn promotion(&self, state: &ClusterState, served: &ServedModel) -> Option<Command> {
        let version = state.versions.get(&served.promoting_version)?;
        let placement =
            state.placements.get(&(version.dataset_name.clone(), version.dataset_version.clone()))?;
        let ready = placement.shards.iter().all(|shard| self.is_ready(state, version, shard));
        (ready && !placement.shards.is_empty())
            .then(|| Command::PromoteCommit(PromoteCommit { version: version.name.clone() }))
    }

    /// Whether every replica that is up has the shard ready, and at least one is.
    fn is_ready(&self, state: &ClusterState, version: &ModelVersion, shard: &ShardReplicas) -> bool {
        let up = |node: &&String| {
            let record = state.nodes.get(*node).and_then(|record| record.info.as_ref());
            record.is_some_and(|info| info.health() == NodeHealth::Up)
        };
        let mut replicas = shard.nodes.iter().filter(up).peekable();
        replicas.peek().is_some()
            && replicas.all(|node| self.has_ready(node, &version.name, shard.side(), shard.shard))
    }

    /// Whether a worker has reported a shard of a version as ready.
    #[must_use]
    pub fn has_ready(&self, node: &str, version: &str, side: Side, shard: u32) -> bool {
        let Some(beat) = self.members.last(node) else { return false };
        let loaded = beat.loaded.iter().flatten().find(|loaded| loaded.version == version);
        loaded.is_some_and(|loaded| {
            let shards = if side == Side::Items { &loaded.item_shards } else { &loaded.user_shards };
            shards.contains(&shard)
        })
    }

    /// Why workers cannot load a version, one sentence per worker.
    #[must_use]
    pub fn load_errors(&self, state: &ClusterState, version: &str) -> Vec<String> {
        let error = |node: &String| {
            let error = self.members.last(node)?.load_errors.get(version)?.clone();
            Some(format!("{node}: {error}"))
        };
        state.nodes.keys().filter_map(error).collect()
    }

    /// Shards of the default model's live version: all, with a ready replica, with every replica ready.
    #[must_use]
    pub fn served_shards(&self, state: &ClusterState) -> (u32, u32, u32) {
        let live = state.versions.get(&state.served_by_default().live_version);
        let Some((version, placement)) = live.and_then(|version| {
            let key = (version.dataset_name.clone(), version.dataset_version.clone());
            Some((version, state.placements.get(&key)?))
        }) else {
            let total = live
                .and_then(|version| dataset_of(state, version))
                .map_or(0, |dataset| 2 * dataset.shard_count);
            return (total, 0, 0);
        };
        let ready = |shard: &ShardReplicas, node: &String| {
            self.members.has_lease(node, self.config.lease)
                && self.has_ready(node, &version.name, shard.side(), shard.shard)
        };
        let count = |all: bool| {
            let served = placement.shards.iter().filter(|shard| {
                let mut nodes = shard.nodes.iter();
                if all { nodes.all(|node| ready(shard, node)) } else { nodes.any(|node| ready(shard, node)) }
            });
            served.count() as u32
        };
        (shards_of(placement), count(false), count(true))
    }
}

fn shards_of(placement: &Placement) -> u32 {
    placement.shards.len() as u32
}

fn dataset_of<'a>(state: &'a ClusterState, version: &ModelVersion) -> Option<&'a DatasetInfo> {
    state.datasets.get(&(version.dataset_name.clone(), version.dataset_version.clone()))
}

/// Trainings that have made a version and were to promote it.
fn pending_promotions(state: &ClusterState) -> Vec<Command> {
    let pending = state.jobs.values().filter(|job| job.promote_pending).map(|job| &job.info);
    let made = pending.filter(|info| state.versions.contains_key(&info.model_version));
    made.map(|info| {
        let version = info.model_version.clone();
        Command::PromoteStart(PromoteStart { version, make_default: false })
    })
    .collect()
}
