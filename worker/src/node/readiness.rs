//! Whether this worker can use its store and has loaded what it is to serve. Absent coordinators and versions that are being promoted are no
//! reason to call it unready: it serves on.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use shoal_common::{health::Health, shutdown::Shutdown, store::StoreWatch};
use shoal_proto::v1::Metadata;
use tokio::sync::watch;

use super::reconcile::{LoadFailures, is_live};
use crate::serve::{LoadedModels, ShardKey, difference};

/// How often the loaded shards are counted beside changes of the metadata.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What readiness is told by.
pub(super) struct Readiness {
    pub(super) node: String,
    pub(super) health: Health,
    pub(super) store: StoreWatch,
    pub(super) models: LoadedModels,
    pub(super) failures: LoadFailures,
    pub(super) metadata: watch::Receiver<Option<Arc<Metadata>>>,
}

impl Readiness {
    /// Reports until asked to stop.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        loop {
            let metadata = self.metadata.borrow_and_update().clone();
            self.health.set_readiness(self.waits_for(metadata.as_deref())).await;
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                changed = self.metadata.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        self.health.set_readiness(Some("it is stopping".to_owned())).await;
    }

    fn waits_for(&self, metadata: Option<&Metadata>) -> Option<String> {
        if let Some(trouble) = self.store.trouble() {
            return Some(trouble);
        }
        let Some(metadata) = metadata else {
            return Some("it has not heard from a leading coordinator yet".to_owned());
        };
        let difference = difference(metadata, &self.node, &self.models.keys());
        let live =
            |keys: &BTreeSet<ShardKey>| keys.iter().filter(|key| is_live(metadata, &key.version)).count();
        let (wanted, missing) = (live(&difference.wanted), live(&difference.load));
        if missing == 0 {
            return None;
        }
        let failed = self.failures.count();
        let failures = match failed {
            0 => String::new(),
            _ => format!("; {failed} could not be loaded, the worker's log says why"),
        };
        Some(format!(
            "it has loaded {} of the {wanted} shards that it is to serve{failures}",
            wanted - missing
        ))
    }
}
