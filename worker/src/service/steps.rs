//! The work behind the steps: which attempt a job's first step makes, and how its steps and errors
//! become those of the job service.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use shoal_common::{
    job_id::JobId,
    job_steps::{StepKind as _, step_name},
};
use shoal_dataset::source::{PreviewError, SourceError, inspect, preview};
use shoal_engine::als::kernel::Kernel;
use shoal_format::tensor_file::TensorFileError;
use shoal_proto::v1::{
    DatasetSource, FactorChunk, IngestBegin, IngestBuild, IngestParse, IngestSort, InspectSourceReply,
    ListsBegin, ListsDiscard, ModelLoad, RecordBatch, SplitCuts, SubscribeRowsRequest, TrainEvaluate,
    TrainHalfStep, TrainLoad, TrainRoute, TrainWrite, step_event::Event, step_request::Step,
};
use tonic::Code;

use super::{
    attempt::{Attempt, Runner, StepContext, StepError, done, written, wrong_kind},
    lists::Lists,
    model::Model,
    step_progress::{is_damage, on_done, on_share},
};
use crate::{
    exchange::push::PushError,
    ingest::{IngestAttempt, IngestError},
    job_context::JobContext,
    lists::{ListsAttempt, ListsContext, discard},
    memory::available_bytes,
    serve::Loader,
    train::{Sides, TrainAttempt, TrainContext, TrainError, models::ModelAttempt, write_cuts},
};

/// Runs imports, trainings and jobs that write lists.
#[derive(Debug)]
pub struct Steps {
    context: JobContext,
    /// Of what is served, which jobs that write lists share.
    loader: Loader,
    kernel: Kernel,
    /// The ratings of trainings that are here, by job, each with its attempt.
    kept: Mutex<HashMap<String, (u32, Weak<Sides>)>>,
}

impl Steps {
    /// Works with `context`, computing with the fastest kernel that this machine has.
    #[must_use]
    pub fn new(context: JobContext, loader: Loader) -> Self {
        Self { context, loader, kernel: Kernel::detect(), kept: Mutex::default() }
    }

    /// Remembers the ratings of a training for as long as it is here.
    fn keep(&self, job: String, attempt: u32, sides: &Arc<Sides>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (_, sides)| sides.strong_count() > 0);
        kept.insert(job, (attempt, Arc::downgrade(sides)));
    }

    /// The ratings of a training, if this attempt of it is here.
    fn kept(&self, job: &str, attempt: u32) -> Option<Arc<Sides>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(job).filter(|(of_attempt, _)| *of_attempt == attempt).and_then(|(_, sides)| sides.upgrade())
    }

    fn folder(&self, context: &StepContext) -> PathBuf {
        self.context.folder.join(format!("{}-{:03}", context.job, context.attempt))
    }

    fn lists_context(&self, job: JobId, folder: PathBuf) -> ListsContext {
        let (job_id, loader) = (job.to_string(), self.loader.clone());
        ListsContext { job_id, job: self.context.with_folder(folder), loader }
    }

    fn train_context(&self, folder: PathBuf) -> TrainContext {
        let (kernel, memory_bytes) = (self.kernel, available_bytes());
        TrainContext { job: self.context.with_folder(folder), kernel, memory_bytes }
    }
}

#[tonic::async_trait]
impl Runner for Steps {
    fn waits_for(&self) -> Option<String> {
        self.context.store.silence().map(|silence| silence.to_string())
    }

    async fn inspect(&self, source: DatasetSource, with_rows: bool) -> Result<InspectSourceReply, StepError> {
        let access = &self.context.access;
        if !with_rows {
            return inspect(&source, access).await.map_err(|error| source_error(Box::new(error)));
        }
        preview(&source, access, &self.context.compute).await.map_err(|error| match error {
            PreviewError::Source(error) => source_error(error),
            PreviewError::Compute(_) => StepError::Failed(Box::new(error)),
        })
    }

    async fn begin(&self, step: Step, context: StepContext) -> Result<(Arc<dyn Attempt>, Event), StepError> {
        let folder = self.folder(&context);
        match step {
            Step::IngestBegin(step) => {
                let ingest = self.context.with_folder(folder);
                let attempt = IngestAttempt::begin(ingest, context.job.to_string(), context.attempt, step)?;
                Ok((Arc::new(Import(Arc::new(attempt))), done::<IngestBegin>()))
            }
            Step::SplitCuts(step) => {
                let cuts = write_cuts(self.train_context(folder), step).await?;
                Ok((Arc::new(Cut), SplitCuts::into_event(cuts)))
            }
            Step::TrainLoad(step) => {
                let train = self.train_context(folder);
                let job = context.job.to_string();
                let (attempt, loaded) = TrainAttempt::load(train, job.clone(), context.attempt, step).await?;
                self.keep(job, context.attempt, attempt.sides());
                Ok((Arc::new(Training(attempt)), TrainLoad::into_event(loaded)))
            }
            Step::ModelLoad(step) => {
                let train = self.train_context(folder);
                let kept = self.kept(&step.kept_by, context.attempt);
                let loading = ModelAttempt::load(train, context.job.to_string(), context.attempt, step, kept);
                let (attempt, loaded) = loading.await?;
                Ok((Arc::new(Model(attempt)), ModelLoad::into_event(loaded)))
            }
            Step::ListsBegin(step) => {
                let lists = self.lists_context(context.job, folder);
                let attempt = ListsAttempt::begin(lists, step).await?;
                Ok((Arc::new(Lists(Some(Arc::new(attempt)))), done::<ListsBegin>()))
            }
            Step::ListsDiscard(step) => {
                discard(&self.lists_context(context.job, folder), step).await?;
                Ok((Arc::new(Lists(None)), done::<ListsDiscard>()))
            }
            other => Err(wrong_kind(step_name(&other))),
        }
    }
}

