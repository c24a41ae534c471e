//! HYBRID: weights learned on a part of the training ratings, then calibrations of the real models.
//!
//! Weights must not be learned from models that know the answers. So the models are trained anew on the
//! training ratings less a share of them, with the parameters of the versions that are blended, and weights
//! are learned on that share. Vectors of items are made anew too where there are tags: the tags of that share tell what it
//! is. With the weights given none of this is needed.
//!
//! Four numbers do not need all ratings of a large data set: they are learned on a sample of the users ([`user_share`]), of whom
//! all ratings take part, so that somebody's taste is as well known there as it is in use.
//!
//! A source that knows nothing, as content without a catalogue, gets no weight.

use serde_json::{Value, json};
use shoal_common::model_parameters::model_of;
use shoal_core::ModelKind;
use shoal_proto::v1::{
    AlsParameters, ContentParameters, DatasetInfo, Evaluation, HybridCalibrate, HybridCandidates,
    HybridHistograms, HybridLearn, HybridLearnDone, HybridLearning, HybridModel, HybridParameters,
    HybridSource, ItemCfParameters, ModelFolder, ModelVersion, SplitParameters, model_parameters::Model,
};

use super::{als, content, item_cf};
use crate::{
    jobs::{
        density::Density,
        error::JobError,
        model_training::{Made, ModelTraining},
        parts::Part,
        remarks,
        run::{PREPARE_STEPS, Prepared, Run, Validation},
        tracker::{Phase, Tracker},
    },
    state::Job,
};

const LEARNING_ALS: Phase = Phase {
    name: "learning_als",
    text: "learning weights: ALS without a share of the ratings",
    span: (0.0, 0.2),
};
const LEARNING_ITEM_CF: Phase =
    Phase { name: "learning_item_cf", text: "learning weights: similar items", span: (0.2, 0.35) };
const LEARNING: Phase = Phase { name: "learning_weights", text: "learning weights", span: (0.35, 0.5) };
const LOADING: Phase = Phase { name: "calibrating", text: "loading the ratings", span: (0.5, 0.58) };
const CALIBRATING: Phase = Phase { name: "calibrating", text: "calibrating scores", span: (0.58, 0.7) };
const EVALUATING: Phase = Phase { name: "evaluating", text: "evaluating", span: (0.7, 0.97) };

/// Said of a blend whose weights no user could teach.
const NOT_LEARNED: &str = "No weight was learned: no user has ratings both to train on and to learn from, so the sources count \
     alike.";

/// What the steps of [`calibrations`] weigh.
const CALIBRATION_STEPS: [f64; 2] = [5.0, 1.0];

/// Where a source is named in the blend.
const POPULARITY: &str = "popularity";

/// ALS, item CF, content and popularity.
const SOURCES: usize = 4;

/// The versions that are blended, in the order of the sources, each with the parameters of its training.
struct Components {
    versions: [ModelVersion; 3],
    als: AlsParameters,
    item_cf: ItemCfParameters,
    content: ContentParameters,
}

impl Components {
    fn find(run: &Run<'_>, parameters: &HybridParameters) -> Result<Self, JobError> {
        let state = run.leader.raft.view().borrow().clone();
        let find = |name: &str, kind: ModelKind| {
            let version = state.versions.get(name).filter(|version| version.model == kind.folder()).cloned();
            let gone = || JobError::Fatal(format!("the version '{name}' of '{kind}' to be blended is gone"));
            let version = version.ok_or_else(gone)?;
            let model = model_of(&version).cloned();
            Ok::<_, JobError>((version, model))
        };
        let (of_als, Some(Model::Als(als))) = find(&parameters.als_version, ModelKind::Als)? else {
            return Err(unknown(&parameters.als_version));
        };
        let (of_item_cf, Some(Model::ItemCf(item_cf))) =
            find(&parameters.item_cf_version, ModelKind::ItemCf)?
        else {
            return Err(unknown(&parameters.item_cf_version));
        };
        let (of_content, Some(Model::Content(content))) =
            find(&parameters.content_version, ModelKind::Content)?
        else {
            return Err(unknown(&parameters.content_version));
        };
        Ok(Self { versions: [of_als, of_item_cf, of_content], als, item_cf, content })
    }

