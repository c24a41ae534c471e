//! Workers that send heartbeats and that cannot be worked with, because the leader or other workers do not reach them.
//! In the leader's memory only, until they are reached again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Why a worker cannot be worked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// Who does not reach the worker, and why.
    pub reason: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_unix_ms: i64,
}

/// The workers that cannot be worked with, by name. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct UnreachableWorkers(Arc<Mutex<BTreeMap<String, Unreachable>>>);

impl UnreachableWorkers {
    /// What was found when every worker was looked for: those that are not named are reached.
    pub fn replace(&self, found: &BTreeMap<String, String>, now_unix_ms: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for worker in known.keys().filter(|worker| !found.contains_key(*worker)) {
            tracing::info!(node = worker, "the worker is reached again");
        }
        let entry = |(worker, reason): (&String, &String)| {
            let before = known.get(worker);
            if before.is_none() {
                tracing::warn!(
                    node = worker,
                    reason,
                    "the worker sends heartbeats and cannot be worked with"
                );
            }
            let since_unix_ms = before.map_or(now_unix_ms, |before| before.since_unix_ms);
            (worker.clone(), Unreachable { reason: reason.clone(), since_unix_ms })
        };
        let now = found.iter().map(entry).collect::<BTreeMap<_, _>>();
        metrics::gauge!("shoal_coordinator_workers_unreachable").set(now.len() as f64);
        *known = now;
    }

    /// What is known now.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, Unreachable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether every worker is reached, as far as is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
