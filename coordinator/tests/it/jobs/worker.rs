//! Workers that do as the test says, over real gRPC.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use shoal_common::{
    access::Guard,
    audit::Audit,
    rpc::{LeaderClient, tuned_server},
    store::Store,
};
use shoal_proto::v1::{
    step_event::Event,
    step_request::Step,
    worker_jobs_server::{WorkerJobs, WorkerJobsServer},
    *,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};
use tonic::{Request, Response, Status};

use crate::support::{door::Door, group::CLUSTER};

/// Time between two heartbeats.
const BEAT: Duration = Duration::from_millis(50);

/// A step that reached a worker.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) worker: String,
    pub(super) job_id: String,
    pub(super) attempt: u32,
    pub(super) step: Step,
}

/// What a worker does with a step.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// The worker does the step.
    Do,
    /// Says that it is at it, until the test releases it; then does it.
    Hold,
    /// The worker refuses the step.
    Refuse(Status),
    /// Ends the stream without a result.
    Drop,
    /// Answers this, and does nothing.
    Answer(Box<Event>),
}

type Script = Box<dyn Fn(&Seen) -> Act + Send>;

/// What the workers of a test have in common.
#[derive(Clone)]
pub(super) struct Stage {
    seen: Arc<Mutex<Vec<Seen>>>,
    released: Arc<Mutex<Vec<String>>>,
    script: Arc<Mutex<Script>>,
    hold: watch::Sender<bool>,
    /// Shards of users whose part of lists is not whole when it is looked for.
    damaged: Arc<Mutex<Vec<u32>>>,
    /// Workers that others do not reach, and that reach no others.
    cut_off: Arc<Mutex<Vec<String>>>,
    /// What the source looks like.
    pub(super) files: Arc<Mutex<Vec<SourceFile>>>,
    store: Store,
}

impl Stage {
    pub(super) fn new(store: Store) -> Self {
        let file = SourceFile {
            uri: "ratings.csv".into(),
            content: FileContent::Ratings.into(),
            length_bytes: 3 * 1024 * 1024,
            data_offset: 30,
            header_lines: 1,
            ..Default::default()
        };
        Self {
            seen: Arc::default(),
            released: Arc::default(),
            script: Arc::new(Mutex::new(Box::new(|_| Act::Do))),
            hold: watch::Sender::new(true),
            damaged: Arc::default(),
            cut_off: Arc::default(),
            files: Arc::new(Mutex::new(vec![file])),
            store,
        }
    }

    /// From now on the workers do as `script` says.
    pub(super) fn play(&self, script: impl Fn(&Seen) -> Act + Send + 'static) {
        self.hold.send_replace(true);
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Lets go of the steps that are held.
    pub(super) fn release(&self) {
        self.hold.send_replace(false);
    }

    /// From now on the part of lists of a user shard is not whole when it is looked for.
    pub(super) fn damage(&self, shard: u32) {
        self.damaged.lock().unwrap().push(shard);
    }

    /// From now on these workers and the others do not reach each other.
    pub(super) fn cut_off(&self, workers: &[&str]) {
        *self.cut_off.lock().unwrap() = workers.iter().map(|worker| (*worker).to_owned()).collect();
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }

    /// Jobs that workers were told to let go of.
    pub(super) fn released(&self) -> Vec<String> {
        self.released.lock().unwrap().clone()
    }
}

/// One worker that listens and beats until it is dropped, in a runtime of its own, which takes its connections
/// with it.
pub(super) struct FakeWorker {
    pub(super) name: String,
    pub(super) beat: HeartbeatRequest,
    loaded: watch::Sender<(Vec<LoadedVersion>, BTreeMap<String, String>)>,
    runtime: Option<Runtime>,
}

impl Drop for FakeWorker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl FakeWorker {
    pub(super) fn start(name: &str, stage: &Stage, coordinators: LeaderClient) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let door = Door::open();
        let service = Service { name: name.to_owned(), stage: stage.clone(), owned: Arc::default() };
        let address = door.address();
        tokio::spawn(async move {
            let server = tuned_server(Guard::open(), Audit::nowhere().layer())
                .add_service(WorkerJobsServer::new(service));
            server.serve_with_incoming(door.enter()).await.unwrap();
        });
        let (loaded, reported) = watch::channel(<(Vec<LoadedVersion>, BTreeMap<String, String>)>::default());
        let beat = HeartbeatRequest {
            cluster_id: CLUSTER.into(),
            node: name.into(),
            role: NodeRole::Worker.into(),
            address,
            incarnation: 1,
            threads: 2,
            ..Default::default()
        };
        let beats = beat.clone();
        tokio::spawn(async move {
            loop {
                let (loaded, load_errors) = reported.borrow().clone();
                let load_errors = load_errors.into_iter().collect();
                let beat = HeartbeatRequest { loaded, load_errors, ..beats.clone() };
                // One that finds no leader now finds it with the next beat.
                let _ = coordinators
                    .call(BEAT, |mut leader| {
                        let beat = beat.clone();
                        async move { leader.heartbeat(beat).await }
                    })
                    .await;
                tokio::time::sleep(BEAT).await;
            }
        });
        drop(entered);
        Self { name: name.to_owned(), beat, loaded, runtime: Some(runtime) }
    }

