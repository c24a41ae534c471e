//! Where a running role listens: written by the role once its listeners are bound, read by whoever
//! started it on port 0.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

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
        std::fs::create_dir_all(data_dir)?;
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        write_atomically(&Self::path(data_dir), &text)
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

/// Replaces a file: a reader sees the old one or the new one, never a part. Not synced: everything
/// written so is made anew at the next start.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, OpenOptions::new())
}

/// As [`write_atomically`], for a file that only its owner may read.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    replace(path, bytes, options)
}

fn replace(path: &Path, bytes: &[u8], mut options: OpenOptions) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let mut file = options.write(true).create(true).truncate(true).open(&temporary)?;
    file.write_all(bytes)?;
    drop(file);
    std::fs::rename(&temporary, path)
}
