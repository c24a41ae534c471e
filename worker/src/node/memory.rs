//! What the worker's memory is for, in metrics.

use std::{path::PathBuf, time::Duration};

use shoal_common::shutdown::Shutdown;
use shoal_format::mapped_file::mapped_bytes_below;

use crate::train::held_bytes;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells what is mapped below the two folders, and what trainings hold, until asked to stop.
pub(super) async fn tell(served: PathBuf, jobs: PathBuf, shutdown: Shutdown) {
    loop {
        let served = mapped_bytes_below(&served);
        let training = mapped_bytes_below(&jobs) + held_bytes();
        metrics::gauge!("shoal_worker_memory_bytes", "purpose" => "served").set(served as f64);
        metrics::gauge!("shoal_worker_memory_bytes", "purpose" => "training").set(training as f64);
        tokio::select! {
            biased;
            () = shutdown.requested() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
