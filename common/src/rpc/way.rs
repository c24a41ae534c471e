//! Statuses that tell of the way to a node, told apart from what a node has answered.

use tonic::{Code, Status};

/// Whether a call was lost on its way there or back, so that the node may never have heard of it: another node, or the
/// same one a moment later, may answer.
///
/// A status with a cause was made at this end, of a connection that broke; its code is as often as not UNKNOWN or INTERNAL,
/// and a status that a node sent has no cause. UNKNOWN without a cause is made at this end as well: a generated client says
/// so of a channel that was not ready, and no node of a cluster answers by it. A call whose time is over is not
/// counted: whoever was asked is there, but slow.
#[must_use]
pub fn is_lost_on_the_way(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::Unknown => true,
        Code::DeadlineExceeded => false,
        _ => std::error::Error::source(status).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use shoal_proto::v1::{ClusterStatusRequest, coordinator_client::CoordinatorClient};
    use tokio::net::TcpListener;
    use tonic::transport::{Channel, Endpoint};

    use super::*;

    async fn ask(channel: Channel) -> Status {
        CoordinatorClient::new(channel).status(ClusterStatusRequest {}).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_connection_that_breaks_at_any_moment_is_the_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hang_up = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream);
            }
        });
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let hung_up = ask(channel.clone()).await;
        assert!(is_lost_on_the_way(&hung_up), "{hung_up:?}");
        hang_up.abort();
        let _ = hang_up.await;
        let refused = ask(channel).await;
        assert!(is_lost_on_the_way(&refused), "{refused:?}");
    }

    #[tokio::test]
    async fn a_channel_that_has_failed_for_good_is_the_way() {
        // A channel whose task has ended is never ready again.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let channel = {
            let _entered = runtime.enter();
            Endpoint::from_static("http://127.0.0.1:1").connect_lazy()
        };
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(60))).await.unwrap();
        let status = ask(channel).await;
        assert_eq!(status.code(), Code::Unknown, "{status:?}");
        assert!(is_lost_on_the_way(&status), "{status:?}");
    }

    #[test]
    fn what_a_node_answers_is_not_the_way() {
        for status in [
            Status::not_found("no"),
            Status::internal("broken"),
            Status::deadline_exceeded("late"),
            Status::ok(""),
        ] {
            assert!(!is_lost_on_the_way(&status), "{status:?}");
        }
        let mut made_here = Status::internal("h2 protocol error");
        made_here.set_source(Arc::new(std::io::Error::other("reset")));
        assert!(is_lost_on_the_way(&made_here));
    }
}