    /// Says from now on that it has these shards of a version ready, on both sides.
    pub(super) fn has_loaded(&self, version: &str, shards: &[u32]) {
        let version = version.to_owned();
        let loaded = LoadedVersion { version, user_shards: shards.to_vec(), item_shards: shards.to_vec() };
        self.loaded.send_replace((vec![loaded], BTreeMap::new()));
    }

    /// Says from now on why it cannot load a version.
    pub(super) fn cannot_load(&self, version: &str, why: &str) {
        self.loaded.send_replace((Vec::new(), [(version.to_owned(), why.to_owned())].into()));
    }
}

/// Shards of an attempt that one worker owns.
#[derive(Debug, Clone, Default)]
struct Owned {
    users: Vec<u32>,
    items: Vec<u32>,
    /// Items of the whole data set, for attempts at a model.
    catalogue: u64,
}

#[derive(Clone)]
struct Service {
    name: String,
    stage: Stage,
    owned: Arc<Mutex<BTreeMap<String, Owned>>>,
}

impl Service {
    fn own(&self, job_id: &str, owners: &[ShardOwner], dataset: Option<&DatasetInfo>) {
        let of = |side: Side| {
            let mine = owners.iter().filter(|owner| owner.node == self.name && owner.side() == side);
            mine.map(|owner| owner.shard).collect()
        };
        let catalogue = dataset.map_or(0, |dataset| dataset.items);
        let owned = Owned { users: of(Side::Users), items: of(Side::Items), catalogue };
        self.owned.lock().unwrap().insert(job_id.to_owned(), owned);
    }

