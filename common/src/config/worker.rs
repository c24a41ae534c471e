//! What a worker is told.

use serde::Deserialize;

use super::{
    ConfigError, Problems,
    node::{Needs, NodeConfig, RawNode},
};
use crate::store::Roots;

/// The settings file of a worker, before it is checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawWorker {
    /// The section `[node]`: what every role has.
    pub node: RawNode,
    /// The section `[worker]`.
    pub worker: RawWorkerSection,
}

/// The section `[worker]`, before it is checked.
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
    /// Threads that answer queries.
    pub serving_threads: usize,
    /// Queries that may wait or run at once.
    pub serving_queue: usize,
    /// Where sources, test files and users files may lie.
    pub import_roots: Roots,
    /// Where lists may be written to, besides the store.
    pub export_roots: Roots,
    /// Serve from the files of a store that is a folder, instead of copies of them: for one process that only reads.
    pub serves_in_place: bool,
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
                    serves_in_place: false,
                })
            }
            _ => Err(problems.into_error()),
        }
    }
}
