//! Brings what is loaded in line with what placement says. One task owns the set of loaded shards;
//! it loads a few at a time, tries failed ones again with growing pauses, lets go of what nobody
//! wants any more, and then clears the local cache of parts that no shard needs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use shoal_common::{causes::with_causes, shutdown::Shutdown};
use shoal_proto::v1::{Metadata, ServedModel, Side};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::serve::{
    Difference, LoadError, LoadedModels, LoadedShard, Loader, ShardKey, VersionSource, difference,
};

/// Shards that load at once: enough to keep a disk or an object store busy, few enough that the
/// parts in flight fit in memory.
const LOADS_MAX: usize = 4;
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Failures of one version that a heartbeat spells out.
const REPORTED_MAX: usize = 4;

/// Why shards are not loaded, for the heartbeat. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct LoadFailures {
    failures: Arc<Mutex<BTreeMap<ShardKey, Failure>>>,
}

#[derive(Debug)]
struct Failure {
    reason: String,
    tries: u32,
    retry_at: Instant,
}

impl LoadFailures {
    /// By version: which shards failed and why.
    pub(super) fn report(&self) -> HashMap<String, String> {
        let failures = self.lock();
        let mut by_version: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (key, failure) in failures.iter() {
            let sentence = format!("{} shard {}: {}", side_name(key.side), key.shard, failure.reason);
            by_version.entry(&key.version).or_default().push(sentence);
        }
        let join = |(version, sentences): (&str, Vec<String>)| {
            let mut text = sentences.iter().take(REPORTED_MAX).cloned().collect::<Vec<_>>().join("; ");
            if sentences.len() > REPORTED_MAX {
                text.push_str(&format!("; and {} more shards", sentences.len() - REPORTED_MAX));
            }
            (version.to_owned(), text)
        };
        by_version.into_iter().map(join).collect()
    }

