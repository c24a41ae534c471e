//! What the tests share: running the binary, clusters and their processes, data, HTTP.

mod cluster;
mod data;
mod http;
mod load;
mod models;
mod oracle;
mod processes;
mod service;
mod shared;
mod shoal;

use std::time::{Duration, Instant};

pub(crate) use cluster::{Cluster, Shape};
pub(crate) use data::{SMALL, Size, generate, real_data};
pub(crate) use http::{Answer, Http};
pub(crate) use load::Load;
pub(crate) use models::{Models, stored_biases, stored_neighbours};
pub(crate) use oracle::{By, Oracle, Verdict, exported_neighbours, read_rows, ties};
pub(crate) use processes::{processes_of, signal};
pub(crate) use service::service;
pub(crate) use shared::{Shared, shared};
pub(crate) use shoal::{Finished, Running, shoal, shoal_in, shoal_with, shoal_with_all};

/// How long anything may take that is certain to come, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(25);

/// Waits for what must come. Panics, naming it, when it does not.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up_at, "waited in vain: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// A new folder for a test's files.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("shoal-it-").tempdir().unwrap()
}
