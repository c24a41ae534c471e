//! Follows the coordinators' metadata. While none can be reached the last metadata stays in force:
//! a worker serves on without coordinators.

use std::{sync::Arc, time::Duration};

use shoal_common::{
    metadata_changes::MetadataFollower,
    model_parameters::update_metadata,
    rpc::{LeaderClient, with_deadline, wrong_cluster},
    shutdown::Shutdown,
};
use shoal_proto::v1::{Metadata, WatchMetadataRequest};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tonic::{Status, Streaming};

/// How long one search for the leader lasts before it is logged and begun again.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Publishes every newer metadata until asked to stop. `outdated` is notified when heartbeats say
/// that the stream has fallen behind: a leader that was cut off keeps its streams open.
pub(super) async fn follow_metadata(
    leader: LeaderClient,
    request: WatchMetadataRequest,
    known: watch::Sender<Option<Arc<Metadata>>>,
    outdated: Arc<Notify>,
    shutdown: Shutdown,
) {
    let mut pause = PAUSE_MIN;
    while !shutdown.is_requested() {
        let before = known.borrow().as_ref().map(|metadata| (metadata.leader_term, metadata.revision));
        let ended = tokio::select! {
            biased;
            // Stopping comes first: the stream may never end by itself.
            () = shutdown.requested() => return,
            ended = follow_once(&leader, &request, &known) => ended,
            () = outdated.notified() => Ok(()),
        };
        let after = known.borrow().as_ref().map(|metadata| (metadata.leader_term, metadata.revision));
        // A stream that brought news was a good one: begin again quickly.
        pause = if after == before { (pause * 2).min(PAUSE_MAX) } else { PAUSE_MIN };
        match ended {
            Ok(()) => tracing::info!("the metadata stream ended, looking for the leader"),
            Err(status) => {
                tracing::warn!(
                    error = status.message(),
                    "cannot follow the metadata, serving on with what is known"
                )
            }
        }
        tokio::select! {
            biased;
            () = shutdown.requested() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn follow_once(
    leader: &LeaderClient,
    request: &WatchMetadataRequest,
    known: &watch::Sender<Option<Arc<Metadata>>>,
) -> Result<(), Status> {
    let mut stream: Streaming<Metadata> = leader
        .call(PATIENCE, |mut client| {
            let request = request.clone();
            // No deadline: the stream is meant to last. Dead peers are noticed by keep-alive pings.
            async move { Ok(client.watch_metadata(request).await?.into_inner()) }
        })
        .await?;
    let mut follower = MetadataFollower::default();
    while let Some(message) = stream.message().await? {
        if message.cluster_id != request.cluster_id {
            return Err(wrong_cluster(&request.cluster_id, &message.cluster_id));
        }
        let mut metadata = follower.take(message).map_err(|gap| {
            metrics::counter!("shoal_metadata_gaps_total").increment(1);
            Status::data_loss(gap.to_string())
        })?;
        update_metadata(&mut metadata);
        publish(known, metadata);
    }
    Ok(())
}

/// Takes the metadata if it is newer: revisions grow within a leader's term. A deposed leader's
/// stream may still deliver something old.
fn publish(known: &watch::Sender<Option<Arc<Metadata>>>, metadata: Metadata) {
    known.send_if_modified(|current| {
        let newer = current.as_ref().is_none_or(|current| {
            (metadata.leader_term, metadata.revision) > (current.leader_term, current.revision)
        });
        if newer {
            *current = Some(Arc::new(metadata));
        }
        newer
    });
}

/// A request to the leader that gives up after `patience`.
pub(super) fn impatient<T>(message: T, patience: Duration) -> tonic::Request<T> {
    with_deadline(message, Instant::now() + patience, Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_metadata_is_passed_over() {
        let (known, _) = watch::channel(None);
        let metadata = |leader_term, revision| Metadata { leader_term, revision, ..Default::default() };
        for (term, revision, expected) in
            [(2, 5, (2, 5)), (2, 4, (2, 5)), (1, 9, (2, 5)), (2, 6, (2, 6)), (3, 1, (3, 1))]
        {
            publish(&known, metadata(term, revision));
            let current = known.borrow().clone().unwrap();
            assert_eq!((current.leader_term, current.revision), expected);
        }
    }
}
