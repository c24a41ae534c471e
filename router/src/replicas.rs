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

/// One worker.
#[derive(Debug)]
pub struct Replica {
    /// Its name.
    pub name: String,
    /// host:port.
    pub address: String,
    in_flight: AtomicU32,
    /// Running mean of its answers' latency.
    mean_us: AtomicU64,
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
            backoff: Mutex::default(),
        }
    }

    /// A call begins; the guard ends it.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// What a choice between two replicas goes by: less is better.
    #[must_use]
    pub fn cost(&self) -> u64 {
        let waiting = u64::from(self.in_flight.load(Ordering::Relaxed)) + 1;
        // An unknown worker counts as fast, so that it is tried.
        waiting * self.mean_us.load(Ordering::Relaxed).max(1)
    }

    /// Whether it is not being left alone.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.lock().until.is_none_or(|until| Instant::now() >= until)
    }

    /// It has answered.
    pub fn answered(&self, latency: Duration) {
        let sample = latency.as_micros() as f64;
        let known = self.mean_us.load(Ordering::Relaxed) as f64;
        let mean = if known == 0.0 { sample } else { known + MEAN_WEIGHT * (sample - known) };
        // Lost updates between threads only make the mean a little less fresh.
        self.mean_us.store(mean as u64, Ordering::Relaxed);
        *self.lock() = Backoff::default();
    }

    /// It cannot be reached.
    pub fn unreachable(&self) {
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

/// A call under way.
#[derive(Debug)]
pub struct InFlight(Arc<Replica>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Name and address.
type ReplicaKey = (String, String);

/// All workers ever heard of. Clones share them.
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

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_worker_is_left_alone_and_tried_again() {
        let replicas = Replicas::default();
        let candidates = vec![replicas.get("a", "h:1"), replicas.get("b", "h:2")];
        candidates[0].unreachable();
        assert!((0..50).all(|draw| choose(&candidates, draw * 0x9e37_79b9_7f4a_7c15) == Some(1)));
        candidates[1].unreachable();
        assert!(choose(&candidates, 7).is_some(), "with nobody usable somebody is still asked");
        tokio::time::sleep(BACKOFF_MIN).await;
        assert!(candidates[0].is_usable());
        candidates[0].unreachable();
        tokio::time::sleep(BACKOFF_MIN).await;
        assert!(!candidates[0].is_usable(), "the pause doubles");
        candidates[0].answered(Duration::from_millis(1));
        assert!(candidates[0].is_usable());
    }

    #[test]
    fn the_one_with_less_to_do_is_chosen() {
        let replicas = Replicas::default();
        let candidates = vec![replicas.get("a", "h:1"), replicas.get("b", "h:2")];
        candidates.iter().for_each(|replica| replica.answered(Duration::from_millis(1)));
        let _busy = [candidates[0].begin(), candidates[0].begin()];
        assert!((0..50).all(|draw| choose(&candidates, draw * 0x9e37_79b9_7f4a_7c15) == Some(1)));
    }
}
