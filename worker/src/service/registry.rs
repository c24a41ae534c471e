//! The jobs this worker takes part in: of each the newest attempt, and nothing of older ones.
//!
//! An attempt begins with the step that makes its state ([`JobRegistry::begin`]); everything later,
//! from the leader or from peers, names the attempt and finds it here or is refused. A newer
//! attempt cancels what the older one is doing and drops its state; running steps hold an `Arc`
//! and end at their next safe point.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use shoal_common::job_id::JobId;
use tokio_util::sync::CancellationToken;

/// Why a message of a job is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// A newer attempt has begun.
    #[error("attempt {attempt} of job '{job}' is over: attempt {newest} has begun")]
    Superseded {
        /// Id of the job.
        job: JobId,
        /// The attempt that the message names.
        attempt: u32,
        /// The newest known here.
        newest: u32,
    },
    /// The attempt never began here, or this worker has restarted since, or the job was released.
    #[error("this worker holds nothing of attempt {attempt} of job '{job}'; begin a new attempt")]
    Unknown {
        /// Id of the job.
        job: JobId,
        /// The attempt that the message names.
        attempt: u32,
    },
}

#[derive(Debug)]
struct Job<A: ?Sized> {
    attempt: u32,
    cancelled: CancellationToken,
    /// Absent while the first step is making it.
    state: Option<Arc<A>>,
}

/// The newest attempt of each job. Clones share it.
#[derive(Debug)]
pub struct JobRegistry<A: ?Sized> {
    jobs: Arc<Mutex<HashMap<JobId, Job<A>>>>,
}

impl<A: ?Sized> Clone for JobRegistry<A> {
    fn clone(&self) -> Self {
        Self { jobs: Arc::clone(&self.jobs) }
    }
}

impl<A: ?Sized> Default for JobRegistry<A> {
    fn default() -> Self {
        Self { jobs: Arc::default() }
    }
}

impl<A: ?Sized> JobRegistry<A> {
    /// Begins an attempt: cancels and drops an older one, or an earlier beginning of the same. The
    /// token is cancelled when this attempt is superseded or released.
    ///
    /// # Errors
    /// [`JobError::Superseded`] when a newer attempt is known.
    pub fn begin(&self, job: &JobId, attempt: u32) -> Result<CancellationToken, JobError> {
        let mut jobs = self.lock();
        if let Some(known) = jobs.get(job) {
            if known.attempt > attempt {
                return Err(superseded(job, attempt, known.attempt));
            }
            known.cancelled.cancel();
        }
        let cancelled = CancellationToken::new();
        let begun = Job { attempt, cancelled: cancelled.clone(), state: None };
        let older = jobs.insert(job.clone(), begun);
        // Dropping a large state takes time, which nobody should wait for at the lock.
        drop(jobs);
        drop(older);
        Ok(cancelled)
    }

    /// Keeps the state that the attempt's first step has made; `cancelled` is the token that
    /// [`JobRegistry::begin`] gave to that step.
    ///
    /// # Errors
    /// When the attempt has been superseded or released meanwhile.
    pub fn install(
        &self,
        job: &JobId,
        attempt: u32,
        cancelled: &CancellationToken,
        state: Arc<A>,
    ) -> Result<(), JobError> {
        let mut jobs = self.lock();
        let known = find(&mut jobs, job, attempt)?;
        if cancelled.is_cancelled() {
            return Err(JobError::Unknown { job: job.clone(), attempt });
        }
        known.state = Some(state);
        Ok(())
    }

    /// The state of an attempt, with the token that is cancelled when the attempt is over.
    ///
    /// # Errors
    /// When the attempt is not the newest known, or has no state here.
    pub fn get(&self, job: &JobId, attempt: u32) -> Result<(Arc<A>, CancellationToken), JobError> {
        let mut jobs = self.lock();
        let known = find(&mut jobs, job, attempt)?;
        match &known.state {
            Some(state) => Ok((Arc::clone(state), known.cancelled.clone())),
            None => Err(JobError::Unknown { job: job.clone(), attempt }),
        }
    }

    /// Forgets a job; forgetting an unknown one is no error.
    pub fn release(&self, job: &JobId) {
        let known = self.lock().remove(job);
        if let Some(known) = known {
            known.cancelled.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Job<A>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'a, A: ?Sized>(
    jobs: &'a mut HashMap<JobId, Job<A>>,
    job: &JobId,
    attempt: u32,
) -> Result<&'a mut Job<A>, JobError> {
    match jobs.get_mut(job) {
        Some(known) if known.attempt == attempt => Ok(known),
        Some(known) if known.attempt > attempt => Err(superseded(job, attempt, known.attempt)),
        _ => Err(JobError::Unknown { job: job.clone(), attempt }),
    }
}

fn superseded(job: &JobId, attempt: u32, newest: u32) -> JobError {
    JobError::Superseded { job: job.clone(), attempt, newest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> JobId {
        JobId::parse("j").unwrap()
    }

    #[test]
    fn a_newer_attempt_drops_the_older_one_and_an_older_one_is_refused() {
        let registry = JobRegistry::default();
        let first = registry.begin(&job(), 1).unwrap();
        let state = Arc::new("first");
        registry.install(&job(), 1, &first, Arc::clone(&state)).unwrap();
        assert_eq!(*registry.get(&job(), 1).unwrap().0, "first");

        let second = registry.begin(&job(), 2).unwrap();
        assert!(first.is_cancelled());
        assert_eq!(Arc::strong_count(&state), 1);
        assert_eq!(registry.begin(&job(), 1).unwrap_err(), superseded(&job(), 1, 2));
        assert_eq!(registry.get(&job(), 1).unwrap_err(), superseded(&job(), 1, 2));
        // Begun, but its first step has not made the state yet.
        assert!(matches!(registry.get(&job(), 2), Err(JobError::Unknown { .. })));

        registry.install(&job(), 2, &second, Arc::new("second")).unwrap();
        registry.release(&job());
        assert!(second.is_cancelled());
        assert!(matches!(registry.get(&job(), 2), Err(JobError::Unknown { .. })));
        registry.release(&job());
    }

    #[test]
    fn a_first_step_that_was_superseded_cannot_leave_its_state() {
        let registry = JobRegistry::default();
        let stale = registry.begin(&job(), 1).unwrap();
        let again = registry.begin(&job(), 1).unwrap();
        assert!(registry.install(&job(), 1, &stale, Arc::new("stale")).is_err());
        registry.install(&job(), 1, &again, Arc::new("again")).unwrap();
        assert_eq!(*registry.get(&job(), 1).unwrap().0, "again");
        assert!(matches!(registry.get(&job(), 3), Err(JobError::Unknown { .. })));
    }
}
