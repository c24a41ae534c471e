//! The settings of each role.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{ConfigError, Problems};
use crate::{
    plain_text::{NODE_ADDRESS_MAX, NODE_NAME_MAX},
    store::{Roots, StoreOptions},
    telemetry::LogFormat,
    tls::TlsFiles,
};

/// Connections to a node at once, unless it is told another number.
const CONNECTIONS: u64 = 8_192;

/// What every role is told, as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawNode {
    /// The same on every node; a call from another cluster is refused.
    pub cluster_id: Option<String>,
    /// Unique in the cluster.
    pub name: Option<String>,
    /// Where the role's gRPC server listens.
    pub listen: Option<SocketAddr>,
    /// host:port that other nodes call; the listening address by default.
    pub advertise: Option<String>,
    /// The node's own folder.
    pub data_dir: Option<PathBuf>,
    /// The object store: a path, file:///… (or s3://… where built in).
    pub store: Option<String>,
    /// Options of a remote store, such as `aws_region`.
    pub store_options: StoreOptions,
    /// The coordinators' addresses (workers and routers).
    pub coordinators: Option<Vec<String>>,
    /// Where Prometheus reads this node's metrics.
    pub metrics_listen: Option<SocketAddr>,
    /// Connections to the node's listeners at once, as far as there are descriptors for them.
    pub connections: Option<u64>,
    /// `text` or `json`.
    pub log_format: LogFormat,
    /// A `tracing` filter.
    pub log: Option<String>,
    /// Seeds every random choice that may not follow from data; drawn at start by default.
    pub seed: Option<u64>,
    /// A folder of certificates as `shoal certs create` makes it: `ca.pem`, `<name>.pem` and `<name>.key`.
    pub certs: Option<PathBuf>,
    /// The section `[node.tls]`: certificates in files of other names.
    pub tls: Option<RawTls>,
    /// Whether to listen beyond the loopback address without TLS.
    pub insecure: bool,
}

/// `[node.tls]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTls {
    /// Certificates of the authorities that the cluster trusts, in PEM.
    pub ca: Option<PathBuf>,
    /// The node's own certificate and those between it and the authority, in PEM.
    pub certificate: Option<PathBuf>,
    /// The private key of the node's certificate, in PEM.
    pub key: Option<PathBuf>,
}

impl RawTls {
    fn resolve(self, problems: &mut Problems) -> Option<TlsFiles> {
        Some(TlsFiles {
            ca: problems.required("node.tls.ca", self.ca)?,
            certificate: problems.required("node.tls.certificate", self.certificate)?,
            key: problems.required("node.tls.key", self.key)?,
        })
    }
}

/// What every role is told, checked.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The same on every node.
    pub cluster_id: String,
    /// Unique in the cluster.
    pub name: String,
    /// Where the role's gRPC server listens.
    pub listen: SocketAddr,
    /// host:port that other nodes call; `None` means whatever the listener was bound to.
    pub advertise: Option<String>,
    /// The node's own folder.
    pub data_dir: PathBuf,
    /// The object store's address; routers have none.
    pub store: String,
    /// Options of a remote store and of remote sources.
    pub store_options: StoreOptions,
    /// The coordinators' addresses.
    pub coordinators: Vec<String>,
    /// Where Prometheus reads this node's metrics.
    pub metrics_listen: Option<SocketAddr>,
    /// Connections to the node's listeners at once, in all.
    pub connections: usize,
    /// How log lines look.
    pub log_format: LogFormat,
    /// A `tracing` filter.
    pub log: String,
    /// Seed of the random choices.
    pub seed: Option<u64>,
    /// The node's certificates; without them nothing is encrypted, and nobody has to say who it is.
    pub tls: Option<TlsFiles>,
    /// Whether the node may listen beyond the loopback address without TLS.
    pub insecure: bool,
}

impl NodeConfig {
    /// Whether others than this machine reach an address where nothing is encrypted or checked.
    fn is_exposed(&self, listen: SocketAddr) -> bool {
        self.tls.is_none() && !listen.ip().is_loopback()
    }

    /// Refuses to listen where others reach the node unprotected, unless that is wanted.
    fn check_exposure(&self, key: &str, listen: SocketAddr, problems: &mut Problems) {
        if self.is_exposed(listen) && !self.insecure {
            problems.add(format!(
                "'{key}' is {listen}, which other machines reach, and without certificates anybody there may do \
                 anything; name certificates in 'node.certs' (`shoal certs create` makes them, and `shoal up --tls` its own), or accept it with \
                 --insecure ('node.insecure = true')"
            ));
        }
    }

