//! What whoever works on a job has of this worker: imports, trainings and the writing of lists alike.

use std::path::PathBuf;

use shoal_common::{
    compute::Compute,
    rpc::Channels,
    store::{Access, Store},
};

/// What jobs work with on this worker, and each attempt at one with a folder of its own.
#[derive(Debug, Clone)]
pub struct JobContext {
    /// Named in every message to peers, and in the folders that jobs take.
    pub cluster_id: String,
    /// Name of this worker.
    pub node: String,
    /// Where jobs keep temporary files; an attempt's own is removed with the attempt.
    pub folder: PathBuf,
    /// Where data sets, versions and checkpoints are.
    pub store: Store,
    /// Where sources, held-out files and users files may lie, and lists be written.
    pub access: Access,
    /// Connections to the other workers.
    pub channels: Channels,
    /// The pool that jobs compute on.
    pub compute: Compute,
}

impl JobContext {
    /// The same for an attempt that has this folder.
    #[must_use]
    pub fn with_folder(&self, folder: PathBuf) -> Self {
        Self { folder, ..self.clone() }
    }
}