    /// How many shards failed when they were last tried.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn record(&self, key: ShardKey, reason: String) {
        let mut failures = self.lock();
        let tries = failures.get(&key).map_or(0, |failure| failure.tries);
        let pause = RETRY_MIN.saturating_mul(1 << tries.min(16)).min(RETRY_MAX);
        failures.insert(key, Failure { reason, tries: tries + 1, retry_at: Instant::now() + pause });
    }

    fn forget(&self, key: &ShardKey) {
        self.lock().remove(key);
    }

    /// Drops failures of shards that are not wanted; returns whether there were any.
    fn retain(&self, wanted: impl Fn(&ShardKey) -> bool) -> bool {
        let mut failures = self.lock();
        let before = failures.len();
        failures.retain(|key, _| wanted(key));
        failures.len() != before
    }

    fn retry_at(&self, key: &ShardKey) -> Option<Instant> {
        self.lock().get(key).map(|failure| failure.retry_at)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ShardKey, Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Load = BoxFuture<'static, (ShardKey, Result<(Arc<VersionSource>, LoadedShard), LoadError>)>;

/// What the task that loads and unloads shards works with.
pub(super) struct Reconciler {
    pub(super) node: String,
    pub(super) loader: Loader,
    pub(super) models: LoadedModels,
    pub(super) failures: LoadFailures,
    /// Told whenever a heartbeat would say something new.
    pub(super) changed: Arc<Notify>,
    pub(super) metadata: watch::Receiver<Option<Arc<Metadata>>>,
}

impl Reconciler {
    /// Reconciles until asked to stop.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        let mut loads: FuturesUnordered<Load> = FuturesUnordered::new();
        let mut loading: HashSet<ShardKey> = HashSet::new();
        let mut pruned_for: Option<Vec<ShardKey>> = None;
        loop {
            let retry_at = self.step(&mut loads, &mut loading, &mut pruned_for).await;
            tokio::select! {
                biased;
                // Stopping comes first; then what is finished, which makes room for more; then news.
                () = shutdown.requested() => return,
                Some((key, outcome)) = loads.next(), if !loads.is_empty() => {
                    loading.remove(&key);
                    self.finish(key, outcome);
                }
                changed = self.metadata.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = sleep_until(retry_at), if retry_at.is_some() => {}
            }
        }
    }

    /// One comparison of desired and loaded: unloads, starts loads, and prunes the cache when
    /// everything is in place. Returns when the next failed load is due.
    async fn step(
        &mut self,
        loads: &mut FuturesUnordered<Load>,
        loading: &mut HashSet<ShardKey>,
        pruned_for: &mut Option<Vec<ShardKey>>,
    ) -> Option<Instant> {
        let metadata = self.metadata.borrow_and_update().clone()?;
        let difference = difference(&metadata, &self.node, &self.models.keys());
        self.unload(&difference);
        let now = Instant::now();
        let mut retry_at: Option<Instant> = None;
        let mut due: Vec<ShardKey> =
            difference.load.iter().filter(|key| !loading.contains(key)).cloned().collect();
        due.sort_by_key(|key| urgency(&metadata, &key.version));
        for key in due {
            match self.failures.retry_at(&key) {
                Some(due) if due > now => retry_at = Some(retry_at.map_or(due, |at| at.min(due))),
                _ if loading.len() < LOADS_MAX => {
                    loading.insert(key.clone());
                    loads.push(self.load(&metadata, key));
                }
                // The end of a load brings the loop back here.
                _ => {}
            }
        }
        let held = self.models.keys();
        if loads.is_empty() && difference.load.is_empty() && pruned_for.as_ref() != Some(&held) {
            if !held.is_empty() {
                // One line for all of them.
                let versions: BTreeSet<&str> = held.iter().map(|key| key.version.as_str()).collect();
                tracing::info!(
                    shards = held.len(),
                    versions = versions.len(),
                    "every shard that is placed here is loaded"
                );
            }
            self.prune().await;
            *pruned_for = Some(held);
        }
        retry_at
    }

    fn load(&self, metadata: &Metadata, key: ShardKey) -> Load {
        let loader = self.loader.clone();
        let version = metadata.versions.iter().find(|version| version.name == key.version).cloned();
        let dataset = version.as_ref().and_then(|version| {
            let same = |dataset: &&shoal_proto::v1::DatasetInfo| {
                dataset.name == version.dataset_name && dataset.version == version.dataset_version
            };
            metadata.datasets.iter().find(same).cloned()
        });
        let blended = version.as_ref().and_then(|version| version.hybrid.as_ref());
        let components = blended.map(|_| metadata.components.clone()).unwrap_or_default();
        Box::pin(async move {
            let outcome = match (version, dataset) {
                (Some(version), Some(dataset)) => {
                    loader.load(&version, &components, &dataset, key.side, key.shard).await
                }
                _ => Err(LoadError::Version {
                    version: key.version.clone(),
                    reason: "the coordinators do not say what its data set is".to_owned(),
                }),
            };
            (key, outcome)
        })
    }

    fn finish(&self, key: ShardKey, outcome: Result<(Arc<VersionSource>, LoadedShard), LoadError>) {
        match outcome {
            Ok((source, shard)) => {
                self.failures.forget(&key);
                self.models.insert(&source.empty_version(), key.shard, shard);
                tracing::debug!(
                    version = key.version,
                    side = side_name(key.side),
                    shard = key.shard,
                    "shard loaded"
                );
            }
            Err(error) => {
                metrics::counter!("shoal_worker_load_failures_total").increment(1);
                let reason = with_causes(&error);
                tracing::error!(
                    version = key.version,
                    side = side_name(key.side),
                    shard = key.shard,
                    error = reason,
                    "cannot load a shard, will try again"
                );
                self.failures.record(key, reason);
            }
        }
        self.announce();
    }

    fn unload(&self, difference: &Difference) {
        for key in &difference.unload {
            self.models.remove(key);
            tracing::debug!(
                version = key.version,
                side = side_name(key.side),
                shard = key.shard,
                "shard unloaded"
            );
        }
        let forgotten = self.failures.retain(|key| difference.wanted.contains(key));
        if forgotten || !difference.unload.is_empty() {
            self.announce();
        }
    }

    fn announce(&self) {
        metrics::gauge!("shoal_worker_loaded_shards").set(self.models.keys().len() as f64);
        self.changed.notify_one();
    }

    /// Removes cached parts that no loaded shard uses. Only called while nothing loads: a part
    /// that is being fetched is not yet anybody's.
    async fn prune(&self) {
        if let Err(error) = self.loader.prune(&self.models.keys()).await {
            tracing::warn!(error = with_causes(&error), "cannot clear the local cache");
        }
    }
}

/// A side in logs and reports.
fn side_name(side: Side) -> &'static str {
    if side == Side::Items { "item" } else { "user" }
}

/// Whether queries are answered by this version.
pub(super) fn is_live(metadata: &Metadata, version: &str) -> bool {
    version == metadata.live_version || metadata.served.iter().any(|served| served.live_version == version)
}

/// What is asked for now loads first, then what is about to be, then what rollback may need.
fn urgency(metadata: &Metadata, version: &str) -> u8 {
    let any = |of: fn(&ServedModel) -> &String| metadata.served.iter().any(|served| of(served) == version);
    if is_live(metadata, version) {
        0
    } else if version == metadata.promoting_version || any(|served| &served.promoting_version) {
        1
    } else {
        2
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
