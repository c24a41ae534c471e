//! Runs the open jobs: one of each kind at a time, oldest first.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use shoal_common::{rpc::shortened, shutdown::Shutdown};
use shoal_proto::v1::{
    JobFinished, JobInfo, JobKind, JobState, UpdateJob, metadata_command::Command, update_job::Update,
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::Leader;
use crate::{
    jobs,
    state::{ClusterState, is_over},
};

/// How far a running job is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobProgress {
    /// What it is doing, for people.
    pub phase: String,
    /// Of the whole job, 0 to 1.
    pub fraction: f64,
    /// Seconds spent per phase.
    pub phase_seconds: BTreeMap<String, f64>,
}

/// How far the running jobs are, by id. Clones share it.
#[derive(Debug, Clone)]
pub struct Progress {
    jobs: Arc<Mutex<HashMap<String, JobProgress>>>,
    /// Counts reports, so that watchers see that there is something new.
    reports: Arc<watch::Sender<u64>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { jobs: Arc::default(), reports: Arc::new(watch::Sender::new(0)) }
    }
}

impl Progress {
    /// Replaces what is known of a job.
    pub fn report(&self, job_id: &str, progress: JobProgress) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).insert(job_id.to_owned(), progress);
        self.reports.send_modify(|count| *count += 1);
    }

    /// The job's record with what is known of its progress.
    #[must_use]
    pub fn fill(&self, mut info: JobInfo) -> JobInfo {
        let running = matches!(info.state(), JobState::Running | JobState::Queued);
        if running
            && let Some(progress) = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).get(&info.job_id)
        {
            info.phase.clone_from(&progress.phase);
            info.progress = progress.fraction;
            info.phase_seconds = progress.phase_seconds.clone().into_iter().collect();
            // Once a version is published its seconds stand.
            if info.model_version.is_empty() {
                info.seconds = progress.phase_seconds.values().sum();
            }
        }
        info
    }

    /// Wakes at each report.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.reports.subscribe()
    }

    fn forget(&self, job_id: &str) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(job_id);
    }
}

struct Running {
    /// Unspecified for the clean-up of a job that has ended.
    kind: JobKind,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// The jobs that this leader runs in this term.
pub(super) struct Runner {
    leader: Leader,
    running: HashMap<String, Running>,
}

impl Runner {
    pub(super) fn new(leader: Leader) -> Self {
        Self { leader, running: HashMap::new() }
    }

    /// Lets go of the tasks that have ended.
    pub(super) fn forget_ended(&mut self) {
        let progress = self.leader.progress.clone();
        self.running.retain(|job_id, running| {
            let goes_on = !running.task.is_finished();
            if !goes_on {
                progress.forget(job_id);
            }
            goes_on
        });
    }

    /// Starts what should run, cancels what should not, and has what is over cleaned up.
    pub(super) fn reconcile(&mut self, state: &ClusterState, shutdown: &Shutdown) {
        for job in state.jobs_by_age() {
            let Some(info) = &job.info else { continue };
            if let Some(running) = self.running.get(&info.job_id) {
                if job.cancel_requested {
                    running.cancel.cancel();
                }
                continue;
            }
            let (leader, job, cancel) = (self.leader.clone(), job.clone(), CancellationToken::new());
            let (job_id, kind) = (info.job_id.clone(), info.kind());
            if is_over(&job) {
                continue;
            }
            if job.outcome.is_some() {
                // Left by a leader that was lost right after its end.
                let task = shutdown.spawn("job clean-up", jobs::clean_up(leader, job));
                self.running.insert(job_id, Running { kind: JobKind::Unspecified, cancel, task });
                continue;
            }
            if !job.cancel_requested && self.running.values().any(|running| running.kind == kind) {
                continue;
            }
            if job.cancel_requested {
                cancel.cancel();
            }
            let task = shutdown.spawn("job", jobs::run(leader, job, cancel.clone()));
            self.running.insert(job_id, Running { kind, cancel, task });
        }
        metrics::gauge!("shoal_coordinator_jobs_running").set(self.running.len() as f64);
    }

    /// Leaves the jobs where they are: the next leader goes on from the last committed sweep.
    pub(super) fn stop(self) {
        for (job_id, running) in self.running {
            running.task.abort();
            self.leader.progress.forget(&job_id);
        }
    }
}

/// The longest error that is kept of a job: the registry is in the memory of every coordinator.
const JOB_ERROR_BYTES_MAX: usize = 8 * 1024;

/// The command that ends a job. An error that is too long to be kept is cut in its middle.
pub(crate) fn finished(
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
