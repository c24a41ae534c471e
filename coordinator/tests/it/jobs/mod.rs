//! Imports, trainings and promotions as the leader runs them, against workers that do as the test says.

mod answers;
mod ease;
mod faults;
mod imports;
mod lists;
mod models;
mod promotion;
mod trainings;
mod worker;

use std::time::Duration;

use shoal_proto::v1::{step_request::Step, *};
use worker::{FakeWorker, Seen, Stage};

use crate::support::{cluster::Cluster, eventually_async};

/// Workers that are lost are noticed soon, and those that are there have time to beat.
const LEASE: Duration = Duration::from_secs(2);

/// Coordinators and scripted workers.
struct World {
    cluster: Cluster,
    stage: Stage,
    workers: Vec<FakeWorker>,
}

/// Parameters of ALS, with a fifth held out.
fn als(sweeps: u32) -> ModelParameters {
    let parameters = AlsParameters {
        objective: ObjectiveChoice::Both.into(),
        rank: 8,
        sweeps,
        explicit: Some(ExplicitParameters { regularization: 0.1, biases: true, ..Default::default() }),
        implicit: Some(ImplicitParameters { regularization: 0.1, ..Default::default() }),
        checkpoint_every_sweeps: 2,
        ..Default::default()
    };
    ModelParameters { split: Some(held_out()), model: Some(model_parameters::Model::Als(parameters)) }
}

impl World {
    async fn start(coordinators: u64, workers: usize) -> Self {
        Self::start_with(coordinators, workers, LEASE).await
    }

    async fn start_with(coordinators: u64, workers: usize, lease: Duration) -> Self {
        let cluster = Cluster::start(coordinators, lease);
        let stage = Stage::new(cluster.store());
        let names = (1..=workers).map(|number| format!("worker-{number}"));
        let workers: Vec<FakeWorker> =
            names.map(|name| FakeWorker::start(&name, &stage, cluster.client())).collect();
        let world = Self { cluster, stage, workers };
        eventually_async("all workers are up", || async {
            let nodes = world.cluster.status().await.metadata.unwrap().nodes;
            let up = nodes.iter().filter(|node| node.health() == NodeHealth::Up).count();
            (up == world.workers.len()).then_some(())
        })
        .await;
        world
    }

    /// As [`World::start`], with the data set "films" imported.
    async fn with_films(coordinators: u64, workers: usize) -> Self {
        Self::with_films_and(coordinators, workers, LEASE).await
    }

    async fn with_films_and(coordinators: u64, workers: usize, lease: Duration) -> Self {
        let world = Self::start_with(coordinators, workers, lease).await;
        let job_id = world.import("films").await;
        assert_eq!(world.cluster.over(&job_id).await.state(), JobState::Succeeded);
        world.stage.forget();
        world
    }

    async fn import(&self, name: &str) -> String {
        let source = DatasetSource { uri: "/films".into(), bad_rows_ratio_max: 0.01, ..Default::default() };
        let request = ImportDatasetRequest {
            name: name.to_owned(),
            source: Some(source),
            shard_count: 4,
            request_id: format!("import of {name}"),
        };
        let reply = self.cluster.ask(|mut leader| {
            let request = request.clone();
            async move { leader.import_dataset(request).await }
        });
        reply.await.unwrap().job_id
    }

    /// Starts a training of `sweeps` sweeps, with a checkpoint after every second.
    async fn train(&self, sweeps: u32, promote: bool) -> String {
        let request = StartTrainingRequest {
            dataset_name: "films".into(),
            model: Some(als(sweeps)),
            promote,
            ..Default::default()
        };
        let reply = self.cluster.ask(|mut leader| {
            let request = request.clone();
            async move { leader.start_training(request).await }
        });
        reply.await.unwrap().job_id
    }

