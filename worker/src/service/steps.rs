//! The work behind the steps: which attempt a job's first step makes.
//!
//! Serving, the queueing of steps and the exchange between workers do not depend on it. Imports and
//! trainings are not part of this build yet, so their first steps, and a look at a source, are
//! refused with a sentence that says so.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use shoal_common::{compute::Compute, rpc::Channels, store::Store};
use shoal_proto::v1::{DatasetSource, InspectSourceReply, step_event::Event, step_request::Step};

use super::attempt::{Attempt, Runner, StepContext, StepError, step_name};

/// What jobs work with on this worker.
#[derive(Debug, Clone)]
pub struct JobContext {
    /// Named in every message to peers.
    pub cluster_id: String,
    /// This worker's name.
    pub node: String,
    /// Where jobs may keep temporary files.
    pub folder: PathBuf,
    /// Where blocks, factors and checkpoints go.
    pub store: Store,
    /// Options of remote sources.
    pub store_options: BTreeMap<String, String>,
    /// To peers.
    pub channels: Channels,
    /// The training pool.
    pub compute: Compute,
}

/// Runs imports and trainings.
#[derive(Debug)]
pub struct Steps {
    context: JobContext,
}

/// The kind of work is not part of this build.
#[derive(Debug, thiserror::Error)]
#[error("this build of worker '{node}' cannot do '{step}'; use a later one")]
struct NotBuilt {
    node: String,
    step: &'static str,
}

impl Steps {
    /// Works with `context`.
    #[must_use]
    pub fn new(context: JobContext) -> Self {
        Self { context }
    }
}

#[tonic::async_trait]
impl Runner for Steps {
    async fn inspect(&self, _source: DatasetSource) -> Result<InspectSourceReply, StepError> {
        let node = self.context.node.clone();
        Err(StepError::Invalid(Box::new(NotBuilt { node, step: "inspect" })))
    }

    async fn begin(&self, step: Step, _context: StepContext) -> Result<(Arc<dyn Attempt>, Event), StepError> {
        let node = self.context.node.clone();
        Err(StepError::Invalid(Box::new(NotBuilt { node, step: step_name(&step) })))
    }
}
