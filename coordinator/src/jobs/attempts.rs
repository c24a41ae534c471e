//! A job from its first attempt to its end: attempts one after the other until one succeeds or another would not help,
//! then the end that is agreed on, then the clean-up.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use futures::future::join_all;
use shoal_common::{causes::with_causes, rpc::shortened};
use shoal_proto::v1::{
    AttemptStarted, JobCleaned, JobFinished, JobInfo, JobKind, JobState, LeftOutWorker, UpdateJob,
    metadata_command::Command, update_job::Update,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    error::JobError, import, lists, parts::Part, publish, reachable::reachable, steps, tracker::Tracker,
    training, validate::check_again,
};
use crate::{
    leader::{Leader, LiveWorker, Unreachable},
    state::{Job, LEFT_OUT_WORKERS_MAX},
};

/// Attempts that may fail one after the other without anything durable having come of them.
const FRUITLESS_ATTEMPTS_MAX: u32 = 5;

/// Who waits for the store where no worker does.
const LEADER: &str = "the leading coordinator";

/// How often it is looked whether the store answers the leader.
const LOOK_AT_STORE_EVERY: Duration = Duration::from_secs(1);

/// Pause between a failed attempt and the next one.
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// Runs a job to its end, from wherever the record says it is.
pub(super) async fn run(leader: Leader, mut job: Job, cancel: CancellationToken) {
    let job_id = job.info.job_id.clone();
    let mut tracker = Tracker::new(leader.progress.clone(), &job.info);
    let mut fruitless = 0;
    let mut failed_at = None;
    let outcome = loop {
        let milestones = tracker.milestones();
        let outcome = attempt(&leader, &mut job, &mut tracker, failed_at, &cancel).await;
        fruitless = if tracker.milestones() > milestones { 0 } else { fruitless + 1 };
        match outcome {
            Err(error) if error.may_pass() && fruitless < FRUITLESS_ATTEMPTS_MAX => {
                tracing::warn!(job = job_id, %error, "the attempt failed, another follows");
                failed_at = Some(Instant::now());
            }
            other => break other,
        }
    };
    let (state, error) = match outcome {
        Ok(()) => (JobState::Succeeded, String::new()),
        Err(JobError::Cancelled) => (JobState::Cancelled, String::new()),
        Err(JobError::LeadershipLost) => return,
        Err(error) if error.may_pass() => {
            (JobState::Failed, format!("{FRUITLESS_ATTEMPTS_MAX} attempts failed, the last because: {error}"))
        }
        Err(error) => (JobState::Failed, error.to_string()),
    };
    match state {
        JobState::Failed => tracing::error!(job = job_id, error, "the job failed"),
        _ => tracing::info!(job = job_id, state = outcome_name(state), "the job is over"),
    }
    let now = leader.clock.now_unix_ms();
    let command = finished(&job_id, state, &error, now, tracker.finish());
    if let Err(error) = leader.command(command).await {
        // The job stays open: whoever leads next finds what was published and ends it.
        tracing::warn!(job = job_id, %error, "the job's end was not recorded");
        return;
    }
    count(&job.info, state);
    // As it is agreed on: a version may have been published in the moment in which the job was cancelled.
    let agreed = leader.raft.view().borrow().jobs.get(&job_id).cloned();
    if let Some(job) = agreed {
        clean_up(leader, job).await;
    }
}

/// How a job has ended, in logs and metrics.
fn outcome_name(state: JobState) -> &'static str {
    match state {
        JobState::Succeeded => "succeeded",
        JobState::Cancelled => "cancelled",
        _ => "failed",
    }
}

fn count(info: &JobInfo, state: JobState) {
    let kind = match info.kind() {
        JobKind::Import => "import",
        JobKind::Lists => "lists",
        _ => "training",
    };
    metrics::counter!("shoal_coordinator_jobs_total", "kind" => kind, "outcome" => outcome_name(state))
        .increment(1);
}

/// The longest error that is kept of a job: the registry is in the memory of every coordinator.
const JOB_ERROR_BYTES_MAX: usize = 8 * 1024;

