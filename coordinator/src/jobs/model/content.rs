//! CONTENT: counts, vectors, neighbours, slope, measure.

use shoal_common::store::Manifest;
use shoal_proto::v1::{
    ContentCensus, ContentNeighbours, ContentParameters, ContentSlope, ContentVectors, ModelFolder,
    ModelWrite, ShardSlopeSums, SplitParameters,
};

use super::{Made, PREPARE_STEPS, Prepared, Run};
use crate::jobs::{error::JobError, remarks, tracker::Tracker, training::Validation};

/// Pairs of cosine 1 and no effect that the slope starts with, so that little evidence moves it little.
const SLOPE_PRIOR_PAIRS: f64 = 10.0;

/// What the steps of [`neighbours`] weigh.
pub(super) const NEIGHBOUR_STEPS: [f64; 4] = [1.0, 1.0, 6.0, 1.0];

pub(super) async fn train(
    run: &Run<'_>,
    parameters: &ContentParameters,
    split: &SplitParameters,
    tracker: &mut Tracker,
) -> Result<Made, JobError> {
    tracker.begin("loading", "loading the ratings", (0.0, 0.1));
    tracker.steps(PREPARE_STEPS);
    let Prepared { rating_mean, held_out, sample, .. } =
        run.prepare(split, Validation::default(), tracker).await?;
    tracker.begin("neighbours", "finding similar items", (0.1, 0.6));
    tracker.steps(NEIGHBOUR_STEPS);
    let (mut folder, tags_left_out) = neighbours(run, parameters, tracker).await?;
    tracker.begin("slope", "learning what likeness is worth", (0.6, 0.8));
    tracker.steps([1.0]);
    folder.rating_slope = slope(run, &folder.path, tracker).await?;
    tracker.begin("evaluating", "evaluating", (0.8, 0.97));
    tracker.steps([1.0]);
    let rating_slope = folder.rating_slope;
    let evaluation = run.evaluate(vec![folder], None, sample, tracker).await?;
    let remarks = remarks::of_tags(tags_left_out, &run.dataset).into_iter().collect();
    Ok(Made { rating_mean, rating_slope, evaluation, held_out, remarks, ..Made::default() })
}

/// Makes the vectors of all items, finds their neighbours, and writes both to a folder. Also returns how many tags do not
/// count because of what is held out.
pub(super) async fn neighbours(
    run: &Run<'_>,
    parameters: &ContentParameters,
    tracker: &mut Tracker,
) -> Result<(ModelFolder, u64), JobError> {
    let census_path = run.new_folder();
    let (mut objects, mut tags_left_out) = (Vec::new(), 0);
    for written in run.on_all(ContentCensus { path: census_path.clone() }, tracker).await? {
        objects.extend(written.objects);
        tags_left_out += written.tags_left_out;
    }
    Manifest::new("checkpoint", objects).write(&run.leader.store, &census_path).await?;
    let vectors = |path| ContentVectors { parameters: Some(*parameters), census_path, path };
    let vectors_path = run.written(vectors, tracker).await?;
    let neighbours = ContentNeighbours { vectors_path, neighbours: parameters.neighbours };
    run.on_all(neighbours, tracker).await?;
    let path = run.written(|path| ModelWrite { path }, tracker).await?;
    Ok((ModelFolder { model: "content_based".to_owned(), path, ..ModelFolder::default() }, tags_left_out))
}

/// By how much a cosine of 1 raises a predicted rating: least squares over all training ratings, added in shard
/// order.
async fn slope(run: &Run<'_>, vectors_path: &str, tracker: &mut Tracker) -> Result<f64, JobError> {
    let step = ContentSlope { vectors_path: vectors_path.to_owned() };
    let shards = run.on_all(step, tracker).await?.into_iter().flat_map(|done| done.shards);
    Ok(least_squares(shards.collect()))
}

fn least_squares(mut shards: Vec<ShardSlopeSums>) -> f64 {
    shards.sort_by_key(|sums| sums.shard);
    let product: f64 = shards.iter().map(|sums| sums.product).sum();
    let square: f64 = shards.iter().map(|sums| sums.square).sum();
    product / (square + SLOPE_PRIOR_PAIRS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_where_the_error_is_least() {
        let pairs = [(0.5, 1.0), (-0.25, -0.75), (0.9, 0.2), (0.1, 0.4)];
        let sums = |shard, pairs: &[(f64, f64)]| ShardSlopeSums {
            shard,
            product: pairs.iter().map(|pair| pair.0 * pair.1).sum(),
            square: pairs.iter().map(|pair| pair.0 * pair.0).sum(),
        };
        let slope = least_squares(vec![sums(1, &pairs[..1]), sums(0, &pairs[1..])]);
        let loss = |slope: f64| {
            let errors = pairs.iter().map(|pair| (pair.1 - slope * pair.0).powi(2)).sum::<f64>();
            errors + SLOPE_PRIOR_PAIRS * slope * slope
        };
        assert!(loss(slope) < loss(slope + 1e-4) && loss(slope) < loss(slope - 1e-4));
        assert_eq!(least_squares(Vec::new()), 0.0);
    }
}
