//! Calling workers: one step on one worker, or the same step on all of them.

use std::time::Duration;

use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use shoal_common::rpc::MESSAGE_BYTES_MAX;
use shoal_proto::v1::{
    ReleaseJobRequest, StepRequest, WorkerPeer, step_event::Event, step_request::Step,
    worker_jobs_client::WorkerJobsClient,
};
use tokio::sync::mpsc;
use tonic::{Code, Status, transport::Channel};

use super::{JobError, tracker::Tracker};
use crate::leader::{Leader, LiveWorker};

/// A worker says something at least once a second; after this much silence it counts as lost.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How long a worker may take to let go of a job: above the ten seconds in which its steps come to an end.
const RELEASE_PATIENCE: Duration = Duration::from_secs(12);

/// One attempt of a job, as steps name it.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) job_id: String,
    pub(super) attempt: u32,
    pub(super) workers: Vec<LiveWorker>,
}

impl Attempt {
    pub(super) fn peers(&self) -> Vec<WorkerPeer> {
        let peer =
            |worker: &LiveWorker| WorkerPeer { node: worker.name.clone(), address: worker.address.clone() };
        self.workers.iter().map(peer).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.workers.iter().map(|worker| worker.name.clone()).collect()
    }

    /// Does a step on every worker and waits for all; results in the workers' order.
    pub(super) async fn on_all(
        &self,
        leader: &Leader,
        step: Step,
        tracker: &mut Tracker,
    ) -> Result<Vec<Event>, JobError> {
        tracker.step();
        let (reports, mut progress) = mpsc::unbounded_channel();
        let mut running: FuturesUnordered<_> = self
            .workers
            .iter()
            .enumerate()
            .map(|(at, worker)| {
                let (step, reports) = (step.clone(), reports.clone());
                async move {
                    let on_progress = |done, total| {
                        // The receiver lives as long as the steps.
                        let _ = reports.send((at, done, total));
                    };
                    (at, self.on_one(leader, worker, step, on_progress).await)
                }
            })
            .collect();
        let mut results: Vec<Option<Event>> = vec![None; self.workers.len()];
        let mut shares = vec![(0_u64, 0_u64); self.workers.len()];
        loop {
            tokio::select! {
                // Results before progress: what is done needs no bar.
                biased;
                next = running.next() => match next {
                    Some((at, result)) => results[at] = Some(result?),
                    None => break,
                },
                Some((at, done, total)) = progress.recv() => {
                    shares[at] = (done, total);
                    let (done, total) = shares.iter().fold((0, 0), |sum, share| (sum.0 + share.0, sum.1 + share.1));
                    tracker.done(done as f64 / (total as f64).max(1.0));
                }
            }
        }
        tracker.done(1.0);
        Ok(results.into_iter().flatten().collect())
    }

    /// Does a step on one worker.
    pub(super) async fn on_one(
        &self,
        leader: &Leader,
        worker: &LiveWorker,
        step: Step,
        on_progress: impl Fn(u64, u64),
    ) -> Result<Event, JobError> {
        let request = StepRequest {
            cluster_id: leader.config.cluster_id.clone(),
            job_id: self.job_id.clone(),
            attempt: self.attempt,
            step: Some(step),
        };
        let lost = |reason: &str| JobError::Transient(format!("worker '{}' {reason}", worker.name));
        let mut client = client(leader, worker)?;
        let started = client.run_step(request).await;
        let mut events = started.map_err(|status| refusal(worker, &status))?.into_inner();
        loop {
            let event = tokio::time::timeout(SILENCE_MAX, events.message()).await;
            let event =
                event.map_err(|_| lost("has gone silent"))?.map_err(|status| refusal(worker, &status))?;
            match event.and_then(|event| event.event) {
                Some(Event::Progress(progress)) => on_progress(progress.done, progress.total),
                Some(done) => return Ok(done),
                None => return Err(lost("ended a step without a result")),
            }
        }
    }
}

pub(super) fn client(leader: &Leader, worker: &LiveWorker) -> Result<WorkerJobsClient<Channel>, JobError> {
    let channel =
        leader.channels.get(&worker.address).map_err(|error| JobError::Fatal(super::with_causes(&error)))?;
    Ok(WorkerJobsClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// What a worker's status means for the attempt.
pub(super) fn refusal(worker: &LiveWorker, status: &Status) -> JobError {
    let reason = format!("worker '{}': {}", worker.name, status.message());
    match status.code() {
        // FAILED_PRECONDITION: it has restarted and knows nothing of the attempt.
        Code::Unavailable
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::FailedPrecondition => JobError::Transient(reason),
        _ => JobError::Fatal(reason),
    }
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