    fn folders(&self) -> Vec<ModelFolder> {
        self.versions.iter().map(folder).collect()
    }

    /// The blend of these versions.
    fn blend(&self, mut sources: Vec<HybridSource>, weights: &[f64], weights_given: bool) -> HybridModel {
        let names = self.versions.iter().map(|version| (version.model.as_str(), version.name.as_str()));
        let names = names.chain([(POPULARITY, "")]);
        for ((source, weight), (model, version)) in sources.iter_mut().zip(weights).zip(names) {
            source.weight = *weight;
            (source.model, source.version) = (model.to_owned(), version.to_owned());
        }
        HybridModel { sources, weights_given, learning: None }
    }
}

fn unknown(version: &str) -> JobError {
    JobError::Fatal(format!("version '{version}' does not say with which parameters it was trained"))
}

/// A published version's folder.
fn folder(version: &ModelVersion) -> ModelFolder {
    ModelFolder {
        path: version.path.clone(),
        manifest_checksum: version.manifest_checksum.clone(),
        rating_mean: version.rating_mean,
        rating_slope: version.rating_slope,
        parameters: version.model_parameters.clone(),
    }
}

#[tonic::async_trait]
impl ModelTraining for HybridParameters {
    fn check(&self, problems: &mut Vec<String>) {
        for (name, version) in [
            ("ALS", &self.als_version),
            ("item CF", &self.item_cf_version),
            ("content", &self.content_version),
        ] {
            if version.is_empty() {
                problems.push(format!("the {name} version to be blended is missing"));
            }
        }
        if self.weights.is_empty() {
            if !(self.validation_ratio > 0.0 && self.validation_ratio < 1.0) {
                let ratio = self.validation_ratio;
                problems
                    .push(format!("the share that weights are learned on, {ratio}, must be between 0 and 1"));
            }
            return;
        }
        let numbers = self.weights.iter().all(|weight| *weight >= 0.0 && weight.is_finite());
        if self.weights.len() != SOURCES || !numbers || self.weights.iter().sum::<f64>() <= 0.0 {
            problems.push(format!(
                "the weights must be {SOURCES} numbers from 0, for ALS, item CF, content and popularity, not all 0"
            ));
        }
    }

    fn decisive(&self) -> Model {
        Model::Hybrid(self.clone())
    }

    async fn train(&self, run: &Run<'_>, _: &mut Job, tracker: &mut Tracker) -> Result<Made, JobError> {
        let components = Components::find(run, self)?;
        let weights_given = !self.weights.is_empty();
        let mut said = Vec::new();
        let mut learning = None;
        let mut weights = if weights_given {
            let sum: f64 = self.weights.iter().sum();
            self.weights.iter().map(|weight| weight / sum).collect()
        } else {
            let learned = match learn(run, &components, self, tracker).await {
                // The share to learn from is all that there is.
                Err(JobError::NothingToTrainOn) => None,
                learned => Some(learned?).filter(|learned| learned.on.users > 0),
            };
            if let Some(Learned { weights, on }) = learned {
                learning = Some(on);
                weights
            } else {
                said.push(NOT_LEARNED.to_owned());
                vec![1.0 / SOURCES as f64; SOURCES]
            }
        };
        tracker.begin(&LOADING);
        tracker.steps(PREPARE_STEPS);
        let Prepared { rating_mean, held_out, sample, .. } = run.prepare(tracker).await?;
        tracker.begin(&CALIBRATING);
        tracker.steps(CALIBRATION_STEPS);
        let sources = calibrations(run, &components.folders(), self, tracker).await?;
        if !weights_given {
            weights = without_ignorant(&weights, &sources);
        }
        let hybrid = HybridModel { learning, ..components.blend(sources, &weights, weights_given) };
        said.extend(remarks::of_sources(&hybrid));
        said.extend(remarks::of_learning(&hybrid));
        tracker.begin(&EVALUATING);
        tracker.steps([1.0]);
        let evaluation = run.evaluate(components.folders(), Some(hybrid.clone()), sample, tracker).await?;
        let metadata =
            vec![("sources", sources_json(&hybrid)), ("learning", hybrid.learning.map(learning_json).into())];
        // A blend keeps nothing per shard: what it blends is in the folders of its versions.
        Ok(Made {
            rating_mean,
            hybrid: Some(hybrid),
            evaluation,
            held_out,
            remarks: said,
            metadata,
            ..Made::default()
        })
    }

