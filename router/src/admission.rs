//! Saying no in time: so many queries at once, a few more that wait, and the rest is refused at once
//! with a hint when to come back.
//!
//! A query counts by what it costs. A thousand lists of a hundred items take as long as a thousand queries, and their
//! answer as much memory. So what costs more than a few lists shares a lane with its like, whose width is a cost: large
//! queries wait for each other there, and the places of small ones stay free.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Too much is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the router is overloaded; try again in a moment")]
pub struct Overloaded {
    /// When to come back.
    pub retry_after: Duration,
}

/// From this cost on a query is a large one.
const LARGE_FROM: u32 = 8;
/// What large queries under way may cost in all, for each place of small ones.
const LARGE_EACH: usize = 2;
/// Large queries that may wait.
const LARGE_WAITING_MAX: usize = 64;

/// What a query costs, in lists of a few items of a model of one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost(u32);

impl Cost {
    /// A query for one short list.
    pub const ONE: Self = Self(1);

    /// So many lists of `n` items each: a list costs a half, and a half for each hundred items.
    #[must_use]
    pub fn of_lists(lists: usize, n: usize) -> Self {
        let cost = lists.saturating_mul(100 + n) / 200;
        Self(u32::try_from(cost).unwrap_or(u32::MAX).max(1))
    }

    /// The cost in lists of a few items.
    #[must_use]
    pub fn in_lists(self) -> f64 {
        f64::from(self.0)
    }

    /// As much for each of several models that are asked.
    #[must_use]
    pub fn times(self, models: u32) -> Self {
        Self(self.0.saturating_mul(models.max(1)))
    }
}

/// A query's place. Dropping it frees the place.
#[derive(Debug)]
pub struct Admitted {
    _running: OwnedSemaphorePermit,
    large: Option<OwnedSemaphorePermit>,
}

impl Admitted {
    /// Whether the query is a large one.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.large.is_some()
    }
}

/// Lets queries in. Clones share the limits.
#[derive(Debug, Clone)]
pub struct Admission {
    running: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
    large: Arc<Semaphore>,
    large_max: u32,
    large_waiting: Arc<AtomicUsize>,
}

impl Admission {
    /// `concurrency` queries run and as many may wait: the wait is then at most about as long as a query.
    #[must_use]
    pub fn new(concurrency: usize) -> Self {
        let large_max = u32::try_from(LARGE_EACH * concurrency).unwrap_or(u32::MAX).max(LARGE_FROM);
        Self {
            running: Arc::new(Semaphore::new(concurrency)),
            waiting: Arc::default(),
            waiting_max: concurrency,
            large: Arc::new(Semaphore::new(large_max as usize)),
            large_max,
            large_waiting: Arc::default(),
        }
    }

    /// Waits for a place for at most `patience`. What costs more than all large queries may has the lane for itself.
    ///
    /// # Errors
    /// [`Overloaded`] when too many wait already, or none was free in time.
    pub async fn admit(&self, cost: Cost, patience: Duration) -> Result<Admitted, Overloaded> {
        let until = Instant::now() + patience;
        let large = match cost.0 {
            LARGE_FROM.. => {
                let cost = cost.0.min(self.large_max);
                Some(place(&self.large, cost, &self.large_waiting, LARGE_WAITING_MAX, until).await?)
            }
            _ => None,
        };
        let running = place(&self.running, 1, &self.waiting, self.waiting_max, until).await?;
        Ok(Admitted { _running: running, large })
    }
}

async fn place(
    places: &Arc<Semaphore>,
    wanted: u32,
    waiting: &AtomicUsize,
    waiting_max: usize,
    until: Instant,
) -> Result<OwnedSemaphorePermit, Overloaded> {
    let overloaded = Overloaded { retry_after: Duration::from_secs(1) };
    if let Ok(permit) = Arc::clone(places).try_acquire_many_owned(wanted) {
        return Ok(permit);
    }
    let waiting = Waiting::begin(waiting);
    if waiting.before >= waiting_max {
        return Err(overloaded);
    }
    match tokio::time::timeout_at(until, Arc::clone(places).acquire_many_owned(wanted)).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) | Err(_) => Err(overloaded),
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
        let running = admission.admit(Cost::ONE, Duration::ZERO).await.unwrap();
        let waiting = tokio::spawn({
            let admission = admission.clone();
            async move { admission.admit(Cost::ONE, Duration::from_secs(1)).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(admission.admit(Cost::ONE, Duration::from_secs(60)).await.is_err());
        drop(running);
        assert!(waiting.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_gave_up_wait_no_more() {
        let admission = Admission::new(2);
        let _running = (
            admission.admit(Cost::ONE, Duration::ZERO).await,
            admission.admit(Cost::ONE, Duration::ZERO).await,
        );
        let patience = Duration::from_secs(1);
        for _ in 0..3 {
            let begun = tokio::time::Instant::now();
            let waited = || async {
                assert!(admission.admit(Cost::ONE, patience).await.is_err());
                begun.elapsed()
            };
            let both = tokio::join!(waited(), waited());
            assert_eq!(both, (patience, patience), "neither was refused at once");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn large_queries_wait_for_each_other_and_small_ones_for_neither() {
        let admission = Admission::new(16);
        let batch = Cost::of_lists(1_000, 100);
        assert_eq!(
            (batch, Cost::of_lists(1, 10), Cost::of_lists(10, 10).times(4)),
            (Cost(1_000), Cost::ONE, Cost(20))
        );
        let first = admission.admit(batch, Duration::ZERO).await.unwrap();
        assert!(first.is_large());
        let waiting = tokio::spawn({
            let admission = admission.clone();
            async move { admission.admit(batch, Duration::from_secs(9)).await.map(drop) }
        });
        tokio::task::yield_now().await;
        // The one that waits has no place of the small ones.
        let mut small = Vec::new();
        for _ in 0..15 {
            small.push(admission.admit(Cost::ONE, Duration::ZERO).await.unwrap());
        }
        drop(first);
        waiting.await.unwrap().unwrap();
        // Two that fit into the lane side by side, and one more.
        let medium = Cost::of_lists(20, 60);
        let both =
            (admission.admit(medium, Duration::ZERO).await, admission.admit(medium, Duration::ZERO).await);
        assert!(both.0.is_ok() && both.1.is_err(), "the places of small ones are one short");
        small.pop();
        let _second = admission.admit(medium, Duration::ZERO).await.unwrap();
        assert!(admission.admit(medium, Duration::from_secs(1)).await.is_err());
    }
}
