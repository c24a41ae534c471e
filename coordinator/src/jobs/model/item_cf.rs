//! ITEM_CF: totals, neighbours, measure.

use shoal_proto::v1::{
    ItemCfNeighbours, ItemCfParameters, ItemCfPrepare, ItemCfTotals, ModelFolder, ModelWrite, SplitParameters,
};

use super::{Made, PREPARE_STEPS, Prepared, Run};
use crate::jobs::{error::JobError, tracker::Tracker, training::Validation};

/// What the steps of [`neighbours`] weigh.
pub(super) const NEIGHBOUR_STEPS: [f64; 4] = [1.0, 1.0, 12.0, 1.0];

/// Ratings up to which every worker takes those of all users, eight bytes each. There are many more pairs than ratings:
/// to tell each other sums over pairs takes longer than to add them up.
const GATHERED_RATINGS_MAX: u64 = 1 << 26;

pub(super) async fn train(
    run: &Run<'_>,
    parameters: &ItemCfParameters,
    split: &SplitParameters,
    tracker: &mut Tracker,
) -> Result<Made, JobError> {
    tracker.begin("loading", "loading the ratings", (0.0, 0.1));
    tracker.steps(PREPARE_STEPS);
    let Prepared { rating_mean, held_out, sample, .. } =
        run.prepare(split, Validation::default(), tracker).await?;
    tracker.begin("neighbours", "finding similar items", (0.1, 0.8));
    tracker.steps(NEIGHBOUR_STEPS);
    let folder = neighbours(run, parameters, split, tracker).await?;
    tracker.begin("evaluating", "evaluating", (0.8, 0.97));
    tracker.steps([1.0]);
    let evaluation = run.evaluate(vec![folder], None, sample, tracker).await?;
    Ok(Made { rating_mean, evaluation, held_out, ..Made::default() })
}

/// Finds the neighbours of all items from what is loaded, and writes them to a folder.
pub(super) async fn neighbours(
    run: &Run<'_>,
    parameters: &ItemCfParameters,
    split: &SplitParameters,
    tracker: &mut Tracker,
) -> Result<ModelFolder, JobError> {
    let prepare = ItemCfPrepare {
        parameters: Some(*parameters),
        seed: split.seed,
        gathered: run.dataset.ratings <= GATHERED_RATINGS_MAX,
    };
    run.on_all(prepare, tracker).await?;
    let totals_path = run.written(|path| ItemCfTotals { path }, tracker).await?;
    run.on_all(ItemCfNeighbours { totals_path }, tracker).await?;
    let path = run.written(|path| ModelWrite { path }, tracker).await?;
    Ok(ModelFolder {
        model: "item_cf".to_owned(),
        path,
        item_cf: Some(*parameters),
        ..ModelFolder::default()
    })
}
