//! Answers kept for a while: whole ones by the model, by everything that they depend on.
//!
//! The live version is part of the key, so an answer of another version is never found; when the version
//! changes, all of them are dropped at once to free their memory. What is not whole (shards that did not
//! answer) or not the model's (fallbacks) is not kept: it may be better the next time.
//!
//! Bounded three ways: in entries, in bytes, in time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::{notification::RemovalCause, sync::Cache};
use shoal_proto::v1::CacheStats;
use tokio::time::Instant;

use crate::answer::Recommended;

/// What an answer depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheKey {
    /// The version that gives it.
    pub version: String,
    /// The user and every parameter that shapes the list, in a normal form.
    pub request: Vec<u8>,
    /// How many results the list has.
    pub n: u32,
    /// How many results come before the first.
    pub offset: u32,
}

/// How much is kept, and how long.
#[derive(Debug, Clone, Copy)]
pub struct CacheLimits {
    /// Answers at most; 0 turns the cache off.
    pub entries: u64,
    /// Bytes of all answers at most, about.
    pub bytes: u64,
    /// From when an answer is made.
    pub ttl: Duration,
}

#[derive(Clone)]
struct Kept {
    answer: Arc<Recommended>,
    /// Age is measured here, by the clock that tests pause; the cache's own clock only frees memory.
    since: Instant,
}

/// The cache. Clones share it.
#[derive(Clone)]
pub struct AnswerCache {
    limits: CacheLimits,
    entries: Cache<CacheKey, Kept>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
}

impl std::fmt::Debug for AnswerCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerCache").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl AnswerCache {
    /// An empty cache that keeps within `limits`.
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        let counts = Arc::new(Counts::default());
        let evicted = Arc::clone(&counts);
        // One budget for both bounds: an answer weighs its bytes, but never so little that more than
        // `entries` of them fit.
        let weight_min = limits.bytes.div_ceil(limits.entries.max(1)).max(1);
        let entries = Cache::builder()
            .max_capacity(weight_min.saturating_mul(limits.entries))
            .weigher(move |key: &CacheKey, kept: &Kept| {
                let bytes = (key.version.len() + key.request.len() + kept.answer.size_bytes()) as u64;
                u32::try_from(bytes.max(weight_min)).unwrap_or(u32::MAX)
            })
            .time_to_live(limits.ttl)
            .eviction_listener(move |_, _, cause| {
                if matches!(cause, RemovalCause::Size | RemovalCause::Expired) {
                    evicted.evictions.fetch_add(1, Ordering::Relaxed);
                    metrics::counter!("shoal_router_cache_evictions_total").increment(1);
                }
            })
            .build();
        Self { limits, entries, counts }
    }

    /// The answer, if one is kept and not too old.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Arc<Recommended>> {
        if self.limits.entries == 0 {
            return None;
        }
        let kept = self.entries.get(key).filter(|kept| kept.since.elapsed() < self.limits.ttl);
        let (count, outcome) = match &kept {
            Some(_) => (&self.counts.hits, "hit"),
            None => (&self.counts.misses, "miss"),
        };
        count.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("shoal_router_cache_requests_total", "outcome" => outcome).increment(1);
        kept.map(|kept| kept.answer)
    }

    /// Keeps an answer. True unless the cache is off.
    pub fn put(&self, key: CacheKey, answer: Arc<Recommended>) -> bool {
        if self.limits.entries > 0 {
            self.entries.insert(key, Kept { answer, since: Instant::now() });
        }
        self.limits.entries > 0
    }

    /// Drops every answer, of all versions.
    pub fn clear(&self) {
        self.entries.invalidate_all();
    }

    /// What is kept and how it went.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.entries.run_pending_tasks();
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let size = self.entries.entry_count();
        metrics::gauge!("shoal_router_cache_entries").set(size as f64);
        metrics::gauge!("shoal_router_cache_bytes").set(self.entries.weighted_size() as f64);
        CacheStats {
            size,
            max_size: self.limits.entries,
            ttl_hours: self.limits.ttl.as_secs_f64() / 3_600.0,
            hits: count(&self.counts.hits),
            misses: count(&self.counts.misses),
            evictions: count(&self.counts.evictions),
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_common::user_query::{AnswerSource, RankedBy};
    use shoal_proto::v1::ShardsAnswered;

    use super::*;
    use crate::answer::{Ranker, Recommendation};

    const LIMITS: CacheLimits = CacheLimits { entries: 100, bytes: 1_000_000, ttl: Duration::from_secs(60) };

    fn key(version: &str, request: u8) -> CacheKey {
        CacheKey { version: version.to_owned(), request: vec![request], n: 10, offset: 0 }
    }

    fn answer(title_bytes: usize) -> Arc<Recommended> {
        let item = Recommendation {
            item: shoal_common::ids::EntityId::Integer(1),
            title: "x".repeat(title_bytes),
            genres: Vec::new(),
            predicted_rating: None,
            score: 1.0,
            rank: 1,
            explanation: None,
            ranker: Ranker::Popularity,
        };
        Arc::new(Recommended {
            user: None,
            recommendations: vec![item],
            model_version: "v1".to_owned(),
            source: AnswerSource::Model,
            ranked_by: RankedBy::Ranking,
            shards: ShardsAnswered::default(),
            next_cursor: None,
            unknown: Vec::new(),
            unknown_genres: Vec::new(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_found_until_it_is_too_old() {
        let cache = AnswerCache::new(LIMITS);
        assert!(cache.get(&key("v1", 1)).is_none());
        cache.put(key("v1", 1), answer(1));
        assert!(cache.get(&key("v1", 1)).is_some());
        assert!(cache.get(&key("v2", 1)).is_none() && cache.get(&key("v1", 2)).is_none());
        tokio::time::advance(LIMITS.ttl - Duration::from_millis(1)).await;
        assert!(cache.get(&key("v1", 1)).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(cache.get(&key("v1", 1)).is_none());
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.max_size), (2, 4, 100));
        assert!((stats.ttl_hours - 1.0 / 60.0).abs() < 1e-12);
    }

    #[test]
    fn entries_and_bytes_are_both_bounded() {
        for (limits, title_bytes, most) in [
            (CacheLimits { entries: 7, ..LIMITS }, 10, 7),
            (CacheLimits { bytes: 50_000, ..LIMITS }, 10_000, 4),
        ] {
            let cache = AnswerCache::new(limits);
            for request in 0..200 {
                cache.put(key("v1", request), answer(title_bytes));
            }
            let stats = cache.stats();
            assert!((1..=most).contains(&stats.size), "{stats:?}");
            assert_eq!(stats.evictions, 200 - stats.size);
        }
    }

    #[test]
    fn a_cleared_cache_is_empty_and_one_that_is_off_keeps_nothing() {
        let cache = AnswerCache::new(LIMITS);
        cache.put(key("v1", 1), answer(1));
        cache.clear();
        assert!(cache.get(&key("v1", 1)).is_none());
        assert_eq!(cache.stats().size, 0);
        let off = AnswerCache::new(CacheLimits { entries: 0, ..LIMITS });
        assert!(!off.put(key("v1", 1), answer(1)));
        assert!(off.get(&key("v1", 1)).is_none());
        assert_eq!((off.stats().misses, off.stats().max_size), (0, 0));
    }
}
