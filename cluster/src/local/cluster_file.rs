//! `cluster.json`: what a local cluster consists of, and where each of its nodes listens.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use shoal_common::private_files::replace_public;

use super::LocalError;

/// The newest that this build writes, and the only one there has been.
pub(super) const FORMAT_VERSION: u32 = 1;

/// What one process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It keeps metadata, places shards and runs jobs.
    Coordinator,
    /// It has shards, trains and serves them.
    Worker,
    /// It answers clients over HTTP and gRPC.
    Router,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Router => "router",
        })
    }
}

/// What `cluster.json` says of a local cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFile {
    pub(super) format_version: u32,
    /// The same on every node.
    pub cluster_id: String,
    /// Address of the object store.
    pub store: String,
    /// In the order of their raft numbers, from 1.
    pub coordinators: Vec<Member>,
    /// The workers, in the order of their names.
    pub workers: Vec<Member>,
    /// The routers; a local cluster has one.
    pub routers: Vec<RouterMember>,
}

/// A coordinator or worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Unique in the cluster.
    pub name: String,
    /// Where its gRPC server listens.
    pub address: SocketAddr,
}

/// A router and the two addresses where its clients call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterMember {
    /// Unique in the cluster.
    pub name: String,
    /// Where gRPC clients call.
    pub grpc: SocketAddr,
    /// Where HTTP clients call.
    pub http: SocketAddr,
}

impl ClusterFile {
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join("cluster.json")
    }

    /// Reads the file of the cluster in `dir`; `None` when there is no cluster.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn read(dir: &Path) -> Result<Option<Self>, LocalError> {
        let path = Self::path(dir);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LocalError::File { action: "read", path, source }),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| LocalError::Unreadable { path, source })
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), LocalError> {
        let path = Self::path(dir);
        let unreadable = |source| LocalError::Unreadable { path: path.clone(), source };
        let mut text = serde_json::to_vec_pretty(self).map_err(unreadable)?;
        text.push(b'\n');
        replace_public(&path, &text).map_err(LocalError::file("write", &path))
    }

    /// The coordinators' addresses, as clients take them.
    #[must_use]
    pub fn coordinator_addresses(&self) -> Vec<String> {
        self.coordinators.iter().map(|member| member.address.to_string()).collect()
    }

    /// The routers' address for HTTP, as a client on this machine calls it.
    #[must_use]
    pub fn http_url(&self, under_tls: bool) -> Option<String> {
        let scheme = if under_tls { "https" } else { "http" };
        self.routers.first().map(|router| format!("{scheme}://{}", reachable(router.http)))
    }
}

/// An address to call for one that was listened on: the unspecified address means every interface.
#[must_use]
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
