//! Who gets in: a bounded number of queries waits or runs, the rest is told when to come again,
//! and nothing is started that its caller will not wait for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use shoal_common::rpc::queue_full;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tonic::Status;

/// The shortest pause that a refused caller is asked to make.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(1);

/// The gate of a worker's query service.
#[derive(Debug)]
pub(super) struct Admission {
    permits: Arc<Semaphore>,
    queue: usize,
    threads: usize,
    /// What a query of late took on the pool, in microseconds.
    typical_us: AtomicU64,
}

impl Admission {
    /// Lets `queue` queries wait or run at once on `threads` threads.
    pub(super) fn new(queue: usize, threads: usize) -> Self {
        let permits = Arc::new(Semaphore::new(queue));
        Self { permits, queue, threads: threads.max(1), typical_us: AtomicU64::new(0) }
    }

    /// A place in the queue, kept until the permit is dropped.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED with the time after which the queue has likely drained.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.permits).try_acquire_owned().map_err(|_| {
            let drained = self.typical() * u32::try_from(self.queue / self.threads).unwrap_or(u32::MAX);
            queue_full(
                format!(
                    "this worker's queue of {} queries is full; try again, or another replica",
                    self.queue
                ),
                drained.clamp(RETRY_AFTER_MIN, Duration::from_secs(1)),
            )
        })
    }

    /// Whether a query that starts now is likely to end before `deadline`.
    ///
    /// Each refusal makes the estimate a little more hopeful: after a slow spell it is tried again
    /// soon, instead of never.
    pub(super) fn can_finish(&self, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else { return true };
        let now = Instant::now();
        if now >= deadline {
            return false;
        }
        let enough = now + self.typical() <= deadline;
        if !enough {
            let typical_us = self.typical_us.load(Ordering::Relaxed);
            self.typical_us.store(typical_us - typical_us / 4, Ordering::Relaxed);
        }
        enough
    }

    /// Notes what a query took on the pool. An exponential mean over about eight queries; two that
    /// end at once may lose one sample, which does not matter.
    pub(super) fn observe(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min(60_000_000);
        let typical_us = self.typical_us.load(Ordering::Relaxed);
        let next_us = if typical_us == 0 { took_us } else { (typical_us * 7 + took_us) / 8 };
        self.typical_us.store(next_us, Ordering::Relaxed);
    }

    fn typical(&self) -> Duration {
        Duration::from_micros(self.typical_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use shoal_common::rpc::retry_after;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_says_when_to_come_again() {
        let admission = Admission::new(4, 2);
        admission.observe(Duration::from_millis(10));
        let permits: Vec<_> = (0..4).map(|_| admission.enter().unwrap()).collect();
        let refused = admission.enter().unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert_eq!(retry_after(&refused), Some(Duration::from_millis(20)));
        drop(permits);
        assert!(admission.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_finish_is_refused_but_not_for_ever() {
        let admission = Admission::new(1, 1);
        assert!(admission.can_finish(None));
        assert!(!admission.can_finish(Some(Instant::now())));
        admission.observe(Duration::from_millis(100));
        let soon = Some(Instant::now() + Duration::from_millis(50));
        let refused = (0..10).take_while(|_| !admission.can_finish(soon)).count();
        assert!((1..10).contains(&refused), "refused {refused} times");
    }
}
