//! What an attempt at writing lists works with.

use crate::{job_context::JobContext, serve::Loader};

/// What an attempt at writing lists works with.
#[derive(Debug, Clone)]
pub struct ListsContext {
    /// Id of the job.
    pub job_id: String,
    /// What any job has of the worker.
    pub job: JobContext,
    /// Loads the shards of the version that lists are made from.
    pub loader: Loader,
}
