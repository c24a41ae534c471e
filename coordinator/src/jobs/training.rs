//! A training: load, route, alternate half-steps, keep checkpoints, measure, publish.

use bytes::Bytes;
use shoal_common::{
    clock::UtcTime,
    store::{METADATA_FILE, Manifest, checkpoint_path, join, model_path},
};
use shoal_proto::v1::{
    AlsParameters, DatasetInfo, ExchangeFormat, JobInfo, JobRecord, ModelVersion, ObjectEntry,
    ObjectiveChoice, RankingMetrics, RatingMetrics, ShardMetricSums, Side, SweepCommitted, SweepMetrics,
    SweepOrder, SweepWork, TrainEvaluate, TrainHalfStep, TrainLoad, TrainRoute, TrainWrite,
    step_event::Event, step_request::Step, update_job::Update,
};
use tokio::time::Instant;

use super::{
    JobError, commit,
    conventions::{confidence_name, scaling_name, solver_name},
    steps::Attempt,
    tracker::Tracker,
    with_causes,
};
use crate::{
    leader::{Leader, LiveWorker},
    placement::owners,
};

/// The kind of model, which is also its folder.
const MODEL: &str = "als";

/// Share of the job's bar before the first sweep, and up to the end of the last.
const SWEEPS_SPAN: (f64, f64) = (0.05, 0.97);

pub(super) async fn run(
    leader: &Leader,
    record: &mut JobRecord,
    workers: &[LiveWorker],
    tracker: &mut Tracker,
) -> Result<(), JobError> {
    let info = record.info.clone().unwrap_or_default();
    if !info.model_version.is_empty() {
        // Published by an attempt whose leader was lost before it could say so.
        point_latest(leader, &info.model_version).await;
        return Ok(());
    }
    let request = info.training.clone().unwrap_or_default();
    let state = leader.raft.view().borrow().clone();
    let dataset = state.dataset(&request.dataset_name, &request.dataset_version).cloned();
    let dataset =
        dataset.ok_or_else(|| JobError::Fatal(format!("data set '{}' is gone", request.dataset_name)))?;
    let parameters = request.parameters.clone().unwrap_or_default();
    let attempt = Attempt { job_id: info.job_id.clone(), attempt: info.attempt, workers: workers.to_vec() };

    let mut training =
        Training { leader, attempt, dataset, parameters, rating_mean: 0.0, kernel: String::new() };
    let started = Instant::now();
    training.prepare(record, tracker).await?;
    let first = record.info.as_ref().map_or(0, |info| info.committed_sweeps) + 1;
    for sweep in first..=training.parameters.sweeps {
        training.sweep(record, sweep, tracker).await?;
    }
    tracker.begin("publishing", "publishing", (SWEEPS_SPAN.1, 1.0));
    let version = training.publish(record, started, tracker).await?;
    commit(leader, &info.job_id, Update::VersionPublished(version.clone())).await?;
    point_latest(leader, &version.name).await;
    record.info.get_or_insert_default().model_version = version.name;
    Ok(())
}

/// The link is for people who look into the store: a version without it is as good.
async fn point_latest(leader: &Leader, version: &str) {
    let link = format!("models/{MODEL}/model_latest");
    if let Err(error) = leader.store.point_latest(&link, version).await {
        tracing::warn!(link, error = with_causes(&error), "the link was not set");
    }
}

/// The version's name: it follows from the job, so that every attempt writes the same folder.
fn version_name(info: &JobInfo) -> String {
    format!("{MODEL}_model_v1_{}", UtcTime::from_unix_ms(info.created_unix_ms).compact())
}

/// What a job that did not publish may have written.
pub(super) fn unpublished_folder(info: &JobInfo) -> Option<String> {
    (info.training.is_some() && info.model_version.is_empty()).then(|| model_path(MODEL, &version_name(info)))
}

/// One attempt.
struct Training<'a> {
    leader: &'a Leader,
    attempt: Attempt,
    dataset: DatasetInfo,
    parameters: AlsParameters,
    rating_mean: f64,
    kernel: String,
}

