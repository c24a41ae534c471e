//! Tells the leading coordinator, again and again, that this worker lives and what it has ready.
//! The whole state goes with every beat, so a lost one costs nothing but time.

use std::{sync::Arc, time::Duration};

use shoal_common::{
    rpc::{Behind, LeaderClient},
    shutdown::Shutdown,
};
use shoal_proto::v1::{HeartbeatRequest, Metadata, NodeRole, Protection};
use tokio::sync::{Notify, watch};

use super::{reconcile::LoadFailures, watch::impatient};
use crate::serve::LoadedModels;

/// Until a leader has named its lease.
const LEASE_AT_FIRST: Duration = Duration::from_secs(3);
/// Beats are not sent more often than this, whatever the lease.
const INTERVAL_MIN: Duration = Duration::from_millis(20);

/// What every beat says of this process.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) cluster_id: String,
    pub(super) node: String,
    pub(super) address: String,
    pub(super) incarnation: u64,
    pub(super) threads: u32,
    pub(super) protection: Protection,
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

/// Beats until asked to stop: three times per lease, and at once when something changed.
pub(super) async fn beat(pulse: Pulse, shutdown: Shutdown) {
    let Pulse { leader, identity, models, failures, changed, metadata, outdated } = pulse;
    let mut lease = LEASE_AT_FIRST;
    let mut reached = true;
    let mut behind = Behind::default();
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
            used_tokens: Vec::new(),
            protection: identity.protection.into(),
            answers_by: None,
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
                if behind.note(known, reply.metadata_revision, interval) {
                    tracing::warn!(known, current = reply.metadata_revision, "following the metadata anew");
                    outdated.notify_one();
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