    fn advice(&self, _: &Evaluation, _: &Density) -> String {
        "Try other --weights, or better versions of the models that it blends.".to_owned()
    }
}

/// Weights of 1 together, without those of sources that know nothing; popularity's alone where that leaves none.
fn without_ignorant(weights: &[f64], sources: &[HybridSource]) -> Vec<f64> {
    let knows = sources.iter().map(|source| !source.knots.is_empty());
    let kept: Vec<f64> =
        weights.iter().zip(knows).map(|(&weight, knows)| if knows { weight } else { 0.0 }).collect();
    if kept == weights {
        return kept;
    }
    let sum: f64 = kept.iter().sum();
    if sum > 0.0 {
        return kept.into_iter().map(|weight| weight / sum).collect();
    }
    (1..=weights.len()).map(|source| f64::from(u8::from(source == weights.len()))).collect()
}

/// Weights, and what they were learned on.
struct Learned {
    weights: Vec<f64>,
    on: HybridLearning,
}

/// The share of the users whose ratings take part in learning: so many that there are the ratings asked for, and the users
/// whose lists are ranked.
fn user_share(dataset: &DatasetInfo, parameters: &HybridParameters, split: &SplitParameters) -> f64 {
    let (ratings, users) = (parameters.learning_ratings_max, parameters.learning_users_max);
    if ratings == 0 || users == 0 {
        return 1.0;
    }
    let trained = dataset.ratings as f64 * (1.0 - split.test_ratio);
    let of_ratings = ratings as f64 / trained.max(1.0);
    let of_users = f64::from(users) / (dataset.users as f64).max(1.0);
    of_ratings.max(of_users).min(1.0)
}

/// Weights learned on a share of the training ratings that models trained on the rest have not seen.
async fn learn(
    run: &Run<'_>,
    components: &Components,
    parameters: &HybridParameters,
    tracker: &mut Tracker,
) -> Result<Learned, JobError> {
    let user_share = user_share(&run.dataset, parameters, &run.split);
    let validation = Validation { ratio: parameters.validation_ratio, user_share };
    tracker.begin(&LEARNING_ALS);
    let of_als = run.part(Part::Learning(ModelKind::Als)).that_leaves_out(validation);
    let mut folders = vec![Box::pin(als::train_part(&components.als, &of_als, tracker)).await?];

    tracker.begin(&LEARNING_ITEM_CF);
    // Vectors are made anew where there are tags.
    let of_content = content::NEIGHBOUR_STEPS.into_iter().filter(|_| run.dataset.tags > 0);
    tracker.steps(PREPARE_STEPS.into_iter().chain(item_cf::NEIGHBOUR_STEPS).chain(of_content));
    let part = run.part(Part::Learning(ModelKind::ItemCf)).with_the_ratings_of(&of_als);
    let ratings = part.prepare(tracker).await?.ratings;
    of_als.release().await;
    folders.push(item_cf::neighbours(&components.item_cf, &part, tracker).await?);
    folders.push(learning_content(components, &part, tracker).await?);

    tracker.begin(&LEARNING);
    // Then candidates, and the search.
    tracker.steps(CALIBRATION_STEPS.into_iter().chain([5.0, 4.0]));
    let sources = calibrations(&part, &folders, parameters, tracker).await?;
    let count = sources.len() as u32;
    let users_max = parameters.learning_users_max;
    let candidates = |path| HybridCandidates { folders, sources, users_max, path };
    let path = part.written(candidates, tracker).await?;
    let learned = part.on_first(HybridLearn { path, sources: count }, tracker).await?;
    part.release().await;
    let HybridLearnDone { weights, ndcg_at_20, users } = learned;
    if weights.len() != SOURCES {
        let found = weights.len();
        return Err(JobError::Transient(format!("a worker has learned {found} weights of {SOURCES}")));
    }
    Ok(Learned { weights, on: HybridLearning { users, ratings, user_share, ndcg_at_20 } })
}

