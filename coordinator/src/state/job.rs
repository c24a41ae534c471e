//! A job as the members remember it.

use shoal_common::model_parameters::update_request;
use shoal_proto::v1::{JobFinished, JobInfo, JobRecord, JobState};

/// A job, and what a new leader needs to go on with it. On the wire and on disk it is a [`JobRecord`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Job {
    /// What was asked for, how far it is, and what came of it.
    pub info: JobInfo,
    /// Folder of the last committed checkpoint; empty before the first.
    pub checkpoint_path: String,
    /// Somebody wants it to end.
    pub cancel_requested: bool,
    /// It is a training that is to promote its version, and has not begun to.
    pub promote_pending: bool,
    /// How it ends, from when that is agreed until it is cleaned up: then it is over.
    pub outcome: Option<JobFinished>,
    /// Of a job that is over: bytes of its record.
    pub record_bytes: u64,
    /// The place in the log of the command that began its first attempt; 0 before.
    pub begun_index: u64,
}

/// A record says nothing of the job itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record of a job does not say what the job is")]
pub struct EmptyRecord;

impl Job {
    /// Whether it has ended, one way or another.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.info.state(), JobState::Succeeded | JobState::Failed | JobState::Cancelled)
    }
}

impl TryFrom<JobRecord> for Job {
    type Error = EmptyRecord;

    fn try_from(record: JobRecord) -> Result<Self, EmptyRecord> {
        let JobRecord {
            info,
            checkpoint_path,
            cancel_requested,
            promote_pending,
            outcome,
            record_bytes,
            begun_index,
        } = record;
        let mut info = info.ok_or(EmptyRecord)?;
        info.training.as_mut().map(update_request);
        Ok(Self {
            info,
            checkpoint_path,
            cancel_requested,
            promote_pending,
            outcome,
            record_bytes,
            begun_index,
        })
    }
}

impl From<Job> for JobRecord {
    fn from(job: Job) -> Self {
        let Job {
            info,
            checkpoint_path,
            cancel_requested,
            promote_pending,
            outcome,
            record_bytes,
            begun_index,
        } = job;
        Self {
            info: Some(info),
            checkpoint_path,
            cancel_requested,
            promote_pending,
            outcome,
            record_bytes,
            begun_index,
        }
    }
}
