//! Steps of jobs, asked for by the leading coordinator.
//!
//! Each step runs in a task of its own that streams progress and ends with exactly one result. The
//! stream is the leader's hold on the step: when it is dropped the step is cancelled, and ends at
//! its next safe point. So is every step of an attempt that a newer one supersedes. Releasing a job
//! waits for its steps, whichever attempt they are of: after it nothing of the job is written any more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use shoal_common::{
    job_id::JobId,
    job_steps::step_name,
    rpc::{Channels, wrong_cluster},
    shutdown::Shutdown,
};
use shoal_format::mapped_file;
use shoal_proto::v1::{
    CheckPeersReply, CheckPeersRequest, InspectSourceReply, InspectSourceRequest, ReleaseJobReply,
    ReleaseJobRequest, StepEvent, StepProgress, StepRequest, step_event::Event, step_request::Step,
    worker_jobs_server::WorkerJobs,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tonic::{Request, Response, Status};

use super::{
    Registry,
    attempt::{Progress, Runner, StepContext, StepError, is_first},
    peers::{PEERS_MAX, unreached},
};

/// The protocol promises progress once a second; twice leaves room for a late tick.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Progress that the leader has not read yet is not worth queueing; the result always fits.
const EVENTS_QUEUED_MAX: usize = 4;
/// How long a cancelled step may take to reach a safe point before it is dropped where it waits.
const SAFE_POINT_MAX: Duration = Duration::from_secs(10);

type StepOutcome = Result<Event, StepError>;
type Events = mpsc::Sender<Result<StepEvent, Status>>;

/// The job service of one worker.
pub struct Jobs {
    cluster_id: String,
    runner: Arc<dyn Runner>,
    registry: Registry,
    /// The steps of each job that have not ended, cancelled ones included.
    under_way: Arc<Mutex<HashMap<JobId, TaskTracker>>>,
    channels: Channels,
    shutdown: Shutdown,
}

impl Jobs {
    /// Runs steps with `runner`; what they make is kept in `registry`. Peers are looked for on `channels`.
    #[must_use]
    pub fn new(
        cluster_id: String,
        runner: Arc<dyn Runner>,
        registry: Registry,
        channels: Channels,
        shutdown: Shutdown,
    ) -> Self {
        Self { cluster_id, runner, registry, under_way: Arc::default(), channels, shutdown }
    }

    /// Counts a step of the job as under way until the token is dropped.
    fn enter(&self, job: &JobId) -> TaskTrackerToken {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|_, steps| !steps.is_empty());
        under_way.entry(job.clone()).or_default().token()
    }

    /// Waits for the job's steps to end: they have been told to.
    async fn leave(&self, job: &JobId) {
        let steps = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
        if let Some(steps) = steps {
            steps.close();
            steps.wait().await;
        }
    }

    /// The step's work, once its attempt is known to be the newest.
    fn prepare(
        &self,
        job: JobId,
        attempt: u32,
        step: Step,
    ) -> Result<(BoxFuture<'static, StepOutcome>, StepContext), StepError> {
        let context = |over: &CancellationToken| StepContext {
            job: job.clone(),
            attempt,
            progress: Arc::new(Progress::default()),
            cancelled: over.child_token(),
        };
        if !is_first(&step) {
            let (state, over) = self.registry.get(&job, attempt)?;
            let context = context(&over);
            let given = context.clone();
            return Ok((Box::pin(async move { state.step(step, given).await }), context));
        }
        let over = self.registry.begin(&job, attempt)?;
        let context = context(&over);
        let given = context.clone();
        let (runner, registry) = (Arc::clone(&self.runner), self.registry.clone());
        let work = async move {
            let (state, event) = runner.begin(step, given).await?;
            registry.install(&job, attempt, &over, state)?;
            Ok(event)
        };
        Ok((Box::pin(work), context))
    }
}

#[tonic::async_trait]
impl WorkerJobs for Jobs {
    type RunStepStream = ReceiverStream<Result<StepEvent, Status>>;

    async fn inspect_source(
        &self,
        request: Request<InspectSourceRequest>,
    ) -> Result<Response<InspectSourceReply>, Status> {
        let InspectSourceRequest { source, preview } = request.into_inner();
        let source = source.ok_or_else(|| Status::invalid_argument("the source is missing"))?;
        let inspected = self.runner.inspect(source, preview).await;
        inspected.map(Response::new).map_err(|error| error.to_status())
    }