/// A content version's folder to learn from.
async fn learning_content(
    components: &Components,
    part: &Run<'_>,
    tracker: &mut Tracker,
) -> Result<ModelFolder, JobError> {
    if part.dataset.tags == 0 {
        // Vectors are made of what items are, not of ratings: the version's serve.
        let [_, _, version] = &components.versions;
        return Ok(ModelFolder { rating_slope: 0.0, ..folder(version) });
    }
    Ok(content::neighbours(&components.content, part, tracker).await?.0)
}

/// Calibrations of the scores of some folders, and of popularity.
async fn calibrations(
    run: &Run<'_>,
    folders: &[ModelFolder],
    parameters: &HybridParameters,
    tracker: &mut Tracker,
) -> Result<Vec<HybridSource>, JobError> {
    let folders = folders.to_vec();
    let users_max = parameters.learning_users_max;
    let histograms = |path| HybridHistograms { folders, users_max, path };
    let path = run.written(histograms, tracker).await?;
    let sources = run.on_first(HybridCalibrate { path }, tracker).await?.sources;
    if sources.len() != SOURCES {
        let found = sources.len();
        return Err(JobError::Transient(format!("a worker has calibrated {found} sources of {SOURCES}")));
    }
    Ok(sources)
}

fn sources_json(hybrid: &HybridModel) -> Value {
    let source = |source: &HybridSource| {
        json!({
            "model": source.model,
            "version": source.version,
            "weight": source.weight,
            "knots": source.knots.iter().map(|knot| json!([knot.score, knot.level])).collect::<Vec<_>>(),
        })
    };
    json!(hybrid.sources.iter().map(source).collect::<Vec<_>>())
}

fn learning_json(learning: HybridLearning) -> Value {
    let HybridLearning { users, ratings, user_share, ndcg_at_20 } = learning;
    json!({ "users": users, "ratings": ratings, "user_share": user_share, "ndcg_at_20": ndcg_at_20 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_users_take_part_that_there_are_the_ratings_and_the_users_asked_for() {
        let share = |ratings: u64, learning_ratings_max, learning_users_max| {
            let dataset = DatasetInfo { users: 100_000, ratings, ..DatasetInfo::default() };
            let parameters =
                HybridParameters { learning_ratings_max, learning_users_max, ..HybridParameters::default() };
            let split = SplitParameters { test_ratio: 0.2, ..SplitParameters::default() };
            user_share(&dataset, &parameters, &split)
        };
        assert_eq!(share(20_000_000, 4_000_000, 5_000), 0.25);
        // Few ratings each: for the lists more users are needed than for the ratings.
        assert_eq!(share(20_000_000, 400_000, 5_000), 0.05);
        assert_eq!(share(5_000_000, 4_000_000, 5_000), 1.0);
        // Of builds before, and where all are asked for.
        assert_eq!((share(20_000_000, 0, 5_000), share(20_000_000, 4_000_000, 0)), (1.0, 1.0));
    }

    #[test]
    fn what_knows_nothing_has_no_weight() {
        let sources = |knows: [bool; 4]| {
            knows.map(|knows| HybridSource {
                knots: vec![Default::default(); usize::from(knows)],
                ..HybridSource::default()
            })
        };
        let weights = [0.5, 0.25, 0.125, 0.125];
        assert_eq!(without_ignorant(&weights, &sources([true; 4])), weights);
        let without = without_ignorant(&[0.25, 0.25, 0.5, 0.0], &sources([true, true, false, true]));
        assert_eq!(without, [0.5, 0.5, 0.0, 0.0]);
        assert_eq!(
            without_ignorant(&[0.0, 0.0, 1.0, 0.0], &sources([true, true, false, true])),
            [0.0, 0.0, 0.0, 1.0]
        );
    }
}
