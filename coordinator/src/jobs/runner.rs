//! Runs the open jobs: one of each kind at a time, those who asked for them taking turns.

use std::collections::HashMap;

use shoal_common::shutdown::Shutdown;
use shoal_proto::v1::JobKind;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::attempts::{clean_up, run};
use crate::{leader::Leader, state::ClusterState};

/// A job that a task works at.
struct Running {
    /// Unspecified for the clean-up of a job that has ended.
    kind: JobKind,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// The jobs that this leader runs in this term.
pub(crate) struct Runner {
    leader: Leader,
    running: HashMap<String, Running>,
}

impl Runner {
    pub(crate) fn new(leader: Leader) -> Self {
        Self { leader, running: HashMap::new() }
    }

    /// Lets go of the tasks that have ended.
    pub(crate) fn forget_ended(&mut self) {
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
    pub(crate) fn reconcile(&mut self, state: &ClusterState, shutdown: &Shutdown) {
        for job in state.jobs_in_turn() {
            let info = &job.info;
            if let Some(running) = self.running.get(&info.job_id) {
                if job.cancel_requested {
                    running.cancel.cancel();
                }
                continue;
            }
            let (leader, job, cancel) = (self.leader.clone(), job.clone(), CancellationToken::new());
            let (job_id, kind) = (info.job_id.clone(), info.kind());
            if job.is_over() {
                continue;
            }
            if job.outcome.is_some() {
                // Left by a leader that was lost right after its end.
                let task = shutdown.spawn("job clean-up", clean_up(leader, job));
                self.running.insert(job_id, Running { kind: JobKind::Unspecified, cancel, task });
                continue;
            }
            if !job.cancel_requested && self.running.values().any(|running| running.kind == kind) {
                continue;
            }
            if job.cancel_requested {
                cancel.cancel();
            }
            let task = shutdown.spawn("job", run(leader, job, cancel.clone()));
            self.running.insert(job_id, Running { kind, cancel, task });
        }
        let waiting = state.jobs_in_turn().into_iter().filter(|job| {
            !job.is_over() && job.outcome.is_none() && !self.running.contains_key(&job.info.job_id)
        });
        metrics::gauge!("shoal_coordinator_jobs_queued").set(waiting.count() as f64);
        metrics::gauge!("shoal_coordinator_jobs_running").set(self.running.len() as f64);
    }

    /// Leaves the jobs where they are: the next leader goes on from the last committed sweep.
    pub(crate) fn stop(self) {
        for (job_id, running) in self.running {
            running.task.abort();
            self.leader.progress.forget(&job_id);
        }
    }
}
