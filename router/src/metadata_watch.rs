//! Follows the coordinators: keeps the newest snapshot and goes on with the last one when no
//! coordinator answers. Says by heartbeats that this router is there.

use std::{sync::Arc, time::Duration};

use shoal_common::{
    access::{TokenUse, TokenUses},
    health::Health,
    metadata_changes::MetadataFollower,
    model_parameters::update_metadata,
    node_report::Reporter,
    rpc::{Behind, Channels, LeaderClient, LeaderContact, with_deadline, wrong_cluster},
    shutdown::Shutdown,
    telemetry::set_info,
};
use shoal_proto::v1::{
    HeartbeatRequest, Metadata, MetadataRevision, NodeReport, NodeRole, Protection, WatchMetadataRequest,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tonic::Status;

use crate::{replicas::Replicas, snapshot::Snapshot};

const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long one call may look for the leader.
const LEADER_PATIENCE: Duration = Duration::from_secs(2);
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(1);
/// How long the last heartbeat may take: the leader may be out of reach.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
const HEARTBEAT_MIN: Duration = Duration::from_millis(50);

/// What a watcher needs to know.
#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// Id of the cluster, the same on every node.
    pub cluster_id: String,
    /// Name of this router.
    pub node: String,
    /// Where it can be called.
    pub address: String,
    /// Drawn at each start.
    pub incarnation: u64,
    /// What stands between this router and whoever can reach it.
    pub protection: Protection,
    /// The coordinators' addresses.
    pub coordinators: Vec<String>,
    /// What the router says of itself.
    pub reporter: Reporter,
}

/// Starts following, and tells of the tokens that ask; the receiver always has the newest snapshot, which is empty at first.
#[must_use]
pub fn start(
    config: WatchConfig,
    token_uses: TokenUses,
    health: Health,
    channels: Channels,
    shutdown: &Shutdown,
) -> watch::Receiver<Arc<Snapshot>> {
    let leader = LeaderClient::new(channels, config.coordinators.clone());
    let (sender, receiver) = watch::channel(Arc::default());
    let outdated = Arc::new(Notify::new());
    let follower = Follower {
        config: config.clone(),
        leader: leader.clone(),
        replicas: Replicas::default(),
        sender,
        outdated: Arc::clone(&outdated),
    };
    let pulse = Pulse { config, leader, known: receiver.clone(), outdated, token_uses, health };
    shutdown.spawn("metadata watch", follower.run(shutdown.clone()));
    shutdown.spawn("heartbeats", pulse.beat(shutdown.clone()));
    receiver
}

struct Follower {
    config: WatchConfig,
    leader: LeaderClient,
    replicas: Replicas,
    sender: watch::Sender<Arc<Snapshot>>,
    /// Notified when heartbeats say that the stream has fallen behind.
    outdated: Arc<Notify>,
}

impl Follower {
    async fn run(self, stop: Shutdown) {
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => return,
                status = self.follow() => {
                    tracing::debug!(error = status.message(), "the metadata watch ended, going on with the last snapshot");
                }
                () = self.outdated.notified() => {}
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
            takes_changes: true,
        };
        let watched = self.leader.call(LEADER_PATIENCE, |mut client| {
            let request = request.clone();
            async move { client.watch_metadata(request).await }
        });
        let mut updates = match watched.await {
            Ok(updates) => updates.into_inner(),
            Err(status) => return status,
        };
        let mut known = MetadataFollower::default();
        loop {
            match updates.message().await {
                Ok(Some(metadata)) if metadata.cluster_id != self.config.cluster_id => {
                    let status = wrong_cluster(&self.config.cluster_id, &metadata.cluster_id);
                    tracing::warn!(error = status.message(), "cannot follow the metadata");
                    return status;
                }
                Ok(Some(message)) => match known.take(message) {
                    Ok(mut metadata) => {
                        update_metadata(&mut metadata);
                        self.take(&metadata);
                    }
                    Err(gap) => {
                        tracing::warn!(error = %gap, "following the metadata anew");
                        metrics::counter!("shoal_metadata_gaps_total").increment(1);
                        return Status::data_loss(gap.to_string());
                    }
                },
                Ok(None) => return Status::unavailable("the leader has changed"),
                Err(status) => return status,
            }
        }
    }

    fn take(&self, metadata: &Metadata) {
        // A deposed leader's stream may still deliver something old.
        if (metadata.leader_term, metadata.revision) <= self.sender.borrow().revision {
            return;
        }
        let snapshot = Snapshot::new(metadata, &self.sender.borrow(), &self.replicas);
        metrics::gauge!("shoal_router_metadata_revision").set(metadata.revision as f64);
        metrics::gauge!("shoal_router_workers_up").set(snapshot.workers_up as f64);
        let before = self.sender.borrow().unknown.clone();
        for unknown in snapshot.unknown.iter().filter(|unknown| !before.contains(unknown)) {
            let (version, model) = (&unknown.version, &unknown.model);
            tracing::warn!(version, model, "a version is of a model that this release does not know");
        }
        let live = snapshot.live_versions_of_known_models();
        let live = live
            .map(|live| vec![("model", live.version.model.clone()), ("version", live.version.name.clone())]);
        set_info("shoal_router_live_version_info", live.collect());
        let before = self.sender.borrow().live.as_ref().map(|live| live.version.name.clone());
        match &snapshot.live {
            Some(live) if before.as_ref() != Some(&live.version.name) => {
                tracing::info!(
                    version = live.version.name,
                    dataset = live.dataset.name,
                    users = live.dataset.users,
                    items = live.dataset.items,
                    from = live.version.path,
                    workers = snapshot.workers_up,
                    shards_served = live.shards_served(),
                    shards = live.shards_total(),
                    "ready, serving a version"
                );
            }
            _ => {}
        }
        self.sender.send_replace(Arc::new(snapshot));
    }
}