    /// As a worker whose shards have ten users with 20 ratings each, one in four of them held out.
    async fn carry_out(&self, job_id: &str, step: Step) -> Event {
        match &step {
            Step::IngestBegin(IngestBegin { owners, .. }) => self.own(job_id, owners, None),
            Step::TrainLoad(TrainLoad { owners, dataset, .. })
            | Step::ModelLoad(ModelLoad { owners, dataset, .. }) => {
                self.own(job_id, owners, dataset.as_ref());
            }
            _ => {}
        }
        let Owned { users, items, catalogue } =
            self.owned.lock().unwrap().get(job_id).cloned().unwrap_or_default();
        let stats = |shards: &[u32], rows| -> Vec<ShardStats> {
            shards.iter().map(|&shard| ShardStats { shard, rows, ratings: 200 }).collect()
        };
        let sums = |ratings, sum| -> Vec<ShardRatingSum> {
            users.iter().map(|&shard| ShardRatingSum { shard, ratings, sum }).collect()
        };
        match step {
            Step::IngestParse(step) => Event::IngestParseDone(parsed(&step)),
            Step::IngestSort(_) => Event::IngestSortDone(IngestSortDone {
                user_shards: stats(&users, 10),
                item_shards: stats(&items, 5),
                rating_sums: sums(200, 700.0),
                duplicates: 1,
                rating_min: 0.5,
                rating_max: 5.0,
                catalogue_items: 2,
                ..Default::default()
            }),
            Step::IngestBuild(step) => Event::IngestBuildDone(self.write(&step.path).await),
            Step::SplitCuts(step) => Event::SplitCutsDone(self.cut(step).await),
            Step::TrainLoad(_) => Event::TrainLoadDone(TrainLoadDone {
                user_shards: stats(&users, 10),
                rating_sums: sums(150, 525.0),
                kernel: "scripted".into(),
                held_out_users: 20 * users.len() as u64,
                ..Default::default()
            }),
            Step::TrainHalfStep(_) => Event::TrainHalfStepDone(TrainHalfStepDone::default()),
            Step::TrainWrite(step) => Event::TrainWriteDone(self.write(&step.path).await),
            Step::TrainEvaluate(_) => Event::TrainEvaluateDone(TrainEvaluateDone {
                shards: users.iter().map(|&shard| measured(shard)).collect(),
            }),
            Step::TrainRoute(_) => Event::TrainRouteDone(TrainRouteDone::default()),
            Step::IngestBegin(_) => Event::EmptyDone(StepEmptyDone {}),
            Step::ListsClaim(ListsClaim { mut parts }) => {
                let damaged = self.stage.damaged.lock().unwrap();
                parts.retain(|part| !damaged.contains(&part.shard));
                Event::ListsClaimDone(ListsClaimDone { parts })
            }
            Step::ListsWrite(ListsWrite { shard }) => Event::ListsWriteDone(listed(shard)),
            Step::ListsFinish(ListsFinish { parts }) => Event::ListsFinishDone(ListsInfo {
                users: parts.iter().map(|part| part.users).sum(),
                rows: parts.iter().map(|part| part.rows).sum(),
                files: parts.len() as u64,
                bytes: parts.iter().filter_map(|part| Some(part.object.as_ref()?.length_bytes)).sum(),
                ..Default::default()
            }),
            of_model => self.carry_out_of_model(of_model, &users, catalogue).await,
        }
    }

    /// Nothing that is of the data set "untimed" has a time.
    async fn cut(&self, step: SplitCuts) -> SplitCutsDone {
        let timed_ratings = if step.dataset.unwrap_or_default().name == "untimed" { 0 } else { 200 };
        SplitCutsDone { objects: self.write(&step.path).await.objects, timed_ratings }
    }

