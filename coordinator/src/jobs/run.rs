//! One attempt at a training, or at a part of it with a name of its own ([`Run::part`]): workers keep the state of each
//! apart.
//!
//! What workers make for each other goes below the attempt's folder of checkpoints, one folder per step, each with a
//! manifest that the leader writes when all have written ([`Run::written`]). Models that keep no state of their own on
//! workers begin with [`Run::prepare`]; every model is measured with [`Run::sums`].

use std::sync::atomic::{AtomicU32, Ordering};

use shoal_common::{
    job_steps::StepKind,
    split::is_strong,
    store::{Manifest, checkpoint_path},
};
use shoal_proto::v1::{
    DatasetInfo, Evaluation, HeldOutReport, HybridModel, ModelBaselines, ModelEvaluate, ModelEvaluateDone,
    ModelFolder, ModelItems, ModelLoad, ModelWrite, ObjectEntry, ObjectsWritten, ShardRatingSum,
    SplitParameters, StartTrainingRequest, UserSample,
};

use super::{
    error::JobError,
    evaluation::evaluation,
    held_out,
    parts::{Part, first_folder},
    sample::at_the_end,
    steps::{Crew, release},
    tracker::Tracker,
};
use crate::{leader::Leader, placement::owners};

/// Users held out, by expectation, of whom there is one hardly ever less than one.
const HELD_OUT_USERS_SURE: u64 = 5;

/// What the steps of [`Run::prepare`] weigh.
pub(super) const PREPARE_STEPS: [f64; 3] = [4.0, 1.0, 1.0];

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

/// The part of the training pairs that is measured on by those who learn, instead of the test pairs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Validation {
    /// Share of the pairs; 0 for none.
    pub(super) ratio: f64,
    /// With that, the share of the users whose pairs take part in what is learned; 0 for all.
    pub(super) user_share: f64,
}

