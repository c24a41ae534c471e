//! A training: load, route, alternate half-steps, keep checkpoints, measure, publish.

use bytes::Bytes;
use shoal_common::{
    clock::UtcTime,
    job_steps::StepKind,
    readable::{evaluation_json, held_out_json},
    split,
    store::{METADATA_FILE, Manifest, checkpoint_path, join},
};
use shoal_proto::v1::{
    AlsParameters, DatasetInfo, Evaluation, ExchangeFormat, HeldOutReport, JobInfo, ModelFolder,
    ModelVersion, ObjectEntry, ObjectiveChoice, Side, SweepCommitted, SweepMetrics, SweepOrder, SweepWork,
    TrainEvaluate, TrainHalfStep, TrainLoad, TrainRoute, TrainWrite, update_job::Update,
};
use tokio::time::Instant;

use super::{
    conventions::{confidence_name, preference_name, scaling_name, solver_name},
    cuts::cut_by_time,
    error::JobError,
    evaluation::evaluation,
    held_out, model, remarks,
    sample::after_a_sweep,
    steps::{self, Crew},
    sweeps::{add_work, metrics, metrics_json},
    tracker::Tracker,
};
use crate::{
    leader::{Leader, LiveWorker},
    placement::owners,
    state::{Job, model_of},
};

/// The kind of model, which is also its folder.
const MODEL: &str = "als";

/// Share of the job's bar before the first sweep, and up to the end of the last.
const SWEEPS_SPAN: (f64, f64) = (0.08, 0.85);

/// Share of the job's bar up to the version's factors, and up to the end of the last measuring.
const WRITTEN: f64 = 0.87;
const MEASURED: f64 = 0.98;

/// Where in a sweep's share of the bar its half-steps, its checkpoint and its measuring end.
const SWEEP_PARTS: [f64; 4] = [0.42, 0.84, 0.9, 1.0];

/// What the steps of [`Training::prepare`] weigh.
const PREPARE_STEPS: [f64; 3] = [4.0, 1.0, 1.0];

pub(super) async fn run(
    leader: &Leader,
    job: &mut Job,
    workers: &[LiveWorker],
    tracker: &mut Tracker,
) -> Result<(), JobError> {
    let info = job.info.clone();
    let request = info.training.clone().unwrap_or_default();
    if !info.model_version.is_empty() {
        // Published by an attempt whose leader was lost before it could say so.
        model::point_latest(leader, model_of(&request), &info.model_version).await;
        return Ok(());
    }
    let state = leader.raft.view().borrow().clone();
    let dataset = state.dataset(&request.dataset_name, &request.dataset_version).cloned();
    let dataset =
        dataset.ok_or_else(|| JobError::Fatal(format!("data set '{}' is gone", request.dataset_name)))?;
    if request.model.is_some() {
        return Box::pin(model::run(leader, job, dataset, workers, tracker)).await;
    }
    let parameters = request.parameters.clone().unwrap_or_default();
    let crew = Crew { job_id: info.job_id.clone(), attempt: info.attempt, workers: workers.to_vec() };

    tracker.begin("loading", "loading the ratings", (0.0, SWEEPS_SPAN.0));
    let cutting = Some(1.0).filter(|_| parameters.temporal);
    tracker.steps(cutting.into_iter().chain(PREPARE_STEPS));
    let held_out = split::of_als(&parameters);
    let cuts_path = cut_by_time(leader, &crew, &dataset, &held_out, tracker).await?;
    let mut training = Training {
        leader,
        crew,
        dataset,
        parameters,
        validation: Validation::default(),
        for_tags: false,
        cuts_path,
        rating_mean: 0.0,
        held_out_users: 0,
        kernel: String::new(),
        held_out: None,
    };
    let committed = job.info.committed_sweeps;
    training.prepare(&job.checkpoint_path, committed, tracker).await?;
    for sweep in committed + 1..=training.parameters.sweeps {
        training.sweep(job, sweep, tracker).await?;
    }
    let version = training.publish(job, tracker).await?;
    leader.update_job(&info.job_id, Update::VersionPublished(version.clone())).await?;
    model::point_latest(leader, MODEL, &version.name).await;
    job.info.model_version = version.name;
    Ok(())
}

/// One attempt.
struct Training<'a> {
    leader: &'a Leader,
    crew: Crew,
    dataset: DatasetInfo,
    parameters: AlsParameters,
    /// The part of the training pairs that is left out too.
    validation: Validation,
    /// Whether another model that looks at tags shares the ratings.
    for_tags: bool,
    /// The folder of the users' cuts, empty unless the split is by time.
    cuts_path: String,
    rating_mean: f64,
    held_out_users: u64,
    kernel: String,
    /// What became of the held-out file, where one is measured on.
    held_out: Option<HeldOutReport>,
}