    /// Steps of models that are not ALS, and of measuring any model.
    async fn carry_out_of_model(&self, step: Step, users: &[u32], catalogue: u64) -> Event {
        match step {
            Step::ModelLoad(_) => Event::ModelLoadDone(ModelLoadDone {
                rating_sums: users
                    .iter()
                    .map(|&shard| ShardRatingSum { shard, ratings: 150, sum: 525.0 })
                    .collect(),
                held_out_pairs: 50 * users.len() as u64,
                kernel: "scripted".into(),
                held_out: None,
                held_out_users: 20 * users.len() as u64,
            }),
            Step::ModelItems(ModelItems { path, .. })
            | Step::ModelWrite(ModelWrite { path })
            | Step::ItemCfTotals(ItemCfTotals { path })
            | Step::ContentCensus(ContentCensus { path })
            | Step::ContentVectors(ContentVectors { path, .. })
            | Step::HybridHistograms(HybridHistograms { path, .. })
            | Step::HybridCandidates(HybridCandidates { path, .. }) => {
                Event::ObjectsWritten(self.write(&path).await)
            }
            Step::ContentSlope(_) => Event::ContentSlopeDone(ContentSlopeDone {
                shards: users
                    .iter()
                    .map(|&shard| ShardSlopeSums { shard, product: 30.0, square: 47.5 })
                    .collect(),
            }),
            // Of twelve rated items.
            Step::EasePrepare(step) => Event::EasePrepareDone(EasePrepareDone {
                items: step.parameters.map_or(0, |ease| ease.items_max),
                rated_items: 12,
            }),
            Step::EaseInvert(_) => Event::EaseInvertDone(EaseInvertDone::default()),
            Step::EaseSizes(_) => Event::EaseSizesDone(EaseSizesDone::default()),
            Step::HybridCalibrate(HybridCalibrate { path: counted }) => {
                let knots = vec![CalibrationKnot { score: 1.0, level: 1.0 }];
                let source = HybridSource { knots, ..HybridSource::default() };
                let folders = self.stage.seen().into_iter().find_map(|seen| match seen.step {
                    Step::HybridHistograms(step) if step.path == counted => Some(step.folders.len()),
                    _ => None,
                });
                let sources = vec![source; folders.unwrap() + 1];
                Event::HybridCalibrateDone(HybridCalibrateDone { sources })
            }
            // Each source has half the weight of the one before it, and the last what is left.
            Step::HybridLearn(HybridLearn { sources, .. }) => {
                let weights = (1..=sources).map(|source| 0.5_f64.powi(source.min(sources - 1) as i32));
                Event::HybridLearnDone(HybridLearnDone {
                    weights: weights.collect(),
                    ndcg_at_20: 0.3,
                    users: 40,
                })
            }
            Step::ModelEvaluate(_) => Event::ModelEvaluateDone(ModelEvaluateDone {
                shards: users.iter().map(|&shard| evaluated(shard)).collect(),
                exposure: (0..catalogue).flat_map(|_| 1_u32.to_le_bytes()).collect(),
            }),
            _ => Event::EmptyDone(StepEmptyDone {}),
        }
    }

    /// One object of its own.
    async fn write(&self, folder: &str) -> ObjectsWritten {
        let path = format!("{}.bin", self.name);
        let bytes = Bytes::copy_from_slice(self.name.as_bytes());
        let entry = self.stage.store.put(&format!("{folder}/{path}"), bytes).await.unwrap();
        ObjectsWritten { objects: vec![ObjectEntry { path, ..entry }], ..ObjectsWritten::default() }
    }
}

/// Lists of ten users, ten rows each.
fn listed(shard: u32) -> ListsPart {
    let path = format!("part-{shard:05}.parquet");
    let object = ObjectEntry { path, length_bytes: 1_000, ..Default::default() };
    ListsPart { shard, object: Some(object), users: 10, rows: 100, ..Default::default() }
}

/// A range of a thousand lines, the seventh of which is bad.
fn parsed(step: &IngestParse) -> IngestParseDone {
    let example = RejectedLine { file: "ratings.csv".into(), line: 7, reason: "no number".into() };
    let rejection = RejectionCount { reason: "no number".into(), count: 1, examples: vec![example] };
    let report = ImportReport {
        rows_read: 1_000,
        rows_accepted: 999,
        rejections: vec![rejection],
        bytes_read: step.end - step.begin,
        ..Default::default()
    };
    IngestParseDone { report: Some(report), lines: 1_000, ..Default::default() }
}

fn measured(shard: u32) -> ShardMetricSums {
    ShardMetricSums {
        shard,
        pairs: 50,
        squared_error: 32.0,
        absolute_error: 30.0,
        rating: 175.0,
        squared_rating: 700.0,
        ranked_users: 10,
        recall_at_20: 4.0,
        ndcg_at_20: 3.0,
        popularity_recall_at_20: 2.0,
        popularity_ndcg_at_20: 1.0,
        users_in_all: 20,
        // Each user's score is the mean.
        squared_recall_at_20: 1.6,
        squared_ndcg_at_20: 0.9,
    }
}