/// One attempt at a training, or at a part of it.
pub(super) struct Run<'a> {
    pub(super) leader: &'a Leader,
    pub(super) crew: Crew,
    pub(super) dataset: DatasetInfo,
    /// What is held out.
    pub(super) split: SplitParameters,
    /// Where each user's held-out ratings begin; empty unless the split is by time.
    pub(super) split_path: String,
    /// Users whose lists are measured, as requests say it.
    pub(super) ranking_users_max: u32,
    /// The folder that the version is written to.
    pub(super) version_path: String,
    /// What is left out of the training pairs beside the split.
    pub(super) validation: Validation,
    /// Whether the ratings are loaded for a model that looks at tags too, where runs share them.
    pub(super) for_tags: bool,
    /// The job, or the part of one, whose training holds the same ratings; may be empty.
    kept_by: String,
    /// The job's own name, below which its folders are.
    job_id: String,
    /// The number of the next folder.
    folders: AtomicU32,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        leader: &'a Leader,
        crew: Crew,
        dataset: DatasetInfo,
        split: SplitParameters,
        split_path: String,
        request: &StartTrainingRequest,
        version_path: String,
    ) -> Self {
        Self {
            leader,
            job_id: crew.job_id.clone(),
            crew,
            dataset,
            split,
            split_path,
            ranking_users_max: request.ranking_users_max,
            version_path,
            validation: Validation::default(),
            for_tags: false,
            kept_by: String::new(),
            folders: AtomicU32::new(first_folder(None)),
        }
    }

    /// A part of the training with state of its own on workers.
    pub(super) fn part(&self, part: Part) -> Self {
        Self {
            leader: self.leader,
            crew: Crew { job_id: part.id(&self.job_id), ..self.crew.clone() },
            dataset: self.dataset.clone(),
            split: self.split.clone(),
            split_path: self.split_path.clone(),
            ranking_users_max: self.ranking_users_max,
            version_path: self.version_path.clone(),
            validation: Validation::default(),
            for_tags: false,
            kept_by: String::new(),
            job_id: self.job_id.clone(),
            folders: AtomicU32::new(first_folder(Some(part))),
        }
    }

    /// Works with the ratings that the job's training has loaded, rather than loads them again.
    pub(super) fn with_the_trainings_ratings(self) -> Self {
        Self { kept_by: self.job_id.clone(), ..self }
    }

    /// Leaves a part of the training pairs out, to learn from it. The ratings are loaded for models that look at tags
    /// too.
    pub(super) fn that_leaves_out(self, validation: Validation) -> Self {
        Self { validation, for_tags: true, ..self }
    }

    /// Works with the ratings that a part has loaded, of which it leaves the same ones out.
    pub(super) fn with_the_ratings_of(self, part: &Self) -> Self {
        let (validation, for_tags) = (part.validation, part.for_tags);
        Self { kept_by: part.crew.job_id.clone(), validation, for_tags, ..self }
    }

    pub(super) async fn on_all<S: StepKind>(
        &self,
        step: S,
        tracker: &mut Tracker,
    ) -> Result<Vec<S::Done>, JobError> {
        self.crew.on_all(self.leader, step, tracker).await
    }

    /// Does a step on one worker, the first.
    pub(super) async fn on_first<S: StepKind>(
        &self,
        step: S,
        tracker: &mut Tracker,
    ) -> Result<S::Done, JobError> {
        tracker.step();
        let done = self.crew.on_first(self.leader, step).await?;
        tracker.done(1.0);
        Ok(done)
    }

    /// The folder of checkpoints with a number.
    pub(super) fn folder(&self, number: u32) -> String {
        checkpoint_path(&self.job_id, self.crew.attempt, number)
    }

    /// A folder that nothing has been written to.
    pub(super) fn new_folder(&self) -> String {
        self.folder(self.folders.fetch_add(1, Ordering::Relaxed))
    }

    /// Closes a folder of checkpoints with a manifest of these objects.
    pub(super) async fn close(&self, path: &str, objects: Vec<ObjectEntry>) -> Result<(), JobError> {
        Manifest::new("checkpoint", objects).write(&self.leader.store, path).await?;
        Ok(())
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
    pub(super) async fn written<S: StepKind<Done = ObjectsWritten>>(
        &self,
        step: impl FnOnce(String) -> S,
        tracker: &mut Tracker,
    ) -> Result<String, JobError> {
        let path = self.new_folder();
        let objects = self.objects(step(path.clone()), tracker).await?;
        self.close(&path, objects).await?;
        Ok(path)
    }

    /// Everything before the steps of a model that keeps no state of its own on workers, [`PREPARE_STEPS`].
    pub(super) async fn prepare(&self, tracker: &mut Tracker) -> Result<Prepared, JobError> {
        let load = ModelLoad {
            dataset: Some(self.dataset.clone()),
            split: Some(self.split.clone()),
            validation_ratio: self.validation.ratio,
            owners: owners(&self.dataset, &self.crew.names()),
            workers: self.crew.peers(),
            cuts_path: self.split_path.clone(),
            kept_by: self.kept_by.clone(),
            user_share: self.validation.user_share,
            for_tags: !self.kept_by.is_empty() && self.for_tags,
        };
        let (mut sums, mut reports, mut held_out_users) = (Vec::new(), Vec::new(), 0);
        for done in self.on_all(load, tracker).await? {
            sums.extend(done.rating_sums);
            reports.extend(done.held_out);
            held_out_users += done.held_out_users;
        }
        self.check_held_out(held_out_users)?;
        let held_out = held_out::combined(reports, &self.split.test_uri)?;
        let ratings = sums.iter().map(|sum| sum.ratings).sum();
        let rating_mean = self.rating_mean(sums)?;
        let path = self.written(|path| ModelItems { path, rating_mean }, tracker).await?;
        self.on_all(ModelBaselines { path }, tracker).await?;
        let sample = at_the_end(&self.dataset, self.ranking_users_max, held_out_users, self.split.seed);
        Ok(Prepared { rating_mean, ratings, held_out, sample })
    }

    /// Refuses a split that was to hold out users and has held out none, before anything is trained for that.
    ///
    /// # Errors
    /// [`JobError::NobodyHeldOut`].
    pub(super) fn check_held_out(&self, held_out_users: u64) -> Result<(), JobError> {
        let (users, share) = (self.dataset.users, self.split.held_out_user_share);
        if !is_strong(&self.split) || held_out_users > 0 || self.validation.ratio > 0.0 {
            return Ok(());
        }
        // Of so many by expectation none is held out once in 150 draws.
        Err(JobError::NobodyHeldOut { users, share, remedy: HELD_OUT_USERS_SURE.min(users / 2).max(1) })
    }

    /// The mean of the training ratings, added in shard order so that it does not depend on who summed.
    ///
    /// # Errors
    /// When the sum of a shard is missing, and when there is no rating at all.
    pub(super) fn rating_mean(&self, mut sums: Vec<ShardRatingSum>) -> Result<f64, JobError> {
        sums.sort_by_key(|sum| sum.shard);
        if !sums.iter().map(|sum| sum.shard).eq(0..self.dataset.shard_count) {
            return Err(JobError::Transient("the workers have not loaded every shard once".to_owned()));
        }
        let ratings: u64 = sums.iter().map(|sum| sum.ratings).sum();
        if ratings == 0 {
            return Err(JobError::NothingToTrainOn);
        }
        Ok(sums.iter().map(|sum| sum.sum).sum::<f64>() / ratings as f64)
    }

    /// Writes the parts of the version as workers keep them.
    pub(super) async fn write_version(&self, tracker: &mut Tracker) -> Result<Vec<ObjectEntry>, JobError> {
        self.objects(ModelWrite { path: self.version_path.clone() }, tracker).await
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

    /// Lets workers forget what they hold of this run.
    pub(super) async fn release(&self) {
        release(self.leader, &self.crew.job_id).await;
    }
}
