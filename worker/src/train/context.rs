//! What an attempt at training works with.

use shoal_engine::als::kernel::Kernel;

use crate::job_context::JobContext;

/// What an attempt at training works with.
#[derive(Debug, Clone)]
pub struct TrainContext {
    /// What any job has of the worker.
    pub job: JobContext,
    /// The instruction set to compute with.
    pub kernel: Kernel,
    /// Memory that may be taken; `None` when nobody knows.
    pub memory_bytes: Option<u64>,
}
