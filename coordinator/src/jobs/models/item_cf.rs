//! Item CF: totals, neighbours, measure.

use shoal_common::model_parameters::folder_of;
use shoal_proto::v1::{
    DatasetInfo, Evaluation, ItemCfNeighbours, ItemCfParameters, ItemCfPrepare, ItemCfTotals, ModelFolder,
    ModelWrite, Similarity, model_parameters::Model,
};

use crate::{
    jobs::{
        density::Density,
        error::JobError,
        model_training::{LearningPhase, Made, ModelTraining, NEIGHBOURS_MAX, PartTraining, within},
        run::{PREPARE_STEPS, Prepared, Run},
        tracker::{Phase, Tracker},
    },
    state::Job,
};

const LOADING: Phase = Phase { name: "loading", text: "loading the ratings", span: (0.0, 0.1) };
const NEIGHBOURS: Phase = Phase { name: "neighbours", text: "finding similar items", span: (0.1, 0.8) };
const EVALUATING: Phase = Phase { name: "evaluating", text: "evaluating", span: (0.8, 0.97) };

/// What the steps of [`neighbours`] weigh.
const NEIGHBOUR_STEPS: [f64; 4] = [1.0, 1.0, 12.0, 1.0];

/// Ratings up to which every worker takes those of all users, eight bytes each. There are many more pairs than ratings:
/// to tell each other sums over pairs takes longer than to add them up.
const GATHERED_RATINGS_MAX: u64 = 1 << 26;

#[tonic::async_trait]
impl ModelTraining for ItemCfParameters {
    fn check(&self, problems: &mut Vec<String>) {
        if self.similarity() == Similarity::Unspecified {
            problems.push("the similarity is missing".to_owned());
        }
        within("number of common users", self.common_users_min, 1, u32::MAX, problems);
        within("shrinkage", self.shrinkage, 0.0, 1e9, problems);
        within("number of neighbours", self.neighbours, 1, NEIGHBOURS_MAX, problems);
        within("number of ratings per user", self.user_ratings_max, 2, u32::MAX, problems);
        let used = self.prediction_neighbours;
        within("number of neighbours to predict from", used, 1, NEIGHBOURS_MAX, problems);
    }

    fn decisive(&self) -> Model {
        Model::ItemCf(*self)
    }

    async fn train(&self, run: &Run<'_>, _: &mut Job, tracker: &mut Tracker) -> Result<Made, JobError> {
        tracker.begin(&LOADING);
        tracker.steps(PREPARE_STEPS);
        let Prepared { rating_mean, held_out, sample, .. } = run.prepare(tracker).await?;
        tracker.begin(&NEIGHBOURS);
        tracker.steps(NEIGHBOUR_STEPS);
        let folder = neighbours(self, run, tracker).await?;
        tracker.begin(&EVALUATING);
        tracker.steps([1.0]);
        let evaluation = run.evaluate(vec![folder], None, sample, tracker).await?;
        let objects = run.write_version(tracker).await?;
        Ok(Made { objects, rating_mean, evaluation, held_out, ..Made::default() })
    }

    fn advice(&self, _: &Evaluation, density: &Density) -> String {
        density.advice(
            "try a smaller --min-common-users, so that more pairs of items count.",
            "Try more --neighbours or less --shrinkage.",
        )
    }
}

#[tonic::async_trait]
impl PartTraining for ItemCfParameters {
    fn learning_phase(&self) -> LearningPhase {
        LearningPhase { name: "learning_item_cf", text: "learning weights: similar items", share: 1.5 }
    }

    fn learning_steps(&self, _: &DatasetInfo) -> Vec<f64> {
        NEIGHBOUR_STEPS.to_vec()
    }

    async fn train_part(
        &self,
        part: &Run<'_>,
        _: ModelFolder,
        tracker: &mut Tracker,
    ) -> Result<ModelFolder, JobError> {
        neighbours(self, part, tracker).await
    }
}

/// Finds the neighbours of all items from what is loaded, and writes them to a folder.
async fn neighbours(
    parameters: &ItemCfParameters,
    run: &Run<'_>,
    tracker: &mut Tracker,
) -> Result<ModelFolder, JobError> {
    let prepare = ItemCfPrepare {
        parameters: Some(*parameters),
        seed: run.split.seed,
        gathered: run.dataset.ratings <= GATHERED_RATINGS_MAX,
    };
    run.on_all(prepare, tracker).await?;
    let totals_path = run.written(|path| ItemCfTotals { path }, tracker).await?;
    run.on_all(ItemCfNeighbours { totals_path }, tracker).await?;
    let path = run.written(|path| ModelWrite { path }, tracker).await?;
    Ok(folder_of(Model::ItemCf(*parameters), path))
}
