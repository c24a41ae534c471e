//! One coordinator process: its raft member, its services, and its leader's work when it leads.

use std::{path::Path, sync::Arc, time::Duration};

use futures::Stream;
use shoal_common::{
    access::{AcceptedCredentials, Guard, Scope, Token, TokenCheck, TokenFileError},
    audit::Audit,
    clock::Clock,
    config::{CoordinatorConfig, NodeConfig},
    health::{self, Health},
    node_report::Reporter,
    private_files,
    rpc::{Channels, MESSAGE_BYTES_MAX, tuned_server},
    shutdown::Shutdown,
    store::{Store, StoreWatch},
    tls::PeerRole,
};
use shoal_proto::v1::{TokenInfo, coordinator_server::CoordinatorServer, raft_server::RaftServer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::{
    callers::callers,
    leader::{self, Leader, LeaderConfig},
    raft::{self, LocalDisk, RaftConfig, RaftStartError, ReadError},
    service::{CoordinatorService, LeaderTokens},
    state::Metadata,
};

/// The largest request. The largest that is meant well, a version of 4,096 shards that is registered with its data set, has
/// less than half of it.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a stopping leader waits for another to take over.
const STEP_DOWN_PATIENCE: Duration = Duration::from_secs(2);

/// How often a member that cannot use its store looks whether it can.
const LOOK_AT_STORE_EVERY: Duration = Duration::from_millis(500);

/// How long one try to catch up with the group lasts.
const JOIN_RETRY: Duration = Duration::from_secs(5);

/// A coordinator cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// Its log cannot be used.
    #[error(transparent)]
    Raft(#[from] RaftStartError),
    /// The token in `coordinator.first_token_file` cannot be used.
    #[error("the token of coordinator.first_token_file cannot be used")]
    FirstToken(#[from] TokenFileError),
    /// The server of the node failed while it ran.
    #[error("the coordinator's server failed")]
    Server(#[source] tonic::transport::Error),
    /// Its raft member ended although nobody asked it to; the log says why.
    #[error("the coordinator's raft member has failed; see its log, and start it again")]
    RaftEnded,
}

/// Runs a coordinator on the connections that arrive, until told to stop; then hands leadership over
/// and returns. The caller drains `shutdown`.
///
/// # Errors
/// When the log cannot be used or the server fails.
pub async fn run<I, IO, IE>(
    config: CoordinatorConfig,
    incoming: I,
    store: Store,
    channels: Channels,
    clock: Arc<dyn Clock>,
    audit: Audit,
    shutdown: Shutdown,
) -> Result<(), CoordinatorError>
where
    I: Stream<Item = Result<IO, IE>>,
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    IO::ConnectInfo: Clone + Send + Sync + 'static,
    IE: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let cluster_id = config.node.cluster_id.clone();
    let raft_config = RaftConfig {
        cluster_id: cluster_id.clone(),
        raft_id: config.raft_id,
        peers: config.peers.clone(),
        tick: config.tick,
        snapshot_every_entries: config.snapshot_every_entries,
        folder: config.node.data_dir.join("raft"),
        disk: Arc::new(LocalDisk),
        whole_bytes_max: raft::WHOLE_BYTES_MAX,
        pinned_election_ticks: None,
    };
    // Links and driver outlive the request to stop, so that leadership can be handed over.
    let raft_shutdown = Shutdown::new();
    let machine = Metadata::new(&cluster_id);
    let (handle, transport) = raft::start(raft_config, machine, channels.clone(), raft_shutdown.clone())?;
    let settings = LeaderConfig {
        cluster_id,
        raft_id: config.raft_id,
        lease: config.lease,
        replace_after: config.replace_after,
        replicas: config.replicas,
        queued_jobs: config.queued_jobs as usize,
        first_token: first_token(config.first_token_file.as_deref())?,
        protection: config.node.protection(&[]),
        reporter: Reporter::new(clock.now_unix_ms(), &config.node.data_dir),
    };
    let store_watch = StoreWatch::start(store.clone(), &config.node.name, &shutdown);
    let leader = Leader::new(settings, handle.clone(), store, channels, clock, audit.clone());
    shutdown.spawn("leader", leader::term::run(leader.clone(), shutdown.clone()));

    let (health, health_service) = health::of_node(PeerRole::Coordinator, &config.node.name).await;
    health.services().set_not_serving::<CoordinatorServer<CoordinatorService>>().await;
    shutdown.spawn("readiness", report_readiness(health, handle.clone(), store_watch, shutdown.clone()));
    let guard = guard(&config.node, &leader);
    let service = CoordinatorServer::new(CoordinatorService::new(leader, shutdown.clone()))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let raft_service = RaftServer::new(transport).max_decoding_message_size(MESSAGE_BYTES_MAX);
    tracing::info!(
        node = config.node.name,
        raft_id = config.raft_id,
        members = config.peers.len(),
        "coordinator started"
    );
    let stop = shutdown.token();
    let (stepping_down, stop_raft) = (handle.clone(), raft_shutdown.clone());
    let failed = CancellationToken::new();
    let (stopping, failing) = (shutdown.clone(), failed.clone());
    let ended = async move {
        tokio::select! {
            // A stop that was asked for ends the member too, and is no failure.
            biased;
            () = stop.cancelled() => hand_over(&stepping_down).await,
            () = stepping_down.stopped() => {
                failing.cancel();
                stopping.request();
            }
        }
        // The server ends once the streams from the other members have.
        stop_raft.request();
    };
    let served = tuned_server(guard, audit.layer())
        .add_service(health_service)
        .add_service(service)
        .add_service(raft_service)
        .serve_with_incoming_shutdown(incoming, ended)
        .await;
    raft_shutdown.drain(STEP_DOWN_PATIENCE).await;
    served.map_err(CoordinatorError::Server)?;
    if failed.is_cancelled() { Err(CoordinatorError::RaftEnded) } else { Ok(()) }
}

/// With certificates or tokens callers have to say who they are.
fn guard(node: &NodeConfig, leader: &Leader) -> Guard {
    if node.tls.is_none() && !node.tokens {
        return Guard::open();
    }
    let check = || {
        let known = Arc::new(LeaderTokens(leader.clone()));
        TokenCheck::new(known, Arc::clone(&leader.clock), leader.token_uses.clone())
    };
    let credentials = AcceptedCredentials {
        cluster_id: node.tls.as_ref().map(|_| node.cluster_id.as_str().into()),
        tokens: node.tokens.then(check),
    };
    Guard::new(credentials, callers)
}

/// What the registry is to know of the token in a file, which may do everything.
fn first_token(file: Option<&Path>) -> Result<Option<TokenInfo>, TokenFileError> {
    let Some(file) = file else { return Ok(None) };
    let token = Token::read(file)?;
    if private_files::is_open_to_all(file) {
        tracing::warn!(
            file = %file.display(),
            "every user of this machine may read the cluster's first token; `chmod 600` takes that from them"
        );
    }
    let mut info = TokenInfo {
        id: token.id().to_owned(),
        label: "the cluster's first token".to_owned(),
        sha256: token.digest().as_bytes().to_vec().into(),
        ..TokenInfo::default()
    };
    info.push_scopes(Scope::Admin.to_wire());
    Ok(Some(info))
}

/// Waits until this member has everything that the group had agreed on when it was asked: until then it
/// is not ready. False when the member ends before.
async fn joined<V: Send + Sync + 'static>(handle: &raft::RaftHandle<V>) -> bool {
    loop {
        match handle.read(Instant::now() + JOIN_RETRY).await {
            Ok(_) => return true,
            Err(ReadError::Timeout) => {}
            Err(ReadError::Stopped) => return false,
        }
    }
}

/// Ready is a member that has joined the group, knows a leader and could use its store, until it is asked to stop.
async fn report_readiness<V: Send + Sync + 'static>(
    health: Health,
    handle: raft::RaftHandle<V>,
    store: StoreWatch,
    shutdown: Shutdown,
) {
    let stop = shutdown.token();
    health
        .set_readiness(Some(
            "it has not joined the group yet, which takes a majority of its members".to_owned(),
        ))
        .await;
    if stop.run_until_cancelled(joined(&handle)).await == Some(true) {
        health.services().set_serving::<CoordinatorServer<CoordinatorService>>().await;
        tracing::info!("joined the group");
        let mut leadership = handle.leadership();
        loop {
            let knows_leader = leadership.borrow_and_update().leader_id.is_some();
            let waits_for = (!knows_leader).then(|| {
                "no member leads: a majority of the coordinators has to be up and reach each other".to_owned()
            });
            let trouble = store.trouble();
            let is_settled = trouble.is_none();
            health.set_readiness(waits_for.or(trouble)).await;
            let changed = async {
                tokio::select! {
                    biased;
                    changed = leadership.changed() => changed.is_ok(),
                    // A store that could be used is not looked at again.
                    () = tokio::time::sleep(LOOK_AT_STORE_EVERY), if !is_settled => true,
                }
            };
            if stop.run_until_cancelled(changed).await != Some(true) {
                break;
            }
        }
    }
    health.set_readiness(Some("it is stopping".to_owned())).await;
}

/// Gives leadership to another member, so that the group does not wait for an election.
async fn hand_over<V: Send + Sync + 'static>(handle: &raft::RaftHandle<V>) {
    let mut leadership = handle.leadership();
    if !leadership.borrow().is_leader || handle.status().borrow().peers.len() < 2 {
        return;
    }
    handle.step_down().await;
    let moved = leadership.wait_for(|known| !known.is_leader && known.leader_id.is_some());
    // Without a taker the others elect one when this one has gone.
    let _ = tokio::time::timeout(STEP_DOWN_PATIENCE, moved).await;
}
