//! One worker process: its servers, its membership, and the loop that keeps what it has loaded in
//! line with placement.
//!
//! Nothing of a job survives a restart here: the leader notices the new incarnation and begins a
//! new attempt. What is served survives in the local cache, verified again before its first use.
//! Queries and training have separate pools of threads, so that a sweep does not starve a query;
//! the operating system shares the cores between them.

mod heartbeat;
mod memory;
mod readiness;
mod reconcile;
mod watch;

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::Stream;
use shoal_common::{
    access::{AcceptedCredentials, Guard},
    audit::Audit,
    clock::Clock,
    compute::{Compute, ComputeError},
    config::WorkerConfig,
    health::{self, Health, HealthServer},
    node_report::Reporter,
    private_files,
    rpc::{Channels, LeaderClient, MESSAGE_BYTES_MAX, REQUEST_BYTES_MAX, TunedServer, tuned_server},
    shutdown::Shutdown,
    store::{Access, LocalCache, Store, StoreError, StoreWatch},
    tls::PeerRole,
};
use shoal_core::hash::mix64;
use shoal_proto::v1::{
    WatchMetadataRequest, worker_exchange_server::WorkerExchangeServer, worker_jobs_server::WorkerJobsServer,
    worker_serving_server::WorkerServingServer,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, watch as watch_channel},
};
use tonic::transport::server::Connected;

use crate::{
    callers::callers,
    job_context::JobContext,
    serve::{LoadedModels, Loader},
    service::{Exchange, Jobs, Registry, Serving, Steps, WholeFiles, torn_below},
};

/// Verified copies of the parts that are served, below the data folder.
const CACHE_FOLDER: &str = "cache";
/// Spools and blocks of jobs, below the data folder; emptied at every start.
const JOBS_FOLDER: &str = "jobs";
/// How often torn files are looked for. No answer waits for it: none is given from them.
const TORN_EVERY: Duration = Duration::from_millis(200);
/// How long calls that are under way may take to end once a stop was asked for.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Why a worker cannot run.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The node's own folder cannot be prepared.
    #[error("cannot prepare '{path}'; check node.data_dir, its rights and the space on its disk")]
    DataFolder {
        /// The folder that cannot be prepared.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The cache of served parts cannot be opened.
    #[error("cannot open the local cache; check node.data_dir, its rights and the space on its disk")]
    Cache(#[source] StoreError),
    /// The compute threads cannot be started.
    #[error("cannot start the worker's threads; lower training_threads or serving_threads")]
    Threads(#[source] ComputeError),
    /// A file that is served was cut short while it was mapped.
    #[error(
        "'{}' was cut short while it was served from; start the worker again: it checks what it has, and fetches anew what is \
         not whole", .path.display()
    )]
    Torn {
        /// The file.
        path: PathBuf,
    },
    /// The gRPC server failed.
    #[error("the worker's server failed; check that its address is still this machine's")]
    Server(#[source] tonic::transport::Error),
}

/// Runs a worker until `shutdown` is requested: serves gRPC on `incoming`, reports to the
/// coordinators as reachable at `node.advertise`, or where it listens, and holds what placement assigns to it.
///
/// For TCP hand in a `tonic::transport::server::TcpIncoming` with `nodelay` set. Returns when
/// the server has drained; tasks in the background end with `shutdown`, which the caller drains.
///
/// # Errors
/// When the data folder, the threads or the server cannot be used. A failing store, damaged parts
/// and absent coordinators are no errors: they are reported, and tried again.
pub async fn run<I, IO, IE>(
    config: WorkerConfig,
    incoming: I,
    channels: Channels,
    store: Store,
    clock: Arc<dyn Clock>,
    audit: Audit,
    shutdown: Shutdown,
) -> Result<(), WorkerError>
where
    I: Stream<Item = Result<IO, IE>>,
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    IE: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let jobs_folder = config.node.data_dir.join(JOBS_FOLDER);
    empty_folder(&jobs_folder)?;
    let in_place = config.serves_in_place.then(|| store.file_path("").ok().flatten()).flatten();
    let served_folder = in_place.unwrap_or_else(|| config.node.data_dir.join(CACHE_FOLDER));
    let cache = match LocalCache::in_place(&store).filter(|_| config.serves_in_place) {
        Some(in_place) => in_place,
        None => LocalCache::open(config.node.data_dir.join(CACHE_FOLDER)).map_err(WorkerError::Cache)?,
    };
    let training = Compute::new("training", config.training_threads).map_err(WorkerError::Threads)?;
    let serving = Compute::new("serving", config.serving_threads).map_err(WorkerError::Threads)?;

    let models = LoadedModels::default();
    let leader = LeaderClient::new(channels.clone(), config.node.coordinators.clone());
    let identity = heartbeat::Identity {
        cluster_id: config.node.cluster_id.clone(),
        node: config.node.name.clone(),
        address: config.node.advertise.clone().unwrap_or_else(|| config.node.listen.to_string()),
        incarnation: draw_incarnation(config.node.seed, clock.as_ref()),
        threads: u32::try_from(config.training_threads).unwrap_or(u32::MAX),
        protection: config.node.protection(&[]),
        reporter: Reporter::new(clock.now_unix_ms(), &config.node.data_dir),
    };
    tracing::info!(node = identity.node, incarnation = identity.incarnation, "worker starts");
    let loader = Loader::new(store.clone(), cache);
    let health = health::of_node(PeerRole::Worker, &identity.node).await;
    let stored = StoreWatch::start(store.clone(), &identity.node, &shutdown);
    let membership = (health.0.clone(), stored, served_folder.clone());
    spawn_membership(leader, identity, models.clone(), loader.clone(), membership, &shutdown);

    shutdown
        .spawn("worker memory", memory::tell(served_folder.clone(), jobs_folder.clone(), shutdown.clone()));
    let registry = Registry::default();
    let context = JobContext {
        cluster_id: config.node.cluster_id.clone(),
        node: config.node.name.clone(),
        folder: jobs_folder,
        store,
        access: Access {
            options: config.node.store_options.clone(),
            read: Arc::new(config.import_roots),
            write: Arc::new(config.export_roots),
        },
        channels: channels.clone(),
        compute: training,
    };
    let cluster_id = config.node.cluster_id;
    let guard = match config.node.tls {
        Some(_) => {
            let cluster_id = Some(cluster_id.as_str().into());
            Guard::new(AcceptedCredentials { cluster_id, tokens: None }, callers)
        }
        None => Guard::open(),
    };
    let exchange = Exchange::new(cluster_id.clone(), registry.clone(), shutdown.clone());
    let steps = Arc::new(Steps::new(context, loader));
    let jobs = Jobs::new(cluster_id, steps, registry, channels, shutdown.clone());
    let queries = Serving::new(models, serving, config.serving_queue);
    let server = tuned_server(guard, audit.layer());
    let queries = (queries, served_folder);
    serve(incoming, server, health, queries, jobs, exchange, shutdown).await
}

