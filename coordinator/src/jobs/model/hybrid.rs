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

use shoal_common::store::Manifest;
use shoal_proto::v1::{
    DatasetInfo, HybridCalibrate, HybridCandidates, HybridHistograms, HybridLearn, HybridLearnDone,
    HybridLearning, HybridModel, HybridParameters, HybridSource, ModelFolder, ModelVersion, SplitParameters,
    model_parameters::Model,
};

use super::{Made, PREPARE_STEPS, Prepared, Run, content, item_cf};
use crate::jobs::{
    error::JobError,
    remarks,
    tracker::Tracker,
    training::{InnerTraining, Validation, train_inner},
};

/// Said of a blend whose weights no user could teach.
const NOT_LEARNED: &str = "No weight was learned: no user has ratings both to train on and to learn from, so the sources count \
     alike.";

/// What the steps of [`calibrations`] weigh.
const CALIBRATION_STEPS: [f64; 2] = [5.0, 1.0];

/// Where a source is named in the blend.
const POPULARITY: &str = "popularity";

/// ALS, item CF, content and popularity.
const SOURCES: usize = 4;

/// The versions that are blended, in the order of the sources.
struct Components([ModelVersion; 3]);

impl Components {
    fn find(run: &Run<'_>, parameters: &HybridParameters) -> Result<Self, JobError> {
        let state = run.leader.raft.view().borrow().clone();
        let find = |name: &String, model: &str| {
            let version = state.versions.get(name).filter(|version| version.model == model);
            version.cloned().ok_or_else(|| {
                JobError::Fatal(format!("the version '{name}' of '{model}' to be blended is gone"))
            })
        };
        Ok(Self([
            find(&parameters.als_version, "als")?,
            find(&parameters.item_cf_version, "item_cf")?,
            find(&parameters.content_version, "content_based")?,
        ]))
    }

    fn folders(&self) -> Vec<ModelFolder> {
        self.0.iter().map(folder).collect()
    }

    /// The blend of these versions.
    fn blend(&self, mut sources: Vec<HybridSource>, weights: &[f64], weights_given: bool) -> HybridModel {
        let names = self.0.iter().map(|version| (version.model.as_str(), version.name.as_str()));
        let names = names.chain([(POPULARITY, "")]);
        for ((source, weight), (model, version)) in sources.iter_mut().zip(weights).zip(names) {
            source.weight = *weight;
            (source.model, source.version) = (model.to_owned(), version.to_owned());
        }
        HybridModel { sources, weights_given, learning: None }
    }
}

/// A published version's folder.
fn folder(version: &ModelVersion) -> ModelFolder {
    let item_cf = match version.model_parameters.as_ref().and_then(|parameters| parameters.model.as_ref()) {
        Some(Model::ItemCf(parameters)) => Some(*parameters),
        _ => None,
    };
    ModelFolder {
        model: version.model.clone(),
        path: version.path.clone(),
        manifest_checksum: version.manifest_checksum.clone(),
        rating_mean: version.rating_mean,
        als: version.parameters.clone(),
        item_cf,
        rating_slope: version.rating_slope,
    }
}

pub(super) async fn train(
    run: &Run<'_>,
    parameters: &HybridParameters,
    split: &SplitParameters,
    tracker: &mut Tracker,
) -> Result<Made, JobError> {
    let components = Components::find(run, parameters)?;
    let weights_given = !parameters.weights.is_empty();
    let mut said = Vec::new();
    let mut learning = None;
    let mut weights = if weights_given {
        let sum: f64 = parameters.weights.iter().sum();
        parameters.weights.iter().map(|weight| weight / sum).collect()
    } else {
        let learned = match learn(run, &components, parameters, split, tracker).await {
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
    tracker.begin("calibrating", "loading the ratings", (0.5, 0.58));
    tracker.steps(PREPARE_STEPS);
    let Prepared { rating_mean, held_out, sample, .. } =
        run.prepare(split, Validation::default(), tracker).await?;
    tracker.begin("calibrating", "calibrating scores", (0.58, 0.7));
    tracker.steps(CALIBRATION_STEPS);
    let sources = calibrations(run, &components.folders(), parameters, tracker).await?;
    if !weights_given {
        weights = without_ignorant(&weights, &sources);
    }
    let hybrid = HybridModel { learning, ..components.blend(sources, &weights, weights_given) };
    said.extend(remarks::of_sources(&hybrid));
    said.extend(remarks::of_learning(&hybrid));
    tracker.begin("evaluating", "evaluating", (0.7, 0.97));
    tracker.steps([1.0]);
    let evaluation = run.evaluate(components.folders(), Some(hybrid.clone()), sample, tracker).await?;
    Ok(Made { rating_mean, hybrid: Some(hybrid), evaluation, held_out, remarks: said, ..Made::default() })
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
    split: &SplitParameters,
    tracker: &mut Tracker,
) -> Result<Learned, JobError> {
    let user_share = user_share(&run.dataset, parameters, split);
    let validation = Validation { ratio: parameters.validation_ratio, user_share };
    let [als, item_cf, content] = &components.0;
    tracker.begin("learning_als", "learning weights: ALS without a share of the ratings", (0.0, 0.2));
    let of_als = run.part("als");
    let inner = InnerTraining {
        leader: run.leader,
        crew: of_als.crew.clone(),
        dataset: run.dataset.clone(),
        parameters: als.parameters.clone().unwrap_or_default(),
        validation,
        for_tags: true,
        cuts_path: run.cuts_path.clone(),
    };
    let path = of_als.new_folder();
    let (objects, rating_mean) = Box::pin(train_inner(inner, &path, tracker)).await?;
    Manifest::new("checkpoint", objects).write(&run.leader.store, &path).await?;
    let mut folders =
        vec![ModelFolder { path, manifest_checksum: String::new(), rating_mean, ..folder(als) }];

    tracker.begin("learning_item_cf", "learning weights: similar items", (0.2, 0.35));
    // Vectors are made anew where there are tags.
    let of_content = content::NEIGHBOUR_STEPS.into_iter().filter(|_| run.dataset.tags > 0);
    tracker.steps(PREPARE_STEPS.into_iter().chain(item_cf::NEIGHBOUR_STEPS).chain(of_content));
    let part = run.part("item_cf").with_the_ratings_of(&of_als);
    let ratings = part.prepare(split, validation, tracker).await?.ratings;
    of_als.release().await;
    let Some(Model::ItemCf(item_cf)) =
        item_cf.model_parameters.as_ref().and_then(|parameters| parameters.model.as_ref())
    else {
        return Err(JobError::Fatal(format!("version '{}' has no parameters", item_cf.name)));
    };
    folders.push(item_cf::neighbours(&part, item_cf, split, tracker).await?);
    folders.push(learning_content(&part, content, tracker).await?);

    tracker.begin("learning_weights", "learning weights", (0.35, 0.5));
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
    part: &Run<'_>,
    version: &ModelVersion,
    tracker: &mut Tracker,
) -> Result<ModelFolder, JobError> {
    if part.dataset.tags == 0 {
        // Vectors are made of what items are, not of ratings: the version's serve.
        return Ok(ModelFolder { rating_slope: 0.0, ..folder(version) });
    }
    let model = version.model_parameters.as_ref().and_then(|parameters| parameters.model.as_ref());
    let Some(Model::Content(parameters)) = model else {
        return Err(JobError::Fatal(format!("version '{}' has no parameters", version.name)));
    };
    Ok(content::neighbours(part, parameters, tracker).await?.0)
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
