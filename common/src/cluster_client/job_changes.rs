//! What becomes of one job, whichever coordinator leads meanwhile.

use std::time::Duration;

use shoal_proto::v1::{JobInfo, JobRequest, JobState};
use tonic::{Code, Status, Streaming};

use super::{ClientError, ClusterClient};
use crate::rpc::{LEADER_KEY, is_lost_on_the_way};

/// Whether nothing more will come of a job.
#[must_use]
pub fn is_over(job: &JobInfo) -> bool {
    matches!(job.state(), JobState::Succeeded | JobState::Failed | JobState::Cancelled)
}

/// The changes of one job. A leader that goes away is no end: the next one is asked.
#[derive(Debug)]
pub struct JobChanges {
    client: ClusterClient,
    job_id: String,
    stream: Option<Streaming<JobInfo>>,
    over: bool,
}

impl JobChanges {
    pub(super) fn new(client: ClusterClient, job_id: &str) -> Self {
        Self { client, job_id: job_id.to_owned(), stream: None, over: false }
    }

    /// The next state of the job; `None` after the one in which it is over. May be dropped while it
    /// waits, and called again.
    ///
    /// # Errors
    /// When the job is not known, or no leader is found in time.
    pub async fn next(&mut self) -> Result<Option<JobInfo>, ClientError> {
        while !self.over {
            if self.stream.is_none() {
                let job_id = &self.job_id;
                let opened = self.client.ask(|mut client| async move {
                    client.watch_job(JobRequest { job_id: job_id.clone() }).await
                });
                self.stream = Some(opened.await?);
            }
            let Some(stream) = &mut self.stream else { continue };
            match stream.message().await {
                Ok(Some(job)) => {
                    self.over = is_over(&job);
                    return Ok(Some(job));
                }
                // The leader resigned or went away before the job was over.
                Ok(None) => self.stream = None,
                Err(status) if is_transient(&status) => self.stream = None,
                Err(status) => return Err(self.client.error(status)),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(None)
    }
}

fn is_transient(status: &Status) -> bool {
    status.metadata().contains_key(LEADER_KEY)
        || is_lost_on_the_way(status)
        // A stream that ends in the middle of a message.
        || status.code() == Code::Internal
}