/// Starts the tasks that keep the worker a member: metadata in, heartbeats out, and between them
/// the reconciler.
fn spawn_membership(
    leader: LeaderClient,
    identity: heartbeat::Identity,
    models: LoadedModels,
    loader: Loader,
    (health, store, served_folder): (Health, StoreWatch, PathBuf),
    shutdown: &Shutdown,
) {
    let (known, metadata) = watch_channel::channel(None);
    let changed = Arc::new(Notify::new());
    let failures = reconcile::LoadFailures::default();
    let (cluster_id, node) = (identity.cluster_id.clone(), identity.node.clone());
    let request = WatchMetadataRequest { cluster_id, node, takes_changes: true };
    let reconciler = reconcile::Reconciler {
        node: identity.node.clone(),
        loader,
        models: models.clone(),
        failures: failures.clone(),
        changed: Arc::clone(&changed),
        metadata,
    };
    let readiness = readiness::Readiness {
        node: identity.node.clone(),
        health: health.clone(),
        store,
        models: models.clone(),
        failures: failures.clone(),
        metadata: known.subscribe(),
    };
    let outdated = Arc::new(Notify::new());
    let pulse = heartbeat::Pulse {
        leader: leader.clone(),
        identity,
        models,
        failures,
        changed,
        metadata: known.subscribe(),
        outdated: Arc::clone(&outdated),
        health,
        served_folder,
    };
    let follow = watch::follow_metadata(leader, request, known, outdated, shutdown.clone());
    shutdown.spawn("worker metadata watch", follow);
    shutdown.spawn("worker reconciler", reconciler.run(shutdown.clone()));
    shutdown.spawn("worker readiness", readiness.run(shutdown.clone()));
    shutdown.spawn("worker heartbeat", heartbeat::beat(pulse, shutdown.clone()));
}

async fn serve<I, IO, IE>(
    incoming: I,
    mut server: TunedServer,
    (health, health_service): (Health, HealthServer),
    (queries, served_folder): (Serving, PathBuf),
    jobs: Jobs,
    exchange: Exchange,
    shutdown: Shutdown,
) -> Result<(), WorkerError>
where
    I: Stream<Item = Result<IO, IE>>,
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    IE: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let services = health.services().clone();
    services.set_serving::<WorkerServingServer<Serving>>().await;
    services.set_serving::<WorkerJobsServer<Jobs>>().await;
    services.set_serving::<WorkerExchangeServer<Exchange>>().await;
    let stop = {
        let shutdown = shutdown.clone();
        async move {
            shutdown.requested().await;
            // Whoever watches our health goes elsewhere before the connections close.
            services.set_not_serving::<WorkerServingServer<Serving>>().await;
            services.set_not_serving::<WorkerJobsServer<Jobs>>().await;
            services.set_not_serving::<WorkerExchangeServer<Exchange>>().await;
        }
    };
    let server = server
        .add_service(health_service)
        .add_service(WholeFiles::new(
            WorkerServingServer::new(queries)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            &served_folder,
        ))
        .add_service(
            WorkerJobsServer::new(jobs)
                .max_decoding_message_size(REQUEST_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            WorkerExchangeServer::new(exchange)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .serve_with_incoming_shutdown(incoming, stop);
    let overdue = async {
        shutdown.requested().await;
        tokio::time::sleep(DRAIN_MAX).await;
    };
    tokio::select! {
        biased;
        // An end of the server is the outcome, even at the last moment.
        served = server => served.map_err(WorkerError::Server),
        path = torn(&served_folder) => Err(WorkerError::Torn { path }),
        () = overdue => {
            tracing::warn!("calls were still under way at the end of the drain, leaving them");
            Ok(())
        }
    }
}

/// Waits until a file below the folder is found torn.
async fn torn(folder: &Path) -> PathBuf {
    loop {
        if let Some(path) = torn_below(folder) {
            return path;
        }
        tokio::time::sleep(TORN_EVERY).await;
    }
}

/// Tells this start from every other one. A seed alone would repeat at the next start, so the time
/// goes in as well.
fn draw_incarnation(seed: Option<u64>, clock: &dyn Clock) -> u64 {
    let drawn = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    mix64(drawn ^ mix64(clock.now_unix_ms().cast_unsigned()))
}

/// Makes an empty folder, deleting what an earlier run left in it.
fn empty_folder(folder: &Path) -> Result<(), WorkerError> {
    let failed = |source| WorkerError::DataFolder { path: folder.to_owned(), source };
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    private_files::create_folder(folder).map(drop).map_err(failed)
}
