//! Where a running role listens: written by the role once its listeners are bound, read by whoever
//! started it on port 0.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use shoal_common::private_files;

/// `addresses.json` in a role's data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The process that listens.
    pub pid: u32,
    /// Where the gRPC server listens.
    pub grpc: SocketAddr,
    /// HTTP for clients (routers).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub http: Option<SocketAddr>,
    /// The listener of HTTP for those who look after the router, if it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub admin: Option<SocketAddr>,
    /// Where Prometheus reads metrics, if it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metrics: Option<SocketAddr>,
}

impl Addresses {
    /// The file below a data folder.
    #[must_use]
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("addresses.json")
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        private_files::create_folder(data_dir)?;
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        private_files::replace(&Self::path(data_dir), &text)
    }

    /// Reads the file; `None` while it is not there.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(Self::path(data_dir)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
