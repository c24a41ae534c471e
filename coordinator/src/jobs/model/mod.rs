//! Trainings of models that are not ALS, and the measuring of every model.
//!
//! A run is one attempt of a job, or a part of one with a name of its own ([`Run::part`]): workers keep the
//! state of each apart. It begins with [`Run::prepare`]; then come the steps of the model. What workers make
//! for each other goes below the attempt's folder of checkpoints, one folder per step, each with a manifest
//! that the leader writes when all have written ([`Run::written`]).

mod content;
mod hybrid;
mod item_cf;
mod publish;
mod same;
mod validate;

use std::sync::atomic::{AtomicU32, Ordering};

use shoal_common::{
    job_steps::StepKind,
    store::{Manifest, checkpoint_path},
};
use shoal_proto::v1::{
    DatasetInfo, Evaluation, HeldOutReport, HybridModel, ModelBaselines, ModelEvaluate, ModelEvaluateDone,
    ModelFolder, ModelItems, ModelLoad, ObjectEntry, ObjectsWritten, ShardRatingSum, SplitParameters,
    UserSample, model_parameters::Model,
};

use super::{
    cuts::cut_by_time, error::JobError, evaluation::evaluation, held_out, sample::at_the_end, steps::Crew,
    tracker::Tracker, training::Validation,
};
use crate::{
    leader::{Leader, LiveWorker},
    placement::owners,
    state::Job,
};

use publish::publish;

pub(super) use publish::{MODEL_INFO_FILE, folder_of, model_info, name_of, point_latest};
pub(super) use validate::check_model;

pub use same::same_training;

/// Parts of a job that workers know by a name of their own, after the job's.
pub(super) const PARTS: [&str; 4] = ["measure", "als", "item_cf", "content"];

/// Trains the model that the request asks for, and publishes it.
pub(super) async fn run(
    leader: &Leader,
    job: &mut Job,
    dataset: DatasetInfo,
    workers: &[LiveWorker],
    tracker: &mut Tracker,
) -> Result<(), JobError> {
    let info = job.info.clone();
    let parameters = info.training.as_ref().and_then(|training| training.model.clone()).unwrap_or_default();
    let split = parameters.split.clone().unwrap_or_default();
    let crew = Crew { job_id: info.job_id.clone(), attempt: info.attempt, workers: workers.to_vec() };
    tracker.begin("loading", "loading the ratings", (0.0, 0.0));
    let cuts_path = cut_by_time(leader, &crew, &dataset, &split, tracker).await?;
    let users_max = info.training.as_ref().map_or(0, |training| training.ranking_users_max);
    let run = Run::new(leader, crew, dataset, cuts_path, users_max);
    let made = match &parameters.model {
        Some(Model::ItemCf(item_cf)) => Box::pin(item_cf::train(&run, item_cf, &split, tracker)).await?,
        Some(Model::Content(content)) => Box::pin(content::train(&run, content, &split, tracker)).await?,
        Some(Model::Hybrid(hybrid)) => Box::pin(hybrid::train(&run, hybrid, &split, tracker)).await?,
        None => return Err(JobError::Fatal("the request names no model".to_owned())),
    };
    publish(&run, job, parameters, made, tracker).await
}

/// What a training has made, before it is published.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) rating_mean: f64,
    pub(super) rating_slope: f64,
    pub(super) hybrid: Option<HybridModel>,
    pub(super) evaluation: Evaluation,
    /// What the steps have left out or fallen back to, in words.
    pub(super) remarks: Vec<String>,
    /// What became of the held-out file, where one is measured on.
    pub(super) held_out: Option<HeldOutReport>,
}

/// What is known when the ratings are loaded.
pub(super) struct Prepared {
    /// Of the training ratings.
    pub(super) rating_mean: f64,
    /// How many there are.
    pub(super) ratings: u64,
    /// What became of the held-out file, where one is measured on.
    pub(super) held_out: Option<HeldOutReport>,
    /// Who is measured at the end.
    pub(super) sample: UserSample,
}

