//! HYBRID: weights learned on a part of the training ratings, then calibrations of the real models.
//!
//! Weights must not be learned from models that know the answers. So the models are trained anew on the
//! training ratings less a share of them, with the parameters of the versions that are blended, and weights
//! are learned on that share. With the weights given none of this is needed.

use shoal_common::store::Manifest;
use shoal_proto::v1::{
    HybridCalibrate, HybridCandidates, HybridHistograms, HybridLearn, HybridModel, HybridParameters,
    HybridSource, ModelFolder, ModelVersion, SplitParameters, model_parameters::Model, step_event::Event,
    step_request::Step,
};

use super::{Made, Run, item_cf};
use crate::jobs::{
    JobError,
    tracker::Tracker,
    training::{InnerTraining, train_inner},
};

/// Where a source is named in the blend.
const POPULARITY: &str = "popularity";

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
        HybridModel { sources, weights_given }
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
    let weights = if weights_given {
        let sum: f64 = parameters.weights.iter().sum();
        parameters.weights.iter().map(|weight| weight / sum).collect()
    } else {
        learn(run, &components, parameters, split, tracker).await?
    };
    tracker.begin("calibrating", "loading the ratings", (0.7, 0.75));
    let rating_mean = run.prepare(split, 0.0, tracker).await?;
    tracker.begin("calibrating", "calibrating scores", (0.75, 0.85));
    let sources = calibrations(run, &components.folders(), parameters, tracker).await?;
    let hybrid = components.blend(sources, &weights, weights_given);
    tracker.begin("evaluating", "evaluating", (0.85, 0.97));
    let evaluation = run.evaluate(components.folders(), Some(hybrid.clone()), split.seed, tracker).await?;
    Ok(Made { rating_mean, hybrid: Some(hybrid), evaluation, ..Made::default() })
}

/// Weights learned on a share of the training ratings that models trained on the rest have not seen.
async fn learn(
    run: &Run<'_>,
    components: &Components,
    parameters: &HybridParameters,
    split: &SplitParameters,
    tracker: &mut Tracker,
) -> Result<Vec<f64>, JobError> {
    let ratio = parameters.validation_ratio;
    let [als, item_cf, content] = &components.0;
    tracker.begin("learning", "learning weights: ALS without a share of the ratings", (0.0, 0.3));
    let part = run.part("als");
    let inner = InnerTraining {
        leader: run.leader,
        attempt: part.attempt.clone(),
        dataset: run.dataset.clone(),
        parameters: als.parameters.clone().unwrap_or_default(),
        validation_ratio: ratio,
        cuts_path: run.cuts_path.clone(),
    };
    let path = part.new_folder();
    let (objects, rating_mean) = train_inner(inner, &path, tracker).await?;
    Manifest::new("checkpoint", objects).write(&run.leader.store, &path).await?;
    part.release().await;
    let mut folders =
        vec![ModelFolder { path, manifest_checksum: String::new(), rating_mean, ..folder(als) }];

    tracker.begin("learning", "learning weights: similar items", (0.3, 0.5));
    let part = run.part("item_cf");
    part.prepare(split, ratio, tracker).await?;
    let Some(Model::ItemCf(item_cf)) =
        item_cf.model_parameters.as_ref().and_then(|parameters| parameters.model.as_ref())
    else {
        return Err(JobError::Fatal(format!("version '{}' has no parameters", item_cf.name)));
    };
    folders.push(item_cf::neighbours(&part, item_cf, split, tracker).await?);
    // Vectors are made of what items are, not of ratings: the version's serve.
    folders.push(ModelFolder { rating_slope: 0.0, ..folder(content) });

    tracker.begin("learning", "learning weights", (0.5, 0.7));
    let sources = calibrations(&part, &folders, parameters, tracker).await?;
    let count = sources.len() as u32;
    let users_max = parameters.learning_users_max;
    let candidates = |path| Step::HybridCandidates(HybridCandidates { folders, sources, users_max, path });
    let path = part.written(candidates, tracker).await?;
    let learned = part.on_one(Step::HybridLearn(HybridLearn { path, sources: count }), tracker).await?;
    part.release().await;
    match learned {
        Event::HybridLearnDone(done) => Ok(done.weights),
        _ => Err(JobError::Fatal("a worker has learned no weights".to_owned())),
    }
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
    let histograms = |path| Step::HybridHistograms(HybridHistograms { folders, users_max, path });
    let path = run.written(histograms, tracker).await?;
    match run.on_one(Step::HybridCalibrate(HybridCalibrate { path }), tracker).await? {
        Event::HybridCalibrateDone(done) => Ok(done.sources),
        _ => Err(JobError::Fatal("a worker has calibrated nothing".to_owned())),
    }
}
