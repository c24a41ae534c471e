//! What every role is told: names, addresses, store, certificates.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;
use shoal_proto::v1::Protection;

use super::Problems;
use crate::{
    audit::AuditTarget,
    plain_text::{NODE_ADDRESS_MAX, NODE_NAME_MAX},
    store::StoreOptions,
    telemetry::LogFormat,
    tls::{RevokedFile, TlsFiles},
};

/// Connections to a node at once, unless it is told another number.
const CONNECTIONS: u64 = 8_192;

/// Which log lines are written, unless it is told otherwise. What the library of S3 says of each try is said here in one line
/// for all of them.
const LOG: &str = "info,object_store=warn";

/// The audit log in a node's folder, the bytes of one file of it, and how many are kept, unless it is told otherwise.
const AUDIT_FILE: &str = "audit.log";
const AUDIT_FILE_BYTES: u64 = 16 * 1024 * 1024;
const AUDIT_FILES: u64 = 8;

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
    /// The object store: a path, file:///… or s3://bucket/prefix.
    pub store: Option<String>,
    /// Options of a remote store, such as `aws_region`.
    pub store_options: StoreOptions,
    /// The coordinators' addresses (workers and routers).
    pub coordinators: Option<Vec<String>>,
    /// Where Prometheus reads this node's metrics.
    pub metrics_listen: Option<SocketAddr>,
    /// Connections to the node's listeners at once, as far as there are descriptors for them.
    pub connections: Option<u64>,
    /// How log lines look: `text` or `json`.
    pub log_format: LogFormat,
    /// Which log lines are written, as a filter of `tracing`.
    pub log: Option<String>,
    /// Seeds every random choice that may not follow from data; drawn at start by default.
    pub seed: Option<u64>,
    /// A folder of certificates as `shoal certs create` makes it: `ca.pem`, `<name>.pem` and `<name>.key`.
    pub certs: Option<PathBuf>,
    /// The section `[node.tls]`: certificates in files of other names.
    pub tls: Option<RawTls>,
    /// Whether people and programs need a token here, or a certificate of an administrator; so it is where there are
    /// certificates, unless this says otherwise.
    pub tokens: Option<bool>,
    /// Whether to listen beyond the loopback address without TLS.
    pub insecure: bool,
    /// The file of the audit log, `-` for standard error; `audit.log` in the node's folder by default.
    pub audit: Option<PathBuf>,
    /// Bytes of one file of the audit log.
    pub audit_file_bytes: Option<u64>,
    /// Files of the audit log that are kept, the newest among them.
    pub audit_files: Option<u64>,
}

/// The section `[node.tls]`, before it is checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTls {
    /// Certificates of the authorities that the cluster trusts, in PEM.
    pub ca: Option<PathBuf>,
    /// The node's own certificate and those between it and the authority, in PEM.
    pub certificate: Option<PathBuf>,
    /// The private key of the node's certificate, in PEM.
    pub key: Option<PathBuf>,
    /// Lists of revoked certificates, in PEM.
    pub revoked: Option<PathBuf>,
}

impl RawTls {
    fn resolve(self, problems: &mut Problems) -> Option<TlsFiles> {
        Some(TlsFiles {
            ca: problems.required("node.tls.ca", self.ca)?,
            certificate: problems.required("node.tls.certificate", self.certificate)?,
            key: problems.required("node.tls.key", self.key)?,
            revoked: self.revoked.map(|path| RevokedFile { path, is_needed: true }),
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
    /// Which log lines are written, as a filter of `tracing`.
    pub log: String,
    /// Seed of the random choices.
    pub seed: Option<u64>,
    /// The node's certificates; without them nothing is encrypted, and nobody has to say who it is.
    pub tls: Option<TlsFiles>,
    /// Whether people and programs need a token, or a certificate of an administrator.
    pub tokens: bool,
    /// Whether the node may listen beyond the loopback address without TLS.
    pub insecure: bool,
    /// Where the audit log is.
    pub audit: AuditTarget,
}

impl NodeConfig {
    /// Whether others than this machine reach an address where nothing is encrypted or checked.
    fn is_exposed(&self, listen: SocketAddr) -> bool {
        self.tls.is_none() && !listen.ip().is_loopback()
    }

    /// Refuses to listen where others reach the node unprotected, unless that is wanted.
    pub(super) fn check_exposure(&self, key: &str, listen: SocketAddr, problems: &mut Problems) {
        if self.is_exposed(listen) && !self.insecure {
            problems.add(format!(
                "'{key}' is {listen}, which other machines reach, and without certificates anybody there may do \
                 anything; name certificates in 'node.certs' (`shoal certs create` makes them, and `shoal up --tls` its own), or accept it with \
                 --insecure ('node.insecure = true')"
            ));
        }
    }

    /// Refuses to answer whoever asks where other machines reach the node, unless that is wanted.
    pub(super) fn check_tokens(&self, key: &str, listen: SocketAddr, problems: &mut Problems) {
        if self.tls.is_some() && !self.tokens && !listen.ip().is_loopback() && !self.insecure {
            problems.add(format!(
                "'{key}' is {listen}, which other machines reach, and 'node.tokens = false' lets anybody there ask; leave \
                 it out, or accept it with --insecure ('node.insecure = true')"
            ));
        }
    }

    /// What stands between the node and whoever can reach its machine; `others` is where it listens for clients beside
    /// `listen`.
    #[must_use]
    pub fn protection(&self, others: &[SocketAddr]) -> Protection {
        let is_reached = others.iter().chain([&self.listen]).any(|listen| !listen.ip().is_loopback());
        match (self.tls.is_some(), is_reached) {
            (true, true) if !self.tokens && !others.is_empty() => Protection::Encryption,
            (true, _) => Protection::Certificates,
            (false, true) => Protection::None,
            (false, false) => Protection::Loopback,
        }
    }
}

/// Which of the shared settings a role cannot do without.
pub(super) struct Needs {
    pub(super) store: bool,
    pub(super) coordinators: bool,
    pub(super) data_dir: bool,
}

impl RawNode {
    pub(super) fn resolve(self, needs: &Needs, problems: &mut Problems) -> Option<NodeConfig> {
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
        for problem in self.store_options.problems() {
            problems.add(format!("'node.store_options': {problem}"));
        }
        let bytes_max = self.audit_file_bytes.unwrap_or(AUDIT_FILE_BYTES);
        let bytes_max = problems.in_range("node.audit_file_bytes", bytes_max, 4_096..=1 << 40);
        let files = problems.in_range("node.audit_files", self.audit_files.unwrap_or(AUDIT_FILES), 1..=1_000);
        let own = data_dir.as_ref().filter(|folder| !folder.as_os_str().is_empty());
        let audit = match self.audit.or_else(|| own.map(|folder| folder.join(AUDIT_FILE))) {
            Some(path) if path.as_os_str() != "-" => {
                AuditTarget::File { path, bytes_max, files: files as u32 }
            }
            // A router may have no folder of its own.
            _ => AuditTarget::StandardError,
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
            log: self.log.unwrap_or_else(|| LOG.to_owned()),
            seed: self.seed,
            tokens: self.tokens.unwrap_or(tls.is_some()),
            tls,
            insecure: self.insecure,
            audit,
        };
        config.check_exposure("node.listen", config.listen, problems);
        Some(config)
    }
}
