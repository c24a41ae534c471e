//! Whether this router should be sent queries. Owns what it has seen so far; the state of the cluster is the snapshot's.
//!
//! Answers are whole only when every shard of every live version is asked for. After a start of the whole cluster workers
//! take a while to load, so a router becomes ready when it has seen all shards ready at once. From then on a lost shard makes
//! answers incomplete, which they say, and the router stays ready: all routers would miss the same shard, and a cluster that
//! answers most of the catalogue is better than one that answers nothing. For the same reason a router that starts while a
//! shard is lost becomes ready after [`PATIENCE`] without it. A router that no worker answers is not ready: others may be.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    reach::Reach,
    snapshot::{Snapshot, Target},
};

/// How long a router that has started waits for shards that nobody has ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one router has seen. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    started: Instant,
    was_whole: Arc<AtomicBool>,
    reach: Reach,
}

impl Readiness {
    /// Of a router that starts now.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), was_whole: Arc::default(), reach: Reach::default() }
    }

    /// Whether workers answer.
    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// What queries should not be sent here for before it is there; `None` when the default model answers and no shard is missing
    /// that is only being loaded.
    pub(crate) fn waits_for(&self, snapshot: &Snapshot) -> Option<String> {
        let default = match snapshot.serving(&Target::default()) {
            Ok(default) => default,
            Err(nothing) => return Some(nothing.to_string()),
        };
        if let Some(lost) = self.reach.lost() {
            return Some(lost);
        }
        let missing = snapshot.live_versions_of_known_models().find_map(|live| {
            let (served, total) = (live.shards_served(), live.shards_total());
            let version = &live.version.name;
            (served < total).then(|| format!("workers have {served} of {total} shards of '{version}' ready"))
        });
        if missing.is_none() {
            self.was_whole.store(true, Ordering::Relaxed);
        }
        let may_be_incomplete = self.was_whole.load(Ordering::Relaxed) || self.started.elapsed() >= PATIENCE;
        missing.filter(|_| !may_be_incomplete || default.shards_served() == 0)
    }
}