/// The command that ends a job. An error that is too long to be kept is cut in its middle.
fn finished(
    job_id: &str,
    state: JobState,
    error: &str,
    finished_unix_ms: i64,
    phase_seconds: BTreeMap<String, f64>,
) -> Command {
    let phase_seconds = phase_seconds.into_iter().collect();
    let error = shortened(error, JOB_ERROR_BYTES_MAX).into_owned();
    let update = JobFinished { state: state.into(), error, finished_unix_ms, phase_seconds };
    Command::UpdateJob(UpdateJob { job_id: job_id.to_owned(), update: Some(Update::Finished(update)) })
}

/// One attempt: committed first, so that workers refuse whatever an older one still sends.
async fn attempt(
    leader: &Leader,
    job: &mut Job,
    tracker: &mut Tracker,
    failed_at: Option<Instant>,
    cancel: &CancellationToken,
) -> Result<(), JobError> {
    check_again(&job.info)?;
    let work = async {
        tracker.wait("waiting for workers");
        if failed_at.is_some() {
            tokio::time::sleep(ATTEMPT_PAUSE).await;
        }
        let mut workers = wait_for_workers(leader, failed_at).await;
        let attempt = job.info.attempt + 1;
        let mut left_out = Vec::new();
        // Looking for all of them takes seconds where one is out of reach, so it is done where there is a reason to.
        if failed_at.is_some() || !leader.unreachable.is_empty() {
            workers = reachable(leader, workers).await?;
            left_out = left_out_of(attempt, leader);
        }
        let info = &mut job.info;
        let started = AttemptStarted { attempt, phase_seconds: tracker.phase_seconds(), left_out };
        leader.update_job(&info.job_id, Update::AttemptStarted(started)).await?;
        info.attempt = attempt;
        match info.kind() {
            // On the heap: what waits in one of them is too much for a thread's stack.
            JobKind::Import => Box::pin(import::run(leader, job, &workers, tracker)).await,
            JobKind::Lists => Box::pin(lists::run(leader, job, &workers, tracker)).await,
            _ => Box::pin(training::run(leader, job, &workers, tracker)).await,
        }
    };
    tokio::select! {
        // Work that has ended is not cancelled any more.
        biased;
        outcome = work => outcome,
        () = cancel.cancelled() => Err(JobError::Cancelled),
        never = tell_silence(leader) => match never {},
    }
}

/// Says in the progress of jobs that the leader's own store does not answer, for as long as it is polled.
async fn tell_silence(leader: &Leader) -> Infallible {
    loop {
        let waits_for = leader.store.silence().map(|silence| silence.to_string());
        leader.progress.note_wait(LEADER, waits_for);
        tokio::time::sleep(LOOK_AT_STORE_EVERY).await;
    }
}

/// What is kept with the job of the workers that an attempt goes on without.
fn left_out_of(attempt: u32, leader: &Leader) -> Vec<LeftOutWorker> {
    let left_out = leader.unreachable.all().into_iter();
    let left_out = left_out.map(|(node, Unreachable { reason, .. })| LeftOutWorker { attempt, node, reason });
    left_out.take(LEFT_OUT_WORKERS_MAX).collect()
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

/// Frees what workers hold of a job that has ended, deletes what only it needed, and says that it is over.
pub(super) async fn clean_up(leader: Leader, job: Job) {
    let Job { info, outcome, .. } = job;
    let succeeded = outcome.is_some_and(|outcome| outcome.state() == JobState::Succeeded);
    let parts = Part::all().map(|part| part.id(&info.job_id)).filter(|_| info.training.is_some());
    let held: Vec<String> = std::iter::once(info.job_id.clone()).chain(parts).collect();
    join_all(held.iter().map(|name| steps::release(&leader, name))).await;
    let mut folders = vec![format!("checkpoints/{}", info.job_id), format!("staging/{}", info.job_id)];
    // A job that never began has written nothing, and its names may lead elsewhere.
    if check_again(&info).is_ok() {
        folders.extend(import::unpublished_folder(&info));
        folders.extend(publish::unpublished_folder(&info));
    }
    for folder in folders {
        if let Err(error) = leader.store.delete_folder(&folder).await {
            tracing::warn!(folder, error = with_causes(&error), "a temporary folder was left behind");
        }
    }
    if info.lists.is_some() && !succeeded {
        lists::discard(&leader, &info).await;
        steps::release(&leader, &info.job_id).await;
    }
    if let Err(error) = leader.update_job(&info.job_id, Update::Cleaned(JobCleaned {})).await {
        // Whoever leads next does it again.
        tracing::warn!(job = info.job_id, %error, "the clean-up was not recorded");
    }
}
