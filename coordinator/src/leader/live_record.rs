//! Keeps `live.json` of the store in line with what is live, for whoever serves the store without this cluster.

use std::time::Duration;

use shoal_common::{
    causes::with_causes,
    store::{LiveVersions, StoreError},
};

use super::handle::Leader;
use crate::state::ClusterState;

/// How long after a failure it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Writes the file whenever what is live has changed, until the term ends, which aborts it.
pub(super) async fn keep(leader: Leader) {
    if leader.store.is_read_only() {
        return;
    }
    let mut state = leader.raft.view();
    let mut written = None;
    let mut has_failed = false;
    loop {
        let live = live_of(&state.borrow_and_update());
        if let Some(live) = live.filter(|live| written.as_ref() != Some(live)) {
            match write(&leader, &live).await {
                Ok(()) => (written, has_failed) = (Some(live), false),
                Err(error) => {
                    // Said once for all tries.
                    if !has_failed {
                        tracing::warn!(
                            error = with_causes(&error),
                            "live.json of the store was not written: `shoal serve` does not know yet what is live"
                        );
                    }
                    has_failed = true;
                    tokio::time::sleep(TRY_AGAIN).await;
                    continue;
                }
            }
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

async fn write(leader: &Leader, live: &LiveVersions) -> Result<(), StoreError> {
    match LiveVersions::read(&leader.store).await {
        // Another leader has written it.
        Ok(Some(known)) if known == *live => Ok(()),
        Ok(_) | Err(StoreError::Damaged { .. }) => live.write(&leader.store).await,
        Err(error) => Err(error),
    }
}

/// What is live; `None` before the first promotion.
fn live_of(state: &ClusterState) -> Option<LiveVersions> {
    let live = state.served.iter().filter(|(_, served)| !served.live_version.is_empty());
    let live = live.map(|(model, served)| (model.clone(), served.live_version.clone()));
    let live = LiveVersions::new(&state.cluster_id, &state.default_model, live.collect());
    (!live.live.is_empty()).then_some(live)
}