    async fn run_step(&self, request: Request<StepRequest>) -> Result<Response<Self::RunStepStream>, Status> {
        let StepRequest { cluster_id, job_id, attempt, step } = request.into_inner();
        check_cluster(&self.cluster_id, &cluster_id)?;
        let job_id = checked_job(&job_id)?;
        let step = step.ok_or_else(|| Status::invalid_argument("the step is missing"))?;
        let name = step_name(&step);
        let entered = self.enter(&job_id);
        let (work, context) = self.prepare(job_id, attempt, step).map_err(|error| error.to_status())?;
        let (events, stream) = mpsc::channel(EVENTS_QUEUED_MAX);
        let (shutdown, runner) = (self.shutdown.clone(), Arc::clone(&self.runner));
        self.shutdown.spawn("worker step", async move {
            let started = Instant::now();
            tracing::info!(job = context.job.as_str(), attempt, step = name, "step starts");
            let outcome = watch_step(work, &context, runner.as_ref(), &events, &shutdown).await;
            drop(entered);
            let seconds = started.elapsed().as_secs_f64();
            metrics::histogram!("shoal_worker_step_seconds", "kind" => kind_of(name)).record(seconds);
            finish(&context, name, seconds, outcome, &events).await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn release_job(
        &self,
        request: Request<ReleaseJobRequest>,
    ) -> Result<Response<ReleaseJobReply>, Status> {
        let ReleaseJobRequest { cluster_id, job_id } = request.into_inner();
        check_cluster(&self.cluster_id, &cluster_id)?;
        let job_id = checked_job(&job_id)?;
        self.registry.release(&job_id);
        self.leave(&job_id).await;
        Ok(Response::new(ReleaseJobReply {}))
    }

    async fn check_peers(
        &self,
        request: Request<CheckPeersRequest>,
    ) -> Result<Response<CheckPeersReply>, Status> {
        let CheckPeersRequest { cluster_id, peers } = request.into_inner();
        check_cluster(&self.cluster_id, &cluster_id)?;
        if peers.len() > PEERS_MAX {
            let count = peers.len();
            return Err(Status::invalid_argument(format!(
                "the request names {count} peers; at most {PEERS_MAX} are looked for at once"
            )));
        }
        Ok(Response::new(CheckPeersReply { unreached: unreached(&self.channels, peers).await }))
    }
}

/// Runs the work, telling the leader how far it is, until it is done or nobody wants it any more.
async fn watch_step(
    mut work: BoxFuture<'static, StepOutcome>,
    context: &StepContext,
    runner: &dyn Runner,
    events: &Events,
    shutdown: &Shutdown,
) -> StepOutcome {
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            // A result that is ready is never thrown away; then the reasons to stop; then news.
            outcome = &mut work => return outcome.and_then(of_whole_files),
            () = shutdown.requested() => break,
            () = context.cancelled.cancelled() => break,
            () = events.closed() => break,
            _ = ticks.tick() => {
                let waits_for = runner.waits_for().unwrap_or_default();
                let report = StepProgress { waits_for, ..context.progress.report() };
                let event = StepEvent { event: Some(Event::Progress(report)) };
                // A leader that does not read gets the newest when it does.
                let _ = events.try_send(Ok(event));
            }
        }
    }
    context.cancelled.cancel();
    match tokio::time::timeout(SAFE_POINT_MAX, work).await {
        Ok(_) | Err(_) => Err(StepError::Cancelled),
    }
}

/// A file that a step may have read was cut short while it was mapped. Another attempt maps it anew, and checks it.
#[derive(Debug, thiserror::Error)]
#[error("'{}' was cut short while it was read from; what was made of it is thrown away", .0.display())]
struct TornFile(std::path::PathBuf);

/// A step's result, unless a file that is mapped was found torn.
fn of_whole_files(event: Event) -> Result<Event, StepError> {
    match mapped_file::torn().into_iter().next() {
        None => Ok(event),
        Some(path) => Err(StepError::Unavailable(Box::new(TornFile(path)))),
    }
}

/// What the job is for that a step belongs to.
fn kind_of(step: &str) -> &'static str {
    match step.split('_').next() {
        Some("ingest") => "import",
        Some("lists") => "lists",
        _ => "training",
    }
}

async fn finish(context: &StepContext, name: &str, seconds: f64, outcome: StepOutcome, events: &Events) {
    let last = match outcome {
        Ok(event) => {
            tracing::info!(
                job = context.job.as_str(),
                attempt = context.attempt,
                step = name,
                seconds,
                "step done"
            );
            Ok(StepEvent { event: Some(event) })
        }
        Err(error) => {
            let status = error.to_status();
            tracing::warn!(
                job = context.job.as_str(),
                attempt = context.attempt,
                step = name,
                seconds,
                error = status.message(),
                "step ended without a result"
            );
            Err(status)
        }
    };
    // A leader that has gone is not told; its successor begins a new attempt.
    let _ = events.send(last).await;
}

/// Refuses a caller of another cluster.
pub(super) fn check_cluster(ours: &str, theirs: &str) -> Result<(), Status> {
    if ours == theirs { Ok(()) } else { Err(wrong_cluster(ours, theirs)) }
}

/// Refuses what is not the id of a job: before anything is done with it, and above all before it is part of a path.
pub(super) fn checked_job(job_id: &str) -> Result<JobId, Status> {
    JobId::parse(job_id).map_err(|error| Status::invalid_argument(error.to_string()))
}
