//! Several workers in one process, with real gRPC between them, and a leader that asks them for the
//! steps of imports and trainings.

mod counted;
pub(crate) mod everybody;
pub(crate) mod import;
pub(crate) mod models;
pub(crate) mod reading;
pub(crate) mod said;
pub(crate) mod train;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::future::{join_all, try_join_all};
use shoal_common::{
    access::Guard,
    audit::Audit,
    compute::Compute,
    rpc::{Channels, MESSAGE_BYTES_MAX, tuned_server},
    shutdown::Shutdown,
    store::{Access, LocalCache, Roots, Store, StoreOptions},
};
use shoal_proto::v1::{
    step_event::Event, step_request::Step, worker_exchange_server::WorkerExchangeServer,
    worker_jobs_client::WorkerJobsClient, worker_jobs_server::WorkerJobsServer, *,
};
use shoal_worker::{
    job_context::JobContext,
    serve::Loader,
    service::{Exchange, Jobs, Registry, Steps},
};
use tokio::net::TcpListener;
use tonic::{
    Status,
    transport::{Channel, server::TcpIncoming},
};

pub(crate) use counted::Counted;

pub(crate) const CLUSTER: &str = "test-cluster";
pub(crate) const JOB: &str = "job-000001";

/// Workers over one store. Their folders go with the value.
pub(crate) struct Workers {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Store,
    /// Bytes that the workers write to each other's sockets.
    pub(crate) counted: Counted,
    pub(crate) peers: Vec<WorkerPeer>,
    pub(crate) channels: Vec<Channel>,
    attempt: AtomicU32,
    shutdown: Shutdown,
}

impl Workers {
    pub(crate) async fn start(count: usize, threads: usize) -> Self {
        Self::start_within(count, threads, &Roots::anywhere_listed()).await
    }

    /// Workers that read and write only within these roots, where others name the address.
    pub(crate) async fn start_within(count: usize, threads: usize, roots: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("store").to_str().unwrap()).unwrap();
        let (counted, shutdown) = (Counted::default(), Shutdown::new());
        let (mut peers, mut channels) = (Vec::new(), Vec::new());
        for number in 0..count {
            let node = format!("worker-{number}");
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let registry = Registry::default();
            let context = JobContext {
                cluster_id: CLUSTER.into(),
                node: node.clone(),
                folder: folder.path().join(&node),
                store: store.clone(),
                access: Access {
                    options: StoreOptions::default(),
                    read: Arc::new(Roots::new("worker.import_roots", roots).unwrap()),
                    write: Arc::new(Roots::new("worker.export_roots", roots).unwrap()),
                },
                channels: Channels::new(Arc::new(counted.clone())),
                compute: Compute::new("test", threads).unwrap(),
            };
            let cache = LocalCache::open(folder.path().join(format!("{node}-cache"))).unwrap();
            let loader = Loader::new(store.clone(), cache);
            let jobs = Jobs::new(
                CLUSTER.into(),
                Arc::new(Steps::new(context, loader)),
                registry.clone(),
                Channels::tcp(),
                shutdown.clone(),
            );
            let exchange = Exchange::new(CLUSTER.into(), registry, shutdown.clone());
            tokio::spawn(
                tuned_server(Guard::open(), Audit::nowhere().layer())
                    .add_service(WorkerJobsServer::new(jobs).max_decoding_message_size(MESSAGE_BYTES_MAX))
                    .add_service(
                        WorkerExchangeServer::new(exchange).max_decoding_message_size(MESSAGE_BYTES_MAX),
                    )
                    .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))),
            );
            channels.push(Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy());
            peers.push(WorkerPeer { node, address });
        }
        Self { folder, store, counted, peers, channels, attempt: AtomicU32::new(0), shutdown }
    }

    /// Where a worker keeps what its jobs need.
    pub(crate) fn jobs_folder(&self, worker: usize) -> PathBuf {
        self.folder.path().join(&self.peers[worker].node)
    }

    /// Each shard to the workers in turn.
    pub(crate) fn owners(&self, shards: u32) -> Vec<ShardOwner> {
        let owner = |side: Side, shard: u32| ShardOwner {
            side: side.into(),
            shard,
            node: self.peers[shard as usize % self.peers.len()].node.clone(),
        };
        (0..shards).flat_map(|shard| [owner(Side::Users, shard), owner(Side::Items, shard)]).collect()
    }

    pub(crate) fn next_attempt(&self) -> u32 {
        self.attempt.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn on_one(&self, worker: usize, attempt: u32, step: Step) -> Result<Event, Status> {
        self.on_one_of(JOB, worker, attempt, step).await
    }

    pub(crate) async fn on_one_of(
        &self,
        job: &str,
        worker: usize,
        attempt: u32,
        step: Step,
    ) -> Result<Event, Status> {
        let request =
            StepRequest { cluster_id: CLUSTER.into(), job_id: job.into(), attempt, step: Some(step) };
        let mut client = WorkerJobsClient::new(self.channels[worker].clone())
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut events = client.run_step(request).await?.into_inner();
        loop {
            match events.message().await?.and_then(|event| event.event) {
                Some(Event::Progress(_)) => {}
                Some(done) => return Ok(done),
                None => panic!("a step ended without a result"),
            }
        }
    }

    /// The same step on every worker at once; results in the workers' order.
    pub(crate) async fn on_all(&self, attempt: u32, step: Step) -> Result<Vec<Event>, Status> {
        try_join_all((0..self.peers.len()).map(|worker| self.on_one(worker, attempt, step.clone()))).await
    }

    /// The same step of a part of the job, which workers know by a name of its own.
    pub(crate) async fn on_all_of(&self, part: &str, attempt: u32, step: Step) -> Result<Vec<Event>, Status> {
        let workers = 0..self.peers.len();
        try_join_all(workers.map(|worker| self.on_one_of(part, worker, attempt, step.clone()))).await
    }

    /// Lets go of the job on every worker.
    pub(crate) async fn release(&self) {
        let release = ReleaseJobRequest { cluster_id: CLUSTER.into(), job_id: JOB.into() };
        let releases = self.channels.iter().map(|channel| {
            let (mut client, release) = (WorkerJobsClient::new(channel.clone()), release.clone());
            async move { client.release_job(release).await.unwrap() }
        });
        join_all(releases).await;
    }

    /// Every object in the store, by path.
    pub(crate) async fn objects(&self) -> BTreeMap<String, bytes::Bytes> {
        let mut objects = BTreeMap::new();
        for (path, _) in self.store.list("").await.unwrap() {
            let bytes = self.store.get(&path).await.unwrap();
            objects.insert(path, bytes);
        }
        objects
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move { shutdown.drain(Duration::from_secs(1)).await });
    }
}
