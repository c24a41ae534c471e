//! Tells the leading coordinator, again and again, that this worker lives and what it has ready.
//! The whole state goes with every beat, so a lost one costs nothing but time.

use std::{sync::Arc, time::Duration};

use shoal_common::{rpc::LeaderClient, shutdown::Shutdown};
use shoal_proto::v1::{HeartbeatRequest, Metadata, NodeRole};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{reconcile::LoadFailures, watch::impatient};
use crate::serve::LoadedModels;

/// Until a leader has named its lease.
const LEASE_AT_FIRST: Duration = Duration::from_secs(3);
/// Beats are not sent more often than this, whatever the lease.
const INTERVAL_MIN: Duration = Duration::from_millis(20);

/// Intervals between beats for which the leader must name other metadata than ours, while ours does
/// not change, before the stream counts as outdated. Time, not beats: a change is often heard of in
/// a heartbeat first, and beats come in bursts while shards are being loaded.
const OUTDATED_INTERVALS: u32 = 3;

/// What every beat says of this process.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) cluster_id: String,
    pub(super) node: String,
    pub(super) address: String,
    pub(super) incarnation: u64,
    pub(super) threads: u32,
}

/// What heartbeats report from, and whom they tell.
pub(super) struct Pulse {
    pub(super) leader: LeaderClient,
    pub(super) identity: Identity,
    pub(super) models: LoadedModels,
    pub(super) failures: LoadFailures,
    /// Notified when there is something new to report.
    pub(super) changed: Arc<Notify>,
    /// The metadata known here, to be compared with the leader's.
    pub(super) metadata: watch::Receiver<Option<Arc<Metadata>>>,
    /// To notify when the leader has other metadata than we have.
    pub(super) outdated: Arc<Notify>,
}

/// Since when the leader has had other metadata than ours, ours being stuck at one revision.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Behind {
    known: u64,
    since: Instant,
}

impl Behind {
    fn next(before: Option<Self>, known: u64, current: u64, now: Instant) -> Option<Self> {
        match before {
            _ if known == current => None,
            Some(stuck) if stuck.known == known => Some(stuck),
            _ => Some(Self { known, since: now }),
        }
    }
}

/// Beats until asked to stop: three times per lease, and at once when something changed.
pub(super) async fn beat(pulse: Pulse, shutdown: Shutdown) {
    let Pulse { leader, identity, models, failures, changed, metadata, outdated } = pulse;
    let mut lease = LEASE_AT_FIRST;
    let mut reached = true;
    let mut behind: Option<Behind> = None;
    loop {
        let interval = (lease / 3).max(INTERVAL_MIN);
        let request = HeartbeatRequest {
            cluster_id: identity.cluster_id.clone(),
            node: identity.node.clone(),
            role: NodeRole::Worker.into(),
            address: identity.address.clone(),
            incarnation: identity.incarnation,
            loaded: models.report(),
            threads: identity.threads,
            load_errors: failures.report(),
        };
        let call = leader.call(lease, |mut client| {
            let request = impatient(request.clone(), interval);
            async move { Ok(client.heartbeat(request).await?.into_inner()) }
        });
        let outcome = tokio::select! {
            biased;
            // Stopping comes first: the leader may be out of reach.
            () = shutdown.requested() => return,
            outcome = call => outcome,
        };
        match outcome {
            Ok(reply) => {
                if !reached {
                    tracing::info!("the coordinators are back");
                }
                reached = true;
                let known = metadata.borrow().as_ref().map_or(0, |metadata| metadata.revision);
                behind = Behind::next(behind, known, reply.metadata_revision, Instant::now());
                if let Some(stuck) = &behind
                    && stuck.since.elapsed() >= interval * OUTDATED_INTERVALS
                {
                    tracing::warn!(known, current = reply.metadata_revision, "following the metadata anew");
                    outdated.notify_one();
                    behind = None;
                }
                if reply.lease_ms > 0 {
                    lease = Duration::from_millis(u64::from(reply.lease_ms));
                }
            }
            Err(status) => {
                // Said once, not at every beat.
                if reached {
                    tracing::warn!(%status, "cannot reach the leading coordinator, serving on");
                }
                reached = false;
            }
        }
        tokio::select! {
            biased;
            () = shutdown.requested() => return,
            // A change is reported before its turn.
            () = changed.notified() => {}
            () = tokio::time::sleep((lease / 3).max(INTERVAL_MIN)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metadata_that_stays_behind_counts() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let stuck = Behind::next(None, 15, 16, at(0));
        assert_eq!(stuck, Some(Behind { known: 15, since: at(0) }));
        assert_eq!(Behind::next(stuck, 15, 17, at(5)), stuck, "a burst of beats is no longer a time");
        assert_eq!(Behind::next(stuck, 17, 18, at(9)), Some(Behind { known: 17, since: at(9) }));
        assert_eq!(Behind::next(stuck, 18, 18, at(9)), None);
    }
}
