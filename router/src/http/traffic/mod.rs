//! What this router's HTTP routes were asked over the last hour, kept here: it needs no Prometheus.
//!
//! Requests add to counters that only grow ([`Traffic::record`] takes no lock). A task looks at them every ten seconds and
//! keeps what was added as one slot of a ring, which only it and readers lock. Memory has a bound: [`SLOTS_MAX`] slots, the
//! routes of [`ROUTES`], [`BINS`] bins of latencies.

mod latencies;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use shoal_common::{clock::Clock, shutdown::Shutdown, user_query::AnswerSource};
use tokio::time::{Instant, MissedTickBehavior};

pub(super) use self::latencies::Latencies;
use self::latencies::{BINS, bin_of};

/// How long a slot is.
pub(super) const SLOT: Duration = Duration::from_secs(10);
/// Slots that are kept: an hour.
const SLOTS_MAX: usize = 360;

/// The names of all routes, those that answer queries first.
pub(super) const ROUTES: [&str; 15] = [
    "recommend",
    "recommend_for_items",
    "batch",
    "popular",
    "similar",
    "predict",
    "search",
    "item",
    "ratings",
    "health",
    "metrics",
    "docs",
    "index",
    "admin",
    "other",
];
/// How many of them answer queries.
pub(super) const QUERY_ROUTES: usize = 9;

/// Where answers come from, in the order of their counts.
pub(super) const SOURCES: [AnswerSource; 4] =
    [AnswerSource::Model, AnswerSource::Cache, AnswerSource::FallbackPopular, AnswerSource::Baseline];

/// Classes of statuses: 2xx, 3xx, 4xx, 5xx.
const CLASSES: usize = 4;

/// What the routes were asked. One for all listeners of a router.
#[derive(Debug)]
pub struct Traffic {
    clock: Arc<dyn Clock>,
    since_unix_ms: i64,
    routes: [Counters; ROUTES.len()],
    ring: Mutex<Ring>,
}

/// What one route was asked since the start.
#[derive(Debug)]
struct Counters {
    classes: [AtomicU64; CLASSES],
    sources: [AtomicU64; SOURCES.len()],
    bins: [AtomicU64; BINS],
}

#[derive(Debug)]
struct Ring {
    /// The counters at the end of the last slot.
    before: Vec<Tally>,
    began: Instant,
    slots: VecDeque<Arc<Slot>>,
}

/// What was asked in about ten seconds.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) began_unix_ms: i64,
    pub(super) seconds: f64,
    /// Routes that were asked, by their place in [`ROUTES`].
    pub(super) routes: Vec<(usize, Tally)>,
}

/// Requests by how they ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) classes: [u64; CLASSES],
    pub(super) sources: [u64; SOURCES.len()],
    pub(super) latencies: Latencies,
}

impl Counters {
    fn new() -> Self {
        Self {
            classes: [const { AtomicU64::new(0) }; CLASSES],
            sources: [const { AtomicU64::new(0) }; SOURCES.len()],
            bins: [const { AtomicU64::new(0) }; BINS],
        }
    }

    fn read(&self) -> Tally {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally {
            classes: self.classes.each_ref().map(load),
            sources: self.sources.each_ref().map(load),
            latencies: Latencies::of(self.bins.iter().map(load)),
        }
    }
}

impl Tally {
    pub(super) fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.classes.iter_mut().zip(other.classes).for_each(|(sum, more)| *sum += more);
        self.sources.iter_mut().zip(other.sources).for_each(|(sum, more)| *sum += more);
        self.latencies.add(&other.latencies);
    }

    /// What was added since `before`.
    fn since(&self, before: &Self) -> Self {
        let mut added = self.clone();
        added.classes.iter_mut().zip(before.classes).for_each(|(now, then)| *now = now.saturating_sub(then));
        added.sources.iter_mut().zip(before.sources).for_each(|(now, then)| *now = now.saturating_sub(then));
        added.latencies = self.latencies.since(&before.latencies);
        added
    }
}