    /// The name of the version that a training makes.
    async fn trained(&self) -> String {
        let job_id = self.train(1, false).await;
        let job = self.cluster.over(&job_id).await;
        assert_eq!(job.state(), JobState::Succeeded, "{}", job.error);
        job.model_version
    }

    async fn cancel(&self, job_id: &str) {
        let request = || JobRequest { job_id: job_id.to_owned() };
        self.cluster.ask(|mut leader| async move { leader.cancel_job(request()).await }).await.unwrap();
    }

    /// Waits until a step for which `is` holds has reached a worker.
    async fn reached(&self, what: &str, is: impl Fn(&Seen) -> bool) {
        eventually_async(what, || async { self.stage.seen().iter().any(&is).then_some(()) }).await;
    }

    async fn end(self) {
        self.cluster.kill_all().await;
    }
}

/// What all trainings hold out: versions with one split can be blended.
fn held_out() -> SplitParameters {
    SplitParameters { test_ratio: 0.2, seed: 7, ..SplitParameters::default() }
}

/// A step in a word or two.
fn word(step: &Step) -> String {
    match step {
        Step::IngestBegin(_) => "begin".to_owned(),
        Step::IngestParse(step) => format!("parse {}", step.file),
        Step::IngestSort(_) => "sort".to_owned(),
        Step::IngestBuild(_) => "build".to_owned(),
        Step::SplitCuts(_) => "cut".to_owned(),
        Step::TrainLoad(_) => "load".to_owned(),
        Step::TrainRoute(_) => "route".to_owned(),
        Step::TrainHalfStep(step) => {
            let side = if step.side() == Side::Users { "users" } else { "items" };
            format!("{} {side} {}", if step.solve { "solve" } else { "send" }, step.sweep)
        }
        Step::TrainWrite(step) => format!("write {}", step.path.split('/').next().unwrap()),
        Step::TrainEvaluate(step) => format!("evaluate {}", step.sweep),
        Step::ModelLoad(_) => "load for a model".to_owned(),
        Step::ModelItems(_) => "items".to_owned(),
        Step::ModelBaselines(_) => "baselines".to_owned(),
        Step::ModelWrite(step) => format!("write {}", step.path.split('/').next().unwrap()),
        Step::ModelEvaluate(_) => "measure".to_owned(),
        Step::ItemCfPrepare(_) => "prepare pairs".to_owned(),
        Step::ItemCfTotals(_) => "totals".to_owned(),
        Step::ItemCfNeighbours(_) | Step::ContentNeighbours(_) => "neighbours".to_owned(),
        Step::ContentCensus(_) => "census".to_owned(),
        Step::ContentVectors(_) => "vectors".to_owned(),
        Step::ContentSlope(_) => "slope".to_owned(),
        Step::EasePrepare(_) => "likings".to_owned(),
        Step::EaseSum(_) => "sum".to_owned(),
        Step::EaseInvert(_) => "invert".to_owned(),
        Step::EaseSizes(_) => "sizes".to_owned(),
        Step::EaseSelect(step) => format!("select by {}", step.counts.len()),
        Step::EaseNeighbours(_) => "weights".to_owned(),
        Step::HybridHistograms(_) => "histograms".to_owned(),
        Step::HybridCalibrate(_) => "calibrate".to_owned(),
        Step::HybridCandidates(_) => "candidates".to_owned(),
        Step::HybridLearn(_) => "learn".to_owned(),
        Step::ListsBegin(_) => "begin lists".to_owned(),
        Step::ListsClaim(_) => "claim".to_owned(),
        Step::ListsWrite(step) => format!("list {}", step.shard),
        Step::ListsFinish(_) => "finish lists".to_owned(),
        Step::ListsDiscard(_) => "discard lists".to_owned(),
    }
}

/// Whether a step is a half-step of a sweep.
fn is_half_step(seen: &Seen, sweep: u32, side: Side) -> bool {
    matches!(&seen.step, Step::TrainHalfStep(step) if step.solve && step.sweep == sweep && step.side() == side)
}
