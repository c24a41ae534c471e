//! CPU work from async code: a pool of its own, so that no async task computes for long and no
//! request waits behind a training sweep that shares its threads.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tokio::sync::oneshot;

/// A pool of threads for maths. Cheap to clone; clones share the threads.
#[derive(Debug, Clone)]
pub struct Compute {
    pool: Arc<rayon::ThreadPool>,
    name: &'static str,
}

/// Why CPU work gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// The pool's threads could not be started.
    #[error("cannot start {threads} compute threads")]
    Start {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        source: rayon::ThreadPoolBuildError,
    },
    /// The work panicked; the message is in the log.
    #[error(
        "a computation failed unexpectedly in pool '{0}': this is a defect, please report it with the log"
    )]
    Panicked(&'static str),
}

impl Compute {
    /// A pool of `threads` threads (at least one), named in thread lists and metrics.
    ///
    /// # Errors
    /// When the system refuses the threads.
    pub fn new(name: &'static str, threads: usize) -> Result<Self, ComputeError> {
        let threads = threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(move |index| format!("{name}-{index}"))
            .build()
            .map_err(|source| ComputeError::Start { threads, source })?;
        Ok(Self { pool: Arc::new(pool), name })
    }

    /// How many threads compute.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `work` on the pool; rayon's parallel iterators inside it use this pool's threads.
    /// Work whose caller has gone away before it starts is skipped.
    ///
    /// # Errors
    /// [`ComputeError::Panicked`] when `work` panics.
    pub async fn run<T, F>(&self, work: F) -> Result<T, ComputeError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let span = tracing::Span::current();
        let name = self.name;
        let pending = metrics::gauge!("shoal_worker_pending_tasks", "pool" => name);
        pending.increment(1.0);
        self.pool.spawn(move || {
            let _in_span = span.enter();
            if !reply.is_closed() {
                let outcome = catch_unwind(AssertUnwindSafe(work));
                // The caller may have gone while the work ran: nobody is left to tell.
                let _ = reply.send(outcome);
            }
            pending.decrement(1.0);
        });
        match result.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) | Err(_) => Err(ComputeError::Panicked(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_and_the_pool_lives_on() {
        let pool = Compute::new("test", 2).unwrap();
        let failed = pool.run(|| -> u32 { panic!("on purpose") }).await;
        assert!(matches!(failed, Err(ComputeError::Panicked("test"))));
        assert_eq!(pool.run(|| 6 * 7).await.unwrap(), 42);
    }
}