    /// Whether the node listens unprotected where other machines reach it.
    #[must_use]
    pub fn listens_unprotected(&self) -> bool {
        self.is_exposed(self.listen)
    }
}

/// Which of the shared settings a role cannot do without.
struct Needs {
    store: bool,
    coordinators: bool,
    data_dir: bool,
}

impl RawNode {
    fn resolve(self, needs: &Needs, problems: &mut Problems) -> Option<NodeConfig> {
        let cluster_id = problems.required("node.cluster_id", self.cluster_id);
        let name = problems.required("node.name", self.name);
        problems.check_plain::<NODE_NAME_MAX>("node.name", name.as_ref());
        problems.check_plain::<NODE_ADDRESS_MAX>("node.advertise", self.advertise.as_ref());
        problems.check_plain::<NODE_ADDRESS_MAX>("node.coordinators", self.coordinators.iter().flatten());
        let listen = problems.required("node.listen", self.listen);
        let data_dir = if needs.data_dir {
            problems.required("node.data_dir", self.data_dir)
        } else {
            self.data_dir.or_else(|| Some(PathBuf::new()))
        };
        let store = if needs.store {
            problems.required("node.store", self.store)
        } else {
            self.store.or_else(|| Some(String::new()))
        };
        let coordinators = self.coordinators.unwrap_or_default();
        if needs.coordinators && coordinators.is_empty() {
            problems.add("'node.coordinators' is needed: the addresses of the coordinators");
        }
        if self.certs.is_some() && self.tls.is_some() {
            problems.add(
                "'node.certs' and the section [node.tls] are both given; one of them names the certificates",
            );
        }
        let tls = match (self.certs, self.tls) {
            (_, Some(files)) => files.resolve(problems),
            (Some(folder), None) => name.as_deref().map(|name| TlsFiles::in_folder(&folder, name)),
            (None, None) => None,
        };
        let connections = self.connections.unwrap_or(CONNECTIONS);
        let connections = problems.in_range("node.connections", connections, 16..=1_000_000);
        let config = NodeConfig {
            connections: connections as usize,
            cluster_id: cluster_id?,
            name: name?,
            listen: listen?,
            advertise: self.advertise,
            data_dir: data_dir?,
            store: store?,
            store_options: self.store_options,
            coordinators,
            metrics_listen: self.metrics_listen,
            log_format: self.log_format,
            log: self.log.unwrap_or_else(|| "info".to_owned()),
            seed: self.seed,
            tls,
            insecure: self.insecure,
        };
        config.check_exposure("node.listen", config.listen, problems);
        Some(config)
    }
}

/// A coordinator's file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCoordinator {
    /// The section `[node]`: what every role has.
    pub node: RawNode,
    /// The section `[coordinator]`.
    pub coordinator: RawCoordinatorSection,
}

/// `[coordinator]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCoordinatorSection {
    /// This member's number in the raft group, from 1.
    pub raft_id: Option<u64>,
    /// Every member: number and host:port.
    pub peers: BTreeMap<String, String>,
    /// One raft tick.
    pub tick_ms: Option<u64>,
    /// A node that has not been heard of for this long is down.
    pub lease_ms: Option<u64>,
    /// A node that has been down for this long has its shards served by others.
    pub replace_after_ms: Option<u64>,
    /// Workers that serve each shard.
    pub replicas: Option<u64>,
    /// Applied entries between snapshots.
    pub snapshot_every_entries: Option<u64>,
    /// Jobs that may wait at once; one more is refused.
    pub queued_jobs: Option<u64>,
}

/// A coordinator's settings, checked.
#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    /// Name, addresses, store and log: what every role has.
    pub node: NodeConfig,
    /// This member's number in the raft group.
    pub raft_id: u64,
    /// Every member of the group when it was founded, with its address.
    pub peers: BTreeMap<u64, String>,
    /// One raft tick.
    pub tick: Duration,
    /// A node that has not been heard of for this long is down.
    pub lease: Duration,
    /// A node that has been down for this long has its shards served by others.
    pub replace_after: Duration,
    /// Workers that serve each shard, as far as there are as many.
    pub replicas: u32,
    /// Applied entries between snapshots.
    pub snapshot_every_entries: u64,
    /// Jobs that may wait at once.
    pub queued_jobs: u32,
}

