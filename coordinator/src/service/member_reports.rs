//! What the members of the group say of themselves.

use std::time::Duration;

use futures::future::join_all;
use shoal_common::{rpc::with_deadline, tls::PeerRole};
use shoal_proto::v1::{DescribeMemberRequest, NodeReport, coordinator_client::CoordinatorClient};
use tokio::time::Instant;

use super::member::CoordinatorService;
use crate::raft::PeerStatus;

/// How long a member may take to say it: whoever asks for the status waits.
const PATIENCE: Duration = Duration::from_millis(500);

impl CoordinatorService {
    /// The report of each member; `None` of one that does not answer in time.
    pub(super) async fn member_reports(&self, peers: &[PeerStatus]) -> Vec<Option<NodeReport>> {
        join_all(peers.iter().map(|peer| self.member_report(peer))).await
    }

    async fn member_report(&self, peer: &PeerStatus) -> Option<NodeReport> {
        if peer.id == self.own_id() {
            return Some(self.leader.config.reporter.report());
        }
        // One that is not there would cost everybody the wait.
        if !peer.recently_active {
            return None;
        }
        let channel = self.leader.channels.get(&peer.address, PeerRole::Coordinator).ok()?;
        let request = with_deadline(DescribeMemberRequest {}, Instant::now() + PATIENCE, Duration::ZERO);
        let mut client = CoordinatorClient::new(channel);
        let asked = tokio::time::timeout(PATIENCE, client.describe_member(request));
        Some(asked.await.ok()?.ok()?.into_inner())
    }
}
