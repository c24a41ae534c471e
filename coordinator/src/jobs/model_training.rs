//! What every model has for the leader: checks of its parameters, the steps that make it, and advice.

use serde_json::Value;
use shoal_proto::v1::{
    DatasetInfo, Evaluation, HeldOutReport, HybridModel, ModelFolder, ObjectEntry, SweepMetrics,
    model_parameters::Model,
};

use super::{density::Density, error::JobError, run::Run, tracker::Tracker};
use crate::state::Job;

/// Neighbours that a model may keep of an item.
pub(super) const NEIGHBOURS_MAX: u32 = 10_000;

/// How one kind of model is made. Its parameters implement it.
#[tonic::async_trait]
pub(super) trait ModelTraining: Send + Sync {
    /// Adds whatever is wrong with the parameters, a sentence each.
    fn check(&self, problems: &mut Vec<String>);

    /// The parameters without those that the result does not depend on.
    fn decisive(&self) -> Model;

    /// Makes a version: measures it, and writes its parts below [`Run::version_path`].
    ///
    /// # Errors
    /// See [`JobError`].
    async fn train(&self, run: &Run<'_>, job: &mut Job, tracker: &mut Tracker) -> Result<Made, JobError>;

    /// What could help a version whose lists are worse than popularity's, in a sentence or two.
    fn advice(&self, evaluation: &Evaluation, density: &Density) -> String;
}

/// How a model that a hybrid can blend is trained anew, so that the weights of the blend can be learned. Its parameters
/// implement it.
#[tonic::async_trait]
pub(super) trait PartTraining: Send + Sync {
    fn learning_phase(&self) -> LearningPhase;

    /// Whether workers keep its ratings and what it makes in an attempt of another kind than [`Run::prepare`] begins.
    fn keeps_own_state(&self) -> bool {
        false
    }

    /// What the steps of [`PartTraining::train_part`] weigh.
    fn learning_steps(&self, dataset: &DatasetInfo) -> Vec<f64>;

    /// Trains the model on the ratings of a part and writes it to a folder of its own. The part's ratings are loaded,
    /// unless the model keeps a state of its own. `version` was trained on all ratings: it will do for a model on which
    /// ratings have no effect.
    ///
    /// # Errors
    /// See [`JobError`].
    async fn train_part(
        &self,
        part: &Run<'_>,
        version: ModelFolder,
        tracker: &mut Tracker,
    ) -> Result<ModelFolder, JobError>;
}

/// A phase of a job in which a model is trained for learning.
#[derive(Debug, Clone, Copy)]
pub(super) struct LearningPhase {
    /// Its key in `phase_seconds`.
    pub(super) name: &'static str,
    /// What people are told.
    pub(super) text: &'static str,
    /// How much of the bar it takes beside the phases of the other models.
    pub(super) share: f64,
}

/// What a training has made, before it is published.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The parts of the version.
    pub(super) objects: Vec<ObjectEntry>,
    pub(super) evaluation: Evaluation,
    /// Of the training ratings, as predictions start from it.
    pub(super) rating_mean: f64,
    /// By how much a cosine of 1 raises a predicted rating.
    pub(super) rating_slope: f64,
    /// Of a model that is trained in sweeps: what the last one was worth.
    pub(super) metrics: Option<SweepMetrics>,
    pub(super) hybrid: Option<HybridModel>,
    /// What the steps have left out or fallen back to, in words.
    pub(super) remarks: Vec<String>,
    /// What became of the held-out file, where one is measured on.
    pub(super) held_out: Option<HeldOutReport>,
    /// What `metadata.json` says of this kind of model alone.
    pub(super) metadata: Vec<(&'static str, Value)>,
}

/// Checks a number against an inclusive range.
pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    least: T,
    most: T,
    problems: &mut Vec<String>,
) {
    if !(least <= value && value <= most) {
        problems.push(format!("the {name}, {value}, must be from {least} to {most}"));
    }
}