impl RawCoordinator {
    /// Checks everything and fills in defaults.
    ///
    /// # Errors
    /// Every problem found.
    pub fn resolve(self) -> Result<CoordinatorConfig, ConfigError> {
        let mut problems = Problems::default();
        let node =
            self.node.resolve(&Needs { store: true, coordinators: false, data_dir: true }, &mut problems);
        let section = self.coordinator;
        let raft_id = problems.required("coordinator.raft_id", section.raft_id);
        let mut peers = BTreeMap::new();
        for (number, address) in section.peers {
            match number.parse::<u64>() {
                Ok(number) if number > 0 => {
                    problems.check_plain::<NODE_ADDRESS_MAX>("coordinator.peers", [&address]);
                    peers.insert(number, address);
                }
                _ => problems.add(format!(
                    "'coordinator.peers' has the member '{number}'; members are numbered from 1"
                )),
            }
        }
        if let Some(raft_id) = raft_id
            && !peers.contains_key(&raft_id)
        {
            problems.add(format!("'coordinator.peers' lacks this member's own number {raft_id}"));
        }
        if !matches!(peers.len(), 1 | 3 | 5) {
            problems.add(format!("'coordinator.peers' names {} members; a group has 1, 3 or 5", peers.len()));
        }
        let tick_ms = problems.in_range("coordinator.tick_ms", section.tick_ms.unwrap_or(100), 1..=10_000);
        let lease_ms =
            problems.in_range("coordinator.lease_ms", section.lease_ms.unwrap_or(3_000), 100..=600_000);
        let replace_after_ms = problems.in_range(
            "coordinator.replace_after_ms",
            section.replace_after_ms.unwrap_or(30_000),
            0..=86_400_000,
        );
        let replicas = problems.in_range("coordinator.replicas", section.replicas.unwrap_or(2), 1..=16);
        let snapshot_every_entries = problems.in_range(
            "coordinator.snapshot_every_entries",
            section.snapshot_every_entries.unwrap_or(4_096),
            1..=10_000_000,
        );
        let queued_jobs =
            problems.in_range("coordinator.queued_jobs", section.queued_jobs.unwrap_or(64), 1..=10_000);
        match (node, raft_id) {
            (Some(node), Some(raft_id)) if problems.0.is_empty() => Ok(CoordinatorConfig {
                node,
                raft_id,
                peers,
                tick: Duration::from_millis(tick_ms),
                lease: Duration::from_millis(lease_ms),
                replace_after: Duration::from_millis(replace_after_ms),
                replicas: replicas as u32,
                snapshot_every_entries,
                queued_jobs: queued_jobs as u32,
            }),
            _ => Err(problems.into_error()),
        }
    }
}

/// A worker's file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawWorker {
    /// The section `[node]`: what every role has.
    pub node: RawNode,
    /// The section `[worker]`.
    pub worker: RawWorkerSection,
}

/// `[worker]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawWorkerSection {
    /// Threads for training; every core by default.
    pub training_threads: Option<u64>,
    /// Threads for queries; every core by default.
    pub serving_threads: Option<u64>,
    /// Queries that may wait or run; one more is refused.
    pub serving_queue: Option<u64>,
    /// Folders and addresses such as `s3://bucket/prefix` in which sources, test files and users files may lie.
    pub import_roots: Vec<String>,
    /// The same for folders that lists are written to.
    pub export_roots: Vec<String>,
}

/// A worker's settings, checked.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Name, addresses, store and log: what every role has.
    pub node: NodeConfig,
    /// Threads for training and ingest.
    pub training_threads: usize,
    /// Threads for queries.
    pub serving_threads: usize,
    /// Queries that may wait or run at once.
    pub serving_queue: usize,
    /// Where sources, test files and users files may lie.
    pub import_roots: Roots,
    /// Where lists may be written to, besides the store.
    pub export_roots: Roots,
}