impl Traffic {
    /// Counts from now on.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let routes = [(); ROUTES.len()].map(|()| Counters::new());
        let before = routes.iter().map(Counters::read).collect();
        let ring = Mutex::new(Ring { before, began: Instant::now(), slots: VecDeque::new() });
        Self { since_unix_ms: clock.now_unix_ms(), clock, routes, ring }
    }

    /// Since when it counts.
    pub(super) fn since_unix_ms(&self) -> i64 {
        self.since_unix_ms
    }

    /// Counts a request.
    pub(super) fn record(&self, route: &str, source: Option<AnswerSource>, status: u16, elapsed: Duration) {
        let place = ROUTES.iter().position(|name| *name == route);
        // The last one is for all that have no name here.
        let Some(counters) = self.routes.get(place.unwrap_or(ROUTES.len() - 1)) else { return };
        let add = |counter: Option<&AtomicU64>| {
            if let Some(counter) = counter {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        };
        let class = usize::from(status / 100).clamp(2, 5) - 2;
        add(counters.classes.get(class));
        add(source
            .and_then(|source| counters.sources.get(SOURCES.iter().position(|known| *known == source)?)));
        add(counters.bins.get(bin_of(elapsed)));
    }

    /// The slots that are kept, the oldest first.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.ring().slots.iter().cloned().collect()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the slot that goes on.
    pub(super) fn end_slot(&self) {
        let mut ring = self.ring();
        let now: Vec<Tally> = self.routes.iter().map(Counters::read).collect();
        let added = now.iter().zip(&ring.before).map(|(now, before)| now.since(before));
        let asked = added.enumerate().filter(|(_, tally)| tally.requests() > 0).collect();
        let seconds = ring.began.elapsed().as_secs_f64();
        let began_unix_ms = self.clock.now_unix_ms() - (seconds * 1_000.0) as i64;
        (ring.before, ring.began) = (now, Instant::now());
        ring.slots.push_back(Arc::new(Slot { began_unix_ms, seconds, routes: asked }));
        if ring.slots.len() > SLOTS_MAX {
            ring.slots.pop_front();
        }
    }

    /// Keeps a slot every ten seconds until told to stop.
    pub async fn keep(self: Arc<Self>, stop: Shutdown) {
        let mut ticks = tokio::time::interval_at(Instant::now() + SLOT, SLOT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.requested() => break,
                _ = ticks.tick() => self.end_slot(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_common::clock::SystemClock;

    use super::*;

    #[test]
    fn a_slot_has_what_was_added_in_it_and_an_hour_of_slots_is_kept() {
        let traffic = Traffic::new(Arc::new(SystemClock));
        let millisecond = Duration::from_millis(1);
        traffic.record("recommend", Some(AnswerSource::Cache), 200, millisecond);
        traffic.end_slot();
        traffic.record("recommend", Some(AnswerSource::Model), 200, millisecond);
        traffic.record("recommend", None, 503, millisecond);
        traffic.record("no such route", None, 404, millisecond);
        traffic.end_slot();
        let slots = traffic.slots();
        let asked = |slot: &Slot| -> Vec<(&str, u64)> {
            slot.routes.iter().map(|(place, tally)| (ROUTES[*place], tally.requests())).collect()
        };
        assert_eq!(asked(&slots[0]), [("recommend", 1)]);
        assert_eq!(asked(&slots[1]), [("recommend", 2), ("other", 1)]);
        let (_, tally) = &slots[1].routes[0];
        assert_eq!((tally.classes, tally.sources), ([1, 0, 0, 1], [1, 0, 0, 0]));
        for _ in 0..2 * SLOTS_MAX {
            traffic.end_slot();
        }
        assert_eq!(traffic.slots().len(), SLOTS_MAX);
        assert!(traffic.slots().iter().all(|slot| slot.routes.is_empty()));
    }
}
