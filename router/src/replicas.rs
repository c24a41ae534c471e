//! How each worker behaves as seen from here: calls under way, latency, and whether it is being left
//! alone for a while. Shared by all queries and kept from one snapshot to the next.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// A worker that cannot be reached is left alone this long, doubling up to the maximum.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Share of a new sample in the running mean.
const MEAN_WEIGHT: f64 = 0.1;
/// A mean that no sample renews halves in this time: a worker that was slow once is tried again.
const MEAN_HALF_LIFE: Duration = Duration::from_secs(1);

/// A worker as this router sees it.
#[derive(Debug)]
pub struct Replica {
    /// Name of the worker.
    pub name: String,
    /// Where the worker listens, as host:port.
    pub address: String,
    in_flight: AtomicU32,
    /// Running mean of its answers' latency, at the time of the last sample.
    mean_us: AtomicU64,
    /// That time, from `since`.
    sampled_at_us: AtomicU64,
    since: Instant,
    /// When it last answered, be it with a refusal.
    answered_at: Mutex<Option<Instant>>,
    backoff: Mutex<Backoff>,
}

#[derive(Debug, Default)]
struct Backoff {
    until: Option<Instant>,
    pause: Duration,
}

impl Replica {
    fn new(name: &str, address: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
            in_flight: AtomicU32::new(0),
            mean_us: AtomicU64::new(0),
            sampled_at_us: AtomicU64::new(0),
            since: Instant::now(),
            answered_at: Mutex::default(),
            backoff: Mutex::default(),
        }
    }

    /// When it last answered; `None` before the first time.
    #[must_use]
    pub fn answered_at(&self) -> Option<Instant> {
        *self.answered_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_answered(&self) {
        *self.answered_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// A call begins; the guard ends it.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Call {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Call { replica: Arc::clone(self), started: Instant::now(), ended: false }
    }

    /// What a choice between two replicas goes by: less is better.
    #[must_use]
    pub fn cost(&self) -> u64 {
        let waiting = u64::from(self.in_flight.load(Ordering::Relaxed)) + 1;
        // An unknown worker counts as fast, so that it is tried.
        waiting * self.mean_us().max(1)
    }

    /// Whether it is not being left alone.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.lock().until.is_none_or(|until| Instant::now() >= until)
    }

    /// The mean as it has aged since the last sample.
    fn mean_us(&self) -> u64 {
        let age_us = self.now_us().saturating_sub(self.sampled_at_us.load(Ordering::Relaxed));
        let halvings = age_us / MEAN_HALF_LIFE.as_micros() as u64;
        self.mean_us.load(Ordering::Relaxed) >> halvings.min(63)
    }

    fn sample(&self, latency: Duration) {
        let sample = latency.as_micros() as f64;
        let known = self.mean_us() as f64;
        let mean = if known == 0.0 { sample } else { known + MEAN_WEIGHT * (sample - known) };
        // Lost updates between threads only make the mean a little less fresh.
        self.mean_us.store(mean as u64, Ordering::Relaxed);
        self.sampled_at_us.store(self.now_us(), Ordering::Relaxed);
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn unreachable(&self) {
        let mut backoff = self.lock();
        if backoff.until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        backoff.pause = (backoff.pause * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        backoff.until = Some(Instant::now() + backoff.pause);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way. Dropped without an end it was given up, which says that its worker is at least
/// as slow as the time until then.
#[derive(Debug)]
pub struct Call {
    replica: Arc<Replica>,
    started: Instant,
    ended: bool,
}

impl Call {
    /// The worker has answered; returns after how long.
    pub fn answered(mut self) -> Duration {
        self.ended = true;
        let latency = self.started.elapsed();
        self.replica.sample(latency);
        self.replica.has_answered();
        *self.replica.lock() = Backoff::default();
        latency
    }

    /// The worker has said no. That it did so quickly must not draw more calls to it.
    pub fn refused(mut self) {
        self.ended = true;
    }

    /// The worker cannot be reached.
    pub fn unreachable(mut self) {
        self.ended = true;
        self.replica.unreachable();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.replica.in_flight.fetch_sub(1, Ordering::Relaxed);
        let at_least = self.started.elapsed();
        if !self.ended && at_least.as_micros() > u128::from(self.replica.mean_us()) {
            self.replica.sample(at_least);
        }
    }
}

/// A worker's name and address: one that moves is another replica.
type ReplicaKey = (String, String);

/// The workers that the metadata names. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Replicas(Arc<Mutex<HashMap<ReplicaKey, Arc<Replica>>>>);

impl Replicas {
    /// The worker of this name at this address; one that moved starts anew.
    #[must_use]
    pub fn get(&self, name: &str, address: &str) -> Arc<Replica> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), address.to_owned());
        Arc::clone(known.entry(key).or_insert_with(|| Arc::new(Replica::new(name, address))))
    }

    /// Forgets all but those that `wanted` (name and address) names.
    pub fn retain(&self, wanted: impl Fn(&str, &str) -> bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(name, address), _| wanted(name, address));
    }
}