/// What the steps of [`Run::prepare`] weigh.
pub(super) const PREPARE_STEPS: [f64; 3] = [4.0, 1.0, 1.0];

/// One attempt of a job, or a part of it.
pub(super) struct Run<'a> {
    pub(super) leader: &'a Leader,
    pub(super) crew: Crew,
    pub(super) dataset: DatasetInfo,
    /// The job's own name, below which its folders are.
    job_id: String,
    /// The folder of the users' cuts, empty unless the split is by time.
    pub(super) cuts_path: String,
    /// Users that are measured, as requests say it.
    ranking_users_max: u32,
    /// The job, or the part of one, whose training holds the same ratings; may be empty.
    kept_by: String,
    /// With that, whether they were loaded for one that looks at tags too.
    for_tags: bool,
    /// Folders named so far; those of parts are numbered apart.
    folders: AtomicU32,
}

/// Folders of one part at the most.
const FOLDERS_OF_A_PART: u32 = 1_000;

impl<'a> Run<'a> {
    pub(super) fn new(
        leader: &'a Leader,
        crew: Crew,
        dataset: DatasetInfo,
        cuts_path: String,
        ranking_users_max: u32,
    ) -> Self {
        // Numbers below are those of sweeps.
        let folders = AtomicU32::new(10 * FOLDERS_OF_A_PART);
        let job_id = crew.job_id.clone();
        Self {
            leader,
            job_id,
            crew,
            dataset,
            cuts_path,
            ranking_users_max,
            kept_by: String::new(),
            for_tags: false,
            folders,
        }
    }

    /// Works with the ratings that the job's training has loaded, rather than loads them again.
    pub(super) fn with_the_trainings_ratings(self) -> Self {
        Self { kept_by: self.job_id.clone(), ..self }
    }

    /// Works with the ratings that a part's training has loaded for one that looks at tags too.
    pub(super) fn with_the_ratings_of(self, part: &Self) -> Self {
        Self { kept_by: part.crew.job_id.clone(), for_tags: true, ..self }
    }

    /// A part of the job with state of its own on workers, one of [`PARTS`].
    pub(super) fn part(&self, name: &'static str) -> Self {
        let number = PARTS.iter().position(|part| *part == name).unwrap_or_default() as u32;
        let crew = Crew { job_id: part_id(&self.job_id, name), ..self.crew.clone() };
        Self {
            leader: self.leader,
            crew,
            dataset: self.dataset.clone(),
            job_id: self.job_id.clone(),
            cuts_path: self.cuts_path.clone(),
            ranking_users_max: self.ranking_users_max,
            kept_by: String::new(),
            for_tags: false,
            folders: AtomicU32::new((11 + number) * FOLDERS_OF_A_PART),
        }
    }

    pub(super) async fn on_all<S: StepKind>(
        &self,
        step: S,
        tracker: &mut Tracker,
    ) -> Result<Vec<S::Done>, JobError> {
        self.crew.on_all(self.leader, step, tracker).await
    }

    /// Does a step on one worker, the first.
    async fn on_first<S: StepKind>(&self, step: S, tracker: &mut Tracker) -> Result<S::Done, JobError> {
        tracker.step();
        let done = self.crew.on_first(self.leader, step).await?;
        tracker.done(1.0);
        Ok(done)
    }

    /// A folder that nothing has been written to.
    pub(super) fn new_folder(&self) -> String {
        let number = self.folders.fetch_add(1, Ordering::Relaxed);
        checkpoint_path(&self.job_id, self.crew.attempt, number)
    }

