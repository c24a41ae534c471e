//! What a process is told that has every role in it and serves from a store that it only reads.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    ConfigError, CoordinatorConfig, RawCoordinator, RawRouter, RawWorker, RouterConfig, WorkerConfig,
    coordinator::RawCoordinatorSection, node::RawNode, router::RawRouterSection, worker::RawWorkerSection,
};

/// Where HTTP clients call unless another address is given.
const HTTP_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);
/// A free port of this machine.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// A raft tick of a group of one, which elects itself within twenty of them.
const TICK_MS: u64 = 10;
/// Nobody takes over from a worker of the same process: however late its heartbeats are, it is there.
const LEASE_MS: u64 = 60_000;

/// A serving process's file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawServe {
    /// Shared settings. `node.listen` is where gRPC clients call.
    pub node: RawNode,
    /// The section `[router]`.
    pub router: RawRouterSection,
    /// The section `[worker]`.
    pub worker: RawServingSection,
    /// The section `[coordinator]`.
    pub coordinator: RawRegistrySection,
}

/// Of the section `[coordinator]` what serving needs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRegistrySection {
    /// A file with the token by which callers ask, as `shoal tokens draw` makes it.
    pub first_token_file: Option<PathBuf>,
}

/// Of the section `[worker]` what serving needs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawServingSection {
    /// Threads for queries; every core by default.
    pub serving_threads: Option<u64>,
    /// Queries that may wait or run; one more is refused.
    pub serving_queue: Option<u64>,
}

/// The settings of the three roles of one process, checked. Coordinator and worker are called within the process alone.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The only coordinator.
    pub coordinator: CoordinatorConfig,
    /// The only worker.
    pub worker: WorkerConfig,
    /// The router, which clients call. Its folder is empty where none was given; then [`ServeConfig::keep_files_in`] has to
    /// say where the roles keep their files.
    pub router: RouterConfig,
}

impl ServeConfig {
    /// The address of the coordinator within the process.
    pub const COORDINATOR: &str = "coordinator:1";
    /// The address of the worker within the process.
    pub const WORKER: &str = "worker:1";

    /// Keeps the files of all roles below `folder`.
    pub fn keep_files_in(&mut self, folder: &Path) {
        self.coordinator.node.data_dir = folder.join("coordinator");
        self.worker.node.data_dir = folder.join("worker");
        self.router.node.data_dir = folder.to_owned();
    }
}

impl RawServe {
    /// Checks everything and fills in defaults; `cores` is what the machine has.
    ///
    /// # Errors
    /// Every problem of a role.
    pub fn resolve(self, cores: usize) -> Result<ServeConfig, ConfigError> {
        let Self { mut node, mut router, worker, coordinator } = self;
        let Some(store) = node.store.clone() else {
            return Err(ConfigError::one("'node.store' is needed: the store to serve from".to_owned()));
        };
        node.cluster_id.get_or_insert_with(|| "serve".to_owned());
        node.name.get_or_insert_with(|| "serve".to_owned());
        node.listen.get_or_insert(ANY_PORT);
        node.coordinators = Some(vec![ServeConfig::COORDINATOR.to_owned()]);
        router.http_listen.get_or_insert(HTTP_LISTEN);
        let folder = node.data_dir.clone().unwrap_or_default();
        let inner = |name: &str, address: &str| RawNode {
            cluster_id: node.cluster_id.clone(),
            name: Some(name.to_owned()),
            listen: Some(ANY_PORT),
            advertise: Some(address.to_owned()),
            store: Some(store.clone()),
            store_options: node.store_options.clone(),
            coordinators: node.coordinators.clone(),
            data_dir: Some(folder.clone()),
            seed: node.seed,
            ..RawNode::default()
        };
        let coordinator = RawCoordinator {
            node: inner("coordinator", ServeConfig::COORDINATOR),
            coordinator: RawCoordinatorSection {
                raft_id: Some(1),
                peers: [("1".to_owned(), ServeConfig::COORDINATOR.to_owned())].into(),
                replicas: Some(1),
                tick_ms: Some(TICK_MS),
                lease_ms: Some(LEASE_MS),
                first_token_file: coordinator.first_token_file,
                ..RawCoordinatorSection::default()
            },
        };
        let worker = RawWorker {
            node: inner("worker", ServeConfig::WORKER),
            worker: RawWorkerSection {
                // Nothing is trained.
                training_threads: Some(1),
                serving_threads: worker.serving_threads,
                serving_queue: worker.serving_queue,
                ..RawWorkerSection::default()
            },
        };
        let router = RawRouter { node, router };
        let mut config = ServeConfig {
            coordinator: coordinator.resolve()?,
            worker: worker.resolve(cores)?,
            router: router.resolve()?,
        };
        if config.router.node.tokens && config.coordinator.first_token_file.is_none() {
            return Err(ConfigError::one(
                "callers need a token, and nobody has one: name a file with a token in 'coordinator.first_token_file' (`shoal \
                 tokens draw FILE` makes it), or let everybody ask with 'node.tokens = false' and --insecure"
                    .to_owned(),
            ));
        }
        config.worker.serves_in_place = true;
        if folder != Path::new("") {
            config.keep_files_in(&folder);
        }
        Ok(config)
    }
}
