//! Imports, trainings and batch lists, as the leader runs them.
//!
//! A job is a sequence of steps that every worker does, with a barrier after each. When a worker is
//! lost the attempt is over: a new one begins with the workers that are there, from the last committed
//! sweep (or from the start, for an import). What decides is in the replicated state: attempts, sweeps
//! with their checkpoints, what was published; a new leader goes on from there.
//!
//! Nothing is deleted before the job's end is committed: a leader that was replaced without knowing it
//! must not take away what its successor works with.

mod conventions;
mod cuts;
mod evaluation;
mod held_out;
mod import;
mod lanes;
mod lists;
mod model;
mod preview;
mod remarks;
mod sample;
mod shares;
mod steps;
mod sweeps;
mod tracker;
mod training;
mod validate;
mod validate_lists;

use std::time::Duration;

use futures::future::join_all;
use shoal_common::{job_steps::WrongAnswer, store::StoreError};
use shoal_proto::v1::{
    AttemptStarted, JobCleaned, JobInfo, JobKind, JobRecord, JobState, UpdateJob, metadata_command::Command,
    update_job::Update,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::tracker::Tracker;
use crate::{
    leader::{CommandError, Leader, LiveWorker, finished},
    raft::ProposeError,
};

pub use conventions::settle;
pub use model::same_training;
pub(crate) use preview::preview;
pub use validate::{validate_import, validate_training};
pub use validate_lists::settle_lists;

/// Attempts that may fail one after the other without anything durable having come of them.
const FRUITLESS_ATTEMPTS_MAX: u32 = 5;

/// Between attempts.
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// Why an attempt ended without its result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// Another attempt may succeed: a worker or the store was out of reach.
    #[error("{0}")]
    Transient(String),
    /// A worker has answered something else than it was asked. Another attempt may find a worker that does not.
    #[error("worker '{worker}' {wrong}")]
    WrongAnswer {
        /// Its name.
        worker: String,
        /// What was asked and answered.
        wrong: WrongAnswer,
    },
    /// Another attempt would fail alike.
    #[error("{0}")]
    Fatal(String),
    /// Everything is held out. Another attempt would fail alike.
    #[error("no rating is left to train on; hold out fewer")]
    NothingToTrainOn,
    /// Another coordinator leads now, and goes on.
    #[error("leadership was lost")]
    LeadershipLost,
    /// Somebody asked for it.
    #[error("the job was cancelled")]
    Cancelled,
}

impl JobError {
    /// Whether another attempt may succeed.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Transient(_) | Self::WrongAnswer { .. })
    }
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Access { .. } => Self::Transient(with_causes(&error)),
            _ => Self::Fatal(with_causes(&error)),
        }
    }
}

impl From<CommandError> for JobError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused { reason, .. } => Self::Fatal(reason),
            CommandError::Raft(ProposeError::Busy) => Self::Transient(error.to_string()),
            CommandError::Raft(ProposeError::TooLarge { .. }) => Self::Fatal(error.to_string()),
            CommandError::Raft(_) => Self::LeadershipLost,
        }
    }
}

/// An error and what caused it, as one sentence.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Runs a job to its end, from wherever the record says it is.
pub async fn run(leader: Leader, record: JobRecord, cancel: CancellationToken) {
    let info = record.info.clone().unwrap_or_default();
    let mut tracker = Tracker::new(leader.progress.clone(), &info);
    let mut record = record;
    let mut fruitless = 0;
    let mut failed_at = None;
    let outcome = loop {
        let milestones = tracker.milestones();
        let outcome = attempt(&leader, &mut record, &mut tracker, failed_at, &cancel).await;
        fruitless = if tracker.milestones() > milestones { 0 } else { fruitless + 1 };
        match outcome {
            Err(error) if error.may_pass() && fruitless < FRUITLESS_ATTEMPTS_MAX => {
                tracing::warn!(job = info.job_id, %error, "the attempt failed, another follows");
                failed_at = Some(Instant::now());
            }
            other => break other,
        }
    };
    let (state, error) = match outcome {
        Ok(()) => (JobState::Succeeded, String::new()),
        Err(JobError::Cancelled) => (JobState::Cancelled, String::new()),
        Err(JobError::LeadershipLost) => return,
        Err(error) if error.may_pass() => (
            JobState::Failed,
            format!("{FRUITLESS_ATTEMPTS_MAX} attempts failed, the last because: {error}"),
        ),
        Err(error) => (JobState::Failed, error.to_string()),
    };
    tracing::info!(job = info.job_id, ?state, error, "the job is over");
    let now = leader.clock.now_unix_ms();
    let command = finished(&info.job_id, state, &error, now, tracker.finish());
    if let Err(error) = leader.command(command).await {
        // The job stays open: whoever leads next finds what was published and ends it.
        tracing::warn!(job = info.job_id, %error, "the job's end was not recorded");
        return;
    }
    // As it is agreed on: a version may have been published in the moment in which the job was cancelled.
    let agreed = leader.raft.view().borrow().jobs.get(&info.job_id).cloned();
    if let Some(record) = agreed {
        clean_up(leader, record).await;
    }
}