    /// Does a step that writes parts below a folder, on all workers.
    pub(super) async fn objects<S: StepKind<Done = ObjectsWritten>>(
        &self,
        step: S,
        tracker: &mut Tracker,
    ) -> Result<Vec<ObjectEntry>, JobError> {
        let written = self.on_all(step, tracker).await?;
        Ok(written.into_iter().flat_map(|written| written.objects).collect())
    }

    /// Does a step that writes parts below a new folder, and closes the folder with a manifest.
    async fn written<S: StepKind<Done = ObjectsWritten>>(
        &self,
        step: impl FnOnce(String) -> S,
        tracker: &mut Tracker,
    ) -> Result<String, JobError> {
        let path = self.new_folder();
        let objects = self.objects(step(path.clone()), tracker).await?;
        Manifest::new("checkpoint", objects).write(&self.leader.store, &path).await?;
        Ok(path)
    }

    /// Everything before a model's own steps, [`PREPARE_STEPS`].
    pub(super) async fn prepare(
        &self,
        split: &SplitParameters,
        validation: Validation,
        tracker: &mut Tracker,
    ) -> Result<Prepared, JobError> {
        let load = ModelLoad {
            dataset: Some(self.dataset.clone()),
            split: Some(split.clone()),
            validation_ratio: validation.ratio,
            owners: owners(&self.dataset, &self.crew.names()),
            workers: self.crew.peers(),
            cuts_path: self.cuts_path.clone(),
            kept_by: self.kept_by.clone(),
            user_share: validation.user_share,
            for_tags: self.for_tags,
        };
        let (mut sums, mut reports, mut held_out_users) = (Vec::new(), Vec::new(), 0);
        for done in self.on_all(load, tracker).await? {
            sums.extend(done.rating_sums);
            reports.extend(done.held_out);
            held_out_users += done.held_out_users;
        }
        let held_out = held_out::combined(reports, &split.test_uri)?;
        let ratings = sums.iter().map(|sum| sum.ratings).sum();
        let rating_mean = rating_mean(sums)?;
        let path = self.written(|path| ModelItems { path, rating_mean }, tracker).await?;
        self.on_all(ModelBaselines { path }, tracker).await?;
        let sample = at_the_end(&self.dataset, self.ranking_users_max, held_out_users, split.seed);
        Ok(Prepared { rating_mean, ratings, held_out, sample })
    }

    /// Measures models on what is held out: one folder, or the blend of several.
    pub(super) async fn evaluate(
        &self,
        folders: Vec<ModelFolder>,
        hybrid: Option<HybridModel>,
        sample: UserSample,
        tracker: &mut Tracker,
    ) -> Result<Evaluation, JobError> {
        evaluation(self.sums(folders, hybrid, sample, tracker).await?, self.dataset.items)
    }

    /// What every worker sums when models are measured.
    pub(super) async fn sums(
        &self,
        folders: Vec<ModelFolder>,
        hybrid: Option<HybridModel>,
        sample: UserSample,
        tracker: &mut Tracker,
    ) -> Result<Vec<ModelEvaluateDone>, JobError> {
        let step = ModelEvaluate { folders, hybrid, seed: sample.seed, sample: Some(sample) };
        self.on_all(step, tracker).await
    }

    /// Lets workers forget a part.
    pub(super) async fn release(&self) {
        super::steps::release(self.leader, &self.crew.job_id).await;
    }
}

/// The name by which workers know a part of a job.
pub(super) fn part_id(job_id: &str, part: &str) -> String {
    format!("{job_id}.{part}")
}

/// The mean of the training ratings, added in shard order so that it does not depend on who summed.
pub(super) fn rating_mean(mut sums: Vec<ShardRatingSum>) -> Result<f64, JobError> {
    sums.sort_by_key(|sum| sum.shard);
    let ratings: u64 = sums.iter().map(|sum| sum.ratings).sum();
    if ratings == 0 {
        return Err(JobError::NothingToTrainOn);
    }
    Ok(sums.iter().map(|sum| sum.sum).sum::<f64>() / ratings as f64)
}
