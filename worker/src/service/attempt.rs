//! What the job service needs of the things that do the work: imports and trainings.
//!
//! A [`Runner`] makes an [`Attempt`] from a job's first step; the attempt then does the later
//! steps and takes what peers push to it. The service knows which attempt is the newest, streams
//! progress, and turns [`StepError`]s into statuses; attempts know nothing of gRPC servers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures::stream::BoxStream;
use shoal_common::{
    causes::with_causes,
    job_id::{JobId, NotAJobId},
    job_steps::{StepKind, step_name},
};
use shoal_proto::v1::{
    DatasetSource, FactorChunk, InspectSourceReply, ObjectEntry, ObjectsWritten, PairsChunk, PairsRequest,
    RecordBatch, StepEmptyDone, StepProgress, SubscribeRowsRequest, TileChunk, step_event::Event,
    step_request::Step,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::registry::JobError;

/// Any error, with its causes.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a step ended without its result. The variant says what the leader may do about it.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The request itself cannot be carried out; the same step fails again anywhere.
    #[error("the step cannot be carried out")]
    Invalid(#[source] BoxError),
    /// The step does not fit what the attempt has done so far.
    #[error("the step is out of turn")]
    OutOfTurn(#[source] BoxError),
    /// A peer or the store is out of reach; another attempt may succeed.
    #[error("the step could not reach what it needs")]
    Unavailable(#[source] BoxError),
    /// The disk or the memory does not suffice.
    #[error("the step ran out of room")]
    Exhausted(#[source] BoxError),
    /// A failure that another attempt would meet too.
    #[error("the step failed")]
    Failed(#[source] BoxError),
    /// What names the job is no id of one.
    #[error(transparent)]
    JobId(#[from] NotAJobId),
    /// The attempt is over, or was never begun here.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The leader has gone, or the attempt was superseded while the step ran.
    #[error("the step was cancelled")]
    Cancelled,
}

impl StepError {
    /// The status for the caller: the causes' sentences, under the code that says what to do.
    #[must_use]
    pub fn to_status(&self) -> Status {
        let causes = |source: &BoxError| with_causes(source.as_ref());
        match self {
            Self::Invalid(source) => Status::invalid_argument(causes(source)),
            Self::OutOfTurn(source) => Status::failed_precondition(causes(source)),
            Self::Unavailable(source) => Status::unavailable(causes(source)),
            Self::Exhausted(source) => Status::resource_exhausted(causes(source)),
            Self::Failed(source) => Status::internal(causes(source)),
            Self::JobId(error) => Status::invalid_argument(error.to_string()),
            Self::Job(error) => Status::failed_precondition(error.to_string()),
            Self::Cancelled => Status::cancelled(self.to_string()),
        }
    }
}

/// How far a step is. Written by the step, read once in a while by the stream to the leader.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Says how much there is to do.
    pub fn set_total(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// Notes that some more is done.
    pub fn add(&self, done: u64) {
        self.done.fetch_add(done, Ordering::Relaxed);
    }

    /// Says how much is done of how much.
    pub fn set(&self, done: u64, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.done.fetch_max(done, Ordering::Relaxed);
    }

    /// As the leader is told.
    #[must_use]
    pub fn report(&self) -> StepProgress {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        StepProgress { done, total, waits_for: String::new() }
    }
}

/// What a step that is under way is told, and where it reports.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// Id of the job.
    pub job: JobId,
    /// Which attempt of it.
    pub attempt: u32,
    /// Where the step says how far it is.
    pub progress: Arc<Progress>,
    /// Cancelled when the leader has gone or the attempt is over: stop at the next safe point.
    pub cancelled: CancellationToken,
}

/// One attempt of one job on this worker. Dropping it frees its memory and its temporary files.
///
/// An attempt refuses whatever is no part of its kind of job: every method that it does not have says so.
#[tonic::async_trait]
pub trait Attempt: Send + Sync + 'static {
    /// Does a step that is not the first. The answer is made with [`StepKind::into_event`] of the step.
    ///
    /// # Errors
    /// See [`StepError`].
    async fn step(&self, step: Step, _context: StepContext) -> Result<Event, StepError> {
        Err(wrong_kind(step_name(&step)))
    }

    /// Takes ratings or catalogue rows for a shard that this worker owns (imports).
    ///
    /// # Errors
    /// See [`StepError`].
    async fn push_records(&self, _batch: RecordBatch) -> Result<(), StepError> {
        Err(wrong_kind("push_records"))
    }

    /// Notes which of this worker's rows a peer needs (trainings).
    ///
    /// # Errors
    /// See [`StepError`].
    async fn subscribe_rows(&self, _request: SubscribeRowsRequest) -> Result<(), StepError> {
        Err(wrong_kind("subscribe_rows"))
    }

    /// Takes a peer's factor rows or Gramian partial (trainings).
    ///
    /// # Errors
    /// See [`StepError`].
    async fn push_factors(&self, _chunk: FactorChunk) -> Result<(), StepError> {
        Err(wrong_kind("push_factors"))
    }

    /// Takes a peer's sums for a tile or part of the elimination (EASE).
    ///
    /// # Errors
    /// See [`StepError`].
    async fn push_tiles(&self, _chunk: TileChunk) -> Result<(), StepError> {
        Err(wrong_kind("push_tiles"))
    }

    /// What this worker's users say of the pairs with a peer's items (item CF).
    ///
    /// # Errors
    /// See [`StepError`].
    async fn pull_pairs(&self, _request: PairsRequest) -> Result<Pairs, StepError> {
        Err(wrong_kind("pull_pairs"))
    }
}

/// The step does not belong to this kind of job.
#[derive(Debug, thiserror::Error)]
#[error("'{step}' is not a step of this kind of job")]
struct WrongKind {
    step: &'static str,
}

/// Refuses what is no part of a kind of job.
pub(super) fn wrong_kind(step: &'static str) -> StepError {
    StepError::OutOfTurn(Box::new(WrongKind { step }))
}

/// The answer to a step of which only is told that it is done.
pub(super) fn done<S: StepKind<Done = StepEmptyDone>>() -> Event {
    S::into_event(StepEmptyDone {})
}

/// The answer to a step that has written objects.
pub(super) fn written<S: StepKind<Done = ObjectsWritten>>(objects: Vec<ObjectEntry>) -> Event {
    S::into_event(ObjectsWritten { objects, ..ObjectsWritten::default() })
}

/// Blocks of pairs, made as they are read.
pub type Pairs = BoxStream<'static, Result<PairsChunk, StepError>>;

/// Makes attempts, and looks at sources.
#[tonic::async_trait]
pub trait Runner: Send + Sync + 'static {
    /// Which files a source has, in which format.
    ///
    /// # Errors
    /// See [`StepError`].
    async fn inspect(&self, source: DatasetSource, with_rows: bool) -> Result<InspectSourceReply, StepError>;

    /// Does the first step of a job: what it made and what it answers.
    ///
    /// # Errors
    /// See [`StepError`].
    async fn begin(&self, step: Step, context: StepContext) -> Result<(Arc<dyn Attempt>, Event), StepError>;

    /// What steps wait for that is not their own work, one sentence: a store that does not answer.
    fn waits_for(&self) -> Option<String> {
        None
    }
}

/// Whether the step makes a new attempt rather than going on with one.
#[must_use]
pub(super) fn is_first(step: &Step) -> bool {
    matches!(
        step,
        Step::IngestBegin(_)
            | Step::SplitCuts(_)
            | Step::TrainLoad(_)
            | Step::ModelLoad(_)
            | Step::ListsBegin(_)
            | Step::ListsDiscard(_)
    )
}