struct Import(Arc<IngestAttempt>);

#[tonic::async_trait]
impl Attempt for Import {
    async fn step(&self, step: Step, context: StepContext) -> Result<Event, StepError> {
        match step {
            Step::IngestParse(step) => {
                context.progress.set_total(step.end.saturating_sub(step.begin));
                let (on_done, cancelled) = (on_done(&context), context.cancelled);
                Ok(IngestParse::into_event(self.0.parse(step, cancelled, on_done).await?))
            }
            Step::IngestSort(_) => {
                context.progress.set_total(self.0.owned_shards().len() as u64);
                Ok(IngestSort::into_event(self.0.sort(on_done(&context)).await?))
            }
            Step::IngestBuild(step) => {
                context.progress.set_total(self.0.owned_shards().len() as u64);
                let objects = self.0.build(step, on_done(&context)).await?;
                Ok(written::<IngestBuild>(objects))
            }
            other => Err(wrong_kind(step_name(&other))),
        }
    }

    async fn push_records(&self, batch: RecordBatch) -> Result<(), StepError> {
        Ok(self.0.receive(batch).await?)
    }
}

/// An attempt whose ratings are cut by time, before the step that loads them begins it anew.
struct Cut;

#[tonic::async_trait]
impl Attempt for Cut {}

struct Training(Arc<TrainAttempt>);

#[tonic::async_trait]
impl Attempt for Training {
    async fn step(&self, step: Step, context: StepContext) -> Result<Event, StepError> {
        match step {
            Step::TrainRoute(step) => Ok(TrainRoute::into_event(self.0.route(step).await?)),
            Step::TrainHalfStep(step) => {
                context.progress.set_total(self.0.half_step_rows(step.side()));
                let on_rows = on_done(&context);
                Ok(TrainHalfStep::into_event(self.0.half_step(step, context.cancelled, on_rows).await?))
            }
            Step::TrainWrite(step) => {
                let objects = self.0.write(&step.path).await?;
                Ok(written::<TrainWrite>(objects))
            }
            Step::TrainEvaluate(step) => {
                Ok(TrainEvaluate::into_event(self.0.evaluate(step, on_share(&context)).await?))
            }
            other => Err(wrong_kind(step_name(&other))),
        }
    }

    async fn subscribe_rows(&self, request: SubscribeRowsRequest) -> Result<(), StepError> {
        Ok(self.0.subscribe(&request)?)
    }

    async fn push_factors(&self, chunk: FactorChunk) -> Result<(), StepError> {
        Ok(self.0.receive(&chunk)?)
    }
}

impl From<IngestError> for StepError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Request(_)
            | IngestError::Torn(_)
            | IngestError::TooManyRows
            | IngestError::Address { .. }
            | IngestError::Catalogue { .. } => Self::Invalid(Box::new(error)),
            IngestError::Source(source) => source_error(source),
            IngestError::Store(ref source) if is_damage(source) => Self::Invalid(Box::new(error)),
            IngestError::Spool { .. } | IngestError::Tensor(TensorFileError::Write { .. }) => {
                Self::Exhausted(Box::new(error))
            }
            IngestError::Push { ref source, .. } if is_refusal(source) => Self::Failed(Box::new(error)),
            IngestError::Store(_) | IngestError::Push { .. } => Self::Unavailable(Box::new(error)),
            IngestError::Tensor(_) | IngestError::Compute(_) => Self::Failed(Box::new(error)),
            IngestError::Cancelled => Self::Cancelled,
        }
    }
}

impl From<TrainError> for StepError {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Tensor(TensorFileError::Write { .. })
            | TrainError::Memory { .. }
            | TrainError::TooLarge(_) => Self::Exhausted(Box::new(error)),
            TrainError::Request(_)
            | TrainError::Torn(_)
            | TrainError::Pairs(_)
            | TrainError::Entries(_)
            | TrainError::Elimination(_)
            | TrainError::LostDigits(_)
            | TrainError::Rows(_)
            | TrainError::Tensor(_) => Self::Invalid(Box::new(error)),
            TrainError::HeldOut(source) => source_error(source),
            TrainError::Store(ref source) if is_damage(source) => Self::Invalid(Box::new(error)),
            TrainError::OutOfTurn(_) => Self::OutOfTurn(Box::new(error)),
            TrainError::Push(PushError::Refused { ref source, .. }) if is_refusal(source) => {
                Self::Failed(Box::new(error))
            }
            TrainError::Store(_) | TrainError::Push(_) => Self::Unavailable(Box::new(error)),
            TrainError::Diverged { .. } | TrainError::NotFoldedIn { .. } => Self::Invalid(Box::new(error)),
            TrainError::Compute(_) => Self::Failed(Box::new(error)),
            TrainError::Cancelled => Self::Cancelled,
        }
    }
}

/// A source that cannot be reached may be reached later; anything else about it stays as it is.
fn source_error(error: Box<SourceError>) -> StepError {
    match *error {
        SourceError::Store { ref source, .. } if !is_damage(source) => StepError::Unavailable(error),
        _ => StepError::Invalid(error),
    }
}

/// Whether a peer answered that it does not want what was sent, rather than being gone or restarted.
fn is_refusal(status: &tonic::Status) -> bool {
    matches!(status.code(), Code::InvalidArgument | Code::PermissionDenied)
}
