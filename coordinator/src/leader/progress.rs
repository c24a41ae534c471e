//! How far the running jobs are: written by the jobs, read by whoever asks for a job. In the leader's memory only.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shoal_common::rpc::shortened;
use shoal_proto::v1::{JobInfo, JobState};
use tokio::{sync::watch, time::Instant};

/// A word of whoever waits for a store is repeated for so long: workers say it every second.
const WAIT_HOLDS: Duration = Duration::from_secs(4);

/// The longest sentence of somebody who waits.
const WAIT_BYTES_MAX: usize = 400;

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
    /// Who waits for a store that does not answer, since when that was said last, and in which words.
    waits: Arc<Mutex<BTreeMap<String, (Instant, String)>>>,
    /// Counts reports, so that watchers see that there is something new.
    reports: Arc<watch::Sender<u64>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { jobs: Arc::default(), waits: Arc::default(), reports: Arc::new(watch::Sender::new(0)) }
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
            if info.state() == JobState::Running
                && let Some((who, waits_for)) = self.wait()
            {
                info.phase = format!("{}, and {who} waits: {waits_for}", progress.phase);
            }
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

    /// Notes what somebody who works on jobs waits for that is not its own work, or that it does not wait any more.
    pub fn note_wait(&self, who: &str, waits_for: Option<String>) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = match waits_for {
            Some(waits_for) => {
                let waits_for = shortened(&waits_for, WAIT_BYTES_MAX).into_owned();
                let before = waits.insert(who.to_owned(), (Instant::now(), waits_for.clone()));
                if before.is_none() {
                    tracing::warn!(node = who, waits_for, "jobs wait");
                }
                true
            }
            None => match waits.remove(who) {
                Some(_) => {
                    tracing::info!(node = who, "jobs do not wait any more");
                    true
                }
                None => false,
            },
        };
        drop(waits);
        if is_new {
            self.reports.send_modify(|count| *count += 1);
        }
    }

    /// The first of those who wait, and for what.
    fn wait(&self) -> Option<(String, String)> {
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = waits.iter().filter(|(_, (said_at, _))| said_at.elapsed() < WAIT_HOLDS);
        fresh.next().map(|(who, (_, waits_for))| (who.clone(), waits_for.clone()))
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
