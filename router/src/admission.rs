//! Saying no in time: so many queries at once, a few more that wait, and the rest is refused at once
//! with a hint when to come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Too much is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the router is overloaded; try again in a moment")]
pub struct Overloaded {
    /// When to come back.
    pub retry_after: Duration,
}

/// Lets queries in. Clones share the limits.
#[derive(Debug, Clone)]
pub struct Admission {
    running: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

impl Admission {
    /// `concurrency` queries run and as many may wait: the wait is then at most about as long as a query.
    #[must_use]
    pub fn new(concurrency: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(concurrency)),
            waiting: Arc::default(),
            waiting_max: concurrency,
        }
    }

    /// Waits for a place for at most `patience`.
    ///
    /// # Errors
    /// [`Overloaded`] when too many wait already, or none was free in time.
    pub async fn admit(&self, patience: Duration) -> Result<OwnedSemaphorePermit, Overloaded> {
        let overloaded = Overloaded { retry_after: Duration::from_secs(1) };
        if let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = Waiting::begin(&self.waiting);
        if waiting.before >= self.waiting_max {
            return Err(overloaded);
        }
        match tokio::time::timeout(patience, Arc::clone(&self.running).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(overloaded),
        }
    }
}

/// Counts one that waits, also when it gives up.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        Self { before: count.fetch_add(1, Ordering::Relaxed), count }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_runs_one_waits_and_the_third_is_refused_at_once() {
        let admission = Admission::new(1);
        let running = admission.admit(Duration::ZERO).await.unwrap();
        let waiting = tokio::spawn({
            let admission = admission.clone();
            async move { admission.admit(Duration::from_secs(1)).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(admission.admit(Duration::from_secs(60)).await.is_err());
        drop(running);
        assert!(waiting.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_gave_up_wait_no_more() {
        let admission = Admission::new(2);
        let _running = (admission.admit(Duration::ZERO).await, admission.admit(Duration::ZERO).await);
        let patience = Duration::from_secs(1);
        for _ in 0..3 {
            let begun = tokio::time::Instant::now();
            let waited = || async {
                assert!(admission.admit(patience).await.is_err());
                begun.elapsed()
            };
            let both = tokio::join!(waited(), waited());
            assert_eq!(both, (patience, patience), "neither was refused at once");
        }
    }
}