/// A training that is part of another model's, and publishes nothing.
pub(super) struct InnerTraining<'a> {
    pub(super) leader: &'a Leader,
    pub(super) crew: Crew,
    pub(super) dataset: DatasetInfo,
    pub(super) parameters: AlsParameters,
    /// The part of the training pairs that is left out.
    pub(super) validation: Validation,
    /// Whether another model that looks at tags shares the ratings.
    pub(super) for_tags: bool,
    /// The folder of the users' cuts, empty unless the split is by time.
    pub(super) cuts_path: String,
}

/// The part of the training pairs that is measured on by those who learn, instead of the test pairs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Validation {
    /// Share of the pairs; 0 for none.
    pub(super) ratio: f64,
    /// With that, the share of the users whose pairs take part in what is learned; 0 for all.
    pub(super) user_share: f64,
}

/// Trains to the last sweep without checkpoints, and writes the factors below `path`. Returns their parts and
/// the mean of the training ratings, 0 without biases.
pub(super) async fn train_inner(
    inner: InnerTraining<'_>,
    path: &str,
    tracker: &mut Tracker,
) -> Result<(Vec<ObjectEntry>, f64), JobError> {
    let InnerTraining { leader, crew, dataset, parameters, validation, for_tags, cuts_path } = inner;
    let mut training = Training {
        leader,
        crew,
        dataset,
        parameters,
        validation,
        for_tags,
        cuts_path,
        rating_mean: 0.0,
        held_out_users: 0,
        kernel: String::new(),
        held_out: None,
    };
    let sweeps = training.parameters.sweeps;
    // Before the sweeps, two half-steps of each, and the factors.
    let half_steps = std::iter::repeat_n(3.0, 2 * sweeps as usize);
    tracker.steps(PREPARE_STEPS.into_iter().chain(half_steps).chain([1.0]));
    training.prepare("", 0, tracker).await?;
    for sweep in 1..=sweeps {
        for side in training.order() {
            let step = TrainHalfStep { sweep, side: side.into(), solve: true };
            training.on_all(step, tracker).await?;
        }
    }
    let objects = training.write(path, sweeps, tracker).await?;
    Ok((objects, training.served_mean()))
}

