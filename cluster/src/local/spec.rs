//! What is asked of a local cluster.

use std::{net::SocketAddr, path::PathBuf};

use super::LocalError;

/// What is asked for. What is left open is as the folder has it, or as a new cluster has it.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The folder of the cluster.
    pub dir: PathBuf,
    /// 1, 3 or 5.
    pub coordinators: Option<usize>,
    /// At least one.
    pub workers: Option<usize>,
    /// Where HTTP clients call; port 0 picks one.
    pub http: Option<SocketAddr>,
    /// Seeds what the nodes draw.
    pub seed: Option<u64>,
    /// Further settings of the nodes, `section.key=value`; those of another role's section are passed over.
    pub settings: Vec<String>,
    /// Whether the nodes get certificates of the cluster's own.
    pub tls: bool,
    /// Further names and addresses by which clients call this machine.
    pub tls_hosts: Vec<String>,
}

impl Spec {
    /// Processes of each role that a new cluster has.
    pub const PROCESSES: usize = 3;

    /// Where a new cluster's HTTP clients call.
    pub const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8_000);

    pub(super) fn check_shape(&self) -> Result<(), LocalError> {
        if let Some(coordinators) = self.coordinators
            && !matches!(coordinators, 1 | 3 | 5)
        {
            let shape = format!("a cluster has 1, 3 or 5 coordinators, not {coordinators}");
            return Err(LocalError::Shape(shape));
        }
        if self.workers == Some(0) {
            return Err(LocalError::Shape("a cluster needs at least one worker".to_owned()));
        }
        Ok(())
    }
}
