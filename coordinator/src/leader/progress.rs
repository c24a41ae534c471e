//! How far the running jobs are: written by the jobs, read by whoever asks for a job. In the leader's memory only.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use shoal_proto::v1::{JobInfo, JobState};
use tokio::sync::watch;

/// How far a running job is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobProgress {
    /// What it is doing, for people.
    pub phase: String,
    /// Of the whole job, 0 to 1.
    pub fraction: f64,
    /// How long the rest takes, once that can be told.
    pub remaining_seconds: Option<f64>,
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
            info.remaining_seconds = progress.remaining_seconds;
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

    /// Lets go of what is known of a job.
    pub(crate) fn forget(&self, job_id: &str) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(job_id);
    }
}