/// One attempt: committed first, so that workers refuse whatever an older one still sends.
async fn attempt(
    leader: &Leader,
    record: &mut JobRecord,
    tracker: &mut Tracker,
    failed_at: Option<Instant>,
    cancel: &CancellationToken,
) -> Result<(), JobError> {
    let work = async {
        tracker.phase("waiting for workers");
        if failed_at.is_some() {
            tokio::time::sleep(ATTEMPT_PAUSE).await;
        }
        let workers = wait_for_workers(leader, failed_at).await;
        let info = record.info.get_or_insert_default();
        let attempt = info.attempt + 1;
        let started = AttemptStarted { attempt, phase_seconds: tracker.phase_seconds() };
        commit(leader, &info.job_id, Update::AttemptStarted(started)).await?;
        info.attempt = attempt;
        match info.kind() {
            // On the heap: what waits in one of them is too much for a thread's stack.
            JobKind::Import => Box::pin(import::run(leader, record, &workers, tracker)).await,
            JobKind::Lists => Box::pin(lists::run(leader, record, &workers, tracker)).await,
            _ => Box::pin(training::run(leader, record, &workers, tracker)).await,
        }
    };
    tokio::select! {
        // Work that has ended is not cancelled any more.
        biased;
        outcome = work => outcome,
        () = cancel.cancelled() => Err(JobError::Cancelled),
    }
}

/// The workers that can be given work; waits until there is one. After a failed attempt each of them
/// has beaten since: one that was lost is waited for until it beats again or its lease expires,
/// however long that is, or attempts would fail one after the other because of it.
async fn wait_for_workers(leader: &Leader, failed_at: Option<Instant>) -> Vec<LiveWorker> {
    let has_beaten = |worker: &LiveWorker| {
        failed_at.is_none_or(|failed_at| leader.members.has_beaten_since(&worker.name, failed_at))
    };
    loop {
        let state = leader.raft.view().borrow().clone();
        let workers = leader.members.live_workers(&state, leader.config.lease);
        if !workers.is_empty() && workers.iter().all(has_beaten) {
            return workers;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn commit(leader: &Leader, job_id: &str, update: Update) -> Result<(), JobError> {
    let command = Command::UpdateJob(UpdateJob { job_id: job_id.to_owned(), update: Some(update) });
    leader.command(command).await?;
    Ok(())
}

/// The link is for people who look into the store: a version without it is as good.
async fn point_latest(leader: &Leader, model: &str, version: &str) {
    let link = format!("models/{model}/model_latest");
    if let Err(error) = leader.store.point_latest(&link, version).await {
        tracing::warn!(link, error = with_causes(&error), "the link was not set");
    }
}

/// What a training that did not publish may have written.
fn unpublished_folder(info: &JobInfo) -> Option<String> {
    (info.training.is_some() && info.model_version.is_empty()).then(|| model::folder_of(info))
}

/// Frees what workers hold of a job that has ended, deletes what only it needed, and says that it is over.
pub async fn clean_up(leader: Leader, record: JobRecord) {
    let info = record.info.unwrap_or_default();
    let succeeded = record.outcome.is_some_and(|outcome| outcome.state() == JobState::Succeeded);
    let parts = model::PARTS.iter().map(|part| model::part_id(&info.job_id, part));
    let parts = parts.filter(|_| info.training.is_some());
    let held: Vec<String> = std::iter::once(info.job_id.clone()).chain(parts).collect();
    join_all(held.iter().map(|name| steps::release(&leader, name))).await;
    let mut folders = vec![format!("checkpoints/{}", info.job_id), format!("staging/{}", info.job_id)];
    folders.extend(import::unpublished_folder(&info));
    folders.extend(unpublished_folder(&info));
    for folder in folders {
        if let Err(error) = leader.store.delete_folder(&folder).await {
            tracing::warn!(folder, error = with_causes(&error), "a temporary folder was left behind");
        }
    }
    if info.lists.is_some() && !succeeded {
        lists::discard(&leader, &info).await;
        steps::release(&leader, &info.job_id).await;
    }
    if let Err(error) = commit(&leader, &info.job_id, Update::Cleaned(JobCleaned {})).await {
        // Whoever leads next does it again.
        tracing::warn!(job = info.job_id, %error, "the clean-up was not recorded");
    }
}
