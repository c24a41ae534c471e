//! Content: counts, vectors, neighbours, slope, measure.

use shoal_common::model_parameters::folder_of;
use shoal_proto::v1::{
    ContentCensus, ContentNeighbours, ContentParameters, ContentSlope, ContentVectors, DatasetInfo,
    Evaluation, ModelFolder, ModelWrite, ShardSlopeSums, model_parameters::Model,
};

use crate::{
    jobs::{
        density::Density,
        error::JobError,
        model_training::{LearningPhase, Made, ModelTraining, NEIGHBOURS_MAX, PartTraining, within},
        remarks,
        run::{PREPARE_STEPS, Prepared, Run},
        tracker::{Phase, Tracker},
    },
    state::Job,
};

const TAGS_MAX: u32 = 1_000_000;

const LOADING: Phase = Phase { name: "loading", text: "loading the ratings", span: (0.0, 0.1) };
const NEIGHBOURS: Phase = Phase { name: "neighbours", text: "finding similar items", span: (0.1, 0.6) };
const SLOPE: Phase = Phase { name: "slope", text: "learning what likeness is worth", span: (0.6, 0.8) };
const EVALUATING: Phase = Phase { name: "evaluating", text: "evaluating", span: (0.8, 0.97) };

/// The slope begins as if so many pairs of cosine 1 had shown no effect, so that little evidence moves it little.
const SLOPE_PRIOR_PAIRS: f64 = 10.0;

/// What the steps of [`neighbours`] weigh.
const NEIGHBOUR_STEPS: [f64; 4] = [1.0, 1.0, 6.0, 1.0];

#[tonic::async_trait]
impl ModelTraining for ContentParameters {
    fn check(&self, problems: &mut Vec<String>) {
        let weights = [
            ("weight of genres", self.genres_weight),
            ("weight of the genome", self.genome_weight),
            ("weight of tags", self.tags_weight),
            ("weight of the decade", self.decade_weight),
        ];
        for (name, weight) in weights {
            within(name, weight, 0.0, 1e6, problems);
        }
        if weights.iter().all(|(_, weight)| *weight == 0.0) {
            problems.push("a block of features must have a weight above 0".to_owned());
        }
        within("number of items of a tag", self.tag_items_min, 1, u32::MAX, problems);
        within("number of tags", self.tags_max, 0, TAGS_MAX, problems);
        within("number of neighbours", self.neighbours, 1, NEIGHBOURS_MAX, problems);
    }

    fn decisive(&self) -> Model {
        Model::Content(*self)
    }

    async fn train(&self, run: &Run<'_>, _: &mut Job, tracker: &mut Tracker) -> Result<Made, JobError> {
        tracker.begin(&LOADING);
        tracker.steps(PREPARE_STEPS);
        let Prepared { rating_mean, held_out, sample, .. } = run.prepare(tracker).await?;
        tracker.begin(&NEIGHBOURS);
        tracker.steps(NEIGHBOUR_STEPS);
        let (mut folder, tags_left_out) = neighbours(self, run, tracker).await?;
        tracker.begin(&SLOPE);
        tracker.steps([1.0]);
        let rating_slope = slope(run, &folder.path, tracker).await?;
        folder.rating_slope = rating_slope;
        tracker.begin(&EVALUATING);
        tracker.steps([1.0]);
        let evaluation = run.evaluate(vec![folder], None, sample, tracker).await?;
        let objects = run.write_version(tracker).await?;
        let remarks = remarks::of_tags(tags_left_out, &run.dataset).into_iter().collect();
        let metadata = vec![("rating_slope", rating_slope.into())];
        Ok(Made {
            objects,
            rating_mean,
            rating_slope,
            evaluation,
            held_out,
            remarks,
            metadata,
            ..Made::default()
        })
    }

    fn advice(&self, evaluation: &Evaluation, _: &Density) -> String {
        if evaluation.coverage == 0.0 {
            return "It lists nothing: the data set has no genres, years, tags or genome that it could compare items by."
                .to_owned();
        }
        "It knows what items are and not who likes them: it is of use in a hybrid, and for items without ratings."
            .to_owned()
    }
}

#[tonic::async_trait]
impl PartTraining for ContentParameters {
    fn learning_phase(&self) -> LearningPhase {
        let text = "learning weights: items that are alike";
        LearningPhase { name: "learning_content", text, share: 0.5 }
    }

    /// Vectors are made anew where there are tags.
    fn learning_steps(&self, dataset: &DatasetInfo) -> Vec<f64> {
        NEIGHBOUR_STEPS.into_iter().filter(|_| dataset.tags > 0).collect()
    }

    async fn train_part(
        &self,
        part: &Run<'_>,
        version: ModelFolder,
        tracker: &mut Tracker,
    ) -> Result<ModelFolder, JobError> {
        if part.dataset.tags == 0 {
            // Vectors are made of what items are, not of ratings: the version's serve.
            return Ok(ModelFolder { rating_slope: 0.0, ..version });
        }
        Ok(neighbours(self, part, tracker).await?.0)
    }
}

/// Makes the vectors of all items, finds their neighbours, and writes both to a folder. Also returns how many tags do not
/// count because of what is held out.
async fn neighbours(
    parameters: &ContentParameters,
    run: &Run<'_>,
    tracker: &mut Tracker,
) -> Result<(ModelFolder, u64), JobError> {
    let census_path = run.new_folder();
    let (mut objects, mut tags_left_out) = (Vec::new(), 0);
    for written in run.on_all(ContentCensus { path: census_path.clone() }, tracker).await? {
        objects.extend(written.objects);
        tags_left_out += written.tags_left_out;
    }
    run.close(&census_path, objects).await?;
    let vectors = |path| ContentVectors { parameters: Some(*parameters), census_path, path };
    let vectors_path = run.written(vectors, tracker).await?;
    let neighbours = ContentNeighbours { vectors_path, neighbours: parameters.neighbours };
    run.on_all(neighbours, tracker).await?;
    let path = run.written(|path| ModelWrite { path }, tracker).await?;
    Ok((folder_of(Model::Content(*parameters), path), tags_left_out))
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