impl RawWorker {
    /// Checks everything and fills in defaults; `cores` is what the machine has.
    ///
    /// # Errors
    /// Every problem found.
    pub fn resolve(self, cores: usize) -> Result<WorkerConfig, ConfigError> {
        let mut problems = Problems::default();
        let node =
            self.node.resolve(&Needs { store: true, coordinators: true, data_dir: true }, &mut problems);
        let section = self.worker;
        let cores = cores.max(1) as u64;
        let training_threads = problems.in_range(
            "worker.training_threads",
            section.training_threads.unwrap_or(cores),
            1..=1_024,
        );
        let serving_threads =
            problems.in_range("worker.serving_threads", section.serving_threads.unwrap_or(cores), 1..=1_024);
        let serving_queue =
            problems.in_range("worker.serving_queue", section.serving_queue.unwrap_or(256), 1..=65_536);
        let mut roots = |key, listed: Vec<String>| {
            let roots = Roots::new(key, &listed);
            roots.map_err(|error| problems.add(format!("'{key}': {error}"))).ok()
        };
        let import_roots = roots("worker.import_roots", section.import_roots);
        let export_roots = roots("worker.export_roots", section.export_roots);
        match (node, import_roots, export_roots) {
            (Some(node), Some(import_roots), Some(export_roots)) if problems.0.is_empty() => {
                Ok(WorkerConfig {
                    node,
                    training_threads: training_threads as usize,
                    serving_threads: serving_threads as usize,
                    serving_queue: serving_queue as usize,
                    import_roots,
                    export_roots,
                })
            }
            _ => Err(problems.into_error()),
        }
    }
}

/// A router's file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRouter {
    /// Shared settings. `node.listen` is where gRPC clients call.
    pub node: RawNode,
    /// The section `[router]`.
    pub router: RawRouterSection,
}

/// `[router]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRouterSection {
    /// Where HTTP clients call.
    pub http_listen: Option<SocketAddr>,
    /// How long a query may take in all.
    pub timeout_ms: Option<u64>,
    /// Queries under way at once; one more gets 429.
    pub concurrency: Option<u64>,
    /// The shortest wait before a slow call gets a twin.
    pub hedge_after_ms: Option<u64>,
    /// Twins per hundred calls at most; 0 turns hedging off.
    pub hedge_percent: Option<u64>,
    /// Answers kept at most; 0 turns the cache off.
    pub cache_entries: Option<u64>,
    /// Bytes of kept answers at most.
    pub cache_bytes: Option<u64>,
    /// How long an answer may be kept.
    pub cache_ttl_s: Option<u64>,
    /// Origins whose pages may call from a browser, or `*` for any; none by default.
    pub cors_origins: Vec<String>,
    /// Names and addresses that a request may be addressed to, or `*` for any. By default any, but those of this machine
    /// where the router listens on the loopback address.
    pub hosts: Option<Vec<String>>,
}

/// A router's settings, checked.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Shared settings. `node.listen` is where gRPC clients call.
    pub node: NodeConfig,
    /// Where HTTP clients call.
    pub http_listen: SocketAddr,
    /// How long a query may take in all.
    pub timeout: Duration,
    /// Queries under way at once.
    pub concurrency: usize,
    /// The shortest wait before a slow call gets a twin.
    pub hedge_after: Duration,
    /// Twins per hundred calls at most.
    pub hedge_percent: u32,
    /// Answers kept at most; 0 for no cache.
    pub cache_entries: u64,
    /// Bytes of kept answers at most.
    pub cache_bytes: u64,
    /// How long an answer may be kept.
    pub cache_ttl: Duration,
    /// Origins whose pages may call from a browser; `*` for any.
    pub cors_origins: Vec<String>,
    /// Names that a request may be addressed to; none of them for any.
    pub hosts: Vec<String>,
}

impl RawRouter {
    /// Checks everything and fills in defaults.
    ///
    /// # Errors
    /// Every problem found.
    pub fn resolve(self) -> Result<RouterConfig, ConfigError> {
        let mut problems = Problems::default();
        let node =
            self.node.resolve(&Needs { store: false, coordinators: true, data_dir: false }, &mut problems);
        let section = self.router;
        let http_listen = problems.required("router.http_listen", section.http_listen);
        let timeout_ms =
            problems.in_range("router.timeout_ms", section.timeout_ms.unwrap_or(1_000), 1..=600_000);
        let concurrency =
            problems.in_range("router.concurrency", section.concurrency.unwrap_or(512), 1..=65_536);
        let hedge_after_ms =
            problems.in_range("router.hedge_after_ms", section.hedge_after_ms.unwrap_or(5), 1..=600_000);
        let hedge_percent =
            problems.in_range("router.hedge_percent", section.hedge_percent.unwrap_or(5), 0..=100);
        let cache_entries = problems.in_range(
            "router.cache_entries",
            section.cache_entries.unwrap_or(1_000),
            0..=100_000_000,
        );
        let cache_bytes = problems.in_range(
            "router.cache_bytes",
            section.cache_bytes.unwrap_or(64 * 1024 * 1024),
            1_024..=1 << 40,
        );
        let cache_ttl_s =
            problems.in_range("router.cache_ttl_s", section.cache_ttl_s.unwrap_or(3_600), 1..=31_536_000);
        for origin in section.cors_origins.iter().filter(|origin| !is_origin(origin)) {
            problems.add(format!(
                "'router.cors_origins' has '{origin}'; an origin is '*' or like https://example.org"
            ));
        }
        if let (Some(node), Some(http_listen)) = (&node, http_listen) {
            node.check_exposure("router.http_listen", http_listen, &mut problems);
        }
        match (node, http_listen) {
            (Some(node), Some(http_listen)) if problems.0.is_empty() => Ok(RouterConfig {
                node,
                http_listen,
                timeout: Duration::from_millis(timeout_ms),
                concurrency: concurrency as usize,
                hedge_after: Duration::from_millis(hedge_after_ms),
                hedge_percent: hedge_percent as u32,
                cache_entries,
                cache_bytes,
                cache_ttl: Duration::from_secs(cache_ttl_s),
                cors_origins: section.cors_origins,
                hosts: answered_names(section.hosts, http_listen),
            }),
            _ => Err(problems.into_error()),
        }
    }
}

