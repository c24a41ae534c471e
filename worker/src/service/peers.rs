//! Which other workers this one reaches.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use shoal_common::{
    rpc::{Channels, is_lost_on_the_way, shortened},
    tls::PeerRole,
};
use shoal_proto::v1::{UnreachedPeer, WorkerPeer};
use tonic::{Code, Request, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// Peers that are asked about at once; no cluster has more nodes.
pub(super) const PEERS_MAX: usize = 1_000;

/// How long a peer may take to answer. The leader waits a little longer for this worker's answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Peers that are called at the same time.
const CALLS_MAX: usize = 64;

/// Bytes of a reason: it goes into the registry.
const REASON_BYTES_MAX: usize = 256;

/// Those of the peers that do not answer in time, in the order in which they were given.
pub(super) async fn unreached(channels: &Channels, peers: Vec<WorkerPeer>) -> Vec<UnreachedPeer> {
    let call = |peer: WorkerPeer| async move {
        let answered = tokio::time::timeout(ANSWER_MAX, call(channels, &peer.address)).await;
        let reason = match answered {
            Ok(answered) => answered.err()?,
            Err(_) => format!("no answer within {} s", ANSWER_MAX.as_secs()),
        };
        let reason = shortened(&reason, REASON_BYTES_MAX).into_owned();
        Some(UnreachedPeer { node: peer.node, reason })
    };
    stream::iter(peers).map(call).buffered(CALLS_MAX).filter_map(std::future::ready).collect().await
}

/// Asks a worker how it is, on the channel on which rows are sent to it.
async fn call(channels: &Channels, address: &str) -> Result<(), String> {
    let channel = channels.get(address, PeerRole::Worker).map_err(|error| error.to_string())?;
    let answer = HealthClient::new(channel).check(Request::new(HealthCheckRequest::default())).await;
    match answer {
        Err(status) if is_of_the_way(&status) => Err(innermost(&status)),
        // Whatever it says of its health, it is there.
        _ => Ok(()),
    }
}

/// Whether a status tells of the way to a peer, and does not come from the peer.
fn is_of_the_way(status: &Status) -> bool {
    is_lost_on_the_way(status) || status.code() == Code::DeadlineExceeded
}

/// What broke a connection, without what it broke.
fn innermost(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    let mut text = status.message().to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}