impl Training<'_> {
    async fn on_all(&self, step: Step, tracker: &mut Tracker) -> Result<Vec<Event>, JobError> {
        self.attempt.on_all(self.leader, step, tracker).await
    }

    /// Everything before the first half-step.
    async fn prepare(&mut self, record: &JobRecord, tracker: &mut Tracker) -> Result<(), JobError> {
        tracker.begin("loading", "loading the ratings", (0.0, 0.03));
        let load = TrainLoad {
            dataset: Some(self.dataset.clone()),
            parameters: Some(self.parameters.clone()),
            owners: owners(&self.dataset, &self.attempt.names()),
            workers: self.attempt.peers(),
            checkpoint_path: record.checkpoint_path.clone(),
        };
        let mut sums = Vec::new();
        for event in self.on_all(Step::TrainLoad(load), tracker).await? {
            if let Event::TrainLoadDone(done) = event {
                sums.extend(done.rating_sums);
                self.kernel = done.kernel;
            }
        }
        // In shard order, so that the mean does not depend on who summed.
        sums.sort_by_key(|sum| sum.shard);
        let ratings: u64 = sums.iter().map(|sum| sum.ratings).sum();
        if ratings == 0 {
            return Err(JobError::Fatal("no rating is left to train on; hold out fewer".to_owned()));
        }
        self.rating_mean = sums.iter().map(|sum| sum.sum).sum::<f64>() / ratings as f64;
        let route = TrainRoute {
            rating_mean: self.rating_mean,
            users: self.dataset.users,
            items: self.dataset.items,
        };
        self.on_all(Step::TrainRoute(route), tracker).await?;
        // The first side is solved from the other one's factors as they are.
        let sweep = record.info.as_ref().map_or(0, |info| info.committed_sweeps);
        let send = TrainHalfStep { sweep, side: self.order()[1].into(), solve: false };
        self.on_all(Step::TrainHalfStep(send), tracker).await?;
        Ok(())
    }

    /// The sides in the order that a sweep solves them.
    fn order(&self) -> [Side; 2] {
        match self.parameters.order() {
            SweepOrder::Unspecified | SweepOrder::UsersFirst => [Side::Users, Side::Items],
            SweepOrder::ItemsFirst => [Side::Items, Side::Users],
        }
    }

    /// Both half-steps of a sweep, and its checkpoint where one is due.
    async fn sweep(&self, record: &mut JobRecord, sweep: u32, tracker: &mut Tracker) -> Result<(), JobError> {
        let started = Instant::now();
        let sweeps = self.parameters.sweeps;
        let mut work = SweepWork::default();
        let share = (SWEEPS_SPAN.1 - SWEEPS_SPAN.0) / f64::from(sweeps);
        let begin = SWEEPS_SPAN.0 + share * f64::from(sweep - 1);
        for (side, part) in self.order().into_iter().zip([(0.0, 0.4), (0.4, 0.8)]) {
            let name = side_name(side);
            let span = (begin + share * part.0, begin + share * part.1);
            tracker.begin("sweeps", &format!("sweep {sweep} of {sweeps}: {name}"), span);
            let step = TrainHalfStep { sweep, side: side.into(), solve: true };
            let done = self.on_all(Step::TrainHalfStep(step), tracker).await?;
            add_work(&mut work, &done);
        }
        let is_last = sweep == sweeps;
        if !is_last && !sweep.is_multiple_of(self.parameters.checkpoint_every_sweeps.max(1)) {
            return Ok(());
        }
        let seconds = started.elapsed().as_secs_f64();
        let span = (begin + share * 0.8, begin + share);
        tracker.begin("checkpoints", &format!("sweep {sweep} of {sweeps}: checkpoint"), span);
        let info = record.info.get_or_insert_default();
        let path = checkpoint_path(&info.job_id, info.attempt, sweep);
        let objects = self.write(&path, sweep, tracker).await?;
        Manifest::new("checkpoint", objects).write(&self.leader.store, &path).await?;
        tracker.begin("evaluating", &format!("sweep {sweep} of {sweeps}: evaluating"), span);
        // The last measure is the version's: it covers every user.
        let ranking_users_max = if is_last { 0 } else { self.parameters.ranking_users_max };
        let evaluate = TrainEvaluate { path: path.clone(), sweep, ranking_users_max };
        let mut sums = Vec::new();
        for event in self.on_all(Step::TrainEvaluate(evaluate), tracker).await? {
            if let Event::TrainEvaluateDone(done) = event {
                sums.extend(done.shards);
            }
        }
        let mut metrics = metrics(sums, self.parameters.objective());
        (metrics.sweep, metrics.seconds, metrics.work) = (sweep, seconds, Some(work));
        let committed = SweepCommitted { sweep, checkpoint_path: path.clone(), metrics: Some(metrics) };
        commit(self.leader, &info.job_id, Update::SweepCommitted(committed)).await?;
        info.committed_sweeps = sweep;
        info.sweeps.push(metrics);
        let superseded = std::mem::replace(&mut record.checkpoint_path, path);
        if !superseded.is_empty() {
            self.leader.store.delete_folder(&superseded).await?;
        }
        Ok(())
    }

    async fn write(
        &self,
        path: &str,
        sweep: u32,
        tracker: &mut Tracker,
    ) -> Result<Vec<ObjectEntry>, JobError> {
        let mut objects = Vec::new();
        let step = TrainWrite { path: path.to_owned(), sweep };
        for event in self.on_all(Step::TrainWrite(step), tracker).await? {
            if let Event::TrainWriteDone(done) = event {
                objects.extend(done.objects);
            }
        }
        Ok(objects)
    }

    /// The version's folder: factors, the file for people, the manifest last.
    async fn publish(
        &self,
        record: &JobRecord,
        started: Instant,
        tracker: &mut Tracker,
    ) -> Result<ModelVersion, JobError> {
        let info = record.info.clone().unwrap_or_default();
        let name = version_name(&info);
        let path = model_path(MODEL, &name);
        let mut objects = self.write(&path, self.parameters.sweeps, tracker).await?;
        let biases = self.parameters.explicit.as_ref().is_some_and(|explicit| explicit.biases);
        let mut version = ModelVersion {
            name,
            model: MODEL.to_owned(),
            path,
            dataset_name: self.dataset.name.clone(),
            dataset_version: self.dataset.version.clone(),
            parameters: Some(self.parameters.clone()),
            rating_mean: if biases { self.rating_mean } else { 0.0 },
            metrics: info.sweeps.last().copied(),
            created_unix_ms: info.created_unix_ms,
            job_id: info.job_id.clone(),
            training_seconds: started.elapsed().as_secs_f64(),
            ..ModelVersion::default()
        };
        let text = format!("{:#}\n", self.readable(&version, &info));
        let entry = self.leader.store.put(&join(&version.path, METADATA_FILE), Bytes::from(text)).await?;
        objects.push(ObjectEntry { path: METADATA_FILE.to_owned(), ..entry });
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
                })),
            },
            "order": format!("{}, then {}, in every sweep", side_name(first), side_name(second)),
            "rating_mean": version.rating_mean,
            "metrics": info.sweeps.last().map(metrics_json),
            "sweeps": info.sweeps.iter().map(metrics_json).collect::<Vec<_>>(),
            "created": UtcTime::from_unix_ms(version.created_unix_ms).iso_8601(),
            "training_seconds": version.training_seconds,
            "workers": self.attempt.workers.len(),
            "kernel": self.kernel,
            "code_version": env!("CARGO_PKG_VERSION"),
        })
    }
}

