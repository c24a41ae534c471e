//! Follows the coordinators: keeps the newest snapshot and goes on with the last one when no
//! coordinator answers. Says by heartbeats that this router is there.

use std::{sync::Arc, time::Duration};

use shoal_common::{
    rpc::{Channels, LeaderClient},
    shutdown::Shutdown,
};
use shoal_proto::v1::{HeartbeatRequest, Metadata, NodeRole, WatchMetadataRequest};
use tokio::sync::watch;
use tonic::Status;

use crate::{replicas::Replicas, snapshot::Snapshot};

const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long one call may look for the leader.
const LEADER_PATIENCE: Duration = Duration::from_secs(2);
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(1);

/// What a watcher needs to know.
#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// The cluster's id.
    pub cluster_id: String,
    /// This router's name.
    pub node: String,
    /// Where it can be called.
    pub address: String,
    /// Drawn at each start.
    pub incarnation: u64,
    /// The coordinators' addresses.
    pub coordinators: Vec<String>,
}

/// Starts following; the receiver always has the newest snapshot, which is empty at first.
#[must_use]
pub fn start(config: WatchConfig, channels: Channels, shutdown: &Shutdown) -> watch::Receiver<Arc<Snapshot>> {
    let leader = LeaderClient::new(channels, config.coordinators.clone());
    let (sender, receiver) = watch::channel(Arc::default());
    let follower =
        Follower { config: config.clone(), leader: leader.clone(), replicas: Replicas::default(), sender };
    let (stop, stop_beats) = (shutdown.clone(), shutdown.clone());
    shutdown.spawn("metadata watch", follower.run(stop));
    shutdown.spawn("heartbeats", beat(config, leader, stop_beats));
    receiver
}

struct Follower {
    config: WatchConfig,
    leader: LeaderClient,
    replicas: Replicas,
    sender: watch::Sender<Arc<Snapshot>>,
}

impl Follower {
    async fn run(self, stop: Shutdown) {
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => return,
                status = self.follow() => {
                    tracing::debug!(%status, "the metadata watch ended, going on with the last snapshot");
                }
            }
            tokio::select! {
                biased;
                () = stop.requested() => return,
                () = tokio::time::sleep(RETRY_PAUSE) => {}
            }
        }
    }

    /// One watch, until it breaks.
    async fn follow(&self) -> Status {
        let request = WatchMetadataRequest {
            cluster_id: self.config.cluster_id.clone(),
            node: self.config.node.clone(),
        };
        let watched = self.leader.call(LEADER_PATIENCE, |mut client| {
            let request = request.clone();
            async move { client.watch_metadata(request).await }
        });
        let mut updates = match watched.await {
            Ok(updates) => updates.into_inner(),
            Err(status) => return status,
        };
        loop {
            match updates.message().await {
                Ok(Some(metadata)) => self.take(&metadata),
                Ok(None) => return Status::unavailable("the leader has changed"),
                Err(status) => return status,
            }
        }
    }

    fn take(&self, metadata: &Metadata) {
        let known = self.sender.borrow().revision;
        if metadata.cluster_id != self.config.cluster_id || (metadata.leader_term, metadata.revision) <= known
        {
            return;
        }
        let snapshot = Snapshot::new(metadata, &self.replicas);
        metrics::gauge!("shoal_router_metadata_revision").set(metadata.revision as f64);
        metrics::gauge!("shoal_router_workers_up").set(snapshot.workers_up as f64);
        let before = self.sender.borrow().live.as_ref().map(|live| live.version.name.clone());
        match &snapshot.live {
            Some(live) if before.as_ref() != Some(&live.version.name) => {
                if let Some(before) = before {
                    metrics::gauge!("shoal_router_live_version_info", "version" => before).set(0.0);
                }
                metrics::gauge!("shoal_router_live_version_info", "version" => live.version.name.clone())
                    .set(1.0);
                tracing::info!(
                    version = live.version.name,
                    dataset = live.dataset.name,
                    users = live.dataset.users,
                    movies = live.dataset.items,
                    shards = live.shards_total(),
                    "serving"
                );
            }
            _ => {}
        }
        self.sender.send_replace(Arc::new(snapshot));
    }
}

async fn beat(config: WatchConfig, leader: LeaderClient, stop: Shutdown) {
    loop {
        let request = HeartbeatRequest {
            cluster_id: config.cluster_id.clone(),
            node: config.node.clone(),
            role: NodeRole::Router.into(),
            address: config.address.clone(),
            incarnation: config.incarnation,
            ..HeartbeatRequest::default()
        };
        let beat = leader.call(LEADER_PATIENCE, |mut client| {
            let request = request.clone();
            async move { client.heartbeat(request).await }
        });
        let pause = tokio::select! {
            biased;
            () = stop.requested() => return,
            reply = beat => match reply {
                Ok(reply) => Duration::from_millis(u64::from(reply.into_inner().lease_ms) / 3),
                Err(_) => HEARTBEAT_DEFAULT,
            },
        };
        tokio::select! {
            biased;
            () = stop.requested() => return,
            () = tokio::time::sleep(pause.max(Duration::from_millis(50))) => {}
        }
    }
}
