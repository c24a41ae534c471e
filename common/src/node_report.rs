//! What a node says of itself to people, in heartbeats and in the status.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicI64, Ordering},
};

use shoal_proto::v1::NodeReport;

use crate::telemetry::disk_bytes;

/// When the certificate of this process ends, in seconds since the Unix epoch; 0 without one. A process has one certificate,
/// whatever roles it runs.
static CERTIFICATE_EXPIRES: AtomicI64 = AtomicI64::new(0);

/// Says when the certificate of this process ends, in seconds since the Unix epoch.
pub fn set_certificate_expiry(unix_seconds: i64) {
    CERTIFICATE_EXPIRES.store(unix_seconds, Ordering::Relaxed);
}

/// Makes the reports of one node.
#[derive(Debug, Clone, Default)]
pub struct Reporter {
    started_unix_ms: i64,
    folder: Option<PathBuf>,
    http_address: String,
}

impl Reporter {
    /// Of a node that starts now; `folder` is its own, empty for one without.
    #[must_use]
    pub fn new(started_unix_ms: i64, folder: &Path) -> Self {
        let folder = (!folder.as_os_str().is_empty()).then(|| folder.to_owned());
        Self { started_unix_ms, folder, http_address: String::new() }
    }

    /// Of a router, whose HTTP clients call at an address.
    #[must_use]
    pub fn at_http(self, http_address: String) -> Self {
        Self { http_address, ..self }
    }

    /// How the node is now.
    #[must_use]
    pub fn report(&self) -> NodeReport {
        let (disk_free_bytes, disk_size_bytes) =
            self.folder.as_deref().and_then(disk_bytes).unwrap_or_default();
        NodeReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_ms: self.started_unix_ms,
            http_address: self.http_address.clone(),
            disk_free_bytes,
            disk_size_bytes,
            certificate_expires_unix_ms: CERTIFICATE_EXPIRES.load(Ordering::Relaxed).saturating_mul(1_000),
            ..NodeReport::default()
        }
    }
}