/// Sums of every user shard as metrics, added in shard order.
fn metrics(mut shards: Vec<ShardMetricSums>, choice: ObjectiveChoice) -> SweepMetrics {
    shards.sort_by_key(|sums| sums.shard);
    let total = |of: fn(&ShardMetricSums) -> f64| shards.iter().map(of).sum::<f64>();
    let pairs: u64 = shards.iter().map(|sums| sums.pairs).sum();
    let ranked: u64 = shards.iter().map(|sums| sums.ranked_users).sum();
    let rating = (pairs > 0 && choice != ObjectiveChoice::Implicit).then(|| {
        let count = pairs as f64;
        let mse = total(|sums| sums.squared_error) / count;
        let mean = total(|sums| sums.rating) / count;
        let variance = total(|sums| sums.squared_rating) / count - mean * mean;
        let r2 = if variance > 0.0 { 1.0 - mse / variance } else { 0.0 };
        RatingMetrics { pairs, rmse: mse.sqrt(), mae: total(|sums| sums.absolute_error) / count, mse, r2 }
    });
    let ranking = (ranked > 0).then(|| {
        let users = ranked as f64;
        RankingMetrics {
            users: ranked,
            recall_at_20: total(|sums| sums.recall_at_20) / users,
            ndcg_at_20: total(|sums| sums.ndcg_at_20) / users,
            popularity_recall_at_20: total(|sums| sums.popularity_recall_at_20) / users,
            popularity_ndcg_at_20: total(|sums| sums.popularity_ndcg_at_20) / users,
        }
    });
    SweepMetrics { rating, ranking, ..SweepMetrics::default() }
}

/// Adds a half-step: the seconds of the slowest worker, the bytes of all.
fn add_work(work: &mut SweepWork, half_step: &[Event]) {
    let (mut solve_seconds, mut wait_seconds) = (0.0_f64, 0.0_f64);
    for event in half_step {
        if let Event::TrainHalfStepDone(done) = event {
            solve_seconds = solve_seconds.max(done.solve_seconds);
            wait_seconds = wait_seconds.max(done.exchange_wait_seconds);
            work.bytes_sent += done.bytes_sent;
            work.bytes_needed += done.bytes_needed;
        }
    }
    work.solve_seconds += solve_seconds;
    work.exchange_wait_seconds += wait_seconds;
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

fn metrics_json(metrics: &SweepMetrics) -> serde_json::Value {
    serde_json::json!({
        "sweep": metrics.sweep,
        "seconds": metrics.seconds,
        "work": metrics.work.map(|work| serde_json::json!({
            "solve_seconds": work.solve_seconds,
            "exchange_wait_seconds": work.exchange_wait_seconds,
            "bytes_sent": work.bytes_sent,
            "bytes_needed": work.bytes_needed,
        })),
        "rating": metrics.rating.map(|rating| serde_json::json!({
            "pairs": rating.pairs, "rmse": rating.rmse, "mae": rating.mae, "mse": rating.mse, "r2": rating.r2,
        })),
        "ranking": metrics.ranking.map(|ranking| serde_json::json!({
            "users": ranking.users,
            "recall_at_20": ranking.recall_at_20,
            "ndcg_at_20": ranking.ndcg_at_20,
            "popularity_recall_at_20": ranking.popularity_recall_at_20,
            "popularity_ndcg_at_20": ranking.popularity_ndcg_at_20,
        })),
    })
}