/// Ten users with lists that are half right.
fn evaluated(shard: u32) -> ShardEvaluationSums {
    let at = [10, 20].map(|k| ListScoreSums { k, ndcg: 5.0, recall: 4.0, ..ListScoreSums::default() });
    let lists = ListSums { users: 10, at: at.to_vec(), novelty: 30.0, diversity: 6.0, ..ListSums::default() };
    let rating = RatingSums {
        pairs: 50,
        squared_error: 32.0,
        absolute_error: 30.0,
        rating: 175.0,
        squared_rating: 700.0,
    };
    let (rating, model, sweep) = (Some(rating), Some(lists), Some(measured(shard)));
    ShardEvaluationSums { shard, rating, model, sweep, ..ShardEvaluationSums::default() }
}

#[tonic::async_trait]
impl WorkerJobs for Service {
    type RunStepStream = BoxStream<'static, Result<StepEvent, Status>>;

    async fn inspect_source(
        &self,
        _: Request<InspectSourceRequest>,
    ) -> Result<Response<InspectSourceReply>, Status> {
        Ok(Response::new(InspectSourceReply {
            files: self.stage.files.lock().unwrap().clone(),
            user_id_kind: IdKind::Integer.into(),
            item_id_kind: IdKind::Text.into(),
            ..InspectSourceReply::default()
        }))
    }

    async fn run_step(&self, request: Request<StepRequest>) -> Result<Response<Self::RunStepStream>, Status> {
        let StepRequest { cluster_id, job_id, attempt, step } = request.into_inner();
        assert_eq!(cluster_id, CLUSTER);
        let step = step.unwrap();
        let seen = Seen { worker: self.name.clone(), job_id: job_id.clone(), attempt, step: step.clone() };
        let act = (self.stage.script.lock().unwrap())(&seen);
        self.stage.seen.lock().unwrap().push(seen);
        let event = |event| Ok(StepEvent { event: Some(event) });
        let progress = event(Event::Progress(StepProgress { done: 1, total: 2, waits_for: String::new() }));
        match act {
            Act::Refuse(status) => return Err(status),
            Act::Drop => return Ok(Response::new(stream::iter([progress]).boxed())),
            Act::Answer(answer) => {
                return Ok(Response::new(stream::iter([progress, event(*answer)]).boxed()));
            }
            Act::Do | Act::Hold => {}
        }
        let (service, mut hold) = (self.clone(), self.stage.hold.subscribe());
        let done = async move {
            if matches!(act, Act::Hold) {
                // The stage lives as long as the test.
                let _ = hold.wait_for(|hold| !hold).await;
            }
            event(service.carry_out(&job_id, step).await)
        };
        Ok(Response::new(stream::iter([progress]).chain(stream::once(done)).boxed()))
    }

    async fn release_job(
        &self,
        request: Request<ReleaseJobRequest>,
    ) -> Result<Response<ReleaseJobReply>, Status> {
        self.stage.released.lock().unwrap().push(request.into_inner().job_id);
        Ok(Response::new(ReleaseJobReply {}))
    }

    async fn check_peers(
        &self,
        request: Request<CheckPeersRequest>,
    ) -> Result<Response<CheckPeersReply>, Status> {
        let cut_off = self.stage.cut_off.lock().unwrap().clone();
        let cut_off = |peer: &WorkerPeer| cut_off.contains(&peer.node) != cut_off.contains(&self.name);
        let peers = request.into_inner().peers.into_iter().filter(cut_off);
        let unreached =
            peers.map(|peer| UnreachedPeer { node: peer.node, reason: "as the test says".into() });
        Ok(Response::new(CheckPeersReply { unreached: unreached.collect() }))
    }
}