impl Training<'_> {
    async fn on_all<S: StepKind>(&self, step: S, tracker: &mut Tracker) -> Result<Vec<S::Done>, JobError> {
        self.crew.on_all(self.leader, step, tracker).await
    }

    /// Everything before the first half-step.
    async fn prepare(&mut self, checkpoint: &str, sweep: u32, tracker: &mut Tracker) -> Result<(), JobError> {
        let load = TrainLoad {
            dataset: Some(self.dataset.clone()),
            parameters: Some(self.parameters.clone()),
            owners: owners(&self.dataset, &self.crew.names()),
            workers: self.crew.peers(),
            checkpoint_path: checkpoint.to_owned(),
            validation_ratio: self.validation.ratio,
            cuts_path: self.cuts_path.clone(),
            user_share: self.validation.user_share,
            for_tags: self.for_tags,
        };
        let (mut sums, mut reports) = (Vec::new(), Vec::new());
        for done in self.on_all(load, tracker).await? {
            sums.extend(done.rating_sums);
            reports.extend(done.held_out);
            self.kernel = done.kernel;
            self.held_out_users += done.held_out_users;
        }
        self.held_out = held_out::combined(reports, &self.parameters.test_uri)?;
        self.rating_mean = model::rating_mean(sums)?;
        let route = TrainRoute {
            rating_mean: self.rating_mean,
            users: self.dataset.users,
            items: self.dataset.items,
        };
        self.on_all(route, tracker).await?;
        // The first side is solved from the other one's factors as they are.
        let send = TrainHalfStep { sweep, side: self.order()[1].into(), solve: false };
        self.on_all(send, tracker).await?;
        Ok(())
    }

    /// What explicit predictions start from.
    fn served_mean(&self) -> f64 {
        let biases = self.parameters.explicit.as_ref().is_some_and(|explicit| explicit.biases);
        if biases { self.rating_mean } else { 0.0 }
    }

    /// The sides in the order that a sweep solves them.
    fn order(&self) -> [Side; 2] {
        match self.parameters.order() {
            SweepOrder::Unspecified | SweepOrder::UsersFirst => [Side::Users, Side::Items],
            SweepOrder::ItemsFirst => [Side::Items, Side::Users],
        }
    }

    /// Both half-steps of a sweep, and its checkpoint where one is due. The last sweep's is measured as the version.
    async fn sweep(&self, job: &mut Job, sweep: u32, tracker: &mut Tracker) -> Result<(), JobError> {
        let started = Instant::now();
        let sweeps = self.parameters.sweeps;
        let mut work = SweepWork::default();
        let share = (SWEEPS_SPAN.1 - SWEEPS_SPAN.0) / f64::from(sweeps);
        let begin = SWEEPS_SPAN.0 + share * f64::from(sweep - 1);
        let [first, second, third, fourth] = SWEEP_PARTS.map(|part| begin + share * part);
        for (side, span) in self.order().into_iter().zip([(begin, first), (first, second)]) {
            let name = side_name(side);
            tracker.begin("sweeps", &format!("sweep {sweep} of {sweeps}: {name}"), span);
            tracker.steps([1.0]);
            let step = TrainHalfStep { sweep, side: side.into(), solve: true };
            let done = self.on_all(step, tracker).await?;
            add_work(&mut work, &done);
        }
        let is_last = sweep == sweeps;
        if !is_last && !sweep.is_multiple_of(self.parameters.checkpoint_every_sweeps.max(1)) {
            return Ok(());
        }
        let seconds = started.elapsed().as_secs_f64();
        tracker.begin("checkpoints", &format!("sweep {sweep} of {sweeps}: checkpoint"), (second, third));
        let info = &mut job.info;
        let path = checkpoint_path(&info.job_id, info.attempt, sweep);
        let objects = self.write(&path, sweep, tracker).await?;
        Manifest::new("checkpoint", objects).write(&self.leader.store, &path).await?;
        let mut metrics = SweepMetrics::default();
        if !is_last {
            tracker.begin("evaluating", &format!("sweep {sweep} of {sweeps}: evaluating"), (third, fourth));
            tracker.steps([1.0]);
            metrics = self.evaluate(&path, sweep, tracker).await?;
        }
        (metrics.sweep, metrics.seconds, metrics.work) = (sweep, seconds, Some(work));
        let committed = SweepCommitted {
            sweep,
            checkpoint_path: path.clone(),
            metrics: Some(metrics),
            phase_seconds: tracker.phase_seconds(),
        };
        self.leader.update_job(&info.job_id, Update::SweepCommitted(committed)).await?;
        tracker.milestone();
        info.committed_sweeps = sweep;
        info.sweeps.push(metrics);
        let superseded = std::mem::replace(&mut job.checkpoint_path, path);
        if !superseded.is_empty() {
            self.leader.store.delete_folder(&superseded).await?;
        }
        Ok(())
    }

    /// Measures the factors below `path`, their lists for some of the users.
    async fn evaluate(
        &self,
        path: &str,
        sweep: u32,
        tracker: &mut Tracker,
    ) -> Result<SweepMetrics, JobError> {
        let sample = after_a_sweep(&self.dataset, &self.parameters, self.held_out_users);
        let evaluate = TrainEvaluate { path: path.to_owned(), sweep, sample: Some(sample) };
        let sums = self.on_all(evaluate, tracker).await?.into_iter().flat_map(|done| done.shards);
        Ok(metrics(sums.collect(), self.parameters.objective()))
    }

    async fn write(
        &self,
        path: &str,
        sweep: u32,
        tracker: &mut Tracker,
    ) -> Result<Vec<ObjectEntry>, JobError> {
        let written = self.on_all(TrainWrite { path: path.to_owned(), sweep }, tracker).await?;
        Ok(written.into_iter().flat_map(|written| written.objects).collect())
    }

    /// Measures the last checkpoint as every model is measured, and as a sweep is.
    async fn measure(
        &self,
        job: &Job,
        tracker: &mut Tracker,
    ) -> Result<(Evaluation, SweepMetrics), JobError> {
        tracker.begin("evaluating", "evaluating", (WRITTEN, MEASURED));
        tracker.steps(model::PREPARE_STEPS.into_iter().chain([10.0]));
        let (crew, dataset) = (self.crew.clone(), self.dataset.clone());
        let parameters = &self.parameters;
        let (cuts_path, users_max) = (self.cuts_path.clone(), parameters.ranking_users_max);
        let run = model::Run::new(self.leader, crew, dataset, cuts_path, users_max).part("measure");
        let run = run.with_the_trainings_ratings();
        let sample = run.prepare(&split::of_als(parameters), Validation::default(), tracker).await?.sample;
        // The ratings are shared; the factors are read from the store.
        steps::release(self.leader, &self.crew.job_id).await;
        let folder = ModelFolder {
            model: MODEL.to_owned(),
            path: job.checkpoint_path.clone(),
            rating_mean: self.served_mean(),
            als: Some(parameters.clone()),
            ..ModelFolder::default()
        };
        let done = run.sums(vec![folder], None, sample, tracker).await?;
        run.release().await;
        let of_sweep = done.iter().flat_map(|done| &done.shards).filter_map(|shard| shard.sweep);
        let metrics = metrics(of_sweep.collect(), parameters.objective());
        Ok((evaluation(done, self.dataset.items)?, metrics))
    }

    /// The version's folder: factors, the files for people, the manifest last.
    async fn publish(&self, job: &Job, tracker: &mut Tracker) -> Result<ModelVersion, JobError> {
        let mut info = job.info.clone();
        tracker.begin("publishing", "writing the factors", (SWEEPS_SPAN.1, WRITTEN));
        let path = model::folder_of(&info);
        let mut objects = self.write(&path, self.parameters.sweeps, tracker).await?;
        let (evaluation, measured) = self.measure(job, tracker).await?;
        if let Some(last) = info.sweeps.last_mut() {
            (last.rating, last.ranking) = (measured.rating, measured.ranking);
        }
        tracker.begin("publishing", "publishing", (MEASURED, 1.0));
        let mut version = ModelVersion {
            name: model::name_of(&info),
            model: MODEL.to_owned(),
            path,
            dataset_name: self.dataset.name.clone(),
            dataset_version: self.dataset.version.clone(),
            parameters: Some(self.parameters.clone()),
            rating_mean: self.served_mean(),
            metrics: info.sweeps.last().copied(),
            evaluation: Some(evaluation),
            held_out: self.held_out.clone(),
            created_unix_ms: info.created_unix_ms,
            job_id: info.job_id.clone(),
            training_seconds: tracker.seconds(),
            ..ModelVersion::default()
        };
        version
            .remarks
            .extend(remarks::of_measuring(&version, split::holds_out(&split::of_als(&self.parameters))));
        version.remarks.extend(remarks::of_lists(&version, &self.dataset));
        for (name, json) in [
            (METADATA_FILE, self.readable(&version, &info)),
            (model::MODEL_INFO_FILE, model::model_info(&version, &self.dataset)),
        ] {
            let bytes = Bytes::from(format!("{json:#}\n"));
            let entry = self.leader.store.put(&join(&version.path, name), bytes).await?;
            objects.push(ObjectEntry { path: name.to_owned(), ..entry });
        }
        version.manifest_checksum =
            Manifest::new("model", objects).write(&self.leader.store, &version.path).await?;
        Ok(version)
    }

    fn readable(&self, version: &ModelVersion, info: &JobInfo) -> serde_json::Value {
        let parameters = &self.parameters;
        let [first, second] = self.order();
        let explicit = parameters.explicit.filter(|_| parameters.objective() != ObjectiveChoice::Implicit);
        let implicit = parameters.implicit.filter(|_| parameters.objective() != ObjectiveChoice::Explicit);
        serde_json::json!({
            "name": version.name,
            "model": version.model,
            "dataset": {
                "name": self.dataset.name,
                "version": self.dataset.version,
                "manifest_checksum": self.dataset.manifest_checksum,
            },
            "parameters": {
                "rank": parameters.rank,
                "sweeps": parameters.sweeps,
                "seed": parameters.seed,
                "solver": solver_name(parameters),
                "exchange": exchange_name(parameters.exchange()),
                "split": split::kind(&split::of_als(parameters)),
                "test_ratio": parameters.test_ratio,
                "test": parameters.test_uri,
                "explicit": explicit.map(|explicit| serde_json::json!({
                    "regularization": explicit.regularization,
                    "scaling": scaling_name(explicit.scaling()),
                    "biases": explicit.biases,
                })),
                "implicit": implicit.map(|implicit| serde_json::json!({
                    "regularization": implicit.regularization,
                    "unobserved_weight": implicit.unobserved_weight,
                    "alpha": implicit.alpha,
                    "regularization_exponent": implicit.regularization_exponent,
                    "scaling": scaling_name(implicit.scaling()),
                    "confidence": confidence_name(implicit.confidence()),
                    "preference": preference_name(&implicit),
                })),
            },
            "order": format!("{}, then {}, in every sweep", side_name(first), side_name(second)),
            "rating_mean": version.rating_mean,
            "metrics": info.sweeps.last().map(metrics_json),
            "evaluation": version.evaluation.as_ref().map(evaluation_json),
            "remarks": version.remarks,
            "test_file": version.held_out.as_ref().map(held_out_json),
            "sweeps": info.sweeps.iter().map(metrics_json).collect::<Vec<_>>(),
            "created": UtcTime::from_unix_ms(version.created_unix_ms).iso_8601(),
            "training_seconds": version.training_seconds,
            "workers": self.crew.workers.len(),
            "kernel": self.kernel,
            "code_version": env!("CARGO_PKG_VERSION"),
        })
    }
}

fn side_name(side: Side) -> &'static str {
    if side == Side::Items { "items" } else { "users" }
}

fn exchange_name(format: ExchangeFormat) -> &'static str {
    match format {
        ExchangeFormat::Unspecified | ExchangeFormat::F32 => "f32",
        ExchangeFormat::Bf16 => "bf16",
    }
}
