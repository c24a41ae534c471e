//! Whole coordinator processes in one, each in a runtime of its own, so that one can be killed where it stands.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use shoal_common::{
    access::Token,
    audit::{Audit, AuditTarget},
    clock::SystemClock,
    config::{CoordinatorConfig, NodeConfig},
    rpc::{Channels, LeaderChannel, LeaderClient},
    shutdown::Shutdown,
    store::{Store, StoreOptions},
    telemetry::LogFormat,
};
use shoal_coordinator::{
    node::{self, CoordinatorError},
    raft,
    state::ClusterState,
};
use shoal_proto::v1::{
    ClusterStatus, ClusterStatusRequest, JobInfo, JobRequest, JobState, coordinator_client::CoordinatorClient,
};
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};
use tonic::Status;

use super::{PATIENCE, door::Door, eventually_async, group::CLUSTER};

struct Process {
    runtime: Runtime,
    shutdown: Shutdown,
    ended: JoinHandle<Result<(), CoordinatorError>>,
}

/// Coordinators by number, some of which may be away, and the store they share with workers.
pub(crate) struct Cluster {
    folder: TempDir,
    doors: BTreeMap<u64, Door>,
    running: BTreeMap<u64, Process>,
    lease: Duration,
    pub(crate) coordinators: LeaderClient,
}

impl Cluster {
    /// `size` coordinators, all of them running. Workers that are silent for longer than `lease` are down.
    pub(crate) fn start(size: u64, lease: Duration) -> Self {
        let mut cluster = Self::found(size, lease);
        for id in 1..=size {
            cluster.revive(id);
        }
        cluster
    }

    /// A cluster of which no coordinator runs yet.
    pub(crate) fn found(size: u64, lease: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let doors: BTreeMap<u64, Door> = (1..=size).map(|id| (id, Door::open())).collect();
        let addresses = doors.values().map(Door::address).collect();
        let coordinators = LeaderClient::new(Channels::tcp(), addresses);
        Self { folder, doors, running: BTreeMap::new(), lease, coordinators }
    }

    /// A client of the leader with connections of its own. Connections end with the runtime in which they were made first: one
    /// whose runtime ends before the test shares them with nobody.
    pub(crate) fn client(&self) -> LeaderClient {
        LeaderClient::new(Channels::tcp(), self.doors.values().map(Door::address).collect())
    }

    /// The cluster's first token is this one, and callers need one. For coordinators that start from now on.
    pub(crate) fn needs_token(&self, first: &Token) {
        std::fs::write(self.folder.path().join(FIRST_TOKEN), first.expose()).unwrap();
    }

    /// Founds the log of the only coordinator with this state.
    pub(crate) fn found_with(&self, state: &ClusterState) {
        let folder = self.folder.path().join("1/raft");
        raft::open_log(&folder, CLUSTER, &state.to_snapshot_bytes()).unwrap();
    }

    pub(crate) fn store_folder(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(self.store_folder().to_str().unwrap()).unwrap()
    }

    pub(crate) fn address_of(&self, id: u64) -> String {
        self.doors[&id].address()
    }

    /// The files in the store, as paths below it.
    pub(crate) fn stored(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.store_folder()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(self.store_folder()).unwrap().display().to_string());
                }
            }
        }
        found.sort();
        found
    }

    pub(crate) fn revive(&mut self, id: u64) {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let entered = runtime.enter();
        let shutdown = Shutdown::new();
        let config = config(self.folder.path(), id, &self.doors, self.lease);
        let running = node::run(
            config,
            self.doors[&id].enter(),
            self.store(),
            Channels::tcp(),
            Arc::new(SystemClock),
            Audit::nowhere(),
            shutdown.clone(),
        );
        let ended = runtime.spawn(running);
        drop(entered);
        assert!(self.running.insert(id, Process { runtime, shutdown, ended }).is_none());
    }

    /// Ends a coordinator between two steps of its tasks.
    pub(crate) async fn kill(&mut self, id: u64) {
        self.doors[&id].leave();
        let Process { runtime, .. } = self.running.remove(&id).unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await.unwrap();
    }

    /// Stops a coordinator as a signal does.
    pub(crate) async fn stop(&mut self, id: u64) -> Result<(), CoordinatorError> {
        self.running[&id].shutdown.request();
        self.ended(id).await
    }

    /// Waits until a coordinator has ended by itself.
    pub(crate) async fn ended(&mut self, id: u64) -> Result<(), CoordinatorError> {
        let Process { runtime, shutdown, ended } = self.running.remove(&id).unwrap();
        let outcome = tokio::time::timeout(PATIENCE, ended).await.expect("it ends").unwrap();
        assert!(shutdown.drain(PATIENCE).await);
        self.doors[&id].leave();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await.unwrap();
        outcome
    }

    pub(crate) async fn kill_all(mut self) {
        for id in self.running.keys().copied().collect::<Vec<_>>() {
            self.kill(id).await;
        }
    }

    /// Asks the leading coordinator.
    pub(crate) async fn ask<T, F, Fut>(&self, call: F) -> Result<T, Status>
    where
        F: FnMut(CoordinatorClient<LeaderChannel>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        self.coordinators.call(PATIENCE, call).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn status(&self) -> ClusterStatus {
        self.ask(|mut leader| async move { leader.status(ClusterStatusRequest {}).await }).await.unwrap()
    }

    /// The number of whoever leads.
    pub(crate) async fn leader(&self) -> u64 {
        let status = self.status().await;
        status.coordinators.iter().find(|member| member.leader).unwrap().raft_id
    }

    pub(crate) async fn job(&self, job_id: &str) -> JobInfo {
        let request = || JobRequest { job_id: job_id.to_owned() };
        self.ask(|mut leader| async move { leader.get_job(request()).await }).await.unwrap()
    }

    /// Waits until a job is over.
    pub(crate) async fn over(&self, job_id: &str) -> JobInfo {
        eventually_async("the job is over", || async {
            let job = self.job(job_id).await;
            matches!(job.state(), JobState::Succeeded | JobState::Failed | JobState::Cancelled).then_some(job)
        })
        .await
    }
}

/// The file of the cluster's first token; without it callers need none.
const FIRST_TOKEN: &str = "first.token";

fn config(folder: &Path, raft_id: u64, doors: &BTreeMap<u64, Door>, lease: Duration) -> CoordinatorConfig {
    let first_token = folder.join(FIRST_TOKEN);
    let needs_token = first_token.exists();
    let node = NodeConfig {
        cluster_id: CLUSTER.to_owned(),
        name: format!("coordinator-{raft_id}"),
        listen: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        data_dir: folder.join(raft_id.to_string()),
        store: String::new(),
        store_options: StoreOptions::default(),
        coordinators: Vec::new(),
        metrics_listen: None,
        connections: 256,
        log_format: LogFormat::default(),
        log: String::new(),
        seed: None,
        tls: None,
        tokens: needs_token,
        insecure: false,
        audit: AuditTarget::StandardError,
    };
    CoordinatorConfig {
        node,
        raft_id,
        peers: doors.iter().map(|(id, door)| (*id, door.address())).collect(),
        tick: Duration::from_millis(30),
        lease,
        replace_after: Duration::from_secs(60),
        replicas: 2,
        queued_jobs: 64,
        first_token_file: needs_token.then_some(first_token),
        snapshot_every_entries: 50,
    }
}
