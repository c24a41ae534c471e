//! Tells the leading coordinator, again and again, that this worker lives and what it has ready.
//! The whole state goes with every beat, so a lost one costs nothing but time.

use std::{path::PathBuf, sync::Arc, time::Duration};

use shoal_common::{
    health::Health,
    node_report::Reporter,
    rpc::{Behind, LeaderClient, LeaderContact},
    shutdown::Shutdown,
};
use shoal_format::mapped_file::mapped_bytes_below;
use shoal_proto::v1::{HeartbeatRequest, Metadata, NodeReport, NodeRole, Protection};
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
    pub(super) reporter: Reporter,
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
    /// What the worker waits for.
    pub(super) health: Health,
    /// Where what it serves is mapped from.
    pub(super) served_folder: PathBuf,
}

/// How long the last heartbeat may take: the leader may be out of reach.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

impl Pulse {
    fn request(&self) -> HeartbeatRequest {
        let identity = &self.identity;
        let report = NodeReport {
            served_bytes: mapped_bytes_below(&self.served_folder),
            waits_for: self.health.waits_for(),
            ..identity.reporter.report()
        };
        HeartbeatRequest {
            cluster_id: identity.cluster_id.clone(),
            node: identity.node.clone(),
            role: NodeRole::Worker.into(),
            address: identity.address.clone(),
            incarnation: identity.incarnation,
            loaded: self.models.report(),
            threads: identity.threads,
            load_errors: self.failures.report(),
            protection: identity.protection.into(),
            report: Some(report),
            ..HeartbeatRequest::default()
        }
    }

    /// Says that the worker leaves, so that nobody waits for its lease to expire.
    async fn sign_off(&self) {
        let request = HeartbeatRequest { leaving: true, ..self.request() };
        let said = self.leader.call(FAREWELL_MAX, |mut client| {
            let request = impatient(request.clone(), FAREWELL_MAX);
            async move { client.heartbeat(request).await }
        });
        if let Ok(Err(status)) = tokio::time::timeout(FAREWELL_MAX, said).await {
            tracing::warn!(error = status.message(), "no coordinator was told that this worker leaves");
        }
    }
}

/// Beats until asked to stop: three times per lease, and at once when something changed. Then says that it leaves.
pub(super) async fn beat(pulse: Pulse, shutdown: Shutdown) {
    shutdown.token().run_until_cancelled(beat_on(&pulse)).await;
    pulse.sign_off().await;
}

async fn beat_on(pulse: &Pulse) {
    let mut lease = LEASE_AT_FIRST;
    let mut contact = LeaderContact::default();
    let mut behind = Behind::default();
    loop {
        let interval = (lease / 3).max(INTERVAL_MIN);
        let request = pulse.request();
        let outcome = pulse
            .leader
            .call(lease, |mut client| {
                let request = impatient(request.clone(), interval);
                async move { Ok(client.heartbeat(request).await?.into_inner()) }
            })
            .await;
        match outcome {
            Ok(reply) => {
                contact.made();
                let known = pulse.metadata.borrow().as_ref().map_or(0, |metadata| metadata.revision);
                if behind.note(known, reply.metadata_revision, interval) {
                    tracing::warn!(known, current = reply.metadata_revision, "following the metadata anew");
                    pulse.outdated.notify_one();
                }
                if reply.lease_ms > 0 {
                    lease = Duration::from_millis(u64::from(reply.lease_ms));
                }
            }
            Err(status) => contact.lost(&status),
        }
        tokio::select! {
            biased;
            // A change is reported before its turn.
            () = pulse.changed.notified() => {}
            () = tokio::time::sleep((lease / 3).max(INTERVAL_MIN)) => {}
        }
    }
}
