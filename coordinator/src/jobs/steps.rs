//! Calling workers: one step on one worker, or the same step on all of them.

use std::time::Duration;

use futures::future::{join_all, try_join_all};
use shoal_common::{
    causes::with_causes,
    job_steps::{StepKind, WrongAnswer},
    rpc::{MESSAGE_BYTES_MAX, is_lost_on_the_way},
    tls::PeerRole,
};
use shoal_proto::v1::{
    ReleaseJobRequest, StepRequest, WorkerPeer, step_event::Event, worker_jobs_client::WorkerJobsClient,
};
use tonic::{Code, Status, transport::Channel};

use super::{error::JobError, shares::Shares, tracker::Tracker};
use crate::leader::{Leader, LiveWorker};

/// A worker says something at least once a second; after this much silence it counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How long a worker may take to let go of a job: above the ten seconds in which its steps come to an end.
const RELEASE_PATIENCE: Duration = Duration::from_secs(12);

/// The workers of one attempt of a job, or of one part of a job.
#[derive(Debug, Clone)]
pub(super) struct Crew {
    /// The name by which workers know the job, or the part of it.
    pub(super) job_id: String,
    pub(super) attempt: u32,
    pub(super) workers: Vec<LiveWorker>,
}

impl Crew {
    pub(super) fn peers(&self) -> Vec<WorkerPeer> {
        let peer =
            |worker: &LiveWorker| WorkerPeer { node: worker.name.clone(), address: worker.address.clone() };
        self.workers.iter().map(peer).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.workers.iter().map(|worker| worker.name.clone()).collect()
    }

    /// Does a step on every worker and waits for all; answers in the workers' order.
    ///
    /// # Errors
    /// With the first worker that fails, or that answers something else than it was asked.
    pub(super) async fn on_all<S: StepKind>(
        &self,
        leader: &Leader,
        step: S,
        tracker: &mut Tracker,
    ) -> Result<Vec<S::Done>, JobError> {
        tracker.step();
        let shares = &Shares::new(self.workers.len());
        let running = self.workers.iter().enumerate().map(|(at, worker)| {
            let on_progress = move |done, total| shares.set(at, done, total);
            self.on_one(leader, worker, step.clone(), on_progress)
        });
        let running = try_join_all(running);
        tokio::pin!(running);
        let answers = loop {
            tokio::select! {
                // Answers before progress: a step that is done needs no bar.
                biased;
                answers = &mut running => break answers?,
                () = shares.changed() => tracker.done(shares.fraction()),
            }
        };
        tracker.done(1.0);
        Ok(answers)
    }

    /// Does a step on the first worker alone.
    pub(super) async fn on_first<S: StepKind>(&self, leader: &Leader, step: S) -> Result<S::Done, JobError> {
        let first = self.workers.first();
        let worker = first.ok_or_else(|| JobError::Transient("there is no worker".to_owned()))?;
        self.on_one(leader, worker, step, |_, _| {}).await
    }

    /// Does a step on one worker. `on_progress` is told how much is done, of how much.
    pub(super) async fn on_one<S: StepKind>(
        &self,
        leader: &Leader,
        worker: &LiveWorker,
        step: S,
        on_progress: impl Fn(u64, u64),
    ) -> Result<S::Done, JobError> {
        let request = StepRequest {
            cluster_id: leader.config.cluster_id.clone(),
            job_id: self.job_id.clone(),
            attempt: self.attempt,
            step: Some(step.into_step()),
        };
        let lost = |reason: &str| JobError::Transient(format!("worker '{}' {reason}", worker.name));
        let wrong = |wrong: WrongAnswer| JobError::WrongAnswer { worker: worker.name.clone(), wrong };
        let mut client = client(leader, worker)?;
        let started = client.run_step(request).await;
        let mut events = started.map_err(|status| refusal(worker, &status))?.into_inner();
        loop {
            let event = tokio::time::timeout(SILENCE_MAX, events.message()).await;
            let event =
                event.map_err(|_| lost("has gone silent"))?.map_err(|status| refusal(worker, &status))?;
            match event.and_then(|event| event.event) {
                Some(Event::Progress(progress)) => {
                    leader
                        .progress
                        .note_wait(&worker.name, Some(progress.waits_for).filter(|wait| !wait.is_empty()));
                    on_progress(progress.done, progress.total);
                }
                Some(answer) => return S::from_event(answer).map_err(wrong),
                None => return Err(lost("ended a step without a result")),
            }
        }
    }
}

pub(super) fn client(leader: &Leader, worker: &LiveWorker) -> Result<WorkerJobsClient<Channel>, JobError> {
    let channel = leader
        .channels
        .get(&worker.address, PeerRole::Worker)
        .map_err(|error| JobError::Fatal(with_causes(&error)))?;
    Ok(WorkerJobsClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// What a worker's status means for the attempt.
pub(super) fn refusal(worker: &LiveWorker, status: &Status) -> JobError {
    let reason = format!("worker '{}': {}", worker.name, status.message());
    // FAILED_PRECONDITION: it has restarted and knows nothing of the attempt.
    let passes = matches!(status.code(), Code::DeadlineExceeded | Code::FailedPrecondition);
    if passes || is_lost_on_the_way(status) { JobError::Transient(reason) } else { JobError::Fatal(reason) }
}

/// A worker's answer to a step lacks something.
pub(super) fn incomplete(worker: &LiveWorker, what: &str) -> JobError {
    JobError::Transient(format!("worker '{}' has answered a step without {what}", worker.name))
}

/// Tells every worker that can be reached to let go of a job.
pub(super) async fn release(leader: &Leader, job_id: &str) {
    let state = leader.raft.view().borrow().clone();
    let workers = leader.members.live_workers(&state, leader.config.lease);
    let releases = workers.iter().map(|worker| async move {
        let request =
            ReleaseJobRequest { cluster_id: leader.config.cluster_id.clone(), job_id: job_id.to_owned() };
        if let Ok(mut client) = client(leader, worker) {
            // One that does not hear of it drops the job when it next starts one.
            let _ = tokio::time::timeout(RELEASE_PATIENCE, client.release_job(request)).await;
        }
    });
    join_all(releases).await;
}