/// The names that requests may be addressed to; none of them for any. A router that only this machine reaches is called
/// by names of this machine, so a page that has another name is not let in.
fn answered_names(given: Option<Vec<String>>, http_listen: SocketAddr) -> Vec<String> {
    match given {
        Some(names) if names.iter().any(|name| name == "*") => Vec::new(),
        Some(names) => names,
        None if http_listen.ip().is_loopback() => {
            let mut names = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec();
            if !names.contains(&http_listen.ip().to_string()) {
                names.push(http_listen.ip().to_string());
            }
            names
        }
        None => Vec::new(),
    }
}

/// Scheme, host and port without a path, as browsers send it.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_host = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte))
    };
    text == "*" || host.is_some_and(is_host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn flags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn every_problem_is_in_the_one_message() {
        let sources = Sources {
            flags: flags(&[
                ("coordinator.raft_id", "7"),
                ("coordinator.tick_ms", "0"),
                ("coordinator.peers", "{ 1 = 'http://a:1', 2 = 'b:1' }"),
                ("node.name", "\"worker\\u001B[31m\""),
            ]),
            ..Sources::default()
        };
        let error = sources.read::<RawCoordinator>().unwrap().resolve().unwrap_err().to_string();
        for part in [
            "node.cluster_id",
            "node.listen",
            "lacks this member's own number 7",
            "tick_ms",
            "1, 3 or 5",
            r"'node.name': 'worker\u{1b}[31m'",
            "'coordinator.peers': 'http://a:1'",
        ] {
            assert!(error.contains(part), "'{part}' is missing in: {error}");
        }
    }

    #[test]
    fn a_router_caches_by_default_and_lets_no_origin_in() {
        let needed = [
            ("node.cluster_id", "c"),
            ("node.name", "r"),
            ("node.listen", "\"127.0.0.1:1\""),
            ("node.coordinators", "[\"a:1\"]"),
            ("router.http_listen", "\"127.0.0.1:2\""),
        ];
        let resolve = |more: &[(&str, &str)]| {
            let sources = Sources { flags: flags(&[&needed[..], more].concat()), ..Sources::default() };
            sources.read::<RawRouter>().unwrap().resolve()
        };
        let config = resolve(&[]).unwrap();
        assert_eq!((config.cache_entries, config.cache_ttl), (1_000, Duration::from_secs(3_600)));
        assert!(config.cors_origins.is_empty());
        assert_eq!(config.hosts, ["localhost", "127.0.0.1", "[::1]"]);
        assert_eq!(
            resolve(&[("router.hosts", "[\"shoal.example.org\"]")]).unwrap().hosts,
            ["shoal.example.org"]
        );
        assert!(resolve(&[("router.hosts", "[\"*\"]")]).unwrap().hosts.is_empty());
        let exposed = [("node.insecure", "true"), ("router.http_listen", "\"0.0.0.0:2\"")];
        assert!(resolve(&exposed).unwrap().hosts.is_empty());
        let origins = "[\"*\", \"https://example.org:8443\"]";
        assert_eq!(resolve(&[("router.cors_origins", origins)]).unwrap().cors_origins.len(), 2);
        let wrong =
            [("router.cors_origins", "[\"example.org\", \"https://a/b\"]"), ("router.cache_ttl_s", "0")];
        let error = resolve(&wrong).unwrap_err().to_string();
        for part in ["'example.org'", "'https://a/b'", "cache_ttl_s"] {
            assert!(error.contains(part), "'{part}' is missing in: {error}");
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_the_environment_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("worker.toml");
        std::fs::write(
            &file,
            "[node]\ncluster_id = 'c'\nname = 'file'\nlisten = '127.0.0.1:1'\nstore = '/s'\ndata_dir = '/d'\ncoordinators = ['a:1']\n[worker]\nserving_queue = 3\n",
        )
        .unwrap();
        let sources = Sources {
            file: Some(file),
            environment: flags(&[
                ("SHOAL__NODE__NAME", "environment"),
                ("SHOAL__WORKER__SERVING_QUEUE", "4"),
                ("PATH", "/bin"),
            ]),
            flags: flags(&[("node.name", "flag")]),
        };
        let config = sources.read::<RawWorker>().unwrap().resolve(2).unwrap();
        assert_eq!(
            (config.node.name.as_str(), config.serving_queue, config.training_threads),
            ("flag", 4, 2)
        );
        // Nobody reads files through a worker until its configuration says which.
        assert!(config.import_roots.check("/d").is_err() && config.export_roots.check("/d").is_err());
    }

    #[test]
    fn roots_are_whole_paths_and_addresses() {
        let resolve = |roots: &str| {
            let sources = Sources {
                flags: flags(&[
                    ("node.cluster_id", "c"),
                    ("node.name", "w"),
                    ("node.listen", "127.0.0.1:1"),
                    ("node.store", "/s"),
                    ("node.data_dir", "/d"),
                    ("node.coordinators", "[\"a:1\"]"),
                    ("worker.import_roots", roots),
                ]),
                ..Sources::default()
            };
            sources.read::<RawWorker>().unwrap().resolve(2)
        };
        let config = resolve("[\"/data\", \"s3://bucket/x\"]").unwrap();
        for uri in ["/data/ratings.csv", "s3://bucket/x/ratings.csv"] {
            config.import_roots.check(uri).unwrap();
        }
        let error = resolve("[\"data\"]").unwrap_err().to_string();
        assert!(error.contains("worker.import_roots") && error.contains("'data'"), "{error}");
    }

    #[test]
    fn nobody_listens_beyond_the_machine_without_certificates_unless_told() {
        let needed = [("node.cluster_id", "c"), ("node.name", "r"), ("node.coordinators", "[\"a:1\"]")];
        let problems = |listen: &str, http: &str, more: &[(&str, &str)]| {
            let addresses = [("node.listen", listen), ("router.http_listen", http)];
            let given = flags(&[&needed[..], &addresses[..], more].concat());
            let sources = Sources { flags: given, ..Sources::default() };
            sources.read::<RawRouter>().unwrap().resolve().err().map_or(0, |error| error.problems.len())
        };
        let (here, reached) = ("127.0.0.1:1", "0.0.0.0:2");
        assert_eq!(problems(here, "[::1]:2", &[]), 0);
        assert_eq!(problems(here, reached, &[]), 1);
        assert_eq!(problems(reached, "192.0.2.7:80", &[]), 2);
        assert_eq!(problems(reached, reached, &[("node.insecure", "true")]), 0);
        assert_eq!(problems(reached, reached, &[("node.certs", "/certs")]), 0);
        assert_eq!(
            problems(here, here, &[("node.tls.ca", "/ca.pem")]),
            1,
            "a key and a certificate are needed too"
        );
    }

    #[test]
    fn certificates_are_looked_for_by_the_name_of_the_node() {
        let given = [
            ("node.cluster_id", "c"),
            ("node.name", "router-7"),
            ("node.listen", "127.0.0.1:1"),
            ("node.coordinators", "[\"a:1\"]"),
            ("router.http_listen", "127.0.0.1:2"),
            ("node.certs", "/certs"),
        ];
        let sources = Sources { flags: flags(&given), ..Sources::default() };
        let config = sources.read::<RawRouter>().unwrap().resolve().unwrap();
        let files = config.node.tls.unwrap();
        assert_eq!(files.ca, PathBuf::from("/certs/ca.pem"));
        assert_eq!(files.certificate, PathBuf::from("/certs/router-7.pem"));
        assert_eq!(files.key, PathBuf::from("/certs/router-7.key"));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let sources = Sources { flags: flags(&[("node.nmae", "x")]), ..Sources::default() };
        assert!(sources.read::<RawRouter>().unwrap_err().to_string().contains("nmae"));
    }
}
