//! Requests that begin and do not end: a call of one message has to have sent it in time, or it is refused.
//!
//! Streams of requests are for nodes, which may have nothing to say for long. They are left as they are.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body::{Body as _, Frame, SizeHint};
use pin_project_lite::pin_project;
use prost_reflect::DescriptorPool;
use shoal_proto::FILE_DESCRIPTOR_SET;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

/// How long a caller may take to send its message.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(60);

/// The methods of one request, by their paths: of the wire, and gRPC's health.
static OF_ONE_REQUEST: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let wire = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    let methods = wire.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let single = methods.filter(|method| !method.is_client_streaming());
    let paths = single.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()));
    let health = ["Check", "List", "Watch"].map(|method| format!("/grpc.health.v1.Health/{method}"));
    paths.chain(health).collect()
});

/// Refuses calls whose only message does not come in time.
#[derive(Debug, Clone, Copy)]
pub struct TimelyLayer;

impl<S> Layer<S> for TimelyLayer {
    type Service = Timely<S>;

    fn layer(&self, inner: S) -> Timely<S> {
        Timely { inner }
    }
}

/// A service that does not wait for messages without end.
#[derive(Debug, Clone)]
pub struct Timely<S> {
    inner: S,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Timely<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        let is_timed = OF_ONE_REQUEST.contains(request.uri().path()) && !request.body().is_end_stream();
        self.inner.call(if is_timed { request.map(TimelyBody::of) } else { request })
    }
}

pin_project! {
    /// A body that fails when it does not end in time.
    struct TimelyBody {
        #[pin]
        body: Body,
        until: Instant,
        // Made when the body has to be waited for: most are there already.
        patience: Option<Pin<Box<Sleep>>>,
    }
}

impl TimelyBody {
    fn of(body: Body) -> Body {
        Body::new(Self { body, until: Instant::now() + MESSAGE_TIME_MAX, patience: None })
    }
}

impl http_body::Body for TimelyBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let until = *this.until;
        let patience = this.patience.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(patience.as_mut().poll(cx));
        metrics::counter!("shoal_calls_timed_out_total").increment(1);
        Poll::Ready(Some(Err(Status::deadline_exceeded(format!(
            "the call's message did not come within {} seconds",
            MESSAGE_TIME_MAX.as_secs()
        )))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    /// Sends a byte a second, so many of them, and then nothing more.
    fn dripping(bytes: u64) -> Body {
        let bytes = stream::iter(0..bytes).then(|_| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, Status>(Frame::data(Bytes::from_static(b"x")))
        });
        Body::new(StreamBody::new(bytes.chain(stream::pending()).boxed()))
    }

    /// What a service gets of a body, within an hour.
    async fn got(path: &str, body: Body) -> Option<Result<usize, Status>> {
        let read = service_fn(|request: Request<Body>| async {
            Ok::<_, Infallible>(request.into_body().collect().await.map(|body| body.to_bytes().len()))
        });
        let request = Request::post(path).body(body).unwrap();
        let answer = TimelyLayer.layer(read).oneshot(request);
        let hour = tokio::time::timeout(Duration::from_secs(3_600), answer).await;
        hour.ok().map(|answer| answer.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_of_one_message_is_not_waited_for_without_end() {
        for path in
            ["/shoal.v1.Coordinator/Promote", "/shoal.v1.WorkerJobs/RunStep", "/grpc.health.v1.Health/Check"]
        {
            for bytes in [0, 1_000] {
                let begun = Instant::now();
                let refusal = got(path, dripping(bytes)).await.unwrap().unwrap_err();
                assert_eq!(refusal.code(), tonic::Code::DeadlineExceeded, "{path}");
                assert_eq!(begun.elapsed(), MESSAGE_TIME_MAX, "{path}");
            }
            let whole = Body::new(http_body_util::Full::new(Bytes::from_static(b"message")));
            assert_eq!(got(path, whole).await.unwrap().unwrap(), 7);
        }
        // Nodes may be silent for long between two messages.
        for path in ["/shoal.v1.Raft/Send", "/shoal.v1.WorkerExchange/PushFactors", "/strange/Method"] {
            assert!(got(path, dripping(1)).await.is_none(), "{path}");
        }
    }
}