/// What heartbeats say and compare.
struct Pulse {
    config: WatchConfig,
    leader: LeaderClient,
    /// The metadata known here, to be compared with the leader's.
    known: watch::Receiver<Arc<Snapshot>>,
    /// To notify when the leader has other metadata than we have.
    outdated: Arc<Notify>,
    /// Tokens that have asked.
    token_uses: TokenUses,
    /// What the router waits for.
    health: Health,
}

impl Pulse {
    /// Beats until asked to stop, then says that the router leaves.
    async fn beat(self, stop: Shutdown) {
        stop.token().run_until_cancelled(self.beat_on()).await;
        self.sign_off().await;
    }

    /// Says that the router leaves, so that nobody waits for its lease to expire.
    async fn sign_off(&self) {
        let snapshot = Arc::clone(&self.known.borrow());
        let request =
            HeartbeatRequest { leaving: true, ..self.request(&snapshot, &self.token_uses.pending()) };
        let said = self.leader.call(FAREWELL_MAX, |mut client| {
            let request = with_deadline(request.clone(), Instant::now() + FAREWELL_MAX, Duration::ZERO);
            async move { client.heartbeat(request).await }
        });
        if let Ok(Err(status)) = tokio::time::timeout(FAREWELL_MAX, said).await {
            tracing::warn!(error = status.message(), "no coordinator was told that this router leaves");
        }
    }

    /// Beats three times per lease, and at once when other versions are answered from: a promotion waits until the leader
    /// has heard of it.
    async fn beat_on(&self) {
        let mut pause = HEARTBEAT_DEFAULT;
        let mut behind = Behind::default();
        let mut contact = LeaderContact::default();
        let mut known = self.known.clone();
        loop {
            let snapshot = Arc::clone(&known.borrow_and_update());
            let used = self.token_uses.pending();
            let request = self.request(&snapshot, &used);
            let beat = self.leader.call(LEADER_PATIENCE, |mut client| {
                let request = with_deadline(request.clone(), Instant::now() + pause, Duration::ZERO);
                async move { Ok(client.heartbeat(request).await?.into_inner()) }
            });
            match beat.await {
                Ok(reply) => {
                    contact.made();
                    self.token_uses.written(&used);
                    let (_, known) = self.known.borrow().revision;
                    if behind.note(known, reply.metadata_revision, pause) {
                        let current = reply.metadata_revision;
                        tracing::warn!(known, current, "following the metadata anew");
                        self.outdated.notify_one();
                    }
                    pause = (Duration::from_millis(u64::from(reply.lease_ms)) / 3).max(HEARTBEAT_MIN);
                }
                Err(status) => contact.lost(&status),
            }
            tokio::select! {
                biased;
                // A switch is told of before its turn.
                switched = known.wait_for(|now| now.answers_from() != snapshot.answers_from()) => {
                    if switched.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn request(&self, snapshot: &Snapshot, used: &[TokenUse]) -> HeartbeatRequest {
        let (leader_term, revision) = snapshot.revision;
        let answers_by = Some(MetadataRevision { leader_term, revision });
        HeartbeatRequest {
            cluster_id: self.config.cluster_id.clone(),
            node: self.config.node.clone(),
            role: NodeRole::Router.into(),
            address: self.config.address.clone(),
            incarnation: self.config.incarnation,
            used_tokens: used.iter().map(|(id, _)| id.clone()).collect(),
            protection: self.config.protection.into(),
            answers_by,
            report: Some(NodeReport { waits_for: self.health.waits_for(), ..self.config.reporter.report() }),
            ..HeartbeatRequest::default()
        }
    }
}