/// Picks one of the candidates: of two taken by `draw` the one with less to do, leaving out those that
/// are being left alone unless all are. Ties go to the one that `draw` took first, which is the same for the same draw.
#[must_use]
pub fn choose(candidates: &[Arc<Replica>], draw: u64) -> Option<usize> {
    let usable: Vec<usize> = (0..candidates.len()).filter(|&at| candidates[at].is_usable()).collect();
    let pool: Vec<usize> = if usable.is_empty() { (0..candidates.len()).collect() } else { usable };
    let count = pool.len() as u64;
    match count {
        0 => None,
        1 => Some(pool[0]),
        _ => {
            let first = draw % count;
            let second = (first + 1 + (draw >> 32) % (count - 1)) % count;
            let (first, second) = (pool[first as usize], pool[second as usize]);
            Some(if candidates[second].cost() < candidates[first].cost() { second } else { first })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: std::ops::Range<u64> = 0..50;

    fn chosen(candidates: &[Arc<Replica>]) -> Vec<Option<usize>> {
        let mut chosen: Vec<_> =
            DRAWS.map(|draw| choose(candidates, draw.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    async fn answer_after(replica: &Arc<Replica>, latency: Duration) {
        let call = replica.begin();
        tokio::time::sleep(latency).await;
        assert_eq!(call.answered(), latency);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_worker_is_left_alone_and_tried_again() {
        let replicas = Replicas::default();
        let candidates = [replicas.get("a", "h:1"), replicas.get("b", "h:2")];
        candidates[0].begin().unreachable();
        assert_eq!(chosen(&candidates), [Some(1)]);
        candidates[1].begin().unreachable();
        assert!(choose(&candidates, 7).is_some(), "with nobody usable somebody is still asked");
        tokio::time::sleep(BACKOFF_MIN).await;
        assert!(candidates[0].is_usable());
        candidates[0].begin().unreachable();
        tokio::time::sleep(BACKOFF_MIN).await;
        assert!(!candidates[0].is_usable(), "the pause doubles");
        answer_after(&candidates[0], Duration::from_millis(1)).await;
        assert!(candidates[0].is_usable());
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_with_less_to_do_is_chosen() {
        let replicas = Replicas::default();
        let candidates = [replicas.get("a", "h:1"), replicas.get("b", "h:2")];
        for replica in &candidates {
            answer_after(replica, Duration::from_millis(1)).await;
        }
        assert_eq!(chosen(&candidates), [Some(0), Some(1)]);
        let _busy = [candidates[0].begin(), candidates[0].begin()];
        assert_eq!(chosen(&candidates), [Some(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_whose_calls_are_given_up_counts_as_slow_for_a_while() {
        let replicas = Replicas::default();
        let candidates = [replicas.get("a", "h:1"), replicas.get("b", "h:2")];
        for replica in &candidates {
            answer_after(replica, Duration::from_millis(1)).await;
        }
        let given_up = candidates[0].begin();
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(given_up);
        assert_eq!(chosen(&candidates), [Some(1)]);
        // A caller that went away at once says nothing about the worker.
        drop(candidates[1].begin());
        assert_eq!(chosen(&candidates), [Some(1)]);
        tokio::time::sleep(MEAN_HALF_LIFE * 16).await;
        assert_eq!(chosen(&candidates), [Some(0), Some(1)], "it is tried again");
    }

    #[test]
    fn workers_that_are_gone_are_forgotten() {
        let replicas = Replicas::default();
        let (kept, _) = (replicas.get("a", "h:1"), replicas.get("a", "h:2"));
        replicas.retain(|name, address| (name, address) == ("a", "h:1"));
        assert!(Arc::ptr_eq(&kept, &replicas.get("a", "h:1")));
        assert_eq!(replicas.0.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_fail_together_make_one_pause() {
        let replica = Replicas::default().get("a", "h:1");
        let together: Vec<Call> = (0..5).map(|_| replica.begin()).collect();
        together.into_iter().for_each(Call::unreachable);
        assert!(!replica.is_usable());
        tokio::time::sleep(BACKOFF_MIN).await;
        assert!(replica.is_usable());
    }
}
